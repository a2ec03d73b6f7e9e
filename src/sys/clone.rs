// SPDX-License-Identifier: Apache-2.0
//! clone3(2), and `Inside`, the proof of being in the clone.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

/// Proof that the holder runs in a clone, between clone3 and execve. Every function that changes the
/// calling process takes one, so that it cannot be called in the parent.
#[derive(Debug)]
pub(crate) struct Inside(());

/// Which side of the clone this is.
#[derive(Debug)]
pub(crate) enum Fork {
    Parent { child: Pid, pidfd: OwnedFd },
    Child(Inside),
}

/// What clone3 is asked for, beyond a copy of this process with a pidfd.
#[derive(Debug, Default)]
pub(crate) struct CloneRequest<'a> {
    /// New namespaces and CLONE_PARENT; the exit signal is SIGCHLD unless CLONE_PARENT is in.
    pub flags: CloneFlagsBits,
    /// A cgroup2 directory to be born in (Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// `CloneFlags` as clone3 takes them (64 bits: CLONE_NEWTIME and CLONE_INTO_CGROUP do not fit 32).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloneFlagsBits(pub(crate) u64);

impl From<CloneFlags> for CloneFlagsBits {
    fn from(flags: CloneFlags) -> Self {
        Self(u64::from(flags.bits().cast_unsigned()))
    }
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// clone3(2) without CLONE_VM: the child gets a copy of this process. Linux 5.5 (with `cgroup`: 5.7).
///
/// # Errors
/// EBUSY, EOPNOTSUPP: the cgroup takes no process. EPERM, ENOSPC, EUSERS: namespaces refused.
pub(crate) fn clone3(request: &CloneRequest<'_>) -> Result<Fork, Errno> {
    let mut pidfd: libc::c_int = -1;
    let parent = request.flags.0 & (libc::CLONE_PARENT as u64) != 0;
    // SAFETY: all-zero is a valid clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = request.flags.0 | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    // With CLONE_PARENT the signal is the caller's own; the kernel refuses another.
    args.exit_signal = if parent { 0 } else { libc::SIGCHLD as u64 };
    if let Some(cgroup) = request.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` and `pidfd` outlive the call, the size is right, and without CLONE_VM the child
    // has its own copy of everything. creel has one thread, so no lock is held by another.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    let pid = match Errno::result(pid) {
        // KERNEL(5.3), or a seccomp filter of the host's, which cannot look at clone3's arguments.
        Err(Errno::ENOSYS) => clone(&args, &mut pidfd)?,
        other => other?,
    };
    #[cfg(not(any(fuzzing, sanitized, miri)))]
    crate::ALLOCATOR.leave();
    match pid {
        0 => {
            super::sigaction::in_a_clone();
            Ok(Fork::Child(Inside(())))
        }
        pid => {
            // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor, close-on-exec.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let child = Pid::from_raw(i32::try_from(pid).expect("a pid fits pid_t"));
            Ok(Fork::Parent { child, pidfd })
        }
    }
}

/// Whether the kernel knows the call: an argument of no size is refused otherwise than by ENOSYS.
pub(crate) fn has_clone3() -> Result<(), Errno> {
    // SAFETY: no memory is named, and a size of 0 is refused before anything else.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<libc::c_void>(), 0) };
    Errno::result(answer).map(drop)
}

/// clone(2), which knows neither cgroups nor CLONE_NEWTIME.
fn clone(args: &libc::clone_args, pidfd: &mut libc::c_int) -> Result<libc::c_long, Errno> {
    const CSIGNAL: u64 = 0xff;
    if args.flags & CLONE_INTO_CGROUP != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if args.flags & CSIGNAL != 0 {
        return Err(Errno::ENOSYS);
    }
    let flags = args.flags | args.exit_signal;
    let pidfd: *mut libc::c_int = pidfd;
    // SAFETY: as for clone3: without CLONE_VM and a stack this is fork; the kernel stores one int in
    // `pidfd`, which outlives the call. The last two arguments, whose order differs, are not used.
    Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, 0, pidfd, 0, 0) })
}
