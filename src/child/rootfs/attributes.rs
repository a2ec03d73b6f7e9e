// SPDX-License-Identifier: Apache-2.0
//! Changing a mount that is held by a descriptor: attributes, locked ones included, and propagation.
//! The older way (Linux 5.10 and 5.11 lack mount_setattr) is here and nowhere else.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, fchdir};

use super::options::attributes;
use super::options::{ATIME_FLAGS, ATIME_MODES, MS_BIND, MS_RDONLY, MS_REC, MS_REMOUNT, Names};
use super::proc::enter_own_descriptors;
use crate::error::{Context, Result};
use crate::sys::mount::{Depth, Setattr, attr, mount_setattr};

/// All that a bind mount's options decide, but for the access-time mode.
const PLAIN: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;

/// The flags that a mount copied from a more privileged mount namespace does not give up.
const LOCKABLE: u64 = MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | ATIME_FLAGS;

/// The attributes that a bind mount is given: exactly `flags`, whatever its source has; the access
/// time mode only if `flags` has one. `cleared` are those that the user asked not to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exact {
    pub flags: u64,
    pub cleared: u64,
}

/// What is left to do once the mount is attached.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    // KERNEL(5.12): drop when mount_setattr can be assumed.
    Remount,
}

impl Exact {
    /// Works on a detached mount.
    pub(super) fn set(self, fd: BorrowedFd<'_>) -> Result<Rest> {
        match set_exactly(fd, self.flags) {
            Ok(()) => Ok(Rest::Nothing),
            Err(Errno::ENOSYS) => Ok(Rest::Remount),
            Err(errno @ Errno::EPERM) => {
                let flags = self.with_locked(fd, errno)?;
                set_exactly(fd, flags).context(|| "with the source's locked flags")?;
                Ok(Rest::Nothing)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// What `set` could not do, on the attached mount.
    pub(super) fn finish(self, fd: BorrowedFd<'_>, rest: &Rest) -> Result<()> {
        if *rest == Rest::Nothing {
            return Ok(());
        }
        match remount(fd, self.flags) {
            Err(errno @ Errno::EPERM) => {
                let flags = self.with_locked(fd, errno)?;
                Ok(remount(fd, flags).context(|| "with the source's locked flags")?)
            }
            other => Ok(other?),
        }
    }

    /// The flags with those of the source that are locked, unless the user wants them off, as runc
    /// 1.2 does: a mount that is not as asked must not come about silently.
    fn with_locked(self, fd: BorrowedFd<'_>, errno: Errno) -> Result<u64> {
        let source = flags_of(fd)?;
        let refused = source & self.cleared & LOCKABLE;
        if refused != 0 {
            return Err(errno).context(|| format!("cannot clear locked flags {}", Names(refused)));
        }
        let atime = self.flags & ATIME_FLAGS;
        if atime != 0 && atime != source & ATIME_FLAGS {
            let locked = Names(source & ATIME_FLAGS);
            return Err(errno).context(|| format!("cannot change locked atime flags {locked}"));
        }
        Ok(self.flags | source & LOCKABLE)
    }
}

fn set_exactly(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    let mut set = attributes(flags);
    let mut clear = PLAIN;
    if flags & ATIME_FLAGS == 0 {
        // As a remount without an access-time flag: the mode stays.
        set &= !attr::ATIME;
    } else {
        clear |= attr::ATIME | attr::NODIRATIME;
    }
    mount_setattr(fd, Depth::One, &Setattr { set, clear, ..Setattr::default() })
}

fn remount(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    by_path(fd, flags & !MS_REC | MS_BIND | MS_REMOUNT, None)
}

/// The `r…` options, on a mount and everything below it.
pub(super) fn set_recursively(fd: BorrowedFd<'_>, change: &Setattr<'_>) -> Result<()> {
    match mount_setattr(fd, Depth::Tree, change) {
        Err(errno @ Errno::ENOSYS) => Err(errno).context(|| "recursive options by mount_setattr"),
        other => other.context(|| "recursive options"),
    }
}

/// Adds `ro` to a mount, detached or not, and touches nothing else.
pub(super) fn add_readonly(fd: BorrowedFd<'_>) -> Result<Rest, Errno> {
    let change = Setattr { set: attr::RDONLY, ..Setattr::default() };
    match mount_setattr(fd, Depth::One, &change) {
        Ok(()) => Ok(Rest::Nothing),
        Err(Errno::ENOSYS) => Ok(Rest::Remount),
        Err(errno) => Err(errno),
    }
}

/// What `add_readonly` could not do, on the attached mount.
pub(super) fn finish_readonly(fd: BorrowedFd<'_>, rest: &Rest) -> Result<(), Errno> {
    match rest {
        Rest::Nothing => Ok(()),
        Rest::Remount => remount(fd, flags_of(fd)? | MS_RDONLY),
    }
}

/// Adds `ro` to an attached mount.
pub(super) fn make_readonly(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    finish_readonly(fd, &add_readonly(fd)?)
}

/// Sets the propagation type in `bits` (MS_*, with MS_REC for the tree) of an attached mount.
pub(super) fn propagate(fd: BorrowedFd<'_>, bits: u64) -> Result<(), Errno> {
    let depth = if bits & MS_REC == 0 { Depth::One } else { Depth::Tree };
    let change = Setattr { propagation: bits & !MS_REC, ..Setattr::default() };
    match mount_setattr(fd, depth, &change) {
        Err(Errno::ENOSYS) => by_path(fd, bits, None),
        other => other,
    }
}

/// mount(2) on what `fd` is: as the working directory, which needs no /proc, or for a file by its
/// magic link in a procfs that is sure to be one.
pub(super) fn by_path(fd: BorrowedFd<'_>, flags: u64, data: Option<&str>) -> Result<(), Errno> {
    let name = name_of(fd)?;
    let none = None::<&str>;
    let done = mount(none, name.as_str(), none, MsFlags::from_bits_retain(flags), data);
    chdir("/")?;
    done
}

/// A name of what `fd` is, from the working directory that it leaves.
fn name_of(fd: BorrowedFd<'_>) -> Result<String, Errno> {
    match fchdir(fd) {
        Ok(()) => Ok(".".to_owned()),
        Err(Errno::ENOTDIR) => {
            enter_own_descriptors()?;
            Ok(crate::sys::fd::number(fd).to_string())
        }
        Err(errno) => Err(errno),
    }
}

/// Takes away the mount whose root `fd` is, with all that is mounted in it.
pub(super) fn unmount(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let name = name_of(fd)?;
    let done = umount2(name.as_str(), MntFlags::MNT_DETACH);
    chdir("/")?;
    done
}

/// The magic link of a descriptor in the host's /proc: only before the container's root is entered.
pub(super) fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", crate::sys::fd::number(fd))
}

/// The MS_* flags that the mount has now.
fn flags_of(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // statfs(2) has them in the kernel's own values, which libraries cut to those they know.
    const ST_NOSYMFOLLOW: u64 = 0x2000;
    const SAME: &[(u64, u64)] = &[
        (0x1, MS_RDONLY),
        (0x2, libc::MS_NOSUID),
        (0x4, libc::MS_NODEV),
        (0x8, libc::MS_NOEXEC),
        (0x400, libc::MS_NOATIME),
        (0x800, libc::MS_NODIRATIME),
        (0x1000, libc::MS_RELATIME),
    ];
    let st = crate::sys::mount::mount_flags(fd)?;
    let mut flags =
        SAME.iter().filter(|(st_flag, _)| st & st_flag != 0).map(|(_, ms)| ms).sum::<u64>();
    if st & ST_NOSYMFOLLOW != 0 {
        flags |= 256;
    }
    // strictatime is the absence of the other modes.
    if flags & ATIME_MODES == 0 {
        flags |= libc::MS_STRICTATIME;
    }
    Ok(flags)
}
