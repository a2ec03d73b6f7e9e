// SPDX-License-Identifier: Apache-2.0
//! The root while it is being assembled: where mounts go, and what is kept of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};

use super::root::{Links, Missing, Place, Root, is_kind, make_component, open_component};
use crate::error::Result;
use crate::sys::mount::move_mount;

#[derive(Debug)]
pub(super) struct Tree {
    pub root: Root,
    /// Filesystems that this container's mounts have just made, by their path: nobody else has put
    /// a link or anything else in.
    fresh: Vec<(String, OwnedFd)>,
    /// Mounts that become read-only once everything is in them.
    pub late_readonly: Vec<OwnedFd>,
}

impl Tree {
    pub(super) fn new(root: Root) -> Self {
        Self { root, fresh: Vec::new(), late_readonly: Vec::new() }
    }

    /// Finds or makes a destination; see [`Root::place`].
    pub(super) fn place(
        &self,
        path: &str,
        links: Links,
        missing: impl FnOnce() -> Missing,
    ) -> Result<Place, Errno> {
        let Some((dir, name)) = path.rsplit_once('/') else {
            return self.root.place(path, links, missing);
        };
        let Some(dir) = self.fresh(dir) else {
            return self.root.place(path, links, missing);
        };
        // In a fresh directory, making first saves the lookups that find nothing.
        let kind = missing();
        if make_component(dir, name, kind)? {
            let fd = open_component(dir, name)?;
            return Ok(Place { fd, path: path.to_owned(), existed: false });
        }
        self.root.place(path, links, || kind)
    }

    /// The root directory of the fresh filesystem at exactly `path`.
    pub(super) fn fresh(&self, path: &str) -> Option<BorrowedFd<'_>> {
        self.fresh.iter().find(|(at, _)| at == path).map(|(_, fd)| fd.as_fd())
    }

    /// Puts a detached mount on its place; ENOTDIR where one of them is a directory and the other not,
    /// as mount(2) has it (move_mount says EINVAL).
    pub(super) fn attach(&mut self, mount: &OwnedFd, place: &Place) -> Result<(), Errno> {
        let is_dir = |fd: &OwnedFd| fstat(fd).map(|stat| is_kind(&stat, SFlag::S_IFDIR));
        match move_mount(mount.as_fd(), place.fd.as_fd()) {
            Err(Errno::EINVAL) if is_dir(mount)? != is_dir(&place.fd)? => Err(Errno::ENOTDIR),
            other => other,
        }?;
        self.covered(&place.path);
        Ok(())
    }

    /// Something has been mounted at `path`: what was there is out of sight.
    pub(super) fn covered(&mut self, path: &str) {
        self.fresh.retain(|(at, _)| !is_at_or_below(at, path));
    }

    pub(super) fn add_fresh(&mut self, mount: OwnedFd, place: Place) {
        self.fresh.push((place.path, mount));
    }
}

pub(super) fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
