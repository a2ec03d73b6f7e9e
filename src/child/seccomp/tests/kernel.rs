// SPDX-License-Identifier: Apache-2.0
//! The real kernel: a filter is loaded in a forked child and its effect seen.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Whence, lseek, mkdir};

use super::*;
use crate::error::Error;
use crate::sys::{self, clone, seccomp};

/// Loads `json` in a child with no_new_privs, then `body` has to be true of it.
#[track_caller]
fn inside_filter(json: &str, body: impl FnOnce() -> bool) -> WaitStatus {
    let filter = Filter::plan(&parse(json)).unwrap().expect("the profile is not empty");
    match clone::clone3(&clone::CloneRequest::default()).expect("clone3") {
        clone::Fork::Child(me) => {
            let loaded = sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
                .map_err(Error::from)
                .and_then(|_| filter.load(&me));
            sys::exit(match loaded {
                Ok(_) if body() => 0,
                Ok(_) => 1,
                Err(_) => 2,
            })
        }
        clone::Fork::Parent { child, .. } => waitpid(child, None).expect("waitpid"),
    }
}

#[track_caller]
fn holds(json: &str, body: impl FnOnce() -> bool) {
    let status = inside_filter(json, body);
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

fn open_socket(family: AddressFamily) -> Result<(), Errno> {
    socket(family, SockType::Datagram, SockFlag::empty(), None).map(drop)
}

#[test]
fn a_forbidden_call_gets_its_errno() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["getppid"],"action":"SCMP_ACT_ERRNO","errnoRet":123},
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"},
        {"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":97,"args":[
            {"index":0,"value":16,"op":"SCMP_CMP_EQ"}]}]}"#;
    holds(json, || {
        seccomp::raw_call(libc::SYS_getppid) == Err(Errno::ENOMEDIUM)
            && mkdir("/nonexistent/x", Mode::empty()) == Err(Errno::EPERM)
            && open_socket(AddressFamily::Netlink) == Err(Errno::EAFNOSUPPORT)
            && open_socket(AddressFamily::Unix) == Ok(())
    });
}

#[test]
fn dockers_default_allows_denies_and_hides_newer_calls() {
    holds(DEFAULTS[0].1, || {
        unshare(CloneFlags::CLONE_NEWUTS) == Err(Errno::EPERM)
            && seccomp::raw_call(9999) == Err(Errno::ENOSYS)
            && seccomp::raw_call(libc::SYS_getppid).is_ok()
    });
}

#[test]
fn killing_actions_and_an_uncaught_trap_are_sigsys() {
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {{"names":["getppid"],"action":"SCMP_ACT_{action}"}}]}}"#
        );
        let status = inside_filter(&json, || seccomp::raw_call(libc::SYS_getppid).is_ok());
        assert!(
            matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)),
            "{action} {status:?}"
        );
    }
}

#[test]
fn log_lets_pass_and_trace_without_a_tracer_is_enosys() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[
        {"names":["getppid"],"action":"SCMP_ACT_LOG"},
        {"names":["getuid"],"action":"SCMP_ACT_TRACE","errnoRet":5}]}"#;
    holds(json, || {
        seccomp::raw_call(libc::SYS_getppid).is_ok()
            && seccomp::raw_call(libc::SYS_getuid) == Err(Errno::ENOSYS)
    });
}

#[test]
fn arguments_are_compared_in_both_halves() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["lseek"],
        "action":"SCMP_ACT_ERRNO","errnoRet":123,"args":[
            {"index":1,"value":4294967300,"op":"SCMP_CMP_GT"}]}]}"#;
    let file = tempfile();
    holds(json, || {
        let seek = |to| lseek(&file, to, Whence::SeekSet);
        seek(5).is_ok()
            && seek(0xffff_ffff).is_ok()
            && seek(0x1_0000_0004).is_ok()
            && seek(0x1_0000_0005) == Err(Errno::ENOMEDIUM)
            && seek(0x2_0000_0000) == Err(Errno::ENOMEDIUM)
    });
}

/// A file without a name: it can be as long as one likes to seek.
fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("creel-seek-{}", std::process::id()));
    let file = std::fs::File::create(&path).expect("a temporary file");
    std::fs::remove_file(path).expect("it is there");
    file
}

#[cfg(target_arch = "x86_64")]
#[test]
fn each_architecture_has_its_own_numbers() {
    const X32_GETPPID: libc::c_long = 0x4000_0000 + 110;
    const X86_GETPPID: i32 = 64;
    let rule = r#""syscalls":[{"names":["getppid"],"action":"SCMP_ACT_ERRNO","errnoRet":123}]"#;
    let listed = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW",
            "architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],{rule}}}"#
    );
    // The filter answers before the kernel finds out whether it has the call.
    holds(&listed, || {
        seccomp::raw_call(X32_GETPPID) == Err(Errno::ENOMEDIUM)
            && seccomp::raw_call(libc::SYS_getppid) == Err(Errno::ENOMEDIUM)
    });
    let native = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{rule}}}"#);
    let status = inside_filter(&native, || seccomp::raw_call(X32_GETPPID).is_ok());
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "x32: {status:?}");

    let status = inside_filter(&listed, || seccomp::raw_call_of_x86(X86_GETPPID) == -123);
    if matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _)) {
        println!("SKIP: this kernel runs no programs of x86");
        return;
    }
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    let status = inside_filter(&native, || seccomp::raw_call_of_x86(X86_GETPPID) > 0);
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "x86: {status:?}");
}

#[test]
fn notify_returns_a_listener() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/agent","syscalls":[
        {"names":["getppid"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let filter = Filter::plan(&parse(json)).unwrap().expect("not empty");
    match clone::clone3(&clone::CloneRequest::default()).expect("clone3") {
        clone::Fork::Child(me) => {
            let loaded = sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
                .map_err(Error::from)
                .and_then(|_| filter.load(&me));
            sys::exit(i32::from(!matches!(loaded, Ok(Some(_)))))
        }
        clone::Fork::Parent { child, .. } => {
            let status = waitpid(child, None).expect("waitpid");
            assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
        }
    }
}

/// The kernel takes every default profile's program, and one of the largest size.
#[test]
fn the_kernel_takes_large_programs() {
    for (_, json) in DEFAULTS {
        holds(json, || true);
    }
    let rules: Vec<_> = (0..1000_u32)
        .map(|n| {
            format!(
                r#"{{"names":["mmap"],"action":"SCMP_ACT_ERRNO","args":[{{"index":{},
                    "value":{},"op":"SCMP_CMP_EQ"}}]}}"#,
                n % 6,
                u64::from(n + 1) << 32
            )
        })
        .collect();
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#, rules.join(","));
    assert!(compile(&json, Arch::NATIVE).unwrap().program.len() > 3000);
    holds(&json, || true);
}
