// SPDX-License-Identifier: Apache-2.0
//! For checkpoint and restore: what in the container's root is the host's, so that CRIU must not save
//! it and has to be told where to find it again; and the mount points that a restore needs.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat, umask};

use super::cgroupfs::Cgroups;
use super::devices;
use super::mount::{Mount, What};
use super::options::Options;
use super::root::{Links, Missing, Root, clean, is_kind};
use super::tree::{Tree, is_at_or_below};
use super::{CgroupView, Rootfs};
use crate::error::{Context, Result};
use crate::oci;
use crate::sys::Inside;
use crate::sys::mount::{Depth, move_mount_to, open_tree};

/// What masked files are covered with; in the images, one mount stands for all of them.
const NULL: &str = "/dev/null";

/// Where something of the host's is in the container, and what it is: `(key, value)` of CRIU's
/// external mounts.
pub(crate) type External = (String, PathBuf);

/// For a dump. `root` is that of the running container; `extra` are mounts behind the config's.
pub(crate) fn of_running(
    spec: &oci::Spec<'_>,
    extra: &[oci::Mount<'_>],
    root: OwnedFd,
    cgroups: Option<&CgroupView>,
) -> Result<Vec<External>> {
    let root = Root::new(root);
    let none = oci::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&none);
    let v1 = cgroups.map_or(&[][..], |view| &view.v1);
    let has_own_cgroups =
        linux.namespaces.iter().any(|entry| &*entry.kind == "cgroup" && entry.path.is_empty());
    let mut found = Vec::new();
    for entry in spec.mounts.iter().chain(extra) {
        let options = Options::plan(&entry.options)?;
        let to = resolved(&root, &entry.destination);
        if options.is_bind() || &*entry.kind == "bind" {
            found.push(same(to));
        } else if &*entry.kind == "cgroup" && !v1.is_empty() {
            found.extend(v1.iter().map(|v1| same(format!("{to}/{}", v1.dir))));
        } else if is_cgroup(entry) && !has_own_cgroups && options.data.is_empty() {
            // The host's mount, see cgroupfs.rs.
            found.push(same(to));
        }
    }
    for path in &linux.masked_paths {
        let is_file = |fd: OwnedFd| fstat(fd).is_ok_and(|stat| !is_kind(&stat, SFlag::S_IFDIR));
        if root.open(&clean(path)).is_ok_and(is_file) {
            found.push((resolved(&root, path), NULL.into()));
        }
    }
    // Bound from the host where they can't be made.
    found.extend(devices::paths(&linux.devices).map(|path| same(resolved(&root, &path))));
    Ok(found)
}

fn is_cgroup(entry: &oci::Mount<'_>) -> bool {
    matches!(&*entry.kind, "cgroup" | "cgroup2")
}

/// In the images the value is a name; here it is the place itself.
fn same(to: String) -> External {
    let value = PathBuf::from(&to);
    (to, value)
}

/// Without links and dots: CRIU looks for the mount that the path is on by comparing text.
fn real(source: &CStr) -> Result<PathBuf, Errno> {
    let fd = open(source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let link = format!("/proc/self/fd/{}", crate::sys::fd::number(fd.as_fd()));
    nix::fcntl::readlink(link.as_str()).map(PathBuf::from)
}

fn path_of(text: &CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(text.to_bytes()))
}

/// Where it leads in the container, free of links; as it is written if there is no such place.
fn resolved(root: &Root, path: &str) -> String {
    let path = clean(path);
    let found = root.resolve(&path);
    format!("/{}", found.unwrap_or(path))
}

impl Rootfs {
    /// For a restore, in a mount namespace of its own: makes the mount points that `create` would make,
    /// then binds the root to `at`, as CRIU needs it to be a mount point.
    pub(crate) fn prepare_restore(&self, at: &Path, me: &Inside) -> Result<Vec<External>> {
        let none = None::<&str>;
        // What is mounted here shall not be seen outside.
        let slave = MsFlags::MS_SLAVE | MsFlags::MS_REC;
        mount(none, "/", none, slave, none).context(|| "make mounts slaves")?;
        let mask = umask(Mode::empty());
        let mut tree = Tree::new(self.bind_at(at)?);
        let found = self.place_all(&mut tree, me);
        umask(mask);
        drop(tree);
        // With all that was mounted in it.
        umount2(at, MntFlags::MNT_DETACH).context(|| format!("unmount {at:?}"))?;
        self.bind_at(at)?;
        found
    }

    fn bind_at(&self, at: &Path) -> Result<Root> {
        let root = self.pivot.path();
        let doing = || format!("bind root {} to {at:?}", root.to_string_lossy());
        let fd = open_tree(root, Depth::Tree, false).context(doing)?;
        let at = crate::sys::cstring(at.as_os_str().as_bytes())?;
        move_mount_to(fd.as_fd(), &at).context(doing)?;
        Ok(Root::new(fd))
    }

    fn place_all(&self, tree: &mut Tree, me: &Inside) -> Result<Vec<External>> {
        let mut found = Vec::new();
        for (i, entry) in self.mounts.iter().enumerate() {
            // What is in a file system of the container's own, CRIU or the kernel brings back.
            let is_inside = |other: &Mount| other.is_new() && is_at_or_below(&entry.to, &other.to);
            let is_covered = self.mounts[..i].iter().any(is_inside);
            entry
                .prepare_restore(is_covered, tree, &mut found, me)
                .context(|| format!("mount point of {entry}"))?;
        }
        if self.lock_down.has_masks() {
            found.push(same(NULL.to_owned()));
        }
        let bound = self.devices.iter().flat_map(|devices| devices.bound());
        found.extend(bound.map(|(path, host)| (format!("/{path}"), path_of(host))));
        Ok(found)
    }
}

impl Mount {
    fn is_new(&self) -> bool {
        matches!(self.what, What::New(_))
    }

    fn prepare_restore(
        &self,
        is_covered: bool,
        tree: &mut Tree,
        found: &mut Vec<External>,
        me: &Inside,
    ) -> Result<()> {
        match &self.what {
            What::Bind(bind) => {
                let source = real(bind.source()).context(|| "source")?;
                if is_covered {
                    found.push((format!("/{}", self.to), source));
                } else if let Some((_, place)) = bind.apply(&self.to, self.links, None, tree, me)? {
                    // Mounted for as long as other mount points are made, which may be in it.
                    found.push((format!("/{}", place.path), source));
                }
            }
            What::Cgroups(Cgroups::V1 { hierarchies, .. }) => {
                let dirs = hierarchies.iter().map(|hierarchy| hierarchy.place_in(&self.to));
                found.extend(dirs);
                self.make_point(is_covered, tree)?;
            }
            What::Cgroups(Cgroups::V2 { new, bind, .. }) => {
                let bound = bind.iter().filter(|_| new.is_none());
                found.extend(bound.map(|host| (format!("/{}", self.to), path_of(host))));
                self.make_point(is_covered, tree)?;
            }
            What::New(_) => self.make_point(is_covered, tree)?,
            What::Remount { .. } => {}
        }
        Ok(())
    }

    fn make_point(&self, is_covered: bool, tree: &Tree) -> Result<()> {
        if !is_covered {
            tree.place(&self.to, self.links, || Missing::MakeDir)?;
        }
        Ok(())
    }
}

impl Root {
    /// Where an existing `path` is, free of links.
    fn resolve(&self, path: &str) -> Result<String, Errno> {
        if self.open_exact(path).is_ok() {
            return Ok(path.to_owned());
        }
        self.find(path, Links::Follow).map(|place| place.path)
    }
}
