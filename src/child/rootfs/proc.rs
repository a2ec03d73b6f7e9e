// SPDX-License-Identifier: Apache-2.0
//! A procfs that is sure to be one: a private detached mount, which nothing in the container can
//! cover or replace (CVE-2019-16884, CVE-2025-52881).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::fchdir;

use super::root::Root;
use crate::bail;
use crate::error::{Context, Result};
use crate::sys::Inside;
use crate::sys::mount::{attr, fsconfig_create, fsmount, fsopen, mount_id};
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
    pub(crate) fn open(me: &Inside) -> Result<Self> {
        match Self::private() {
            Ok(root) => Ok(Self { root, is_private: true }),
            Err(Errno::EPERM | Errno::ENOSYS | Errno::EACCES) => Self::mounted(me),
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
    pub(crate) fn mounted(_: &Inside) -> Result<Self> {
        let fd = open("/proc", O_PATH_DIR, Mode::empty()).context(|| "open /proc")?;
        if !is_procfs(&fd)? {
            bail!("/proc is not a procfs");
        }
        Ok(Self { root: fd, is_private: false })
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
            // KERNEL(5.6), or a seccomp filter of the host's. There are no mounts in a private one.
            Err(Errno::ENOSYS) => {
                let file = openat(&self.root, path, flags | OFlag::O_CLOEXEC, Mode::empty())?;
                let is_own = self.is_private || is_same_mount(self.root.as_fd(), file.as_fd())?;
                if is_own { Ok(file) } else { Err(Errno::EXDEV) }
            }
            other => other,
        }
    }
}

/// `/proc/self/fd` becomes the working directory, where a descriptor's number is a path to what it
/// stands for: for the calls that take nothing but a path. The container's own /proc is not asked.
pub(super) fn enter_own_descriptors() -> Result<(), Errno> {
    let dir = match Proc::private() {
        Ok(root) => Proc { root, is_private: true },
        // In a user namespace whose /proc is not in full sight.
        Err(errno) => {
            let root = open("/proc", O_PATH_DIR, Mode::empty())?;
            if !is_procfs(&root)? {
                return Err(errno);
            }
            Proc { root, is_private: false }
        }
    };
    fchdir(dir.lookup("self/fd", OFlag::O_PATH | OFlag::O_DIRECTORY)?)
}

const O_PATH_DIR: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Nothing is mounted between the two. Without the ids of mounts (Linux 5.8) it cannot be known.
fn is_same_mount(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(mount_id(a)? == mount_id(b)?)
}

fn is_procfs(dir: &OwnedFd) -> Result<bool, Errno> {
    let is_proc = fstatfs(dir)?.filesystem_type() == PROC_SUPER_MAGIC;
    Ok(is_proc && fstat(dir)?.st_ino == PROC_ROOT)
}
