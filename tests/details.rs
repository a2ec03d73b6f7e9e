// SPDX-License-Identifier: Apache-2.0
//! `list` and `state` with `--all-details`.

mod common;

use common::{Bundle, Value, can_run, json};

fn details(bundle: &Bundle) -> Value {
    let run = bundle.runtime(&["state", "--all-details", bundle.id()]).ok();
    serde_json::from_str(&run.out).expect("JSON")
}

#[test]
fn a_running_container_is_shown_with_all_that_can_be_seen() {
    if !can_run() || common::is_rootless() {
        return;
    }
    let bundle = Bundle::new("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 60")
        .patch("/linux/resources/pids", json!({"limit": 50}))
        .patch("/linux/resources/memory", json!({"limit": 67_108_864}))
        .patch("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}))
        .patch("/hooks/poststop", json!([{"path": "/bin/true"}, {"path": "/bin/true"}]));
    bundle.start_detached();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let state = details(&bundle);
    let plain = bundle.state().expect("a state");
    for (key, value) in plain.as_object().expect("an object") {
        assert_eq!(&state[key], value, "{key}");
    }
    let seen = &state["details"];
    assert_eq!(seen["pids"], json!({"usage": 1, "limit": 50}), "{seen}");
    assert_eq!(seen["memory"]["limit"], 67_108_864);
    assert!(seen["memory"]["usage"].as_u64().unwrap() > 0, "{seen}");
    let up = seen["uptimeMilliseconds"].as_u64().unwrap();
    assert!((200..20_000).contains(&up), "{up}");
    assert!(seen["cpuMilliseconds"].as_u64().unwrap() <= up * 2, "{seen}");
    assert_eq!((&seen["seccomp"], &seen["noNewPrivileges"]), (&json!("filter"), &json!(true)));
    assert_eq!(seen["hooks"], json!({"poststop": 2}));
    let pid = bundle.pid();
    let mountinfo = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    assert_eq!(seen["mounts"], mountinfo.lines().count());
    let own = |kind: &str| {
        let list = seen["namespaces"].as_array().expect("namespaces");
        let entry = list.iter().find(|ns| ns["type"] == kind).expect(kind);
        let link = std::fs::read_link(format!(
            "/proc/{pid}/ns/{}",
            if kind == "mount" { "mnt" } else { kind }
        ));
        assert!(link.unwrap().to_string_lossy().contains(&entry["inode"].to_string()));
        entry["own"].as_bool().expect("yes or no")
    };
    assert!(own("pid") && own("mount") && own("uts") && !own("user"));
    let directories = seen["cgroup"]["directories"].as_array().expect("directories");
    assert!(!directories.is_empty());
    for directory in directories {
        let path = directory["path"].as_str().expect("a path");
        let text = std::fs::read_to_string(format!("{path}/cgroup.procs")).expect(path);
        assert!(text.lines().any(|line| line == pid.to_string()), "{path}: {text}");
    }

    let list = bundle.runtime(&["list", "--all-details", "--format", "json"]).ok().out;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list[0]["details"]["hooks"], json!({"poststop": 2}));
    let table = bundle.runtime(&["list", "--all-details"]).ok().out;
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    let want = "ID PID STATUS UPTIME CPU MEMORY PIDS MOUNTS SECCOMP HOOKS CGROUP";
    assert_eq!(head.join(" "), want);
    let row = table.lines().nth(1).unwrap();
    assert!(row.contains(" 1 / 50 ") && row.contains("/ 64.0M") && row.contains("filter"), "{row}");
    let one =
        bundle.runtime(&["state", "--all-details", "--format", "table", bundle.id()]).ok().out;
    assert_eq!(one.lines().next(), table.lines().next());
    let plain = bundle.runtime(&["state", "-f", "table", bundle.id()]).ok().out;
    assert!(plain.starts_with("ID ") && plain.contains("BUNDLE"), "{plain}");
}

#[test]
fn a_stopped_container_has_what_is_left() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("true");
    bundle.write();
    bundle.runtime(&["run", "--keep", bundle.id()]).ok();
    let seen = &details(&bundle)["details"];
    assert_eq!((&seen["namespaces"], &seen["hooks"]), (&json!([]), &json!({})));
    assert!(seen["cgroup"]["driver"].is_string());
    assert!(seen.get("memory").is_none() && seen.get("uptimeMilliseconds").is_none(), "{seen}");
    let refused = bundle.runtime(&["state", "--format", "xml", bundle.id()]);
    assert_eq!((refused.code, refused.message().as_str()), (1, "invalid format option"));
}
