// SPDX-License-Identifier: Apache-2.0
//! `linux.devices`, the default devices and links of config-linux.md#default-devices, /dev/console.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat, makedev, mknodat,
};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};

use super::root::{Links, Missing, clean, create_file, is_kind, open_component};
use super::tree::Tree;
use super::{Entered, Request};
use crate::bail;
use crate::error::{Context, Result};
use crate::oci;
use crate::sys::Inside;
use crate::sys::mount::{Depth, move_mount, open_tree, open_tree_fd};

/// Name, major, minor; character devices, 0666, of root.
const DEFAULTS: &[(&str, u64, u64)] = &[
    ("dev/null", 1, 3),
    ("dev/random", 1, 8),
    ("dev/full", 1, 7),
    ("dev/tty", 5, 0),
    ("dev/zero", 1, 5),
    ("dev/urandom", 1, 9),
];

/// Target and name in /dev.
const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

/// Where device nodes may be: the defaults and those of the config.
pub(super) fn paths(configured: &[oci::Device<'_>]) -> impl Iterator<Item = String> {
    let defaults = DEFAULTS.iter().map(|(path, ..)| (*path).to_owned());
    defaults.chain(configured.iter().map(|device| clean(&device.path)))
}

#[derive(Debug)]
pub(super) struct Devices {
    nodes: Vec<Node>,
    links: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    /// Relative to the root.
    path: String,
    kind: SFlag,
    mode: u32,
    device: u64,
    uid: u32,
    gid: u32,
    /// In a user namespace device nodes cannot be made: the host's is bound, from this path.
    bind: Option<CString>,
}

impl Devices {
    pub(super) fn plan(spec: &oci::Spec<'_>, request: &Request<'_>) -> Result<Self> {
        let configured = spec.linux.as_ref().map_or(&[][..], |linux| &linux.devices);
        let mut nodes = Vec::new();
        for (path, major, minor) in DEFAULTS {
            if !configured.iter().any(|device| clean(&device.path) == *path) {
                let device = makedev(*major, *minor);
                nodes.push(Node::new(path, SFlag::S_IFCHR, device)?);
            }
        }
        for (i, device) in configured.iter().enumerate() {
            let node = Node::plan(device).context(|| format!("linux.devices[{i}]"))?;
            // ptmx is a link to the container's own.
            nodes.extend(node.filter(|node| node.path != "dev/ptmx"));
        }
        for node in &mut nodes {
            if !request.new_user_namespace || node.kind == SFlag::S_IFIFO {
                node.bind = None;
            }
        }
        let mut links = LINKS.to_vec();
        if std::path::Path::new("/proc/kcore").exists() {
            links.push(("/proc/kcore", "core"));
        }
        Ok(Self { nodes, links })
    }

    /// Those that are bound, and from where.
    pub(super) fn bound(&self) -> impl Iterator<Item = (&str, &CString)> {
        self.nodes.iter().filter_map(|node| Some((node.path.as_str(), node.bind.as_ref()?)))
    }

    pub(super) fn apply(&self, tree: &Tree, me: &Inside) -> Result<()> {
        let opened;
        let (dev, is_fresh) = match tree.fresh("dev") {
            // A set-group-id directory hands its group on.
            Some(dev) => (dev, fstat(dev)?.st_mode & libc::S_ISGID == 0),
            None => {
                let place = tree.root.place("dev", Links::Follow, || Missing::MakeDir);
                opened = place.context(|| "/dev")?.fd;
                (opened.as_fd(), false)
            }
        };
        for node in &self.nodes {
            let place = || format!("linux.devices: /{}", node.path);
            match node.path.strip_prefix("dev/").filter(|name| !name.contains('/')) {
                Some(name) => node.make(dev, name, is_fresh, me).context(place)?,
                None => {
                    let (dir, name) = tree.root.parent(&node.path).context(place)?;
                    node.make(dir.as_fd(), name, false, me).context(place)?;
                }
            }
        }
        link_ptmx(dev).context(|| "link /dev/ptmx")?;
        for (target, name) in &self.links {
            match symlinkat(*target, dev, *name) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno).context(|| format!("link /dev/{name}")),
            }
        }
        Ok(())
    }
}

/// Whatever the image has there, it is not the container's pseudo-terminals (CVE-2026-41579: `dev`
/// is a descriptor in the root, never a path).
fn link_ptmx(dev: BorrowedFd<'_>) -> Result<(), Errno> {
    match symlinkat("pts/ptmx", dev, "ptmx") {
        Err(Errno::EEXIST) => {
            unlinkat(dev, "ptmx", UnlinkatFlags::NoRemoveDir)?;
            symlinkat("pts/ptmx", dev, "ptmx")
        }
        other => other,
    }
}

