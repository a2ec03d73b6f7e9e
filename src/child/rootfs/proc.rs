// SPDX-License-Identifier: Apache-2.0
//! A procfs that is sure to be one: a private detached mount, which nothing in the container can
//! cover or replace (CVE-2019-16884, CVE-2025-52881).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::root::Root;
use crate::bail;
use crate::error::{Context, Result};
use crate::sys::Inside;
use crate::sys::mount::{attr, fsconfig_create, fsmount, fsopen};
use crate::sys::openat2::openat2;

/// The inode number of procfs's root, and of nothing else in it.
const PROC_ROOT: u64 = 1;

#[derive(Debug)]
pub(crate) struct Proc {
    root: OwnedFd,
    is_private: bool,
}

impl Proc {
    /// Of this process's PID namespace. In a user namespace a new procfs is allowed only while an
    /// uncovered one is mounted: before paths are masked.
    pub(crate) fn open(_: &Inside) -> Result<Self> {
        match Self::private() {
            Ok(root) => Ok(Self { root, is_private: true }),
            Err(Errno::EPERM | Errno::ENOSYS | Errno::EACCES) => Self::mounted(),
            Err(errno) => Err(errno).context(|| "private procfs"),
        }
    }

    fn private() -> Result<OwnedFd, Errno> {
        let fs = fsopen(c"proc")?;
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC)
    }

    /// The one that `root` has at /proc, where that is a whole one; else a private one. To mount and
    /// unmount a private one takes a grace period of the kernel's. Only before the container runs.
    pub(super) fn of_container(root: &Root, me: &Inside) -> Result<Self> {
        match root.open_exact("proc") {
            Ok(fd) if is_procfs(&fd)? => Ok(Self { root: fd, is_private: false }),
            _ => Self::open(me),
        }
    }

    /// The one at /proc, verified. A lookup in it refuses to cross mounts.
    fn mounted() -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = open("/proc", flags, Mode::empty()).context(|| "open /proc")?;
        if !is_procfs(&fd)? {
            bail!("/proc is not a procfs");
        }
        Ok(Self { root: fd, is_private: false })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Writes all of `bytes` at once to an existing file, such as `self/attr/exec`.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let file = self.file(path, OFlag::O_WRONLY)?;
        match nix::unistd::write(&file, bytes)? {
            n if n == bytes.len() => Ok(()),
            _ => bail!("cut short"),
        }
    }

    /// Opens a file; `self` may be on the way, magic links and other mounts may not.
    pub(crate) fn file(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        match self.lookup(path, flags) {
            // Covered, read-only, or mounted without this file: a private one may have it.
            Err(errno) if !self.is_private => {
                let private = Self::private().map_err(|_| errno)?;
                Self { root: private, is_private: true }.lookup(path, flags)
            }
            other => other,
        }
    }

    fn lookup(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_XDEV
            | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let flags = flags | OFlag::O_NOFOLLOW;
        match openat2(self.root.as_fd(), path, flags, resolve) {
            // A seccomp filter of the host's refuses openat2; there are no mounts in a private one.
            Err(Errno::ENOSYS) if self.is_private => {
                openat(&self.root, path, flags | OFlag::O_CLOEXEC, Mode::empty())
            }
            other => other,
        }
    }
}

fn is_procfs(dir: &OwnedFd) -> Result<bool, Errno> {
    let is_proc = fstatfs(dir)?.filesystem_type() == PROC_SUPER_MAGIC;
    Ok(is_proc && fstat(dir)?.st_ino == PROC_ROOT)
}
