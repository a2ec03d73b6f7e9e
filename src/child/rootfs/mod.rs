// SPDX-License-Identifier: Apache-2.0
//! The root filesystem: `root`, `mounts`, `linux.devices`, `rootfsPropagation`, `maskedPaths`,
//! `readonlyPaths`, `mountLabel`. Planned in the parent, where all refusing is done; then in the
//! child assemble → enter → lock_down. Below the root every path goes through `root::Root`.

mod attributes;
mod bind;
mod cgroupfs;
mod copyup;
mod devices;
mod external;
mod foresee;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hotplug;
mod idmap;
mod lockdown;
mod mapper;
mod mount;
mod newfs;
mod options;
mod pivot;
mod proc;
mod root;
mod tree;

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, fstat, umask};
use nix::unistd::fchdir;

use crate::annotations;
use crate::error::{Context, Error, Result};
use crate::oci::{self, IdMapping};
use crate::sys::Inside;
use crate::timings::{self, Step};

pub(crate) use cgroupfs::{CgroupView, V1Mount};
pub(crate) use external::{External, of_running};
pub(crate) use foresee::Sight;
pub(crate) use hotplug::Hotplug;
pub(crate) use options::names;
pub(crate) use pivot::HostRoot;
pub(crate) use proc::Proc;

/// What the rest of the container's plan says to this part.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Absolute.
    pub bundle: &'a Path,
    pub root: &'a HostRoot,
    pub new_user_namespace: bool,
    /// One that is joined by path.
    pub joined_user_namespace: Option<BorrowedFd<'a>>,
    pub new_cgroup_namespace: bool,
    /// Whether the container has a mount namespace of its own, new or joined.
    pub mount_namespace: bool,
    pub no_pivot: bool,
    pub cgroups: CgroupView,
    pub uid_map: &'a [IdMapping],
    pub gid_map: &'a [IdMapping],
    /// Made after those of the config.
    pub extra_mounts: &'a [oci::Mount<'a>],
}

/// The root filesystem, with nothing left to decide.
#[derive(Debug)]
pub(crate) struct Rootfs {
    pivot: pivot::Pivot,
    mounts: Vec<mount::Mount>,
    /// None: /dev is the host's.
    devices: Option<devices::Devices>,
    lock_down: lockdown::LockDown,
}

/// The assembled root, still in sight of the host's files.
#[derive(Debug)]
pub(crate) struct Assembled(tree::Tree);

/// The root of the process, with what `lock_down` needs.
#[derive(Debug)]
pub(crate) struct Entered {
    root: root::Root,
    late_readonly: Vec<OwnedFd>,
}

impl Rootfs {
    pub(crate) fn plan(spec: &oci::Spec<'_>, request: &Request<'_>) -> Result<Self> {
        let pivot = pivot::Pivot::plan(spec, request)?;
        let label = spec.linux.as_ref().map_or("", |linux| linux.mount_label.as_str());
        let context_type = annotations::get(spec, annotations::MOUNT_CONTEXT_TYPE);
        let planned = mount::Label::plan(label, context_type)?;
        let planned = Some(planned).filter(|_| !label.is_empty() && has_selinux());
        let label = planned.map(|planned| planned.text);
        let eyes = bind::Eyes::plan(request.new_user_namespace, request.uid_map, request.gid_map);
        let maps = idmap::Maps::default();
        let mut planner = mount::Planner { request, label: planned, eyes, maps };
        let mut mounts = Vec::with_capacity(spec.mounts.len() + request.extra_mounts.len());
        let forced = cgroupfs::forced_v1(spec, &request.cgroups)?;
        for (i, mount) in spec.mounts.iter().chain(request.extra_mounts).enumerate() {
            let instead = match &forced {
                Some((at, instead)) if *at == root::clean(&mount.destination) => &instead[..],
                _ => std::slice::from_ref(mount),
            };
            for mount in instead {
                let planned = mount::Mount::plan(mount, &mut planner);
                mounts.push(planned.context(|| format!("mounts[{i}]"))?);
            }
        }
        let devices = if mounts.iter().any(mount::Mount::is_dev_bind) {
            None
        } else {
            Some(devices::Devices::plan(spec, request)?)
        };
        for i in 0..mounts.len() {
            let (before, after) = mounts.split_at_mut(i + 1);
            before[i].is_followed_by(after, devices.is_some());
        }
        let lock_down = lockdown::LockDown::plan(spec, request, label)?;
        Ok(Self { pivot, mounts, devices, lock_down })
    }

