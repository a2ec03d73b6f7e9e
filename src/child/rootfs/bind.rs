// SPDX-License-Identifier: Apache-2.0
//! `mounts[]` with `bind` or `rbind`: a detached copy of the source, changed, then attached.
//! The child makes the copy after the root's propagation is set; the parent makes it before the
//! clone where only the parent can (id maps, and sources that a user namespace's root cannot reach).

use std::cell::RefCell;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::symlinkat;

use super::attributes::{Exact, propagate, set_recursively};
use super::foresee::{Foreseen, Sight};
use super::idmap::Mapped;
use super::mapper::Mapper;
use super::options::{MS_REC, Options};
use super::root::{Links, Missing, Place, is_kind};
use super::tree::Tree;
use crate::bail;
use crate::error::{Context, Result};
use crate::log;
use crate::oci::IdMapping;
use crate::sys::Inside;
use crate::sys::mount::{Depth, Setattr, open_tree, open_tree_fd, open_tree_in};

#[derive(Debug)]
pub(super) struct Bind {
    source: CString,
    /// The source inside the container's root: mounts that are made before this one may be part of
    /// it, and the way down to the root may be closed to the child.
    inside: Option<CString>,
    depth: Depth,
    follow: bool,
    /// Made by the parent; taken as it is.
    opened: RefCell<Option<OwnedFd>>,
    idmap: Option<Mapped>,
    /// Maps for a child that cannot.
    mapper: Option<Mapper>,
    exact: Option<Exact>,
    /// A source that is a link is made again as a link.
    copy_symlink: bool,
}

/// Who the child is when it looks a source up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eyes {
    /// The host's ids of the root of a new user namespace; None: the parent's own rights.
    pub root: Option<(u32, u32)>,
    /// The child does not see the host's files at all, and the container's root is that of the child.
    pub is_outside: bool,
}

impl Eyes {
    pub(super) fn plan(is_new_userns: bool, uids: &[IdMapping], gids: &[IdMapping]) -> Self {
        let host =
            |maps: &[IdMapping]| maps.iter().find(|m| m.container_id == 0).map(|m| m.host_id);
        // Without a mapping of 0 nothing but the bits for others counts.
        let root = (host(uids).unwrap_or(u32::MAX), host(gids).unwrap_or(u32::MAX));
        Self { root: is_new_userns.then_some(root), is_outside: false }
    }

    /// Whether every directory on the way to `path` can be searched. Reads permission bits only: a
    /// wrong "no" costs nothing but the parent's opening.
    fn reach(self, path: &Path) -> bool {
        if self.is_outside {
            return false;
        }
        let Some((uid, gid)) = self.root else {
            return true;
        };
        path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).all(|dir| {
            dir.metadata().is_ok_and(|m| {
                let bit = match () {
                    () if m.uid() == uid => 0o100,
                    () if m.gid() == gid => 0o010,
                    () => 0o001,
                };
                m.mode() & bit != 0
            })
        })
    }
}

fn text(path: &Path) -> Result<CString> {
    crate::sys::cstring(path.as_os_str().as_encoded_bytes()).context(|| "source: a null byte")
}

impl Bind {
    pub(super) fn plan(
        source: &Path,
        options: &Options,
        idmap: Option<Mapped>,
        eyes: Eyes,
        root: &Path,
    ) -> Result<Self> {
        if !options.data.is_empty() {
            // mount(2) and the specification's validation suite pass over them; runc 1.5 refuses.
            log::warn(&format!(
                "bind mount of {}: {} has no effect",
                source.display(),
                options.data.join(", ")
            ));
        }
        if options.copy_up {
            bail!(".options: tmpcopyup needs type tmpfs");
        }
        let mut bind = Self {
            source: crate::sys::cstring(source.as_os_str().as_encoded_bytes())
                .context(|| ".source: a null byte")?,
            inside: match source.strip_prefix(root) {
                Ok(path) if !eyes.is_outside => Some(text(path)?),
                _ => None,
            },
            depth: if options.flags & MS_REC == 0 { Depth::One } else { Depth::Tree },
            follow: !options.src_nofollow,
            opened: RefCell::new(None),
            idmap,
            mapper: None,
            exact: options
                .changes_attributes()
                .then_some(Exact { flags: options.flags, cleared: options.cleared }),
            copy_symlink: options.copy_symlink,
        };
        let only_parent_maps = eyes.root.is_some() && bind.idmap.is_some();
        match (&bind.idmap, &bind.inside) {
            (Some(mapped), Some(_)) if only_parent_maps => {
                bind.mapper = Some(Mapper::start(mapped)?);
            }
            (_, None) if only_parent_maps || !eyes.reach(source) => {
                bind.open_in_parent(source, eyes)?
            }
            _ => {}
        }
        Ok(bind)
    }

    fn open_in_parent(&mut self, source: &Path, eyes: Eyes) -> Result<()> {
        let opened = match self.open(None) {
            Ok(fd) => {
                // Done; the descriptor of the maps is not held any longer than needed.
                self.idmap = None;
                Some(fd)
            }
            // A parent without privileges has no more rights than the child.
            Err(error)
                if error.errno() == Some(Errno::EPERM)
                    && self.idmap.is_none()
                    && !eyes.is_outside =>
            {
                None
            }
            Err(error) => return Err(error).context(|| format!(".source: {}", source.display())),
        };
        self.opened = RefCell::new(opened);
        Ok(())
    }

    /// `root`: that of the container, once it is there.
    fn open(&self, root: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
        let fd = match (root, &self.inside) {
            (Some(root), Some(path)) if path.is_empty() => open_tree_fd(root, self.depth)?,
            (Some(root), Some(path)) => open_tree_in(root, path, self.depth, self.follow)?,
            _ => open_tree(&self.source, self.depth, self.follow)?,
        };
        match &self.idmap {
            Some(idmap) if self.mapper.is_none() => idmap.set(fd.as_fd())?,
            _ => {}
        }
        Ok(fd)
    }

