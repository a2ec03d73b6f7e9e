// SPDX-License-Identifier: Apache-2.0
//! For unit tests: run a closure in fresh namespaces, as a child does.

use std::panic::AssertUnwindSafe;

use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getgid, getuid};

use crate::sys::clone::{CloneRequest, Fork, clone3};
use crate::sys::{self, Inside};

/// Runs `body` in a clone in new mount, UTS and IPC namespaces (and a user namespace, unless root),
/// with mounts private. The test fails if the body fails. Prints SKIP and returns where namespaces
/// are refused.
#[track_caller]
pub(crate) fn inside(body: impl FnOnce(&Inside) -> crate::error::Result<()>) {
    let (uid, gid) = (getuid(), getgid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    match clone3(&CloneRequest { flags: flags.into(), cgroup: None }) {
        Err(errno) => println!("SKIP: new namespaces: {errno}"),
        Ok(Fork::Child(me)) => {
            // A panic must not unwind out of the clone: a test thread that ends there ends the whole
            // process with success.
            let run =
                AssertUnwindSafe(|| set_up(uid.as_raw(), gid.as_raw()).and_then(|()| body(&me)));
            match std::panic::catch_unwind(run) {
                Ok(Ok(())) => sys::exit(0),
                Ok(Err(error)) => eprintln!("inside: {error}"),
                Err(_) => eprintln!("inside: panicked"),
            }
            sys::exit(1)
        }
        Ok(Fork::Parent { child, .. }) => match waitpid(child, None).expect("waitpid") {
            WaitStatus::Exited(_, 0) => {}
            other => panic!("the body failed: {other:?}"),
        },
    }
}

fn set_up(uid: u32, gid: u32) -> crate::error::Result<()> {
    if uid != 0 {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    let none = None::<&str>;
    let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
    Ok(nix::mount::mount(none, "/", none, flags, none)?)
}
