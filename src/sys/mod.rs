// SPDX-License-Identifier: Apache-2.0
//! The only unsafe code: one wrapper per system call that nix lacks, under the kernel's name, typed
//! flags and `BorrowedFd` in, `OwnedFd` (close-on-exec) and bare `Errno` out. Callers add context.
#![allow(unsafe_code)]

pub(crate) mod clone;
pub(crate) mod fd;
pub(crate) mod pidfd;

use std::ffi::CString;

use nix::errno::Errno;

pub(crate) use clone::Inside;

/// Ends this process at once: no destructors, no flush of stdio buffers that the parent owns too.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// `PR_SET_NAME`: what `ps` shows as the command; cut to 15 bytes by the kernel.
pub(crate) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the kernel reads at most 16 bytes of a terminated string; the call cannot fail so.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// A one-word `prctl(option, value, 0, 0, 0)`.
pub(crate) fn prctl(option: i32, value: libc::c_ulong) -> Result<i32, Errno> {
    // SAFETY: used only with options that take an integer; unused arguments are zero as required.
    Errno::result(unsafe { libc::prctl(option, value, 0_usize, 0_usize, 0_usize) })
}

/// Turns text into what the kernel takes; an embedded NUL is EINVAL.
pub(crate) fn cstring(text: impl Into<Vec<u8>>) -> Result<CString, Errno> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}