    /// For `check`: the source, the mount point, and whether the source takes id maps.
    pub(super) fn foresee(&self, to: Option<&str>, sight: &Sight) -> Result<(), Foreseen> {
        let Some(source) = self.look_up(sight).map_err(|error| ("source", error))? else {
            return Ok(());
        };
        let is_dir = |fd: &OwnedFd| fstat(fd).is_ok_and(|stat| is_kind(&stat, SFlag::S_IFDIR));
        let place = || -> Result<()> {
            let Some(to) = to else { return Ok(()) };
            let found = sight.mount_point(to).context(|| "mount point")?;
            let Some(place) = found else { return Ok(()) };
            let is_proc =
                || fstatfs(&source).is_ok_and(|st| st.filesystem_type() == PROC_SUPER_MAGIC);
            super::mount::check_place(&place, "bind", is_proc)?;
            match (is_dir(&source), is_dir(&place.fd)) {
                (true, false) => Err(Errno::ENOTDIR).context(|| "a directory over a file"),
                (false, true) => Err(Errno::ENOTDIR).context(|| "a file over a directory"),
                _ => Ok(()),
            }
        };
        place().map_err(|error| ("destination", error))?;
        if self.idmap.is_none() || self.mapper.is_some() || self.inside.is_some() {
            return Ok(());
        }
        let context = || format!("source {}", self.source.to_string_lossy());
        match self.open(None).context(context) {
            // Without privileges there is no asking.
            Err(error) if error.errno() == Some(Errno::EPERM) => Ok(()),
            Err(error) => Err(("uidMappings", error)),
            Ok(_) => Ok(()),
        }
    }

    /// None: something is mounted there before, or a link is copied.
    fn look_up(&self, sight: &Sight) -> Result<Option<OwnedFd>> {
        if self.opened.borrow().is_some() {
            return Ok(None);
        }
        let found = match &self.inside {
            Some(path) => match sight.find(&path.to_string_lossy()) {
                None => return Ok(None),
                Some(found) => found.map(|place| place.fd),
            },
            None => {
                let links = if self.follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
                let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | links;
                open(self.source.as_c_str(), flags, Mode::empty())
            }
        };
        if self.copy_symlink && readlinkat(AT_FDCWD, self.source.as_c_str()).is_ok() {
            return Ok(None);
        }
        found.map(Some).context(|| format!("source {}", self.source.to_string_lossy()))
    }

    pub(super) fn source(&self) -> &CString {
        &self.source
    }

    /// None: there was nothing to mount, a link was copied.
    pub(super) fn apply(
        &self,
        to: &str,
        links: Links,
        recursive: Option<&Setattr<'_>>,
        tree: &mut Tree,
        me: &Inside,
    ) -> Result<Option<(OwnedFd, Place)>> {
        if self.copy_symlink && self.copy_link(to, tree)? {
            return Ok(None);
        }
        // Taken, so that it is closed once it is attached.
        let opened = self.opened.take();
        let is_parents = opened.is_some();
        let fd = match opened {
            Some(fd) => fd,
            None => self
                .open(Some(tree.root.fd()))
                .context(|| format!("source {}", self.source.to_string_lossy()))?,
        };
        if let Some(mapper) = &self.mapper {
            mapper.map(fd.as_fd(), me)?;
        }
        let is_dir = || fstat(&fd).is_ok_and(|stat| is_kind(&stat, SFlag::S_IFDIR));
        let missing = || if is_dir() { Missing::MakeDir } else { Missing::MakeFile };
        let place = tree.place(to, links, missing).context(|| "mount point")?;
        let is_proc = || fstatfs(&fd).is_ok_and(|st| st.filesystem_type() == PROC_SUPER_MAGIC);
        super::mount::check_place(&place, "bind", is_proc)?;
        let rest = self.exact.map(|exact| exact.set(fd.as_fd())).transpose()?;
        if let Some(change) = recursive {
            set_recursively(fd.as_fd(), change)?;
        }
        match tree.attach(&fd, &place) {
            Err(Errno::ENOTDIR) if is_dir() => {
                return Err(Errno::ENOTDIR).context(|| "a directory over a file");
            }
            Err(Errno::ENOTDIR) => {
                return Err(Errno::ENOTDIR).context(|| "a file over a directory");
            }
            other => other?,
        }
        if let (Some(exact), Some(rest)) = (self.exact, rest) {
            exact.finish(fd.as_fd(), &rest)?;
        }
        if is_parents {
            // The copy is still a peer of the host's mount, which the child's own copies are not.
            propagate(fd.as_fd(), libc::MS_SLAVE | MS_REC)?;
        }
        Ok(Some((fd, place)))
    }

    /// Whether the source is a link, which then is in the container too.
    fn copy_link(&self, to: &str, tree: &Tree) -> Result<bool> {
        let (at, path) = match &self.inside {
            Some(path) => (tree.root.fd(), path),
            None => (AT_FDCWD, &self.source),
        };
        let target = match readlinkat(at, path.as_c_str()) {
            Ok(target) => target,
            Err(Errno::EINVAL) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        let (dir, name) = tree.root.parent(to)?;
        match symlinkat(target.as_os_str(), &dir, name) {
            Err(Errno::EEXIST) if readlinkat(&dir, name).as_ref() == Ok(&target) => Ok(true),
            Err(errno) => Err(errno).context(|| "copy-symlink"),
            Ok(()) => Ok(true),
        }
    }
}
