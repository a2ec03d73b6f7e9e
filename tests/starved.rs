// SPDX-License-Identifier: Apache-2.0
//! Short of everything: memory, processes, inodes, disk, descriptors, /run, /proc, /sys, cgroups, time. Each
//! time one clear line and nothing left; what is not needed is done without.

mod common;
#[path = "rootless/user.rs"]
#[allow(dead_code)] // a part of it is used here
mod user;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use common::{Bundle, Run, cgroups_path, is_cgroupfs, is_creel, is_root, json};
use user::{SUBIDS, SUBUID, User};

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

/// A process that ends with the test, also when that fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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

/// A limit above both the caller and the container: on v1 the clone counts where the caller is, on v2 where
/// the container will be.
#[test]
fn processes() {
    if !can_run() {
        return;
    }
    let mut bundle = bundle("true");
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
    let caller = place.join("caller");
    std::fs::create_dir(&caller).unwrap();
    if std::fs::write(place.join("cgroup.subtree_control"), "+pids").is_ok() {
        bundle.set("/linux/cgroupsPath", json!(format!("/{name}/container")));
    }
    let setting =
        format!("echo 0 >{}/cgroup.procs; echo 1 >{}/pids.max", caller.display(), place.display());
    let run = run_after(&bundle, &setting);
    std::fs::remove_dir(caller).unwrap();
    std::fs::remove_dir(place).unwrap();
    is_refused(&bundle, &run, &["clone3: EAGAIN: ", "pids.max"]);
}

/// An ordinary user, for whom the launcher of hack/enosys.sh cannot be in the runtime's place.
fn ordinary_user() -> Option<User> {
    if std::env::var_os("ENOSYS_PROGRAM").is_some_and(|program| !program.is_empty()) {
        println!(
            "SKIP: an ordinary user may not load the launcher's filter; the ring of rootless tests has this"
        );
        return None;
    }
    User::new()
}

/// As that user, who may have so many processes, the one that becomes creel among them.
fn run_limited(user: &mut User, bundle: &Bundle, limit: u32) -> Run {
    // `before` is for text that is there for ever; these are as many as there are tries.
    user.before = format!("prlimit --nproc={limit} --pid $$").leak();
    bundle.write();
    user.sh(&format!("cd {}; exec creel run {}", bundle.dir.display(), bundle.id()))
}

/// Nothing of the container, and no process of the user.
#[track_caller]
fn nothing_of(user: &User, bundle: &Bundle) {
    assert_eq!(bundle.leftovers(), [""; 0]);
    let states = user.run_dir().join("creel");
    if states.exists() {
        assert_eq!(std::fs::read_dir(states).unwrap().count(), 0);
    }
    let line = format!("Uid:\t{}\t", user.id);
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let status = std::fs::read_to_string(entry.ok()?.path().join("status")).ok()?;
        (status.contains(&line) && !status.contains("State:\tZ")).then_some(status)
    });
    assert_eq!(processes.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn processes_of_an_ordinary_user() {
    if !can_run() {
        return;
    }
    let Some(mut user) = ordinary_user() else { return };
    let bundle = user.bundle("echo here");
    for limit in [0, 1] {
        let run = run_limited(&mut user, &bundle, limit);
        let words = "clone3: EAGAIN: resource temporarily unavailable \
                     (RLIMIT_NPROC of the user, or pids.max of a cgroup)";
        assert_eq!((run.code, run.message().as_str()), (1, words), "{}", run.err);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        nothing_of(&user, &bundle);
    }
    let run = run_limited(&mut user, &bundle, 2);
    assert_eq!((run.code, &*run.out), (0, "here\n"), "{}", run.err);
    nothing_of(&user, &bundle);
}

/// Hooks and newuidmap are processes too: wherever it is that one is too many, all is undone.
#[test]
fn processes_for_hooks_and_helpers() {
    if !can_run() {
        return;
    }
    let Some(mut user) = ordinary_user() else { return };
    let mut bundle = user.bundle("echo here");
    if user.has_subids() {
        let ids = json!([{"containerID": 0, "hostID": user.id, "size": 1},
                         {"containerID": 1, "hostID": SUBUID, "size": SUBIDS}]);
        bundle.set("/linux/uidMappings", ids);
    }
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "/bin/true; /bin/true"]}]);
    bundle.set("/hooks", json!({"prestart": hook, "startContainer": [{"path": "/bin/true"}]}));
    let mut codes = Vec::new();
    for limit in 1..8 {
        let run = run_limited(&mut user, &bundle, limit);
        if run.code != 0 {
            assert_eq!(run.code, 1, "{run:?}");
            let errors = run.err.lines().filter(|line| line.contains("level=error")).count();
            assert_eq!(errors, 1, "{limit}: {}", run.err);
            let is_named = ["EAGAIN: resource temporarily", "fork"].map(|w| run.err.contains(w));
            assert!(is_named.contains(&true), "{limit}: {}", run.err);
        }
        nothing_of(&user, &bundle);
        codes.push(run.code);
    }
    assert_eq!((codes[0], codes[6]), (1, 0), "{codes:?}");
}

