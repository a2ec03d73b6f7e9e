// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp` in containers: what becomes of calls, and how late the filter is loaded.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use common::{Bundle, Value, has, is_creel, is_root, json, runtime};

/// A rule that no default profile has, so that its errno can be from nowhere else: ENOMEDIUM.
fn no_medium_for_mkdir() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 123}]
    })
}

const MKDIR: &str = "mkdir /dev/shm/foo";

#[test]
fn a_forbidden_call_gets_its_errno_in_run_start_and_every_exec() {
    if !is_root() {
        return;
    }
    for no_new_privileges in [true, false] {
        let with_filter = |script: &str| {
            Bundle::new(script)
                .patch("/process/noNewPrivileges", json!(no_new_privileges))
                .patch("/linux/seccomp", no_medium_for_mkdir())
        };
        let run = with_filter(MKDIR).run();
        assert!(run.code == 1 && run.err.contains("No medium found"), "{}: {}", run.code, run.err);

        let bundle = with_filter("sleep 1000");
        bundle.create().ok();
        let refused = || {
            let run = bundle.exec(&["/bin/sh", "-c", MKDIR]);
            assert!(run.code == 1 && run.err.contains("No medium found"), "{}", run.err);
        };
        // In a created container too.
        refused();
        bundle.runtime(&["start", bundle.id()]).ok();
        refused();
        let filters =
            "grep Seccomp_filters: /proc/self/status; grep Seccomp_filters: /proc/1/status";
        let run = bundle.exec(&["/bin/sh", "-c", filters]).ok();
        // hack/enosys.c has put one there.
        let n = if std::env::var_os("ENOSYS").is_some() { 2 } else { 1 };
        assert_eq!(run.out, format!("Seccomp_filters:\t{n}\nSeccomp_filters:\t{n}\n"));
    }
}

#[test]
fn dockers_profile_in_a_container() {
    if !is_root() {
        return;
    }
    let profile: Value =
        serde_json::from_str(include_str!("data/seccomp-docker.json")).expect("JSON");
    let bundle = Bundle::new("sleep 1000").patch("/linux/seccomp", profile);
    bundle.start_detached();
    for (script, wanted) in [
        ("mkdir /dev/shm/a && echo made", "made\n"),
        ("grep Seccomp: /proc/self/status", "Seccomp:\t2\n"),
        ("busybox unshare -U true 2>&1", "unshare: unshare(0x10000000): Operation not permitted\n"),
    ] {
        assert_eq!(bundle.exec(&["/bin/sh", "-c", script]).out, wanted, "{script}");
    }
}

/// What the first exec compiled is there for the next; when it is damaged, that one compiles again.
#[test]
fn exec_saves_its_filter_and_does_without_a_damaged_one() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = Bundle::new("sleep 1000").patch("/linux/seccomp", no_medium_for_mkdir());
    bundle.start_detached();
    let saved = bundle.state_root().join(bundle.id()).join("seccomp.bpf");
    assert!(!saved.exists(), "create leaves it to exec");
    let is_refused = || {
        let run = bundle.exec(&["/bin/sh", "-c", MKDIR]);
        assert!(run.code == 1 && run.err.contains("No medium found"), "{}", run.err);
    };
    is_refused();
    let bytes = fs::read(&saved).expect("the first exec saved it");
    is_refused();
    assert_eq!(fs::read(&saved).expect("still there"), bytes);
    // It is read: with the errno of every instruction changed, the next exec has the other one.
    let changed: Vec<u8> = replace(&bytes, &0x0005_007b_u32.to_ne_bytes(), &0x0005_0015_u32);
    assert_ne!(changed, bytes);
    fs::write(&saved, changed).expect("write");
    let run = bundle.exec(&["/bin/sh", "-c", MKDIR]);
    assert!(run.code == 1 && run.err.contains("Is a directory"), "{}", run.err);
    for damaged in [&b""[..], &bytes[..bytes.len() - 1], b"creel"] {
        fs::write(&saved, damaged).expect("write");
        is_refused();
    }
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

fn replace(bytes: &[u8], from: &[u8; 4], to: &u32) -> Vec<u8> {
    let words = bytes
        .chunks(4)
        .flat_map(|word| if word == from { to.to_ne_bytes().to_vec() } else { word.to_vec() });
    words.collect()
}

