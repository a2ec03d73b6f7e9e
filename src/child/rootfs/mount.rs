// SPDX-License-Identifier: Apache-2.0
//! `mounts[]` and `linux.mountLabel`: one mount of the config, planned in the parent, made in the
//! child. The kinds are in newfs.rs, bind.rs and cgroupfs.rs.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::Request;
use super::attributes::{Exact, by_path, propagate, set_recursively};
use super::bind::{Bind, Eyes};
use super::cgroupfs::Cgroups;
use super::foresee::{Foreseen, Sight};
use super::idmap::{Container, Mapped, Maps};
use super::newfs::{NewFs, Wanted};
use super::options::{MS_BIND, Options};
use super::root::{Links, Place, clean};
use super::tree::{Tree, is_at_or_below};
use crate::annotations::MOUNT_CONTEXT_TYPE;
use crate::bail;
use crate::error::{Context, Result};
use crate::oci;
use crate::sys::Inside;
use crate::sys::mount::Setattr;

/// What may be mounted over inside procfs: files that lxcfs and its like emulate, as in runc.
pub(super) const PROC_FILES: &[&str] = &[
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
];

#[derive(Debug)]
pub(super) struct Mount {
    /// Relative to the root, without dots.
    pub to: String,
    pub links: Links,
    pub what: What,
    idmap: Option<Mapped>,
    recursive: Option<(u64, u64)>,
    propagation: Vec<u64>,
    /// What the user wrote, for messages.
    text: String,
}

#[derive(Debug)]
pub(super) enum What {
    New(NewFs),
    Bind(Bind),
    Cgroups(Cgroups),
    /// `remount`: what is mounted there is changed.
    Remount {
        flags: u64,
        cleared: u64,
        data: String,
    },
}

/// `linux.mountLabel`, and the option that gives it to a filesystem.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label<'a> {
    pub text: &'a str,
    /// `context`, or what crun's annotation says.
    pub option: &'a str,
}

impl<'a> Label<'a> {
    pub(super) fn plan(text: &'a str, option: Option<&'a str>) -> Result<Self> {
        match option.unwrap_or("context") {
            option @ ("context" | "fscontext" | "defcontext" | "rootcontext") => {
                Ok(Self { text, option })
            }
            other => bail!(
                "annotations[{MOUNT_CONTEXT_TYPE}]: {other:?} is not context, fscontext, defcontext or rootcontext"
            ),
        }
    }
}

/// What planning a mount needs to know besides it.
pub(super) struct Planner<'a> {
    pub request: &'a Request<'a>,
    pub label: Option<Label<'a>>,
    pub eyes: Eyes,
    pub maps: Maps,
}

impl Mount {
    pub(super) fn plan(mount: &oci::Mount<'_>, planner: &mut Planner<'_>) -> Result<Self> {
        let mut options = Options::plan(&mount.options).context(|| ".options")?;
        if *mount.kind == *"bind" {
            options.flags |= MS_BIND;
        }
        let to = destination(mount, &planner.request.root.path)?;
        let container = Container {
            uids: planner.request.uid_map,
            gids: planner.request.gid_map,
            joined: planner.request.joined_user_namespace,
        };
        let idmap = planner.maps.plan(mount, options.idmap.as_ref(), container)?;
        let what = What::plan(mount, &options, &to, idmap.clone(), planner)?;
        let recursive = (options.recursive_set, options.recursive_clear);
        Ok(Self {
            to,
            links: if options.dest_nofollow { Links::KeepLast } else { Links::Follow },
            idmap: idmap.filter(|_| !matches!(what, What::Bind(_))),
            what,
            recursive: (recursive != (0, 0)).then_some(recursive),
            propagation: options.propagation,
            text: describe(mount),
        })
    }

    pub(super) fn apply(&self, tree: &mut Tree, me: &Inside) -> Result<()> {
        self.apply_and_keep(false, tree, me).map(drop)
    }

    /// What has been mounted, if it is wanted: nothing where a link was copied, or something remounted.
    pub(super) fn apply_and_keep(
        &self,
        is_wanted: bool,
        tree: &mut Tree,
        me: &Inside,
    ) -> Result<Option<OwnedFd>> {
        let change =
            self.recursive.map(|(set, clear)| Setattr { set, clear, ..Setattr::default() });
        let (fd, fresh) = match &self.what {
            What::New(new) => {
                let wanted = Wanted {
                    idmap: self.idmap.as_ref(),
                    fd: is_wanted || change.is_some() || !self.propagation.is_empty(),
                };
                let made = new.apply(&self.to, self.links, wanted, tree, me)?;
                let Some(fd) = made.fd else { return Ok(None) };
                if let Some(change) = &change {
                    set_recursively(fd.as_fd(), change)?;
                }
                (fd, made.fresh.then_some(made.place))
            }
            What::Bind(bind) => {
                match bind.apply(&self.to, self.links, change.as_ref(), tree, me)? {
                    Some((fd, _)) => (fd, None),
                    None => return Ok(None),
                }
            }
            What::Cgroups(cgroups) => (cgroups.apply(&self.to, tree, me)?, None),
            What::Remount { flags, cleared, data } => {
                (remount(&self.to, (*flags, *cleared), data, tree)?, None)
            }
        };
        for bits in &self.propagation {
            propagate(fd.as_fd(), *bits).context(|| "propagation")?;
        }
        let is_change = matches!(self.what, What::Remount { .. });
        let kept = if is_wanted && !is_change { Some(fd.try_clone()?) } else { None };
        if let Some(place) = fresh {
            tree.add_fresh(fd, place);
        }
        Ok(kept)
    }