impl Node {
    fn new(path: &str, kind: SFlag, device: u64) -> Result<Self> {
        let bind = Some(crate::sys::cstring(format!("/{path}"))?);
        let path = path.to_owned();
        Ok(Self { path, kind, mode: 0o666, device, uid: 0, gid: 0, bind })
    }

    /// None: a device without a path is for the cgroup rules only.
    fn plan(device: &oci::Device<'_>) -> Result<Option<Self>> {
        if device.path.is_empty() {
            return Ok(None);
        }
        let kind = match device.kind.as_str() {
            "c" | "u" => SFlag::S_IFCHR,
            "b" => SFlag::S_IFBLK,
            "p" => SFlag::S_IFIFO,
            other => bail!(".type: unknown device type {other:?} (want c, b, u or p)"),
        };
        let number = |name: &str, n: Option<i64>| match u32::try_from(n.unwrap_or(0)) {
            Ok(n) => Ok(u64::from(n)),
            Err(_) => bail!(".{name}: {} is not a device number", n.unwrap_or(0)),
        };
        let numbers = (number("major", device.major)?, number("minor", device.minor)?);
        let number = if kind == SFlag::S_IFIFO { 0 } else { makedev(numbers.0, numbers.1) };
        let path = clean(&device.path);
        if path.is_empty() {
            bail!(".path: {:?} is the root itself", device.path.as_str());
        }
        let mut node = Self::new(&path, kind, number).context(|| ".path: a null byte")?;
        node.mode = device.file_mode.unwrap_or(0o666) & 0o7777;
        node.uid = device.uid.unwrap_or(0);
        node.gid = device.gid.unwrap_or(0);
        Ok(Some(node))
    }

    fn make(&self, dir: BorrowedFd<'_>, name: &str, is_fresh: bool, _: &Inside) -> Result<()> {
        if let Some(host) = &self.bind {
            return self.bind(dir, name, host);
        }
        let mode = Mode::from_bits_truncate(self.mode);
        match mknodat(dir, name, self.kind, mode, self.device) {
            Ok(()) if is_fresh && (self.uid, self.gid) == (0, 0) => Ok(()),
            Ok(()) => self.own(dir, name),
            Err(Errno::EEXIST) => self.accept(dir, name),
            Err(Errno::EPERM) => {
                self.bind(dir, name, &crate::sys::cstring(format!("/{}", self.path))?)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Mode and owner of the node just made, if it still is that.
    fn own(&self, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
        let node = open_component(dir, name)?;
        self.check(&fstat(&node)?)?;
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fchownat(&node, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
        // A set-group-id directory or chown may have changed it.
        if fstat(&node)?.st_mode & 0o7777 != self.mode {
            let path = super::attributes::path_of(node.as_fd());
            let mode = Mode::from_bits_truncate(self.mode);
            fchmodat(AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink)?;
        }
        Ok(())
    }

    /// config-linux.md#devices: what is there already must be the device.
    fn accept(&self, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
        self.check(&fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    fn check(&self, stat: &FileStat) -> Result<()> {
        let is_fifo = self.kind == SFlag::S_IFIFO;
        if !is_kind(stat, self.kind) || (!is_fifo && stat.st_rdev != self.device) {
            bail!("there is something else already");
        }
        Ok(())
    }

    fn bind(&self, dir: BorrowedFd<'_>, name: &str, host: &CString) -> Result<()> {
        let source = open_tree(host, Depth::One, true).context(|| "bind from the host")?;
        self.check(&fstat(&source)?).context(|| "bind from the host")?;
        let target = bind_target(dir, name, 0)?;
        Ok(move_mount(source.as_fd(), target.as_fd())?)
    }
}

/// A file to mount over: a new one, or what is there unless it is a link or a directory.
fn bind_target(dir: BorrowedFd<'_>, name: &str, mode: u32) -> Result<OwnedFd> {
    match create_file(dir, name, mode) {
        Err(Errno::EEXIST) => {}
        other => return Ok(other?),
    }
    let fd = open_component(dir, name)?;
    let stat = fstat(&fd)?;
    if is_kind(&stat, SFlag::S_IFLNK) || is_kind(&stat, SFlag::S_IFDIR) {
        bail!("there is a symbolic link or directory already");
    }
    Ok(fd)
}

/// /dev/console is the terminal that the caller holds (CVE-2025-52565, CVE-2026-88264).
pub(super) fn bind_console(entered: &Entered, terminal: BorrowedFd<'_>, _: &Inside) -> Result<()> {
    let dev = entered.root.place("dev", Links::Follow, || Missing::MakeDir)?.fd;
    let target = bind_target(dev.as_fd(), "console", 0o666)?;
    let copy = open_tree_fd(terminal, Depth::One)?;
    Ok(move_mount(copy.as_fd(), target.as_fd())?)
}
