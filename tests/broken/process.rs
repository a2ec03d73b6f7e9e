// SPDX-License-Identifier: Apache-2.0
//! `process`: the program, who runs it, and with what limits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::case::{Case, case};
use crate::common::{Bundle, json};

pub(crate) fn rows() -> Vec<Case> {
    let mut rows = programs();
    rows.extend(places());
    rows.extend(limits());
    rows.extend(privileges());
    rows.extend(scheduling());
    rows.extend(terminals());
    rows
}

fn file(bundle: &Bundle, path: &str, text: &str, mode: u32) {
    let path = bundle.rootfs().join(path);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn executable(bundle: &Bundle, path: &str, text: &str) {
    file(bundle, path, text, 0o755);
}

fn programs() -> Vec<Case> {
    vec![
        case("program not in PATH")
            .args(&["nope", "x"])
            .says(r#"exec: "nope": executable file not found in $PATH"#),
        case("program missing")
            .args(&["/bin/nope"])
            .says(r#"exec: "/bin/nope": stat /bin/nope: no such file or directory"#),
        case("program missing, run")
            .args(&["/bin/nope"])
            .command(&["run", "{ID}"])
            .says(r#"exec: "/bin/nope": stat /bin/nope: no such file or directory"#),
        case("program missing, detached")
            .args(&["/bin/nope"])
            .command(&["run", "--detach", "{ID}"])
            .says(r#"exec: "/bin/nope": stat /bin/nope: no such file or directory"#),
        case("program not executable")
            .args(&["/etc/passwd"])
            .says(r#"exec: "/etc/passwd": permission denied"#),
        case("program not executable for its user")
            .args(&["/bin/secret"])
            .set("/process/user/uid", json!(1000))
            .prepare(|bundle| file(bundle, "bin/secret", "#!/bin/sh\n", 0o700))
            .says(r#"exec: "/bin/secret": permission denied"#),
        case("program a directory")
            .args(&["/etc"])
            .says(r#"exec: "/etc": is a directory: permission denied"#),
        case("program below a file")
            .args(&["/etc/passwd/x"])
            .says(r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory"#),
        // A message of many kilobytes crosses whole.
        case("program with a name that is too long")
            .set("/process/args", json!([format!("/{}", "x".repeat(9000))]))
            .says(format!("exec: \"/{0}\": stat /{0}: file name too long", "x".repeat(9000))),
        case("program empty").args(&[""]).says(r#"exec: "": executable file not found in $PATH"#),
        case("program with a null byte").args(&["/bin/sh\0x"]).says("process.args[0]: has a NUL"),
        case("no program for the kernel, start")
            .args(&["/bin/broken"])
            .prepare(|bundle| file(bundle, "bin/broken", "\x7fELF garbage", 0o755))
            .before(&["create", "{ID}"])
            .command(&["start", "{ID}"])
            .stays("stopped")
            .unlike_runc("its start does not wait for execve")
            .says("exec /bin/broken: exec format error"),
        case("no program for the kernel, run")
            .args(&["/bin/broken"])
            .prepare(|bundle| file(bundle, "bin/broken", "\x7fELF garbage", 0o755))
            .command(&["run", "{ID}"])
            .unlike_runc("255 is the status of its init")
            .says("exec /bin/broken: exec format error"),
        case("interpreter missing, start")
            .args(&["/bin/script"])
            .prepare(|bundle| file(bundle, "bin/script", "#!/usr/bin/perl\n", 0o755))
            .before(&["create", "{ID}"])
            .command(&["start", "{ID}"])
            .stays("stopped")
            .unlike_runc("its start does not wait for execve")
            .says("exec /bin/script: no such file or directory (its interpreter)"),
    ]
}

fn places() -> Vec<Case> {
    vec![
        case("cwd a file")
            .set("/process/cwd", json!("/etc/passwd"))
            .says(r#"process.cwd: chdir to "/etc/passwd": ENOTDIR: not a directory"#),
        case("cwd that cannot be made")
            .set("/process/cwd", json!("/proc/nope"))
            .says(r#"process.cwd: make "/proc/nope": ENOENT: no such file or directory"#),
        case("cwd below a file")
            .set("/process/cwd", json!("/etc/passwd/x"))
            .says(r#"process.cwd: chdir to "/etc/passwd/x": ENOTDIR: not a directory"#),
        case("cwd closed to its user")
            .set("/process/cwd", json!("/root"))
            .set("/process/user/uid", json!(1000))
            .prepare(|bundle| {
                let mode = fs::Permissions::from_mode(0o700);
                fs::set_permissions(bundle.rootfs().join("root"), mode).unwrap();
            })
            .succeeds(),
        case("env without a value")
            .set("/process/env/-", json!("PLAIN"))
            .says(r#"process.env: invalid environment variable "PLAIN": missing '='"#),
        case("env without a name")
            .set("/process/env/-", json!("=x"))
            .says("process.env: invalid environment variable: name cannot be empty"),
    ]
}

fn limits() -> Vec<Case> {
    let rlimits = |name, list| case(name).set("/process/rlimits", list);
    vec![
        rlimits("unknown rlimit", json!([{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}]))
            .says("process.rlimits[0].type: wrong rlimit value: RLIMIT_FOO"),
        rlimits(
            "rlimit twice",
            json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1},
                   {"type": "RLIMIT_CORE", "soft": 2, "hard": 2}]),
        )
        .says("process.rlimits[1].type: RLIMIT_CORE is there twice"),
        rlimits("rlimit soft above hard", json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]))
            .says("process.rlimits[0]: RLIMIT_CORE: soft 2 is above hard 1"),
        rlimits(
            "rlimit above what the kernel takes",
            json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 4_000_000_000_u64}]),
        )
        .says("process.rlimits: RLIMIT_NOFILE (soft 1, hard 4000000000): EPERM: operation not permitted"),
        case("oom score too high").set("/process/oomScoreAdj", json!(1001))
            .says("process.oomScoreAdj: 1001 is not within -1000 to 1000"),
    ]
}

fn privileges() -> Vec<Case> {
    vec![
        case("unknown capability")
            .set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_FLY"]))
            .set("/process/capabilities/permitted", json!(["CAP_KILL", "CAP_FLY", "KILL"]))
            .set("/process/capabilities/effective", json!(["CAP_KILL"]))
            .succeeds()
            .warns("ignoring unknown or unavailable capabilities: [CAP_FLY KILL]"),
        case("effective capability that is not permitted")
            .set("/process/capabilities/permitted", json!([]))
            .says("process.capabilities.effective: CAP_KILL is not in permitted"),
        case("user id that is none").set("/process/user/uid", json!(4_294_967_295_u32))
            .says("process.user.uid: 4294967295 is no user"),
        case("apparmor profile without apparmor")
            .set("/process/apparmorProfile", json!("docker-default"))
            .only_if(no_apparmor, "this host has AppArmor")
            .says("process.apparmorProfile: config provided but apparmor not supported"),
        case("selinux label without selinux")
            .set("/process/selinuxLabel", json!("system_u:system_r:container_t:s0"))
            .only_if(no_selinux, "this host has SELinux")
            .says("process.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported"),
    ]
}

fn no_apparmor() -> bool {
    fs::metadata("/sys/kernel/security/apparmor").is_err()
}

fn no_selinux() -> bool {
    fs::metadata("/sys/fs/selinux/enforce").is_err()
}

fn scheduling() -> Vec<Case> {
    let scheduler = |name, value| case(name).set("/process/scheduler", value);
    vec![
        scheduler("unknown scheduler", json!({"policy": "SCHED_LAZY"}))
            .says(r#"process.scheduler.policy: unknown "SCHED_LAZY""#),
        scheduler("scheduler without a policy", json!({"nice": 1}))
            .says("process.scheduler.policy: scheduler policy is required"),
        scheduler("nice out of range", json!({"policy": "SCHED_OTHER", "nice": 20}))
            .says("process.scheduler.nice: 20 is not within -20 to 19"),
        scheduler("unknown scheduler flag", json!({"policy": "SCHED_OTHER", "flags": ["X"]}))
            .says(r#"process.scheduler.flags: unknown "X""#),
        scheduler(
            "priority for an ordinary policy",
            json!({"policy": "SCHED_BATCH", "priority": 1}),
        )
        .says(
            "process.scheduler.priority: is only for SCHED_FIFO and SCHED_RR, not for SCHED_BATCH",
        ),
        scheduler(
            "real-time priority out of range",
            json!({"policy": "SCHED_RR", "priority": 100}),
        )
        .says("process.scheduler.priority: 100 is not within 1 to 99"),
        case("unknown io class")
            .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_X", "priority": 1}))
            .says(r#"process.ioPriority.class: unknown "IOPRIO_CLASS_X""#),
        case("io priority out of range")
            .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}))
            .says("process.ioPriority.priority: 8 is not within 0 to 7"),
        case("cpu affinity that is no list")
            .set("/process/execCPUAffinity", json!({"initial": "0-x"}))
            .says(r#"process.execCPUAffinity.initial: "0-x": "x" is not a number"#),
    ]
}

fn terminals() -> Vec<Case> {
    let terminal = |name| case(name).set("/process/terminal", json!(true));
    vec![
        terminal("terminal without a console socket")
            .says("process.terminal: cannot allocate tty if creel will detach without setting console socket"),
        terminal("terminal without a console socket, detached")
            .command(&["run", "--detach", "{ID}"])
            .says("process.terminal: cannot allocate tty if creel will detach without setting console socket"),
        terminal("console socket missing")
            .command(&["create", "--console-socket", "{DIR}/none.sock", "{ID}"])
            .says("--console-socket: connect to {DIR}/none.sock: ENOENT: no such file or directory"),
        terminal("console socket a file")
            .command(&["create", "--console-socket", "{DIR}/config.json", "{ID}"])
            .says("--console-socket: connect to {DIR}/config.json: ECONNREFUSED: connection refused"),
        case("console socket without a terminal")
            .prepare(listen)
            .command(&["create", "--console-socket", "{DIR}/listens.sock", "{ID}"])
            .says("process.terminal: cannot use console socket if creel will not detach or allocate tty"),
        terminal("console too wide")
            .set("/process/consoleSize", json!({"width": 70000, "height": 1}))
            .prepare(listen)
            .command(&["create", "--console-socket", "{DIR}/listens.sock", "{ID}"])
            .unlike_runc("runc cuts the number")
            .says("process.consoleSize.width: 70000 is too large"),
    ]
}

/// A socket that stays open to the end of the tests.
fn listen(bundle: &mut Bundle) {
    std::mem::forget(UnixListener::bind(bundle.dir.join("listens.sock")).unwrap());
}
