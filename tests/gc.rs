// SPDX-License-Identifier: Apache-2.0
//! `gc`: what dead containers have left is listed, and cleared when asked to; what lives stays.

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{Bundle, Value, cgroups_path, is_creel, is_root, json};

fn can_run() -> bool {
    if is_root() && !is_creel() {
        println!("SKIP: gc is a command of creel's alone");
    }
    is_root() && is_creel()
}

fn bundle() -> Bundle {
    let mut bundle = Bundle::new("sleep 1000");
    bundle.set("/linux/cgroupsPath", json!(cgroups_path(bundle.id())));
    bundle
}

/// What it says of the container: why it is dead, and the outcome.
fn said(bundle: &Bundle, args: &[&str]) -> Option<(String, String)> {
    let run = bundle.runtime(&[&["gc", "--format", "json", "--older-than", "0s"], args].concat());
    assert_eq!(run.code, 0, "{}", run.err);
    let list: Value = serde_json::from_str(&run.out).expect("JSON");
    let list = list.as_array().expect("a list");
    assert!(list.len() <= 1, "{list:?}");
    let text = |name: &str| list[0][name].as_str().expect("a text").to_owned();
    (!list.is_empty()).then(|| (text("why"), text("outcome")))
}

/// Listed, cleared, gone.
#[track_caller]
fn is_cleared(bundle: &Bundle, why: &str) {
    let is = |outcome: &str| Some((why.to_owned(), outcome.to_owned()));
    assert_eq!(said(bundle, &[]), is("found"));
    assert!(bundle.state_root().join(bundle.id()).exists(), "a dry run removes nothing");
    assert_eq!(said(bundle, &["--force"]), is("cleared"));
    assert_eq!(bundle.leftovers(), [""; 0]);
    assert_eq!(said(bundle, &["--force"]), None);
}

/// As when its manager has crashed: nobody calls `delete`.
fn killed() -> Bundle {
    let bundle = bundle();
    bundle.start_detached();
    bundle.runtime(&["kill", bundle.id(), "KILL"]).ok();
    bundle.wait_status("stopped");
    bundle
}

#[test]
fn what_lives_is_left_alone() {
    if !can_run() {
        return;
    }
    let bundle = bundle();
    bundle.create().ok();
    assert_eq!(said(&bundle, &["--force"]), None);
    assert_eq!(bundle.status(), "created");
    bundle.runtime(&["start", bundle.id()]).ok();
    assert_eq!(said(&bundle, &["--force"]), None);
    assert_eq!(bundle.status(), "running");
    if bundle.runtime(&["pause", bundle.id()]).code == 0 {
        assert_eq!(said(&bundle, &["--force"]), None);
        assert_eq!(bundle.status(), "paused");
    } else {
        println!("SKIP: no freezer here");
    }
}

#[test]
fn a_container_that_nobody_deletes() {
    if !can_run() {
        return;
    }
    let bundle = killed();
    let text = bundle.runtime(&["gc", "--older-than", "0s"]).ok().out;
    assert!(text.starts_with(&format!("{}: stopped, found\n", bundle.id())), "{text}");
    assert!(text.contains("    directory "), "{text}");
    assert!(text.ends_with("1 dead; --force removes what they have left\n"), "{text}");
    is_cleared(&bundle, "stopped");
}

#[test]
fn its_poststop_hooks_run() {
    if !can_run() {
        return;
    }
    let mut bundle = bundle();
    let mark = bundle.dir.join("poststop");
    let script = format!("touch {}", mark.display());
    bundle.set("/hooks/poststop", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    bundle.start_detached();
    bundle.runtime(&["kill", bundle.id(), "KILL"]).ok();
    bundle.wait_status("stopped");
    is_cleared(&bundle, "stopped");
    assert!(mark.exists());
}

/// Its manager may be about to delete it.
#[test]
fn what_has_just_changed_is_left_alone() {
    if !can_run() {
        return;
    }
    let bundle = killed();
    let run = bundle.runtime(&["gc", "--force"]).ok();
    assert_eq!(run.out, "nothing is left of dead containers\n");
    assert_eq!(bundle.status(), "stopped");
}

#[test]
fn a_create_that_was_killed() {
    if !can_run() {
        return;
    }
    let bundle = killed();
    let file = bundle.state_root().join(bundle.id()).join("state.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    state["pid"] = json!(0);
    fs::write(&file, state.to_string()).unwrap();
    is_cleared(&bundle, "create was killed");
}

/// A `create` at work, a `start` that waits: whoever has the lock.
#[test]
fn a_locked_directory_is_left_alone() {
    if !can_run() {
        return;
    }
    let bundle = killed();
    let directory = bundle.state_root().join(bundle.id());
    let mut holder = Command::new("flock");
    holder.arg("--close").arg(&directory).args(["sh", "-c", "echo; sleep 1000"]);
    let mut holder = holder.stdout(std::process::Stdio::piped()).process_group(0).spawn().unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    assert_eq!(said(&bundle, &["--force"]), None);
    let group = nix::unistd::Pid::from_raw(holder.id().cast_signed());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    holder.wait().unwrap();
    is_cleared(&bundle, "stopped");
}

#[test]
fn damaged_directories_go_by_the_saved_config() {
    if !can_run() {
        return;
    }
    let bundle = killed();
    fs::write(bundle.state_root().join(bundle.id()).join("state.json"), "{").unwrap();
    is_cleared(&bundle, "state.json is damaged");
    let bundle = killed();
    fs::remove_file(bundle.state_root().join(bundle.id()).join("state.json")).unwrap();
    is_cleared(&bundle, "state.json is missing");
}

/// Its processes are found in its cgroup.
#[test]
fn a_damaged_directory_of_one_that_lives_is_left_alone() {
    if !can_run() {
        return;
    }
    let bundle = bundle();
    bundle.start_detached();
    let pid = bundle.pid();
    let file = bundle.state_root().join(bundle.id()).join("state.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, "{").unwrap();
    assert_eq!(said(&bundle, &["--force"]), None);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).unwrap();
    fs::write(&file, text).unwrap();
    assert_eq!(bundle.status(), "running");
}

/// Both files damaged: nobody knows where its processes would be.
#[test]
fn what_cannot_be_known_is_left_alone() {
    if !can_run() {
        return;
    }
    let bundle = killed();
    let directory = bundle.state_root().join(bundle.id());
    let saved = fs::read_to_string(directory.join("state.json")).unwrap();
    fs::write(directory.join("state.json"), "{").unwrap();
    fs::write(directory.join("config.json"), "{").unwrap();
    let run = bundle.runtime(&["gc", "--force", "--older-than", "0s"]).ok();
    assert!(run.err.contains("is left alone"), "{}", run.err);
    assert!(directory.exists());
    fs::write(directory.join("state.json"), saved).unwrap();
}
