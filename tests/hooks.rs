// SPDX-License-Identifier: Apache-2.0
//! The six hook points: order, state on standard input, failures.

mod common;

use std::fs;

use common::{Bundle, Value, can_run, is_root, json};

const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that appends its name and state to a file.
fn hook(bundle: &Bundle, name: &str) -> Value {
    let log = bundle.dir.join("hooks.log");
    // startContainer runs inside: the file is bind mounted under /log there.
    let log = if name == "startContainer" {
        "/log/hooks.log".into()
    } else {
        log.to_str().unwrap().to_owned()
    };
    json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("(echo {name}; cat; echo) >>{log}")]}])
}

fn with_hooks(script: &str) -> Bundle {
    let mut bundle = Bundle::new(script);
    for name in POINTS {
        let value = hook(&bundle, name);
        bundle.set(&format!("/hooks/{name}"), value);
    }
    let dir = bundle.dir.clone();
    bundle
        .add_mount(
            json!({"destination": "/log", "type": "bind", "source": dir, "options": ["bind"]}),
        )
        .patch("/annotations/k", json!("v"))
}

fn logged(bundle: &Bundle) -> Vec<(String, Value)> {
    let text = fs::read_to_string(bundle.dir.join("hooks.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|l| !l.is_empty()).collect();
    lines
        .chunks(2)
        .map(|pair| (pair[0].to_owned(), serde_json::from_str(pair[1]).expect("a state")))
        .collect()
}

#[test]
fn six_points_in_order_with_the_right_state() {
    if !can_run() {
        return;
    }
    let bundle = with_hooks("true");
    bundle.create().ok();
    let pid = bundle.pid();
    bundle.runtime(&["start", bundle.id()]).ok();
    bundle.wait_status("stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
    let got = logged(&bundle);
    assert_eq!(got.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), POINTS);
    let statuses: Vec<&str> = got.iter().map(|(_, s)| s["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["created", "created", "created", "created", "running", "stopped"]);
    // runc says creating at the first three; runtime.md counts hooks after step 2, so created.
    for (name, state) in &got {
        assert_eq!(state["id"], bundle.id(), "{name}");
        assert_eq!(state["bundle"], bundle.dir.to_str().unwrap(), "{name}");
        assert_eq!(state["annotations"]["k"], "v", "{name}");
        assert!(state["ociVersion"].is_string(), "{name}");
        match name.as_str() {
            "createContainer" | "startContainer" => assert_eq!(state["pid"], 1, "{name}"),
            "poststop" => assert!(state["pid"].is_null() || state["pid"] == 0, "{name}"),
            _ => assert_eq!(state["pid"], pid, "{name}"),
        }
    }
}

#[test]
fn a_failing_hook_before_start_leaves_nothing_and_shows_its_output() {
    if !can_run() {
        return;
    }
    for name in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = with_hooks("true");
        let failing = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo told you; exit 3"]}]);
        bundle.set(&format!("/hooks/{name}"), failing);
        let run = bundle.create();
        assert_eq!(run.code, 1, "{name}");
        let expected =
            format!("error running {name} hook #0: \"/bin/sh\": exit status 3, stdout: told you");
        assert!(run.message().contains(&expected), "{name}: {}", run.err);
        assert_eq!(bundle.leftovers(), [""; 0], "{name}");
        // runtime.md, create: a failure after the namespaces are made runs poststop.
    }
}

#[test]
fn a_failing_poststart_hook_kills_the_container() {
    if !can_run() {
        return;
    }
    let bundle =
        Bundle::new("sleep 100").patch("/hooks/poststart", json!([{"path": "/bin/false"}]));
    bundle.create().ok();
    let start = bundle.runtime(&["start", bundle.id()]);
    assert!(
        start.code == 1 && start.err.contains("error running poststart hook #0"),
        "{}",
        start.err
    );
    bundle.wait_status("stopped");
}

#[test]
fn a_failing_poststop_hook_is_a_warning_and_the_rest_run() {
    if !can_run() {
        return;
    }
    let bundle = with_hooks("true");
    let second = hook(&bundle, "poststop")[0].clone();
    let bundle = bundle.patch("/hooks/poststop", json!([{"path": "/bin/false"}, second]));
    let run = bundle.run().ok();
    assert!(
        run.err.contains("level=warning") && run.err.contains("poststop hook #0"),
        "{}",
        run.err
    );
    assert_eq!(logged(&bundle).last().unwrap().0, "poststop");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn createcontainer_hooks_see_the_host_s_files_in_the_container_s_mount_namespace() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("cat /made/by-hook");
    let root = bundle.rootfs();
    fs::create_dir(root.join("made")).unwrap();
    let script =
        format!("mount -t tmpfs none {0}/made && echo seen >{0}/made/by-hook", root.display());
    let bundle = bundle.patch(
        "/hooks/createContainer",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]),
    );
    assert_eq!(bundle.run().ok().out, "seen\n");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_container_killed_before_its_program_runs_is_an_error() {
    // An ordinary user cannot mount the proc of the host's processes.
    if !is_root() {
        return;
    }
    // In the host's pid namespace, where a hook can kill the init that runs it.
    let mut bundle = Bundle::new("sleep 100").without_namespace("pid");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID; sleep 1"]}]);
    bundle.set("/hooks/startContainer", hook);
    bundle.write();
    let run = bundle.runtime(&["run", "--detach", bundle.id()]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("signal: SIGKILL"), "{}", run.err);
    assert_eq!(bundle.leftovers(), [""; 0]);
}
