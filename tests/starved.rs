// SPDX-License-Identifier: Apache-2.0
//! Short of everything: memory, processes, inodes, disk, descriptors, /run, /proc, /sys, cgroups, time. Each
//! time one clear line and nothing left; what is not needed is done without.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Bundle, Run, cgroups_path, is_cgroupfs, is_creel, is_root, json};

fn can_run() -> bool {
    if is_root() && !is_creel() {
        println!("SKIP: the words are creel's");
    }
    is_root() && is_creel() && is_cgroupfs()
}

/// `run` of the bundle by `launcher`, and after `setting`, a piece of shell in which `$state` is the
/// state root.
fn run_by(bundle: &Bundle, launcher: &[&str], setting: &str) -> Run {
    bundle.write();
    std::fs::create_dir_all(bundle.state_root()).unwrap();
    let runtime = bundle.command(&["run", bundle.id()]);
    let words = [runtime.get_program()].into_iter().chain(runtime.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let script = format!("set -e; state=$1; shift; {setting}\nexec \"$@\"");
    let mut command = Command::new(launcher[0]);
    command.args(&launcher[1..]).args(["sh", "-c", &script, "sh"]);
    command.arg(bundle.state_root()).args(words).current_dir(&bundle.dir);
    bundle.finish(command)
}

/// In a private mount namespace.
fn run_after(bundle: &Bundle, setting: &str) -> Run {
    run_by(bundle, &["unshare", "-m", "--propagation", "private"], setting)
}

/// One line with these words, and nothing left.
#[track_caller]
fn is_refused(bundle: &Bundle, run: &Run, words: &[&str]) {
    assert_eq!(run.code, 1, "{run:?}");
    let errors = run.err.lines().filter(|line| line.contains("level=error")).count();
    assert_eq!(errors, 1, "{}", run.err);
    for word in words {
        assert!(run.message().contains(word), "{word}: {}", run.err);
    }
    assert_eq!(bundle.leftovers(), [""; 0]);
}

fn bundle(script: &str) -> Bundle {
    let mut bundle = Bundle::new(script);
    bundle.set("/linux/cgroupsPath", json!(cgroups_path(bundle.id())));
    bundle
}

#[test]
fn memory_for_the_init() {
    if !can_run() {
        return;
    }
    let mut bundle = bundle("true");
    bundle.set("/linux/resources/memory", json!({"limit": 65536, "swap": 65536}));
    let run = run_after(&bundle, "");
    if run.message().contains("memory controller") {
        println!("SKIP: no memory controller in this view");
        return;
    }
    is_refused(&bundle, &run, &["OOM", "linux.resources.memory.limit"]);
}

#[test]
fn inodes_for_the_state() {
    if !can_run() {
        return;
    }
    let bundle = bundle("true");
    for inodes in 1..=3 {
        let setting = format!("mount -t tmpfs -o nr_inodes={inodes} none $state");
        is_refused(&bundle, &run_after(&bundle, &setting), &["ENOSPC", "state"]);
    }
}

#[test]
fn room_for_the_state() {
    if !can_run() {
        return;
    }
    let bundle = bundle("true");
    let setting = "mount -t tmpfs -o size=4k none $state; head -c 4096 /dev/zero >$state/full";
    let words = &["ENOSPC: no space left on device", "state.json"];
    is_refused(&bundle, &run_after(&bundle, setting), words);
}

#[test]
fn descriptors() {
    if !can_run() {
        return;
    }
    let bundle = bundle("true");
    let mut refused = 0;
    for limit in (4..28).step_by(2) {
        let run = run_after(&bundle, &format!("ulimit -n {limit}"));
        if run.code == 0 {
            assert_eq!(bundle.leftovers(), [""; 0]);
            continue;
        }
        refused += 1;
        is_refused(&bundle, &run, &["EMFILE"]);
    }
    assert!(refused > 0);
}

#[test]
fn a_read_only_state_root() {
    if !can_run() {
        return;
    }
    let bundle = bundle("true");
    let run = run_after(&bundle, "mount -t tmpfs -o ro none $state");
    is_refused(&bundle, &run, &["EROFS: read-only file system", "state"]);
}

#[test]
fn a_proc_that_hides_others() {
    if !can_run() {
        return;
    }
    let bundle = bundle("echo here");
    let run = run_after(&bundle, "mount -t proc -o hidepid=2 proc /proc").ok();
    assert_eq!((&*run.out, bundle.leftovers()), ("here\n", vec![]));
}

#[test]
fn no_sys() {
    if !can_run() {
        return;
    }
    let bundle = bundle("true");
    let run = run_after(&bundle, "umount -R /sys");
    is_refused(&bundle, &run, &["no cgroup filesystem is mounted at /sys/fs/cgroup"]);
    // Covered up, mountinfo still tells of v1's.
    let run = run_after(&bundle, "mount -t tmpfs none /sys");
    is_refused(&bundle, &run, &["cgroup", "/sys/fs/cgroup"]);
}

#[test]
fn read_only_cgroups() {
    if !can_run() {
        return;
    }
    let bundle = bundle("true");
    let setting = "for m in $(awk '$5 ~ \"^/sys/fs/cgroup\" { print $5 }' /proc/self/mountinfo); do \
                   mount -o remount,bind,ro $m; done";
    is_refused(&bundle, &run_after(&bundle, setting), &["cgroup", "EROFS: read-only file system"]);
}

/// The limit of the caller's own cgroup.
#[test]
fn processes() {
    if !can_run() {
        return;
    }
    let bundle = bundle("true");
    let name = format!("short-of-{}", bundle.id());
    let places = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|top| Path::new(top).join(&name));
    let has_limit = |place: &&std::path::PathBuf| {
        if std::fs::create_dir(place).is_err() {
            return false;
        }
        let is_there = place.join("pids.max").exists();
        if !is_there {
            std::fs::remove_dir(place).unwrap();
        }
        is_there
    };
    let Some(place) = places.iter().find(has_limit) else {
        println!("SKIP: no pids controller in this view");
        return;
    };
    let shown = place.display();
    let setting = format!("echo 0 >{shown}/cgroup.procs; echo 1 >{shown}/pids.max");
    let run = run_after(&bundle, &setting);
    std::fs::remove_dir(place).unwrap();
    is_refused(&bundle, &run, &["clone3: EAGAIN"]);
}

/// Another time since boot than the rest of the machine's, as after a clock that has jumped: what waits
/// and what counts goes on.
#[test]
fn a_clock_that_jumps() {
    if !can_run() {
        return;
    }
    let mut bundle = bundle("echo here");
    bundle.set("/hooks/prestart", json!([{"path": "/bin/true", "timeout": 5}]));
    for offset in ["--monotonic=100000000", "--boottime=100000000"] {
        let run = run_by(&bundle, &["unshare", "--time", "--fork", offset], "");
        if run.err.contains("unshare") {
            println!("SKIP: no time namespaces: {}", run.err);
            return;
        }
        assert_eq!((&*run.out, run.code), ("here\n", 0), "{offset}: {}", run.err);
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}
