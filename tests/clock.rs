// SPDX-License-Identifier: Apache-2.0
//! A wall clock that is wrong or jumps, as hack/crash-matrix/inject.c shows it to creel and its clones:
//! it is for people to read, and for `gc --older-than`. Nothing else is decided by it.

#![cfg(target_arch = "x86_64")] // inject.c

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Bundle, Run, cgroups_path, has, is_cgroupfs, is_creel, is_root, json};

/// 1970, 2100, and one after the other with each look at it.
const CLOCKS: [&str; 3] = ["0", "4102444800", "4102444800,0,1,4102444801"];

/// `inject`, in the bundle's directory.
fn faker(bundle: &Bundle) -> Option<PathBuf> {
    if !is_creel() || !is_cgroupfs() {
        println!("SKIP: it is about creel, and names a place of cgroupfs");
        return None;
    }
    if std::env::var_os("ENOSYS").is_some() {
        println!("SKIP: between the two there is hack/enosys.c");
        return None;
    }
    if !has("cc") {
        println!("SKIP: no C compiler");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/crash-matrix/inject.c");
    let program = bundle.dir.join("inject");
    let status = Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(source).status();
    assert!(status.is_ok_and(|status| status.success()), "inject.c compiles");
    Some(program)
}

fn bundle() -> Bundle {
    let mut bundle = Bundle::new("sleep 1000");
    bundle.set("/linux/cgroupsPath", json!(cgroups_path(bundle.id())));
    bundle
}

/// A command of creel's that sees this clock.
fn at(clock: &str, faker: &Path, bundle: &Bundle, args: &[&str]) -> Run {
    let runtime = bundle.command(args);
    let mut command = Command::new(faker);
    command.args(["-c", clock, "--"]).arg(runtime.get_program()).args(runtime.get_args());
    command.current_dir(&bundle.dir);
    bundle.finish(command)
}

/// Lives and ends, created by one clock and seen by another, as it does by the right one.
#[track_caller]
fn lives(faker: &Path, mut bundle: Bundle, created: &str, then: &str) {
    let id = bundle.id().to_owned();
    bundle.set("/hooks/prestart", json!([{"path": "/bin/true", "timeout": 20}]));
    bundle.set("/hooks/poststop", json!([{"path": "/bin/true", "timeout": 20}]));
    bundle.write();
    at(created, faker, &bundle, &["create", &id]).ok();
    let ok = |args: &[&str]| at(then, faker, &bundle, args).ok().out;
    let status = || {
        let seen: common::Value = serde_json::from_str(&ok(&["state", &id])).expect("JSON");
        let year = if created == "0" { "1970-01-01T00:00:" } else { "2100-01-01T00:00:" };
        assert!(seen["created"].as_str().expect("a time").starts_with(year), "{seen}");
        seen["status"].as_str().expect("a status").to_owned()
    };
    let clear = |args: &[&str]| ok(&[&["gc", "--force", "--format", "json"], args].concat());
    assert_eq!(status(), "created");
    ok(&["start", &id]);
    assert_eq!(status(), "running");
    assert!(ok(&["list"]).contains("running"));
    assert_eq!(ok(&["exec", &id, "echo", "here"]), "here\n");
    assert!(ok(&["ps", "--format", "json", &id]).contains(&bundle.pid().to_string()));
    assert_eq!(clear(&["--older-than", "0s"]), "[]\n");
    assert_eq!(clear(&[]), "[]\n");
    let refused = at(then, faker, &bundle, &["delete", &id]);
    assert_eq!((refused.code, status().as_str()), (1, "running"), "{}", refused.err);
    if bundle.runtime(&["pause", &id]).code == 0 {
        assert_eq!(status(), "paused");
        ok(&["resume", &id]);
    } else {
        println!("SKIP: pause: no freezer here");
    }
    ok(&["kill", &id, "KILL"]);
    bundle.wait_status("stopped");
    assert_eq!(status(), "stopped");
    ok(&["delete", &id]);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn lives_and_ends_by_any_clock() {
    if !is_root() {
        return;
    }
    for created in CLOCKS {
        for then in CLOCKS {
            let bundle = bundle();
            let Some(faker) = faker(&bundle) else { return };
            lives(&faker, bundle, created, then);
        }
    }
}

/// The age that `gc` waits for is the one decision; a clock that was set back only makes it wait.
#[test]
fn gc_waits_by_the_clock_and_says_so() {
    if !is_root() {
        return;
    }
    let dead = || {
        let bundle = bundle();
        let faker = faker(&bundle)?;
        bundle.start_detached().runtime(&["kill", bundle.id(), "KILL"]).ok();
        bundle.wait_status("stopped");
        Some((bundle, faker))
    };
    let gc = |bundle: &Bundle, faker: &Path, clock, age| {
        at(clock, faker, bundle, &["gc", "--force", "--older-than", age]).ok().out
    };
    let Some((bundle, faker)) = dead() else { return };
    assert_eq!(gc(&bundle, &faker, "0", "1ns"), "nothing is left of dead containers\n");
    assert_eq!(bundle.status(), "stopped");
    assert!(gc(&bundle, &faker, "0", "0s").contains("stopped, cleared\n"));
    assert_eq!(bundle.leftovers(), [""; 0]);
    let Some((bundle, faker)) = dead() else { return };
    assert!(gc(&bundle, &faker, "4102444800", "1h").contains("stopped, cleared\n"));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// `created` is copied, not understood: whatever is there, the container is managed to its end.
#[test]
fn a_time_of_creation_that_cannot_be() {
    if !is_root() || !is_creel() {
        return;
    }
    for time in ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "", "tomorrow"] {
        let bundle = bundle();
        bundle.start_detached();
        let file = bundle.state_root().join(bundle.id()).join("state.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once("\"created\":\"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        std::fs::write(&file, format!("{before}\"created\":\"{time}\"{after}")).unwrap();
        let state = bundle.state().expect("a state");
        assert_eq!((&state["status"], &state["created"]), (&json!("running"), &json!(time)));
        let list = bundle.runtime(&["list"]).ok().out;
        assert!(list.contains(time) && list.contains("running"), "{list}");
        assert_eq!(bundle.exec(&["echo", "here"]).ok().out, "here\n");
        let gc = bundle.runtime(&["gc", "--force", "--older-than", "0s"]).ok();
        assert_eq!(gc.out, "nothing is left of dead containers\n");
        bundle.runtime(&["delete", "--force", bundle.id()]).ok();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

/// A tick sooner or later and it is somebody else: he is neither entered nor killed by his pid.
#[test]
fn a_start_time_that_differs_by_a_tick() {
    if !is_root() || !is_creel() {
        return;
    }
    for tick in [-1, 1] {
        let bundle = bundle();
        bundle.start_detached();
        let pid = bundle.pid();
        let file = bundle.state_root().join(bundle.id()).join("state.json");
        let right = std::fs::read_to_string(&file).unwrap();
        let mut state: common::Value = serde_json::from_str(&right).unwrap();
        let start = state["start_time"].as_i64().unwrap();
        state["start_time"] = json!(start + tick);
        std::fs::write(&file, state.to_string()).unwrap();
        assert_eq!(bundle.status(), "stopped");
        assert_eq!(bundle.exec(&["true"]).message(), "cannot exec in a stopped container");
        let kill = bundle.runtime(&["kill", bundle.id(), "KILL"]);
        assert_eq!((kill.code, kill.message().as_str()), (1, "container not running"));
        // A process of its cgroup lives: no dead container.
        let gc = bundle.runtime(&["gc", "--force", "--older-than", "0s"]).ok();
        assert_eq!(gc.out, "nothing is left of dead containers\n");
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        std::fs::write(&file, right).unwrap();
        assert_eq!(bundle.status(), "running");
        bundle.runtime(&["delete", "--force", bundle.id()]).ok();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}
