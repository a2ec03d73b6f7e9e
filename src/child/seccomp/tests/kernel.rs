// SPDX-License-Identifier: Apache-2.0
//! The real kernel: a filter is loaded in a forked child and its effect seen.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::mkdir;

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
fn kill_process_is_sigsys() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["getppid"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
    let status = inside_filter(json, || seccomp::raw_call(libc::SYS_getppid).is_ok());
    assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{status:?}");
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
