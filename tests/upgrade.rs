// SPDX-License-Identifier: Apache-2.0
//! A container that an older creel has made, in the hands of this one. The files of every form that
//! state.json has had are in tests/data/state; `state::tests` reads them.

mod common;

use std::fs;

use common::{Bundle, Value, is_creel, is_root, json};

/// All that the first version wrote.
const FIRST: [&str; 12] = [
    "version",
    "id",
    "pid",
    "start_time",
    "created",
    "bundle",
    "rootfs",
    "annotations",
    "cgroup",
    "own_pid_namespace",
    "has_poststart",
    "has_poststop",
];

fn rewrite(bundle: &Bundle, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let file = bundle.state_root().join(bundle.id()).join("state.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    change(state.as_object_mut().unwrap());
    fs::write(&file, state.to_string()).unwrap();
}

fn can_run() -> bool {
    if is_root() && !is_creel() {
        println!("SKIP: state.json is creel's");
    }
    is_root() && is_creel()
}

#[test]
fn a_state_of_the_first_version_is_managed_to_the_end() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    bundle.create().ok();
    rewrite(&bundle, |state| state.retain(|name, _| FIRST.contains(&name.as_str())));
    assert_eq!(bundle.status(), "created");
    bundle.runtime(&["start", bundle.id()]).ok();
    assert_eq!(bundle.exec(&["echo", "here"]).ok().out, "here\n");
    bundle.runtime(&["kill", bundle.id(), "KILL"]).ok();
    bundle.wait_status("stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_newer_version_is_refused_by_its_number() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    bundle.start_detached();
    let mut now = json!(null);
    rewrite(&bundle, |state| now = state.insert("version".to_owned(), json!(4_000_000)).unwrap());
    for command in ["state", "kill", "delete", "pause", "ps"] {
        let run = bundle.runtime(&[command, bundle.id()]);
        assert_eq!(run.code, 1, "{command}");
        let words = "state.json\": format 4000000 is newer than this creel";
        assert!(run.message().ends_with(words), "{command}: {}", run.err);
    }
    rewrite(&bundle, |state| drop(state.insert("version".to_owned(), now)));
    assert_eq!(bundle.status(), "running");
}
