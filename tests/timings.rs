// SPDX-License-Identifier: Apache-2.0
//! `--timings FILE`: a trace of each command, and what `timings` makes of it.

mod common;

use std::fs;
use std::path::Path;

use common::{Bundle, Value, can_run, json};

fn trace(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the trace");
    let trace: Value = serde_json::from_str(&text).expect("JSON");
    trace["traceEvents"].as_array().expect("events").clone()
}

/// The names of the steps of a lane, in order; they follow each other without a gap or an overlap.
fn steps(events: &[Value], lane: &str) -> Vec<String> {
    let own = || events.iter().filter(|event| event["cat"] == lane);
    let mut end = None;
    for event in own() {
        assert_eq!(event["ph"], "X");
        let (ts, dur) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
        assert!(dur >= 0.0 && end.is_none_or(|end: f64| (ts - end).abs() < 0.01), "{event}");
        end = Some(ts + dur);
    }
    own().map(|event| event["name"].as_str().expect("a name").to_owned()).collect()
}

#[track_caller]
fn has(steps: &[String], wanted: &[&str]) {
    let mut rest = steps.iter();
    for name in wanted {
        assert!(rest.any(|step| step.starts_with(name)), "{name} in {steps:?}");
    }
}

#[test]
fn each_command_of_a_container_s_life_leaves_its_trace() {
    if !can_run() {
        return;
    }
    let hook = json!([{"path": "/bin/true"}]);
    let bundle = Bundle::new("sleep 60")
        .patch("/hooks/prestart", hook.clone())
        .patch("/hooks/poststop", hook);
    bundle.write();
    let pattern = bundle.dir.join("%c.json");
    let pattern = pattern.to_str().unwrap();
    let run = |args: &[&str]| bundle.runtime(&[&["--timings", pattern], args].concat());
    run(&["create", bundle.id()]).ok();
    let created = trace(&bundle.dir.join("create.json"));
    let parent = ["command line", "bundle", "plan", "state directory", "clone", "init recorded"];
    has(&steps(&created, "parent"), &parent);
    has(&steps(&created, "parent"), &["wait for the child", "answer Hooks", "pid files", "rest"]);
    let child = ["namespaces", "root bound", "mounts[0]", "mounts[5]", "devices", "ask Hooks"];
    has(&steps(&created, "child"), &child);
    let child = ["pivot_root", "terminal, names", "read-only", "capabilities", "program found"];
    has(&steps(&created, "child"), &child);
    // Both lanes are one process's, as the parent knows them.
    let tid = |lane: &str| created.iter().find(|e| e["cat"] == lane).expect(lane)["tid"].clone();
    assert_eq!(tid("child"), bundle.pid());
    assert!(created.iter().all(|event| event["pid"] == tid("parent")));
    let names: Vec<&Value> =
        created.iter().filter(|e| e["ph"] == "M").map(|e| &e["args"]["name"]).collect();
    assert_eq!(
        names,
        [&json!(format!("creel create {}", bundle.id())), &json!("parent"), &json!("child")]
    );

    run(&["start", bundle.id()]).ok();
    has(
        &steps(&trace(&bundle.dir.join("start.json")), "parent"),
        &["container loaded", "exec.fifo"],
    );
    run(&["exec", bundle.id(), "env"]).ok();
    let exec = trace(&bundle.dir.join("exec.json"));
    has(
        &steps(&exec, "parent"),
        &["plan", "clone", "wait for the child", "wait for execve", "the program"],
    );
    has(&steps(&exec, "child"), &["session", "program found", "ask Ready", "seccomp filter"]);
    let env = run(&["exec", bundle.id(), "env"]).ok().out;
    assert!(!env.contains("CREEL"), "{env}");
    run(&["delete", "--force", bundle.id()]).ok();
    let deleted = ["container loaded", "processes killed", "cgroup removed", "state", "poststop"];
    has(&steps(&trace(&bundle.dir.join("delete.json")), "parent"), &deleted);
}

#[test]
fn a_run_is_shown_as_text_and_as_a_picture() {
    if !can_run() {
        return;
    }
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    let bundle = Bundle::new("true").patch("/linux/seccomp", seccomp);
    bundle.write();
    let file = bundle.dir.join("run.json");
    bundle.runtime(&["--timings", file.to_str().unwrap(), "run", bundle.id()]).ok();
    let ran = trace(&file);
    has(&steps(&ran, "parent"), &["wait for execve", "the program's life", "cgroup removed"]);
    has(&steps(&ran, "child"), &["ask Ready", "seccomp filter"]);

    // To look at.
    let shown = bundle.runtime(&["timings", file.to_str().unwrap()]).ok().out;
    let mut lines = shown.lines();
    let title = format!("creel run {}: ", bundle.id());
    assert!(lines.next().unwrap().starts_with(&title), "{shown}");
    assert!(lines.next().unwrap().ends_with("STEP"), "{shown}");
    assert!(lines.any(|line| line.contains("child") && line.ends_with("mounts[0]")), "{shown}");
    let out = bundle.dir.join("run.svg");
    let args = ["timings", file.to_str().unwrap(), "--svg", out.to_str().unwrap()];
    assert_eq!(bundle.runtime(&args).ok().out, "");
    let svg = fs::read_to_string(&out).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("pivot_root") && svg.ends_with("</svg>\n"));
    assert_eq!(bundle.runtime(&args[..3]).ok().out, svg);
}

#[test]
fn a_command_that_fails_has_a_trace_too() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::with_args(&["/nowhere"]);
    bundle.write();
    let file = bundle.dir.join("trace");
    let run = bundle.runtime(&["--timings", file.to_str().unwrap(), "run", bundle.id()]);
    assert!(run.code == 1 && run.message().contains("/nowhere"), "{}", run.err);
    has(&steps(&trace(&file), "child"), &["pivot_root"]);
    assert!(bundle.leftovers().is_empty());
}

#[test]
fn refusals_are_whole_lines() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("true");
    bundle.write();
    let run = |args: &[&str]| bundle.runtime(args);
    let refused = run(&["--timings", "/nowhere/x", "run", bundle.id()]);
    let want = "--timings: open /nowhere/x: ENOENT: no such file or directory";
    assert_eq!((refused.code, refused.message().as_str()), (1, want));
    let refused = run(&["timings", "/nowhere"]);
    assert_eq!(refused.message(), "read /nowhere: ENOENT: no such file or directory");
    let refused = run(&["timings", "config.json"]);
    let want = "config.json: not a trace of --timings: missing field `traceEvents` at line ";
    assert!(refused.message().starts_with(want), "{}", refused.message());
    assert!(bundle.leftovers().is_empty());
}