/// The kernel asks at execve, and not those who were root when they became somebody: as with runc, root is
/// not limited, another user only where it has one process already.
#[test]
fn processes_of_the_container() {
    if !can_run() {
        return;
    }
    let Some(user) = User::new() else { return };
    let mut bundle = bundle("echo here");
    let rlimit = |n: u32| json!([{"type": "RLIMIT_NPROC", "soft": n, "hard": n}]);
    bundle.set("/process/rlimits", rlimit(0));
    assert_eq!(bundle.run().ok().out, "here\n", "root");
    bundle.set("/process/user", json!({"uid": user.id, "gid": user.id}));
    assert_eq!(bundle.run().ok().out, "here\n", "its first process");

    let _other = Ended(Command::new("sleep").arg("1000").uid(user.id).spawn().unwrap());
    let words = "exec /bin/sh: resource temporarily unavailable \
                 (the user has more processes than RLIMIT_NPROC)";
    let run = bundle.run();
    let is_told = run.err.lines().count() == 1 && run.message() == words;
    assert!(run.code != 0 && is_told, "{run:?}");
    assert_eq!(bundle.leftovers(), [""; 0]);
    bundle.set("/process/rlimits", rlimit(1));
    assert_eq!(bundle.run().ok().out, "here\n", "as many as it may have");

    bundle.set("/process/rlimits", json!([]));
    bundle.set("/process/args", json!(["/bin/sleep", "1000"]));
    bundle.start_detached();
    let process = json!({"args": ["/bin/sh", "-c", "echo here"], "cwd": "/",
                         "user": {"uid": user.id, "gid": user.id}, "rlimits": rlimit(0)});
    std::fs::write(bundle.dir.join("process.json"), process.to_string()).unwrap();
    let run = bundle.runtime(&["exec", "--process", "process.json", bundle.id()]);
    assert_eq!((run.code, run.message().as_str()), (255, words), "{}", run.err);
    assert_eq!(bundle.status(), "running");
}

/// The kernel says "no space" where a limit on namespaces is meant.
#[test]
fn namespaces() {
    if !can_run() {
        return;
    }
    let bundle = bundle("true");
    let launcher = ["unshare", "--user", "--map-root-user", "--mount"];
    let run = run_by(&bundle, &launcher, "echo 0 >/proc/sys/user/max_uts_namespaces");
    if run.err.contains("unshare: ") || run.err.contains("max_uts_namespaces: ") {
        println!("SKIP: no user namespace with limits of its own: {}", run.err);
        return;
    }
    is_refused(&bundle, &run, &["clone3: ENOSPC: ", "a limit of /proc/sys/user"]);
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
