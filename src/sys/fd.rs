// SPDX-License-Identifier: Apache-2.0
//! Descriptors: close_range(2), inherited numbers, and passing them over sockets.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// Marks every descriptor from `first` on close-on-exec. Linux 5.11; ENOSYS, EINVAL before.
pub(crate) fn close_range_cloexec(first: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed; descriptors stay open until execve.
    let r = unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC)
    };
    Errno::result(r).map(drop)
}

/// Takes over a descriptor that this process was started with.
///
/// # Errors
/// EBADF: no such descriptor is open.
pub(crate) fn inherited(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD has no effect, and a closed number is an error.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: it is open, and only its number was known: nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a descriptor with this number is open.
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD has no effect.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Sets or clears close-on-exec.
pub(crate) fn set_cloexec(fd: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    let flags = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD takes an integer.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags) }).map(drop)
}

/// Makes `fd` available under the number `target`, open across execve.
pub(crate) fn dup_to(fd: BorrowedFd<'_>, target: RawFd) -> Result<(), Errno> {
    if fd.as_raw_fd() == target {
        return set_cloexec(fd, false);
    }
    // SAFETY: dup2 closes what was open as `target`; callers own that number (stdio or preserved).
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), target) }).map(drop)
}

/// Leaves the descriptor open until the process ends or executes another program.
pub(crate) fn leak(fd: OwnedFd) -> RawFd {
    fd.into_raw_fd()
}

/// The number, for messages such as `/proc/self/fd/N`.
pub(crate) fn number(fd: BorrowedFd<'_>) -> RawFd {
    fd.as_raw_fd()
}
