// SPDX-License-Identifier: Apache-2.0
//! `linux.cgroupsPath` and `linux.resources`: the container's cgroups on v1, hybrid and v2.
//! `CgroupPlan` decides, `Cgroup` are the facts kept in state.json; everything after create works
//! from those alone. Parent side. Each resource file has its `v1` and `v2` side by side.

mod cpu;
mod cpuset;
mod create;
mod crun;
mod destroy;
mod device_program;
mod devices;
mod dir;
mod freezer;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hierarchy;
mod hugetlb;
mod io;
mod join;
mod memory;
mod net;
mod owner;
mod path;
mod pids;
mod plan;
mod processes;
mod rdma;
pub(crate) mod stats;
mod systemd;
mod unified;
mod update;
mod watch;
mod writes;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use dir::Mounts;
pub(crate) use hierarchy::Hierarchies;
pub(crate) use join::{ExecCgroup, SubCgroups, Ways};
pub(crate) use owner::plan as plan_owner;
pub(crate) use plan::{CgroupPlan, Request};
pub(crate) use stats::NetworkInterface;
pub(crate) use systemd::is_users_session;
pub(crate) use watch::{Happened, Watch};

/// `--cgroup-manager`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    Fs,
    Systemd,
    /// Nobody: the container stays in the cgroup of its caller.
    Disabled,
}

/// Who makes and limits the cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Driver {
    /// creel itself, in the cgroup filesystem.
    #[serde(rename = "cgroupfs")]
    Fs,
    /// systemd, asked over D-Bus.
    Systemd,
}

/// The container's cgroups: what state.json keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    driver: Driver,
    /// With systemd: its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<systemd::Unit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    v1: Vec<V1Dir>,
    /// v2, alone or beside v1 (hybrid).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unified: Option<UnifiedDir>,
    /// The host has v2 alone.
    v2: bool,
    rootless: bool,
    /// Rootless and no cgroupsPath: a cgroup that can't be made is done without.
    lenient: bool,
}

/// The container's directory in one v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct V1Dir {
    controllers: Vec<String>,
    mount: String,
    path: String,
    /// Failing to make or join it does no harm.
    optional: bool,
}

impl V1Dir {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// The container's directory in the v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UnifiedDir {
    mount: String,
    path: String,
    /// With systemd: how much of `path` is below the unit's own cgroup.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    subgroup: String,
}

impl UnifiedDir {
    /// The unit's own cgroup.
    fn unit_path(&self) -> &str {
        let above = self.path.strip_suffix(&*self.subgroup).unwrap_or(&self.path);
        above.trim_end_matches('/')
    }
}

/// What a mount of type `cgroup` or `cgroup2` shows the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountView {
    /// On a v2 host: the container's cgroup directory.
    pub v2: Option<String>,
    /// It can be missing.
    pub optional: bool,
    /// On a v1 or hybrid host: each hierarchy.
    pub v1: Vec<V1View>,
}

/// One v1 hierarchy, for the rootfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct V1View {
    /// The directory's name below /sys/fs/cgroup: `cpu,cpuacct`.
    pub name: String,
    /// Symbolic links to it: `cpu`, `cpuacct`. None when the hierarchy has one controller.
    pub links: Vec<String>,
    /// The container's cgroup directory on the host.
    pub dir: String,
    /// What it is in when that could not be made: the caller's own.
    pub instead: Option<String>,
    /// It can be missing.
    pub optional: bool,
    /// Data for mounting the hierarchy anew in a cgroup namespace: `cpu,cpuacct`, `name=systemd`.
    pub options: String,
}

impl Cgroup {
    /// Whether the host has v2 alone.
    pub(crate) fn is_unified(&self) -> bool {
        self.v2
    }

    /// The directory of a v1 controller, or of v2 under the empty name.
    pub(crate) fn path(&self, controller: &str) -> Option<&str> {
        if controller.is_empty() {
            return self.unified.as_ref().map(|u| &*u.path);
        }
        self.v1_of(controller).map(|d| &*d.path)
    }

    /// `cgroupfs`, `systemd`.
    pub(crate) fn driver_name(&self) -> &'static str {
        match self.driver {
            Driver::Fs => "cgroupfs",
            Driver::Systemd => "systemd",
        }
    }

    /// Every directory, and which controllers it is for; none: v2.
    pub(crate) fn places(&self) -> Vec<(String, String)> {
        let v1 = self.v1.iter().map(|d| (d.controllers.join(","), d.path.clone()));
        v1.chain(self.unified.iter().map(|u| (String::new(), u.path.clone()))).collect()
    }

    /// No permission over cgroups was to be expected.
    pub(crate) fn is_rootless(&self) -> bool {
        self.rootless
    }

    /// Rootless, and none could be made.
    pub(crate) fn is_none(&self) -> bool {
        self.v1.is_empty() && self.unified.is_none()
    }

    fn v1_of(&self, controller: &str) -> Option<&V1Dir> {
        self.v1.iter().find(|d| d.has(controller))
    }

    /// Where the files of a controller are: its v1 hierarchy, else v2.
    fn path_of_controller(&self, controller: &str) -> Option<&str> {
        self.path(controller).or_else(|| self.path(""))
    }

    /// The one directory that tells whether the cgroup exists and who is in it.
    fn main_path(&self) -> Option<&str> {
        if self.v2 {
            return self.path("");
        }
        self.path("devices").or_else(|| self.v1.first().map(|d| &*d.path))
    }

    /// Its directory in every hierarchy.
    fn all_paths(&self) -> impl Iterator<Item = &str> {
        let v1 = self.v1.iter().map(|d| &*d.path);
        v1.chain(self.unified.iter().map(|u| &*u.path))
    }

    /// Of these, those that are there.
    pub(crate) fn existing(&self) -> impl Iterator<Item = &str> {
        self.all_paths().filter(|path| std::path::Path::new(path).exists())
    }

    pub(crate) fn unit_name(&self) -> Option<&str> {
        self.unit.as_ref().map(systemd::Unit::name)
    }

    pub(crate) fn exists(&self) -> bool {
        self.main_path().is_some_and(|path| std::path::Path::new(path).exists())
    }

    /// For a mount of type `cgroup` or `cgroup2` in the container.
    pub(crate) fn mount_view(&self) -> MountView {
        if self.is_unified() {
            let v2 = self.path("").map(str::to_owned);
            return MountView { v2, optional: self.lenient, v1: Vec::new() };
        }
        let v1 = self.v1.iter().map(|d| {
            let name = d.mount.rsplit('/').next().unwrap_or_default().to_owned();
            let links = if d.controllers.len() > 1 { d.controllers.clone() } else { Vec::new() };
            V1View {
                name,
                links,
                dir: d.path.clone(),
                // Without a cgroupsPath the container's is in the caller's.
                instead: d
                    .path
                    .rsplit_once('/')
                    .filter(|_| self.lenient)
                    .map(|(own, _)| own.into()),
                optional: d.optional || self.lenient,
                options: d.controllers.join(","),
            }
        });
        MountView { v2: None, optional: self.lenient, v1: v1.collect() }
    }
}
