// SPDX-License-Identifier: Apache-2.0
//! pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2), and waiting on a pidfd.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

/// A descriptor for a process; close-on-exec. ESRCH: no such process. Linux 5.3.
pub(crate) fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    owned(Errno::result(fd)?)
}

/// Signal number `signal` (0 only checks) to the process. ESRCH: it is gone. Linux 5.1.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo means the one that kill(2) would send.
    let r =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    Errno::result(r).map(drop)
}

/// A copy of descriptor number `fd` of the process; close-on-exec. Linux 5.6.
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    let r = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    owned(Errno::result(r)?)
}

/// Waits until the process has ended; false when `timeout` ran out first.
pub(crate) fn wait_exit(pidfd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool, Errno> {
    let timeout = timeout.map_or(PollTimeout::NONE, |t| {
        PollTimeout::try_from(t.as_millis().max(1)).unwrap_or(PollTimeout::MAX)
    });
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(n) => return Ok(n > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The process's pid in our pid namespace, from fdinfo. ESRCH: it is gone.
pub(crate) fn pid_of(pidfd: BorrowedFd<'_>) -> Result<Pid, Errno> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path)
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:\t")?.parse().ok());
    pid.filter(|pid| *pid > 0).map(Pid::from_raw).ok_or(Errno::ESRCH)
}
