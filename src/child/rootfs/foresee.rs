// SPDX-License-Identifier: Apache-2.0
//! For `check`: what assembling the root would run into, as far as it shows beforehand. Parent side;
//! looks at the root as it is now, and makes nothing.

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{SFlag, fstat};

use super::Rootfs;
use super::root::{Links, Place, Root, is_kind};
use super::tree::is_at_or_below;
use crate::error::{Context, Error, Result};

/// A property of a mount, and what is wrong with it.
pub(super) type Foreseen = (&'static str, Error);

/// The root before anything is mounted, and where the mounts made so far would hide it.
#[derive(Debug)]
pub(crate) struct Sight {
    root: Root,
    covered: Vec<String>,
}

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

impl Sight {
    /// What is at `path` of the container's root. None: something will be mounted on the way.
    pub(super) fn find(&self, path: &str) -> Option<Result<Place, Errno>> {
        let parts = |text: &str| -> Vec<String> {
            text.split('/').rev().filter(|c| !matches!(*c, "" | ".")).map(str::to_owned).collect()
        };
        let (mut done, mut todo, mut links) = (Vec::<String>::new(), parts(path), 0);
        while let Some(name) = todo.pop() {
            if name == ".." {
                done.pop();
                continue;
            }
            done.push(name);
            let here = done.join("/");
            if self.covered.iter().any(|top| is_at_or_below(&here, top)) {
                return None;
            }
            let place = match self.root.find(&here, Links::KeepLast) {
                Err(errno) => return Some(Err(errno)),
                Ok(place) => place,
            };
            if !fstat(&place.fd).is_ok_and(|stat| is_kind(&stat, SFlag::S_IFLNK)) {
                continue;
            }
            links += 1;
            let target = readlinkat(&place.fd, "").map(|target| target.into_string());
            let Ok(Ok(target)) = target else { return None };
            if links > MAX_LINKS {
                return Some(Err(Errno::ELOOP));
            }
            done.pop();
            if target.starts_with('/') {
                done.clear();
            }
            todo.extend(parts(&target));
        }
        Some(self.root.find(&done.join("/"), Links::Refuse))
    }

    /// Where a mount goes: None where it will be made, or something else will be mounted before.
    pub(super) fn mount_point(&self, path: &str) -> Result<Option<Place>, Errno> {
        match self.find(path) {
            None | Some(Err(Errno::ENOENT)) => Ok(None),
            Some(place) => place.map(Some),
        }
    }

    /// The mode of the file that a program's path leads to, links followed; None as for `find`.
    pub(crate) fn mode(&self, path: &str) -> Option<Result<u32, Errno>> {
        let found = self.find(path)?;
        Some(found.and_then(|place| fstat(&place.fd)).map(|stat| stat.st_mode))
    }
}

impl Rootfs {
    /// Each with its mount's place in the list and the property; and the root, with all mounts on it.
    pub(crate) fn foresee(&self) -> Result<(Sight, Vec<(usize, Foreseen)>)> {
        let root = self.pivot.look().context(|| "root.path")?;
        let mut sight = Sight { root: Root::new(root), covered: Vec::new() };
        let mut found = Vec::new();
        for (i, mount) in self.mounts.iter().enumerate() {
            if let Err((property, error)) = mount.foresee(&sight) {
                let named = Err::<(), _>(error).context(|| format!("mount {mount}"));
                found.extend(named.err().map(|error| (i, (property, error))));
            }
            sight.covered.push(mount.to.clone());
        }
        Ok((sight, found))
    }
}