#[test]
fn a_profile_too_large_for_the_kernel_is_refused_by_its_size() {
    if !is_root() || !is_creel() {
        return;
    }
    let rules: Vec<_> = (0..3000_u64)
        .map(|n| {
            let arg = json!({"index": n % 2, "value": n << 32, "op": "SCMP_CMP_EQ"});
            json!({"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "args": [arg]})
        })
        .collect();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let bundle = Bundle::new("true").patch("/linux/seccomp", profile);
    let message = bundle.run().message();
    let needed = message
        .strip_prefix("linux.seccomp: the filter needs ")
        .and_then(|rest| rest.strip_suffix(" instructions, Linux takes 4096"))
        .unwrap_or_else(|| panic!("{message}"));
    assert!(needed.parse::<u32>().expect("a number") > 4096, "{message}");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// A command under strace, with all that it leaves behind.
fn traced(bundle: &Bundle, log: &Path, args: &[&str]) -> Child {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "120", "strace", "-f", "-qq", "-o"]).arg(log).arg(runtime());
    command.arg("--root").arg(bundle.state_root()).args(args).current_dir(&bundle.dir);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::null()).spawn().expect("strace starts")
}

/// The calls that the process made which loaded a filter: before it, and from it up to execve.
fn around_the_load(log: &Path) -> (Vec<String>, Vec<String>) {
    let text = fs::read_to_string(log).expect("strace's log");
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    // A probe for a flag has no program.
    let is_load =
        |call: &str| call.starts_with("seccomp(SECCOMP_SET_MODE_FILTER") && call.contains("{len=");
    let (pid, _) = lines.iter().find(|(_, call)| is_load(call.trim())).expect("a load");
    let of_pid = lines.iter().filter(|(p, _)| p == pid).map(|(_, call)| call.trim().to_owned());
    // Neither the second half of a call nor signals.
    let calls: Vec<_> = of_pid.filter(|call| !call.starts_with(['<', '-', '+'])).collect();
    let load = calls.iter().position(|call| is_load(call)).expect("it was found");
    let exec = calls[load..].iter().position(|call| call.starts_with("execve")).expect("execve");
    (calls[..load].to_vec(), calls[load + 1..=load + exec].to_vec())
}

fn assert_is_late(log: &Path, no_new_privileges: bool, what: &str) {
    let (before, after) = around_the_load(log);
    if no_new_privileges {
        assert_eq!(after.len(), 1, "{what}: nothing but execve comes after the load: {after:?}");
        return;
    }
    // The capability that loading takes goes after it, and nothing else happens.
    let gone = after.iter().filter(|call| call.starts_with("capset(")).count();
    assert!(gone >= 1, "{what}: {after:?}");
    for call in &after[..after.len() - 1] {
        let is_of_caps = ["capset(", "capget(", "prctl(PR_CAP_AMBIENT"];
        assert!(is_of_caps.iter().any(|name| call.starts_with(name)), "{what}: {call}");
    }
    // The user is the program's by then, and the bounding set as well.
    let was = |name: &str| before.iter().any(|call| call.starts_with(name));
    assert!(was("setresuid(") || was("setuid("), "{what}: {before:?}");
    assert!(was("prctl(PR_CAPBSET_DROP"), "{what}: {before:?}");
}

#[test]
fn the_filter_is_loaded_as_late_as_can_be() {
    if !is_root() {
        return;
    }
    if !has("strace") {
        println!("SKIP: strace is not installed (hack/deps.sh test)");
        return;
    }
    for no_new_privileges in [true, false] {
        let bundle = Bundle::new("true")
            .patch("/process/noNewPrivileges", json!(no_new_privileges))
            .patch("/process/user", json!({"uid": 1000, "gid": 1000}))
            .patch("/linux/seccomp", no_medium_for_mkdir());
        bundle.write();
        let log = bundle.dir.join("strace.log");
        let mut run = traced(&bundle, &log, &["run", bundle.id()]);
        assert!(run.wait().expect("strace").success());
        assert_is_late(&log, no_new_privileges, "run");

        // strace stays until the container's program has ended.
        let mut create = traced(&bundle, &log, &["create", bundle.id()]);
        bundle.wait_status("created");
        bundle.runtime(&["start", bundle.id()]).ok();
        assert!(create.wait().expect("strace").success());
        assert_is_late(&log, no_new_privileges, "create and start");
        bundle.wait_status("stopped");
        bundle.runtime(&["delete", bundle.id()]).ok();

        let mut bundle = bundle;
        bundle.set("/process/args", json!(["/bin/sleep", "1000"]));
        bundle.start_detached();
        let mut exec = traced(&bundle, &log, &["exec", bundle.id(), "/bin/true"]);
        assert!(exec.wait().expect("strace").success());
        assert_is_late(&log, no_new_privileges, "exec");
    }
}
