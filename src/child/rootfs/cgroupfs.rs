// SPDX-License-Identifier: Apache-2.0
//! `mounts[]` of type `cgroup` and `cgroup2`.
//! v2 in a cgroup namespace of its own is a new mount, which shows the container's cgroup as root.
//! Else the host's mount is bound: a new cgroup2 mount from the initial cgroup namespace waits 8 to
//! 14 ms for RCU. v1 is a tmpfs with one bind of the container's own cgroup for each hierarchy.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::symlinkat;

use super::Request;
use super::attributes::{Exact, Rest};
use super::lockdown::empty_tmpfs;
use super::options::{MS_RDONLY, Options, attributes};
use super::root::{Links, Missing, clean, make_component};
use super::tree::Tree;
use crate::annotations::{self, FORCE_CGROUP_V1};
use crate::bail;
use crate::error::{Context, Result};
use crate::oci;
use crate::sys::Inside;
use crate::sys::mount::{
    Depth, attr, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount_in, open_tree,
};

/// Where the container's cgroups are on the host.
#[derive(Debug, Default, Clone)]
pub(crate) struct CgroupView {
    /// The container's own directory in cgroup2.
    pub v2: Option<PathBuf>,
    /// It can be missing: rootless, without rights over cgroups.
    pub optional: bool,
    /// Not empty: the host has v1 hierarchies, and type `cgroup` shows them.
    pub v1: Vec<V1Mount>,
}

/// One v1 hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct V1Mount {
    /// Its name under /sys/fs/cgroup, such as `cpu,cpuacct`.
    pub dir: String,
    /// Other names for it, such as `cpu` and `cpuacct`.
    pub links: Vec<String>,
    /// The container's own directory in it.
    pub host: PathBuf,
    /// Shown, read-only, when that is not there: rootless, without rights over cgroups.
    pub instead: Option<PathBuf>,
    /// Neither of them need be there.
    pub optional: bool,
}

#[derive(Debug)]
pub(super) enum Cgroups {
    V1 { hierarchies: Vec<Hierarchy>, exact: Exact },
    V2 { new: Option<Vec<CString>>, bind: Option<CString>, optional: bool, exact: Exact },
}

#[derive(Debug)]
pub(super) struct Hierarchy {
    dir: String,
    links: Vec<String>,
    host: CString,
    instead: Option<CString>,
    optional: bool,
}

