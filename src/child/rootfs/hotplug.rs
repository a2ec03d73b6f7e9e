// SPDX-License-Identifier: Apache-2.0
//! `mounts add` and `remove`: mounts of a container that runs, whose processes are hostile by now.
//! Planned in the parent, which copies what is the host's; attached, or taken away, by a clone in the
//! container's namespaces. All are made or none.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, umask};

use super::attributes::{make_readonly, unmount};
use super::bind::Eyes;
use super::idmap::Maps;
use super::mount::{self, Label, Mount, PROC_FILES, Planner};
use super::pivot::HostRoot;
use super::root::{Root, clean};
use super::tree::Tree;
use super::{CgroupView, Request, has_selinux};
use crate::annotations::{MOUNT_CONTEXT_TYPE, get};
use crate::bail;
use crate::error::{Context, Result};
use crate::namespace::{KINDS, Namespaces, USER};
use crate::oci;
use crate::sys::Inside;
use crate::sys::mount::is_mount_root;

#[derive(Debug)]
pub(crate) struct Hotplug(Change);

#[derive(Debug)]
enum Change {
    Add(Vec<Mount>),
    /// Places, relative to the root, the first to go first.
    Remove(Vec<String>),
}

impl Hotplug {
    /// Copies the sources of bind mounts, with the rights and in the sight of the caller.
    pub(crate) fn add(
        spec: &oci::Spec<'_>,
        list: &[oci::Mount<'_>],
        bundle: &Path,
        root: &Path,
    ) -> Result<Self> {
        let none = oci::Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        let joined: Vec<_> = linux
            .namespaces
            .iter()
            .filter(|ns| KINDS.iter().any(|kind| kind.oci == &*ns.kind && **kind == USER))
            .cloned()
            .collect();
        let user = Namespaces::plan(&joined)?;
        let root = HostRoot::mounted(root);
        let request = Request {
            bundle,
            root: &root,
            new_user_namespace: user.has(&USER),
            joined_user_namespace: user.joined_fd(&USER),
            new_cgroup_namespace: false,
            mount_namespace: true,
            no_pivot: false,
            cgroups: CgroupView::default(),
            uid_map: &linux.uid_mappings,
            gid_map: &linux.gid_mappings,
            extra_mounts: &[],
        };
        let label = Label::plan(&linux.mount_label, get(spec, MOUNT_CONTEXT_TYPE))?;
        let label = Some(label).filter(|label| !label.text.is_empty() && has_selinux());
        let eyes = Eyes::plan(user.has(&USER), request.uid_map, request.gid_map);
        let eyes = Eyes { is_outside: true, ..eyes };
        let mut planner = Planner { request: &request, label, eyes, maps: Maps::default() };
        let mut plan = |(i, mount): (usize, &oci::Mount<'_>)| {
            let planned = match &*mount.kind {
                "cgroup" | "cgroup2" => Err(crate::error::Error::text(
                    ".type: only create mounts cgroups: they are the host's files",
                )),
                _ => Mount::plan(mount, &mut planner),
            };
            planned.context(|| format!("mounts[{i}]"))
        };
        let mounts = list.iter().enumerate().map(&mut plan).collect::<Result<_>>()?;
        Ok(Self(Change::Add(mounts)))
    }

    /// What protects the host is not to be had off.
    pub(crate) fn remove(
        spec: &oci::Spec<'_>,
        list: &[oci::Mount<'_>],
        root: &Path,
    ) -> Result<Self> {
        let none = oci::Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        let mut places = Vec::with_capacity(list.len());
        for (i, mount) in list.iter().enumerate() {
            let to = mount::destination(mount, root).context(|| format!("mounts[{i}]"))?;
            let written = &*mount.destination;
            let is = |path: &oci::Str<'_>| clean(path) == to;
            for (name, paths) in
                [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)]
            {
                if paths.iter().any(is) {
                    bail!("mounts[{i}].destination: {written} is one of linux.{name}");
                }
            }
            if to.starts_with("proc/") && !PROC_FILES.contains(&&*to) {
                bail!("mounts[{i}].destination: {written} is inside /proc");
            }
            places.push(to);
        }
        // What was mounted last may lie in what was mounted first.
        places.reverse();
        Ok(Self(Change::Remove(places)))
    }

    /// In the container's mount namespace.
    pub(crate) fn apply(&self, me: &Inside) -> Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open("/", flags, Mode::empty()).context(|| "open the container's root")?;
        let mut tree = Tree::new(Root::new(root));
        match &self.0 {
            Change::Add(mounts) => {
                // Modes are meant as they are written.
                umask(Mode::empty());
                let mut made = Vec::new();
                let outcome = make(mounts, &mut made, &mut tree, me);
                if outcome.is_err() {
                    for mount in made.iter().rev() {
                        // It cannot be named any more but by its descriptor; the error is reported.
                        let _ = unmount(mount.as_fd());
                    }
                }
                outcome
            }
            Change::Remove(places) => places
                .iter()
                .try_for_each(|to| take(to, &tree).context(|| format!("unmount /{to}"))),
        }
    }
}

fn make(mounts: &[Mount], made: &mut Vec<OwnedFd>, tree: &mut Tree, me: &Inside) -> Result<()> {
    for mount in mounts {
        let doing = || format!("mount {mount}");
        made.extend(mount.apply_and_keep(true, tree, me).context(doing)?);
    }
    for mount in &tree.late_readonly {
        make_readonly(mount.as_fd()).context(|| "mount read-only")?;
    }
    Ok(())
}

/// Not through a link: a process of the container could have put it there, towards a mask.
fn take(to: &str, tree: &Tree) -> Result<()> {
    let place = match tree.root.open_exact(to) {
        Err(Errno::ELOOP) => bail!("a symbolic link leads there"),
        other => other?,
    };
    if !is_mount_root(place.as_fd())? {
        bail!("nothing is mounted there");
    }
    Ok(unmount(place.as_fd())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(destination: &str) -> String {
        let spec = r#"{"linux":{"maskedPaths":["/proc/kcore","/sys//firmware"],"readonlyPaths":["/etc"]}}"#;
        let spec: oci::Spec<'_> = oci::parse(spec).expect("JSON");
        let mount = oci::Mount { destination: destination.into(), ..Default::default() };
        match Hotplug::remove(&spec, &[mount], Path::new("/bundle/rootfs")) {
            Err(error) => error.to_string(),
            Ok(Hotplug(Change::Remove(places))) => places.join(" "),
            Ok(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn protections_cannot_be_removed() {
        let at = "mounts[0].destination:";
        assert_eq!(
            refusal("/sys/firmware"),
            format!("{at} /sys/firmware is one of linux.maskedPaths")
        );
        assert_eq!(refusal("/x/../etc"), format!("{at} /x/../etc is one of linux.readonlyPaths"));
        assert_eq!(
            refusal("/proc/sysrq-trigger"),
            format!("{at} /proc/sysrq-trigger is inside /proc")
        );
        assert_eq!(refusal("/"), format!("{at} / is the root itself"));
        assert_eq!(refusal("/proc/cpuinfo"), "proc/cpuinfo");
        assert_eq!(refusal("/bundle/rootfs/data"), "data");
    }
}
