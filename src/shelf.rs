// SPDX-License-Identifier: Apache-2.0
//! The directory of all containers (`--root`), and a look at each, as `list` takes it: what is done for
//! each is done a hundred times, so files are opened by paths below one descriptor, and no directory.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};

use crate::cgroup::Mounts;
use crate::error::{Context, Result};
use crate::state::{self, Container, DIRECTORY, Facts, Status};

/// The root, open.
#[derive(Debug)]
pub(crate) struct Shelf {
    dir: OwnedFd,
    path: PathBuf,
    cgroups: Mounts,
}

/// A directory in it: a container, or what has its form.
#[derive(Debug)]
pub(crate) struct Place {
    pub id: String,
    pub uid: u32,
}

impl Shelf {
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let dir = openat(AT_FDCWD, path, DIRECTORY, Mode::empty())?;
        Ok(Self { dir, path: path.to_owned(), cgroups: Mounts::default() })
    }

    /// Its directories, in no order; links to some are none.
    pub(crate) fn places(&self) -> Result<Vec<Place>> {
        let reading = || format!("read {:?}", self.path);
        let mut listing = Dir::openat(&self.dir, ".", DIRECTORY, Mode::empty()).context(reading)?;
        let mut places = Vec::new();
        for entry in listing.iter() {
            let entry = entry.context(reading)?;
            let name = entry.file_name();
            let Ok(id) = name.to_str() else { continue };
            if id == "." || id == ".." {
                continue;
            }
            // Gone meanwhile, where it fails.
            let Ok(about) = fstatat(&self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) else {
                continue;
            };
            if SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
                places.push(Place { id: id.to_owned(), uid: about.st_uid });
            }
        }
        Ok(places)
    }

    /// As `Container::load` and `Container::status`.
    pub(crate) fn look(&mut self, id: &str) -> Result<(Facts, Status)> {
        state::check_id(id)?;
        let facts = state::load_at(&self.dir, &[id, "/"].concat(), &self.path)?;
        if facts.pid == 0 {
            // Being created, perhaps: that is seen by its lock.
            let container = Container::load(&self.path, id)?;
            let status = container.status()?;
            return Ok((container.facts, status));
        }
        let has_fifo = || state::exists_at(&self.dir, &[id, "/", state::FIFO].concat());
        let is_frozen = || facts.cgroup.is_frozen_below(&mut self.cgroups);
        let status = facts.status(is_frozen, has_fifo)?;
        Ok((facts, status))
    }

    /// The copy of config.json, if it can be read.
    pub(crate) fn config(&self, id: &str) -> Option<String> {
        state::config_at(&self.dir, &[id, "/"].concat()).ok()
    }
}