impl Cgroups {
    /// None: another type, or a cgroup2 mount of a host whose cgroups are not in use.
    pub(super) fn plan(
        kind: &str,
        options: &Options,
        request: &Request<'_>,
    ) -> Result<Option<Self>> {
        let view = &request.cgroups;
        let exact = Exact { flags: options.flags, cleared: 0 };
        match kind {
            "cgroup" if !view.v1.is_empty() => {
                let hierarchies = view.v1.iter().map(Hierarchy::plan).collect::<Result<_>>()?;
                Ok(Some(Self::V1 { hierarchies, exact }))
            }
            // Of a named hierarchy of its own; see `forced_v1`.
            "cgroup" if options.data.iter().any(|option| option.starts_with("name=")) => Ok(None),
            "cgroup" | "cgroup2" => {
                let own = view.v2.as_deref();
                let is_new = request.new_cgroup_namespace || !options.data.is_empty();
                // A new mount that is refused is replaced by what it would have shown.
                let bind = if is_new { own.map(Path::to_owned) } else { own.and_then(mount_point) };
                let new =
                    is_new.then(|| options.data.iter().map(|o| cstring(o.as_str())).collect());
                Ok(Some(Self::V2 {
                    new: new.transpose()?,
                    bind: bind
                        .map(|path| cstring(path.as_os_str().as_encoded_bytes()))
                        .transpose()?,
                    optional: view.optional && is_new,
                    exact,
                }))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn apply(&self, to: &str, tree: &mut Tree, _: &Inside) -> Result<OwnedFd> {
        match self {
            Self::V1 { hierarchies, exact } => mount_v1(to, hierarchies, *exact, tree),
            Self::V2 { new, bind, optional, exact } => {
                let place = tree.place(to, Links::Follow, || Missing::MakeDir)?;
                super::mount::check_place(&place, "cgroup2", || false)?;
                // In a cgroup that is not the container's own a new mount would show the caller's.
                let is_missing = *optional && bind.as_deref().is_none_or(|own| !exists(own));
                let new = new.as_deref().filter(|_| !is_missing);
                let (fd, rest) = v2(new, bind.as_ref(), *exact)?;
                tree.attach(&fd, &place)?;
                exact.finish(fd.as_fd(), &rest)?;
                Ok(fd)
            }
        }
    }
}

/// `run.oci.systemd.force_cgroup_v1`: where a systemd of old in the container shall find the hierarchy
/// `name=systemd` on a host with v2 alone, in the place of what the config mounts there; and how. None
/// where v1 is shown anyway.
pub(super) fn forced_v1<'a>(
    spec: &oci::Spec<'a>,
    view: &CgroupView,
) -> Result<Option<(String, [oci::Mount<'a>; 2])>> {
    let Some(at) = annotations::get(spec, FORCE_CGROUP_V1).filter(|_| view.v1.is_empty()) else {
        return Ok(None);
    };
    if !spec.mounts.iter().any(|mount| clean(&mount.destination) == clean(at)) {
        bail!("annotations[{FORCE_CGROUP_V1}]: {at:?} is the destination of no mount");
    }
    let mount = |to: String, kind: &'static str, options: &[&'static str]| oci::Mount {
        destination: to.into(),
        kind: kind.into(),
        source: kind.into(),
        options: options.iter().map(|option| (*option).into()).collect(),
        ..Default::default()
    };
    let tmpfs = mount(at.to_owned(), "tmpfs", &["nosuid", "nodev", "noexec", "mode=755"]);
    let options = &["nosuid", "nodev", "noexec", "relatime", "none", "name=systemd", "xattr"];
    let systemd = mount(format!("{at}/systemd"), "cgroup", options);
    Ok(Some((clean(at), [tmpfs, systemd])))
}

impl Hierarchy {
    /// Where it is shown below `to`, and what.
    pub(super) fn place_in(&self, to: &str) -> (String, PathBuf) {
        let host = PathBuf::from(OsStr::from_bytes(self.host.to_bytes()));
        (format!("/{to}/{}", self.dir), host)
    }

    fn plan(mount: &V1Mount) -> Result<Self> {
        let path = |path: &Path| cstring(path.as_os_str().as_encoded_bytes());
        Ok(Self {
            dir: mount.dir.clone(),
            links: mount.links.clone(),
            host: path(&mount.host)?,
            instead: mount.instead.as_deref().map(path).transpose()?,
            optional: mount.optional,
        })
    }

    /// A copy of the mount that shows it; None where there is nothing to show.
    fn open(&self, exact: Exact) -> Result<Option<(OwnedFd, Exact)>> {
        let doing = |path: &CString| format!("bind {}", path.to_string_lossy());
        match (open_tree(&self.host, Depth::Tree, true), &self.instead) {
            (Err(Errno::ENOENT), Some(instead)) => {
                let own = open_tree(instead, Depth::Tree, true).context(|| doing(instead))?;
                // Not the container's to change.
                Ok(Some((own, Exact { flags: exact.flags | MS_RDONLY, ..exact })))
            }
            (Err(Errno::ENOENT), None) if self.optional => Ok(None),
            (own, _) => Ok(Some((own.context(|| doing(&self.host))?, exact))),
        }
    }
}

/// The top of the cgroup2 filesystem that `path` is (or will be) in.
fn mount_point(path: &Path) -> Option<PathBuf> {
    let is_cgroup2 =
        |path: &&Path| statfs(*path).is_ok_and(|st| st.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let there = path.ancestors().skip_while(|path| !is_cgroup2(path));
    there.take_while(is_cgroup2).last().map(Path::to_owned)
}

fn v2(new: Option<&[CString]>, bind: Option<&CString>, exact: Exact) -> Result<(OwnedFd, Rest)> {
    if let Some(options) = new {
        match new_v2(options, exact.flags) {
            // A user namespace that does not own its cgroup namespace.
            Err(Errno::EPERM | Errno::EBUSY) => {}
            other => return Ok((other?, Rest::Nothing)),
        }
    }
    let Some(bind) = bind else {
        // Nothing to show; what is there may be the host's, writable (CVE-2023-25809).
        return Ok((empty_tmpfs(None)?, Rest::Nothing));
    };
    match open_tree(bind, Depth::Tree, true) {
        Ok(fd) => {
            let rest = exact.set(fd.as_fd())?;
            Ok((fd, rest))
        }
        Err(Errno::ENOENT) => Ok((empty_tmpfs(None)?, Rest::Nothing)),
        Err(errno) => Err(errno).context(|| format!("bind {}", bind.to_string_lossy())),
    }
}

fn exists(path: &CStr) -> bool {
    nix::sys::stat::stat(path).is_ok()
}

fn new_v2(options: &[CString], flags: u64) -> Result<OwnedFd, Errno> {
    let fs = fsopen(c"cgroup2")?;
    fsconfig_set_string(fs.as_fd(), c"source", c"cgroup")?;
    for option in options {
        fsconfig_set_flag(fs.as_fd(), option)?;
    }
    fsconfig_create(fs.as_fd())?;
    fsmount(fs.as_fd(), attributes(flags))
}

fn mount_v1(to: &str, hierarchies: &[Hierarchy], exact: Exact, tree: &mut Tree) -> Result<OwnedFd> {
    let place = tree.place(to, Links::Follow, || Missing::MakeDir)?;
    super::mount::check_place(&place, "cgroup", || false)?;
    let fs = fsopen(c"tmpfs")?;
    fsconfig_set_string(fs.as_fd(), c"source", c"tmpfs")?;
    fsconfig_set_string(fs.as_fd(), c"mode", c"755")?;
    fsconfig_create(fs.as_fd())?;
    let top = fsmount(fs.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
    tree.attach(&top, &place)?;
    for hierarchy in hierarchies {
        let dir = hierarchy.dir.as_str();
        make_component(top.as_fd(), dir, Missing::MakeDir)?;
        if let Some((own, exact)) = hierarchy.open(exact)? {
            let rest = exact.set(own.as_fd()).context(|| dir.to_owned())?;
            let name = cstring(dir)?;
            move_mount_in(own.as_fd(), top.as_fd(), &name).context(|| dir.to_owned())?;
            exact.finish(own.as_fd(), &rest).context(|| dir.to_owned())?;
        }
        for link in &hierarchy.links {
            match symlinkat(dir, &top, link.as_str()) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno).context(|| format!("link {link}")),
            }
        }
    }
    if exact.flags & MS_RDONLY != 0 {
        super::attributes::make_readonly(top.as_fd())?;
    }
    Ok(top)
}

fn cstring(text: impl Into<Vec<u8>>) -> Result<CString> {
    Ok(crate::sys::cstring(text)?)
}
