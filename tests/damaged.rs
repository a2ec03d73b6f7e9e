// SPDX-License-Identifier: Apache-2.0
//! `delete --force` with a state directory that something has damaged: the container goes all the same.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Bundle, cgroups_path, is_creel, is_root, json};

/// A running container with a cgroup of its own name; None where there is nothing to test.
fn running() -> Option<(Bundle, i32, PathBuf)> {
    if !is_root() {
        return None;
    }
    if !is_creel() {
        println!("SKIP: the state directory's files are creel's");
        return None;
    }
    let mut bundle = Bundle::new("sleep 1000");
    bundle.set("/linux/cgroupsPath", json!(cgroups_path(bundle.id())));
    bundle.start_detached();
    let directory = bundle.state_root().join(bundle.id());
    let pid = bundle.pid();
    Some((bundle, pid, directory))
}

/// A zombie is dead; whoever has inherited it reaps it when he likes.
fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Damages state.json, deletes by force, and looks for what is left.
fn is_cleared(damage: impl Fn(&PathBuf)) {
    let Some((bundle, pid, directory)) = running() else { return };
    assert!(lives(pid));
    damage(&directory.join("state.json"));
    let plain = bundle.runtime(&["delete", bundle.id()]);
    assert_eq!(plain.code, 1, "{}", plain.err);
    assert!(lives(pid), "without --force nothing may happen");
    let forced = bundle.runtime(&["delete", "--force", bundle.id()]);
    assert_eq!(forced.code, 0, "{}", forced.err);
    assert!(forced.err.contains("cleared by the saved config.json"), "{}", forced.err);
    assert!(!lives(pid));
    assert_eq!(bundle.leftovers(), [""; 0]);
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
}

#[test]
fn state_json_missing() {
    is_cleared(|file| fs::remove_file(file).unwrap());
}

#[test]
fn state_json_empty() {
    is_cleared(|file| fs::write(file, "").unwrap());
}

#[test]
fn state_json_truncated() {
    is_cleared(|file| {
        let text = fs::read(file).unwrap();
        fs::write(file, &text[..text.len() / 2]).unwrap();
    });
}

#[test]
fn state_json_garbage() {
    is_cleared(|file| fs::write(file, [0xff, 0, 0x7b, 0xfe]).unwrap());
}

#[test]
fn state_json_of_a_newer_version() {
    is_cleared(|file| {
        let text = fs::read_to_string(file).unwrap();
        fs::write(file, text.replace("\"version\":1,", "\"version\":4000000000,")).unwrap();
        assert_ne!(fs::read_to_string(file).unwrap(), text);
    });
}

#[test]
fn state_json_a_directory() {
    is_cleared(|file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    });
}

/// What can't be known is said, and the directory goes.
#[test]
fn both_files_damaged() {
    let Some((bundle, pid, directory)) = running() else { return };
    fs::write(directory.join("state.json"), "{").unwrap();
    fs::write(directory.join("config.json"), "{").unwrap();
    let forced = bundle.runtime(&["delete", "--force", bundle.id()]);
    assert_eq!(forced.code, 0);
    assert!(forced.err.contains("processes may be left"), "{}", forced.err);
    assert!(!directory.exists());
    Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    for cgroup in common::cgroups_named(bundle.id()) {
        // A killed process takes a moment to leave.
        while fs::remove_dir(&cgroup).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// The pid has been given to somebody else since: he is left alone.
#[test]
fn a_reused_pid_is_not_killed() {
    let Some((bundle, pid, directory)) = running() else { return };
    // Start times count hundredths of a second.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let file = directory.join("state.json");
    let text = fs::read_to_string(&file).unwrap();
    let swapped = text.replace(&format!("\"pid\":{pid},"), &format!("\"pid\":{},", stranger.id()));
    assert_ne!(swapped, text);
    fs::write(&file, swapped).unwrap();
    assert_eq!(bundle.status(), "stopped");
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(!lives(pid), "the cgroup tells who belongs to the container");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// Somebody has removed the cgroup of a stopped container.
#[test]
fn the_cgroup_is_gone_already() {
    let Some((bundle, _, _)) = running() else { return };
    bundle.runtime(&["kill", bundle.id(), "KILL"]).ok();
    bundle.wait_status("stopped");
    for cgroup in common::cgroups_named(bundle.id()) {
        while fs::remove_dir(&cgroup).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    bundle.runtime(&["delete", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// A `delete --force` beside a `create` took away the directory that was being filled, and left the
/// container running.
#[test]
fn a_directory_that_a_create_has_locked_is_not_an_orphan() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = Bundle::new("true");
    let directory = bundle.state_root().join(bundle.id());
    std::fs::create_dir_all(&directory).unwrap();
    let held = std::fs::File::open(&directory).unwrap();
    let lock = nix::fcntl::Flock::lock(held, nix::fcntl::FlockArg::LockExclusive).unwrap();
    for args in [&["delete"][..], &["delete", "--force"]] {
        let run = bundle.runtime(&[args, &[bundle.id()]].concat());
        assert!(run.code == 1 && run.message().contains("container does not exist"), "{run:?}");
        assert!(directory.exists(), "{args:?}");
    }
    drop(lock);
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert!(!directory.exists());
}
