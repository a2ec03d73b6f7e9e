// SPDX-License-Identifier: Apache-2.0
//! setgroups(2), setresgid(2), setresuid(2) of the calling thread, by the system call itself: the C
//! library's functions first signal every thread it knows of, and after clone3 that is a memory.

use nix::errno::Errno;

use libc::{SYS_setgroups, SYS_setresgid, SYS_setresuid};

/// Replaces the supplementary groups. EPERM: no CAP_SETGID, or denied in the user namespace.
pub(crate) fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many ids as the slice has.
    Errno::result(unsafe { libc::syscall(SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Real, effective and saved group. EINVAL: not mapped in the user namespace.
pub(crate) fn setgid(gid: u32) -> Result<(), Errno> {
    // SAFETY: only integers are passed.
    Errno::result(unsafe { libc::syscall(SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Real, effective and saved user. EINVAL: not mapped in the user namespace.
pub(crate) fn setuid(uid: u32) -> Result<(), Errno> {
    setresuid(uid, uid, uid)
}

/// One by one.
pub(crate) fn setresuid(real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    // SAFETY: only integers are passed.
    Errno::result(unsafe { libc::syscall(SYS_setresuid, real, effective, saved) }).map(drop)
}