    /// For `check`: what `apply` would run into, as far as it shows beforehand.
    pub(super) fn foresee(&self, sight: &Sight) -> Result<(), Foreseen> {
        // A link that is itself the mount point leads nowhere.
        let to = if self.links == Links::Follow { Some(self.to.as_str()) } else { None };
        match &self.what {
            What::New(new) => new.foresee(to, sight),
            What::Bind(bind) => bind.foresee(to, sight),
            What::Cgroups(_) | What::Remount { .. } => Ok(()),
        }
    }

    /// Says that nothing but `others` is made after this, and `devices` in /dev.
    pub(super) fn is_followed_by(&mut self, others: &[Self], devices: bool) {
        let is_inside = |other: &Self| {
            other.to.strip_prefix(&self.to).is_some_and(|rest| rest.starts_with('/'))
        };
        let is_filled = devices && self.to == "dev" || others.iter().any(is_inside);
        match &mut self.what {
            What::New(new) if !is_filled => new.stays_empty(),
            _ => {}
        }
    }

    /// Whether this puts something of the host on /dev, which then is left as it is.
    pub(super) fn is_dev_bind(&self) -> bool {
        self.to == "dev" && matches!(self.what, What::Bind(_))
    }
}

impl What {
    fn plan(
        mount: &oci::Mount<'_>,
        options: &Options,
        to: &str,
        idmap: Option<Mapped>,
        planner: &Planner<'_>,
    ) -> Result<Self> {
        if options.is_remount() {
            let (flags, cleared) = (options.flags, options.cleared);
            return Ok(Self::Remount { flags, cleared, data: options.data.join(",") });
        }
        if options.is_bind() {
            let source = planner.request.bundle.join(mount.source.as_str());
            let bind =
                Bind::plan(&source, options, idmap, planner.eyes, &planner.request.root.path)?;
            return Ok(Self::Bind(bind));
        }
        if mount.kind.is_empty() {
            bail!(".type: must be set unless the mount is a bind mount");
        }
        check_place_lexically(to, &mount.kind)?;
        if let Some(cgroups) = Cgroups::plan(&mount.kind, options, planner.request)? {
            return Ok(Self::Cgroups(cgroups));
        }
        let (kind, source) = (mount.kind.as_str(), mount.source.as_str());
        Ok(Self::New(NewFs::plan(kind, source, options, to, planner.label, idmap.is_some())?))
    }
}

/// `/a/../b/./c` is `b/c`; a destination may also be written with the root's own path before it.
pub(super) fn destination(mount: &oci::Mount<'_>, root: &Path) -> Result<String> {
    let written = mount.destination.as_str();
    if written.is_empty() {
        bail!(".destination: must be set");
    }
    if written.contains('\0') {
        bail!(".destination: a null byte in {written:?}");
    }
    if !written.starts_with('/') {
        crate::log::warn(&format!(
            "mount destination {written} is not absolute: taken as relative to /"
        ));
    }
    let mut to = clean(written);
    let root = clean(&root.to_string_lossy());
    if !root.is_empty() && is_at_or_below(&to, &root) {
        to = to[root.len()..].trim_start_matches('/').to_owned();
    }
    if to.is_empty() {
        bail!(".destination: {written} is the root itself");
    }
    Ok(to)
}

/// Refuses what is sure to be inside /proc without looking at the disk.
fn check_place_lexically(to: &str, kind: &str) -> Result<()> {
    check_path(to, kind, || true).context(|| ".destination")
}

/// The rules for /proc, for where the destination really is (CVE-2019-16884, CVE-2025-52881):
/// nothing but procfs on it, and nothing inside but the listed files.
pub(super) fn check_place(
    place: &Place,
    kind: &str,
    is_proc_source: impl FnOnce() -> bool,
) -> Result<()> {
    if place.path.is_empty() {
        bail!("the destination leads to the root itself");
    }
    check_path(&place.path, kind, is_proc_source)
}

fn check_path(path: &str, kind: &str, is_proc_source: impl FnOnce() -> bool) -> Result<()> {
    if path == "proc" {
        if kind == "proc" || kind == "bind" && is_proc_source() {
            return Ok(());
        }
        bail!("/proc cannot be mounted because it is not of type proc");
    }
    if path.starts_with("proc/") && !PROC_FILES.contains(&path) {
        bail!("/{path} cannot be mounted because it is inside /proc");
    }
    Ok(())
}

fn remount(to: &str, flags: (u64, u64), data: &str, tree: &Tree) -> Result<OwnedFd> {
    let fd = tree.root.open(to)?;
    let (set, cleared) = flags;
    if set & MS_BIND == 0 {
        by_path(fd.as_fd(), set, Some(data))?;
        return Ok(fd);
    }
    let exact = Exact { flags: set, cleared };
    let rest = exact.set(fd.as_fd())?;
    exact.finish(fd.as_fd(), &rest)?;
    Ok(fd)
}

/// `tmpfs at /data (nosuid, size=64m)`.
fn describe(mount: &oci::Mount<'_>) -> String {
    let is_bind = mount.options.iter().any(|o| matches!(o.as_str(), "bind" | "rbind"));
    let what = if is_bind || mount.kind.is_empty() { &mount.source } else { &mount.kind };
    let mut text = format!("{what} at {}", mount.destination);
    if !mount.options.is_empty() {
        let options: Vec<&str> = mount.options.iter().map(|o| o.as_str()).collect();
        text.push_str(&format!(" ({})", options.join(", ")));
    }
    text
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
