// SPDX-License-Identifier: Apache-2.0
//! `check`: everything in one go, each with its place; the host alone; nothing made. That it says what
//! `create` says is in tests/broken, that the managers' bundles are clean in tests/bundles.rs.

mod common;

use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{Bundle, Value, is_creel, is_root, json, runtime};

fn report(bundle: &Bundle) -> (i32, Value) {
    bundle.write();
    let run = bundle.runtime(&["check", "-f", "json", bundle.dir.to_str().expect("UTF-8")]);
    (run.code, serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {run:?}")))
}

/// Level and pointer of each finding, as they are reported.
fn places(report: &Value) -> Vec<(&str, &str)> {
    let findings = report["findings"].as_array().expect("findings");
    let text = |value: &'static str| move |f: &'_ Value| f[value].as_str().map(str::to_owned);
    for finding in findings {
        assert!(text("found")(finding).is_some_and(|found| !found.is_empty()), "{finding}");
        assert!(text("hint")(finding).is_some(), "{finding}");
    }
    findings
        .iter()
        .map(|f| (f["level"].as_str().unwrap(), f["pointer"].as_str().unwrap()))
        .collect()
}

#[test]
fn one_call_finds_everything_and_names_its_place() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = Bundle::with_args(&["/bin/nope"])
        .patch("/process/rlimits", json!([{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}]))
        .patch("/process/oomScoreAdj", json!("0"))
        .patch("/process/capabilities/bounding", json!(["CAP_FLY"]))
        .patch("/hostName", json!("x"))
        .patch("/windows", json!({}))
        .patch("/hooks/poststop", json!([{"path": "/none"}]))
        .patch(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdri"], "action": "SCMP_ACT_ERRNO"}]}),
        )
        .patch("/linux/sysctl", json!({"net.core.nope": "1", "kernel.panic": "1"}))
        .add_mount(json!({"destination": "/a", "type": "tmpfs", "options": ["sized=1"]}))
        .add_mount(json!({"destination": "/b"}))
        .add_mount(json!({"destination": "/c", "source": "none", "options": ["bind"]}));
    let (code, report) = report(&bundle);
    assert_eq!((code, &report["ok"]), (1, &json!(false)));
    let found = places(&report);
    for wanted in [
        ("error", "/process/oomScoreAdj"),
        ("error", "/process/rlimits/0/type"),
        ("error", "/process/args/0"),
        ("error", "/mounts/6/options"),
        ("error", "/mounts/7/type"),
        ("error", "/mounts/8/source"),
        ("error", "/linux/sysctl/net.core.nope"),
        ("error", "/linux/sysctl/kernel.panic"),
        ("warning", "/process/capabilities"),
        ("warning", "/hostName"),
        ("warning", "/hooks/poststop/0/path"),
        ("warning", "/linux/seccomp/syscalls/0/names/1"),
        ("note", "/windows"),
    ] {
        let count = found.iter().filter(|place| **place == wanted).count();
        assert_eq!(count, 1, "{wanted:?}: {report:#}");
    }
    assert!(found.is_sorted_by_key(|(level, _)| {
        ["error", "warning", "note"].iter().position(|l| l == level)
    }));
    let text = bundle.runtime(&["check", "."]);
    assert_eq!(text.code, 1);
    assert!(text.out.contains("\n         hint: is \"hostname\" meant?"), "{}", text.out);
    let last = format!("{}: 8 errors, ", bundle.dir.display());
    assert!(text.out.lines().last().is_some_and(|line| line.starts_with(&last)), "{}", text.out);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_good_bundle_is_ok_and_none_is_an_error() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = Bundle::new("true").patch("/process/terminal", json!(true));
    let (code, good) = report(&bundle);
    assert_eq!((code, &good["ok"], places(&good)), (0, &json!(true), vec![]));
    let run = bundle.runtime(&["check", "--format", "json", "/none"]);
    let none: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((run.code, places(&none)), (1, vec![("error", "")]));
    assert_eq!(
        none["findings"][0]["found"],
        "open bundle \"/none\": ENOENT: no such file or directory"
    );
    let usage = bundle.runtime(&["check", "--format", "xml"]);
    assert_eq!((usage.code, usage.message().as_str()), (1, "invalid format option"));
}

#[test]
fn the_host_alone_as_root_and_as_an_ordinary_user() {
    if !is_root() || !is_creel() {
        return;
    }
    if std::env::var_os("ENOSYS").is_some() {
        println!("SKIP: an ordinary user may not load the filter that refuses system calls");
        return;
    }
    let run = |uid: u32| {
        // Where anybody may execute it.
        let copy = std::env::temp_dir().join(format!("creel-check-{}", std::process::id()));
        std::fs::copy(runtime(), &copy).expect("copy");
        let output = Command::new(&copy).args(["check", "-f", "json"]).uid(uid).gid(uid).output();
        std::fs::remove_file(&copy).expect("remove");
        let output = output.expect("creel starts");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["ok"], output.status.success(), "{report:#}");
        report
    };
    let root = run(0);
    assert_eq!(root["bundle"], Value::Null);
    assert_eq!(root["ok"], true, "{root:#}");
    assert!(places(&root).contains(&("note", "/linux/resources")), "{root:#}");
    let user = run(54321);
    assert!(places(&user).contains(&("warning", "/linux/uidMappings")), "{user:#}");
    assert!(places(&user).contains(&("note", "/linux/namespaces")), "{user:#}");
}
