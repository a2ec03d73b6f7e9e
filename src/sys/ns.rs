// SPDX-License-Identifier: Apache-2.0
//! setns(2), unshare(2) with flags that nix's type lacks, ioctl_ns(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::Inside;

const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// The CLONE_NEW* flag of a namespace's descriptor; ENOTTY: not a namespace. Linux 4.11.
pub(crate) fn kind(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: this ioctl takes no argument.
    let flag = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) };
    Errno::result(flag).map(|flag| u64::from(flag.cast_unsigned()))
}

/// Joins the namespace(s) behind a namespace file or, with several flags, a pidfd (Linux 5.8).
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: u64, _: &Inside) -> Result<(), Errno> {
    raw_setns(fd, flags)
}

/// For the parent: only pid and time namespaces, which take effect on its next children.
pub(crate) fn setns_for_children(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    raw_setns(fd, flags)
}

fn raw_setns(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    let flags = i32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::setns(fd.as_raw_fd(), flags) }).map(drop)
}

/// Makes new namespaces for this process (pid, time: for its children).
pub(crate) fn unshare(flags: u64, _: &Inside) -> Result<(), Errno> {
    raw_unshare(flags)
}

/// For the parent: a new time namespace for its next children.
pub(crate) fn unshare_for_children(flags: u64) -> Result<(), Errno> {
    raw_unshare(flags)
}

fn raw_unshare(flags: u64) -> Result<(), Errno> {
    let flags = i32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::unshare(flags) }).map(drop)
}
