// SPDX-License-Identifier: Apache-2.0
//! Descriptors: close_range(2), inherited numbers, and passing them over sockets.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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
#[cfg(test)]
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD has no effect.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Whether this process was started with this descriptor: it is open, and not close-on-exec as all
/// are that creel opens itself.
pub(crate) fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: F_GETFD has no effect.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Standard input, output and error.
pub(crate) fn stdio() -> [BorrowedFd<'static>; 3] {
    // SAFETY: Rust's start-up code opens /dev/null for each that is closed, and creel replaces them
    // but never closes them.
    [0, 1, 2].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Sets O_NONBLOCK on the open file, which everyone who shares it sees.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: F_GETFL and F_SETFL take and give integers.
    let flags = Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    let r = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) };
    Errno::result(r).map(drop)
}

/// Marks a descriptor by its number close-on-exec; EBADF: it is not open.
pub(crate) fn set_cloexec_number(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: F_SETFD takes an integer.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }).map(drop)
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

/// Puts a copy of `new` in the place of `old`, close-on-exec.
pub(crate) fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: `old` is open, stays open, and is not what it was: as its owner has asked for.
    Errno::result(unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) })
        .map(drop)
}

/// The number that the next descriptor of this process will have: the lowest that is free.
pub(crate) fn next_number() -> Result<RawFd, Errno> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer; standard output is never closed.
    let number = Errno::result(unsafe { libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: it was made here, and nobody else knows it.
    Errno::result(unsafe { libc::close(number) })?;
    Ok(number)
}

/// The number, for messages such as `/proc/self/fd/N`.
pub(crate) fn number(fd: BorrowedFd<'_>) -> RawFd {
    fd.as_raw_fd()
}

/// flock(2); EWOULDBLOCK with LOCK_NB: somebody else holds it.
pub(crate) fn flock(fd: BorrowedFd<'_>, operation: i32) -> Result<(), Errno> {
    loop {
        // SAFETY: no memory is passed.
        match Errno::result(unsafe { libc::flock(fd.as_raw_fd(), operation) }) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// In the clone: closes its copy of a descriptor that the parent keeps.
pub(crate) fn close_inherited(fd: RawFd) {
    // SAFETY: the caller is a clone, which never drops the parent's `OwnedFd`.
    unsafe { libc::close(fd) };
}

/// In a clone that will only execute: closes every descriptor from `first` on but those in `keep`.
pub(crate) fn close_except(first: u32, keep: &mut [RawFd]) -> Result<(), Errno> {
    keep.sort_unstable();
    let mut from = first;
    let last = libc::c_uint::MAX;
    for fd in keep.iter().filter_map(|fd| u32::try_from(*fd).ok()) {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = from.max(fd + 1);
    }
    close_range(from, last)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: the caller is a clone, whose `OwnedFd`s are never dropped: it executes or exits.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// For tests: leaves the descriptor open until the process ends.
#[cfg(test)]
pub(crate) fn leak(fd: OwnedFd) -> RawFd {
    use std::os::fd::IntoRawFd;
    fd.into_raw_fd()
}
