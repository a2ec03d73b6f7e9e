// SPDX-License-Identifier: Apache-2.0
//! ioctl_tty(2): the few requests that terminals need.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// `TIOCSPTLCK`: lets the other end of a pseudo terminal be opened.
pub(crate) fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let locked: libc::c_int = 0;
    // SAFETY: the kernel reads one int.
    let r = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) };
    Errno::result(r).map(drop)
}

/// `TIOCGPTPEER`: the other end, by descriptor: no path can lead elsewhere. Linux 4.13.
pub(crate) fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the flags are passed by value.
    let r = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let fd = Errno::result(r)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `TIOCSCTTY`: the calling session leader's controlling terminal.
pub(crate) fn set_controlling(tty: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the argument is an integer; zero steals no terminal from another session.
    Errno::result(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// `TIOCGWINSZ`.
pub(crate) fn size(tty: BorrowedFd<'_>) -> Result<Size, Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one winsize.
    Errno::result(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// `TIOCSWINSZ`.
pub(crate) fn set_size(tty: BorrowedFd<'_>, size: Size) -> Result<(), Errno> {
    let size =
        libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one winsize.
    let r = unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(r).map(drop)
}
