// SPDX-License-Identifier: Apache-2.0
//! `root.readonly`, `linux.readonlyPaths`, `linux.maskedPaths`.
//! Child side, in the container's root, before privileges drop. Nothing is mounted after it.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, makedev};

use super::attributes::{add_readonly, finish_readonly, make_readonly};

use super::root::{Links, Root, clean, is_kind};
use super::{Entered, Request};
use crate::bail;
use crate::error::{Context, Result};
use crate::oci::{self, Str};
use crate::sys::Inside;
use crate::sys::mount::{
    Depth, attr, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree_fd,
};

#[derive(Debug)]
pub(super) struct LockDown {
    is_readonly: bool,
    readonly: Vec<String>,
    masked: Vec<String>,
    label: Option<CString>,
}

impl LockDown {
    pub(super) fn plan(
        spec: &oci::Spec<'_>,
        request: &Request<'_>,
        label: Option<&str>,
    ) -> Result<Self> {
        let (masked, readonly) = match &spec.linux {
            Some(linux) => (&linux.masked_paths[..], &linux.readonly_paths[..]),
            None => (&[][..], &[][..]),
        };
        if !request.mount_namespace && (!masked.is_empty() || !readonly.is_empty()) {
            bail!("linux.maskedPaths, linux.readonlyPaths: need a mount namespace");
        }
        Ok(Self {
            is_readonly: spec.root.as_ref().is_some_and(|root| root.readonly),
            readonly: paths(readonly).context(|| "linux.readonlyPaths")?,
            masked: paths(masked).context(|| "linux.maskedPaths")?,
            label: label.map(crate::sys::cstring).transpose()?,
        })
    }

    pub(super) fn has_masks(&self) -> bool {
        !self.masked.is_empty()
    }

    pub(super) fn apply(&self, entered: &Entered, me: &Inside) -> Result<()> {
        for mount in &entered.late_readonly {
            make_readonly(mount.as_fd()).context(|| "mount read-only")?;
        }
        if self.is_readonly {
            make_readonly(entered.root.fd()).context(|| "root.readonly")?;
        }
        for path in &self.readonly {
            make_path_readonly(&entered.root, path)
                .context(|| format!("linux.readonlyPaths: /{path}"))?;
        }
        let mut masks =
            Masks { root: &entered.root, null: None, dir: None, label: self.label.as_ref() };
        for path in &self.masked {
            masks.cover(path, me).context(|| format!("linux.maskedPaths: /{path}"))?;
        }
        Ok(())
    }
}

/// Clean and without repetitions, in order.
fn paths(written: &[Str<'_>]) -> Result<Vec<String>> {
    let mut paths: Vec<String> = Vec::with_capacity(written.len());
    let mut seen = std::collections::BTreeSet::new();
    for path in written {
        if path.contains('\0') {
            bail!("a null byte in {:?}", path.as_str());
        }
        if seen.insert(clean(path)) {
            paths.push(clean(path));
        }
    }
    Ok(paths)
}

/// None: there is no such path, so nothing to protect.
fn existing(root: &Root, path: &str) -> Result<Option<OwnedFd>, Errno> {
    match root.open(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn make_path_readonly(root: &Root, path: &str) -> Result<()> {
    let Some(target) = existing(root, path)? else {
        return Ok(());
    };
    let copy = open_tree_fd(target.as_fd(), Depth::Tree)?;
    // The attributes other than `ro` stay as they are.
    let rest = add_readonly(copy.as_fd())?;
    move_mount(copy.as_fd(), target.as_fd())?;
    Ok(finish_readonly(copy.as_fd(), &rest)?)
}

/// What masked paths are covered with, made when the first one needs it.
struct Masks<'a> {
    root: &'a Root,
    /// The container's /dev/null, verified.
    null: Option<OwnedFd>,
    /// An empty read-only tmpfs, shared by all directories.
    dir: Option<OwnedFd>,
    label: Option<&'a CString>,
}

impl Masks<'_> {
    fn cover(&mut self, path: &str, _: &Inside) -> Result<()> {
        let Some(target) = existing(self.root, path)? else {
            return Ok(());
        };
        if !is_kind(&fstat(&target)?, SFlag::S_IFDIR) {
            let copy = open_tree_fd(self.null()?.as_fd(), Depth::One)?;
            return Ok(move_mount(copy.as_fd(), target.as_fd())?);
        }
        match &self.dir {
            Some(dir) => {
                let copy = open_tree_fd(dir.as_fd(), Depth::One)?;
                move_mount(copy.as_fd(), target.as_fd())?;
            }
            None => {
                // Copies can only be made of an attached mount (before Linux 6.15).
                let dir = empty_tmpfs(self.label)?;
                move_mount(dir.as_fd(), target.as_fd())?;
                self.dir = Some(dir);
            }
        }
        Ok(())
    }

    fn null(&mut self) -> Result<&OwnedFd> {
        if self.null.is_none() {
            self.null = Some(dev_null(self.root, OFlag::O_PATH)?);
        }
        Ok(self.null.as_ref().expect("set above"))
    }
}

/// The container's /dev/null, which is the real one (CVE-2025-31133).
pub(super) fn dev_null(root: &Root, flags: OFlag) -> Result<OwnedFd> {
    use nix::fcntl::ResolveFlag;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let flags = flags | OFlag::O_NOFOLLOW;
    let null = match crate::sys::openat2::openat2(root.fd(), "dev/null", flags, resolve) {
        Err(Errno::ENOSYS) => {
            // A seccomp filter of the host's refuses openat2.
            let dev = root.place("dev", Links::Follow, || super::root::Missing::Refuse)?;
            let flags = flags | OFlag::O_CLOEXEC;
            nix::fcntl::openat(&dev.fd, "null", flags, nix::sys::stat::Mode::empty())
        }
        other => other,
    }
    .context(|| "open the container's /dev/null")?;
    let stat = fstat(&null)?;
    if !is_dev_null(&stat) {
        bail!("the container's /dev/null is not the null device");
    }
    Ok(null)
}

pub(super) fn is_dev_null(stat: &nix::sys::stat::FileStat) -> bool {
    is_kind(stat, SFlag::S_IFCHR) && stat.st_rdev == makedev(1, 3)
}

/// A read-only tmpfs that can hold nothing; detached.
pub(super) fn empty_tmpfs(label: Option<&CString>) -> Result<OwnedFd, Errno> {
    let make = |inodes| {
        let fs = fsopen(c"tmpfs")?;
        fsconfig_set_string(fs.as_fd(), c"source", c"tmpfs")?;
        fsconfig_set_string(fs.as_fd(), c"nr_blocks", c"1")?;
        fsconfig_set_string(fs.as_fd(), c"nr_inodes", inodes)?;
        fsconfig_set_flag(fs.as_fd(), c"ro")?;
        if let Some(label) = label {
            fsconfig_set_string(fs.as_fd(), c"context", label)?;
        }
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), attr::RDONLY)
    };
    // Some kernels of Ubuntu's want two inodes.
    make(c"1").or_else(|_| make(c"2"))
}