    /// In the new namespaces: propagation, the root's bind, mounts, devices and links.
    pub(crate) fn assemble(&self, me: &Inside) -> Result<Assembled> {
        // Modes are meant as they are written.
        let mask = umask(Mode::empty());
        let mut tree = tree::Tree::new(self.pivot.bind_root(me)?);
        timings::step(Step::Root);
        for (i, mount) in self.mounts.iter().enumerate() {
            mount.apply(&mut tree, me).context(|| format!("mount {mount}"))?;
            timings::step_at(Step::Mount, i);
        }
        if let Some(devices) = &self.devices {
            devices.apply(&tree, me)?;
        }
        umask(mask);
        // As runc does: where hooks find themselves.
        fchdir(tree.root.fd()).context(|| "chdir to the root")?;
        Ok(Assembled(tree))
    }

    /// Makes the assembled root that of the process; the host's files are out of reach then.
    pub(crate) fn enter(&self, assembled: Assembled, me: &Inside) -> Result<Entered> {
        let tree::Tree { root, late_readonly, .. } = assembled.0;
        self.pivot.enter(root.fd(), me)?;
        let entered = Entered { root, late_readonly };
        if self.devices.is_some() {
            entered.reopen_null(me).context(|| "standard streams")?;
        }
        Ok(entered)
    }

    /// Binds the terminal, opened in the container, to /dev/console.
    pub(crate) fn bind_console(
        &self,
        entered: &Entered,
        terminal: BorrowedFd<'_>,
        me: &Inside,
    ) -> Result<()> {
        devices::bind_console(entered, terminal, me).context(|| "/dev/console")
    }

    /// Read-only root and mounts, read-only and masked paths. No more mounts after it.
    pub(crate) fn lock_down(&self, entered: &Entered, me: &Inside) -> Result<()> {
        self.lock_down.apply(entered, me)?;
        self.pivot.finish(entered.root.fd(), me)
    }
}

impl Assembled {
    /// For createContainer hooks: they start in the root, as runc has it.
    pub(crate) fn stand_in(&self, _: &Inside) -> Result<()> {
        nix::unistd::fchdir(self.0.root.fd()).context(|| "enter the container's root")
    }
}

impl Entered {
    /// A procfs to write `linux.sysctl` to.
    pub(crate) fn proc(&self, me: &Inside) -> Result<Proc> {
        Proc::of_container(&self.root, me)
    }

    /// `process.cwd` where the image lacks it, as runc makes it.
    pub(crate) fn make_cwd(&self, cwd: &std::ffi::CStr, _: &Inside) -> Result<()> {
        let cwd = cwd.to_str().map_err(|_| Error::text(format!("process.cwd: {cwd:?}")))?;
        // What else is wrong with it, chdir will say; perhaps to its user it is not.
        let path = cwd.trim_start_matches('/');
        if path.is_empty() || self.root.open(path).err() != Some(Errno::ENOENT) {
            return Ok(());
        }
        let place =
            self.root.place(&root::clean(path), root::Links::Follow, || root::Missing::MakeDir);
        place.map(drop).context(|| format!("process.cwd: make {cwd:?}"))
    }

    /// Standard streams that are the host's /dev/null become the container's, whose label and
    /// device rules apply to it. Verified before it is used (CVE-2026-88265).
    fn reopen_null(&self, _: &Inside) -> Result<()> {
        let mut null = None;
        for (number, stream) in [
            (0, std::io::stdin().as_fd()),
            (1, std::io::stdout().as_fd()),
            (2, std::io::stderr().as_fd()),
        ] {
            // A closed stream stays closed.
            if !fstat(stream).is_ok_and(|stat| lockdown::is_dev_null(&stat)) {
                continue;
            }
            let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
            let null = match &mut null {
                Some(null) => null,
                none => {
                    let opened = lockdown::dev_null(&self.root, flags)?;
                    // Only opening must not block, should it have been something else.
                    fcntl(&opened, FcntlArg::F_SETFL(OFlag::empty()))?;
                    none.insert(opened)
                }
            };
            crate::sys::fd::dup_to(null.as_fd(), number)?;
        }
        Ok(())
    }
}

/// Whether SELinux is in use, so that `context=` means something to the kernel.
fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}
