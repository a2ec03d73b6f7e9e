// SPDX-License-Identifier: Apache-2.0
//! `CgroupPlan`: where the container's cgroups will be and what is written into them, decided from
//! config.json and the host before anything is made.

use super::devices::Filter;
use super::hierarchy::Hierarchies;
use super::path::Inner;
use super::systemd::{self, UnitPlan};
use super::writes::{Write, Writes};
use super::{Cgroup, Driver, V1Dir, cpu, cpuset, hugetlb, io, memory, net, pids, rdma, unified};
use crate::bail;
use crate::error::Result;
use crate::oci::{Device, Map, Resources};

/// What the plan is made from.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub id: &'a str,
    /// `linux.cgroupsPath`; empty: the id, in the caller's own cgroup.
    pub cgroups_path: &'a str,
    pub resources: Option<&'a Resources<'a>>,
    /// `linux.devices`: a node defined there brings no default rule.
    pub nodes: &'a [Device<'a>],
    /// No default rules at all.
    pub strict_devices: bool,
    /// Who is to own the v2 cgroup.
    pub owner: Option<u32>,
    /// `--systemd-cgroup`
    pub systemd: bool,
    /// No permission over cgroups is to be expected.
    pub rootless: bool,
}

/// Every decision about the cgroups of a container.
#[derive(Debug)]
pub(crate) struct CgroupPlan {
    pub(super) place: Cgroup,
    /// With systemd, which makes the cgroup.
    pub(super) unit: Option<UnitPlan>,
    /// Written before a process is inside.
    pub(super) early: Vec<Write>,
    /// Written when the container is assembled: what would slow the assembling down or stop it.
    pub(super) late: Vec<Write>,
    pub(super) devices: Filter,
    pub(super) owner: Option<u32>,
    /// Below the container's cgroup, for its process: crun's annotation.
    pub(super) delegate: String,
    /// What the top of the v2 hierarchy has to give.
    pub(super) controllers: Vec<String>,
    ignored: Vec<&'static str>,
}

/// What the assembling forks for a moment (a second clone, a user namespace for id-mapped mounts) is far
/// less.
const MANY_PROCESSES: u64 = 32;

/// Which of them would hinder the assembling, so that they come after it: less than one CPU would throttle
/// it, a limit of few processes could forbid its forks.
fn hinders(list: &[Write]) -> impl Fn(&Write) -> bool + use<> {
    let throttles = cpu::throttles(list);
    move |write: &Write| match &*write.file {
        "cpu.max" | "cpu.max.burst" | "cpu.cfs_quota_us" | "cpu.cfs_period_us"
        | "cpu.cfs_burst_us" => throttles,
        "pids.max" => write.value.parse().is_ok_and(|limit: u64| limit < MANY_PROCESSES),
        _ => false,
    }
}

impl CgroupPlan {
    pub(crate) fn new(host: &Hierarchies, request: &Request<'_>) -> Result<Self> {
        let mut unit = unit(host, request)?;
        let mut place = place(host, request, unit.as_ref().map(UnitPlan::inner))?;
        let nothing = Resources::default();
        let resources = request.resources.unwrap_or(&nothing);
        let mut writes = writes(host, resources)?;
        for write in &writes.list {
            check_mounted(host, write)?;
        }
        let devices = match request.strict_devices {
            true => Filter::plan_strict(&resources.devices)?,
            false => Filter::plan(&resources.devices, request.nodes)?,
        };
        if let Some(unit) = &mut unit {
            cpu::fit(&mut writes)?;
            unit.limit(&writes.list, &devices, host.is_unified())?;
            place.driver = Driver::Systemd;
            place.unit = Some(unit.unit());
        }
        let hinders = hinders(&writes.list);
        let (late, early) = writes.list.into_iter().partition(hinders);
        Ok(Self {
            place,
            unit,
            early,
            late,
            devices,
            owner: request.owner,
            delegate: String::new(),
            controllers: host.unified.as_ref().map_or_else(Vec::new, |u| u.controllers.clone()),
            ignored: writes.ignored,
        })
    }

    /// `--cgroup-manager disabled`: the container has no cgroup of its own, and so no limits. As with
    /// crun, device rules have nobody to keep them; Podman's `--cgroups=disabled` leaves them in.
    pub(crate) fn disabled(host: &Hierarchies, resources: Option<&Resources<'_>>) -> Result<Self> {
        let nothing = Resources::default();
        let resources = resources.unwrap_or(&nothing);
        if let Some(write) = writes(host, resources)?.list.iter().find(|write| !write.optional) {
            bail!("{}: there are no cgroups with --cgroup-manager disabled", write.property);
        }
        if !resources.devices.is_empty() {
            crate::log::warn(
                "linux.resources.devices has no effect: there are no cgroups with --cgroup-manager disabled",
            );
        }
        Ok(Self {
            place: Cgroup {
                driver: Driver::Fs,
                unit: None,
                v1: Vec::new(),
                unified: None,
                v2: host.is_unified(),
                rootless: true,
                lenient: true,
            },
            unit: None,
            early: Vec::new(),
            late: Vec::new(),
            devices: Filter::plan(&[], &[])?,
            owner: None,
            delegate: String::new(),
            controllers: Vec::new(),
            ignored: Vec::new(),
        })
    }

    /// crun's, and `org.systemd.property.*`; without systemd the latter say nothing to anybody.
    pub(crate) fn annotate(&mut self, annotations: &Map<'_>) -> Result<()> {
        self.annotate_as_crun(annotations)?;
        self.unit.as_mut().map_or(Ok(()), |unit| unit.annotate(annotations))
    }

    /// The facts to keep: known before anything is made.
    pub(crate) fn place(&self) -> Cgroup {
        self.place.clone()
    }

    /// Properties that were asked for and have no effect on this kind of hierarchy.
    pub(crate) fn ignored(&self) -> &[&'static str] {
        &self.ignored
    }

    /// What comes after the assembling: `apply_late`, `delegate`.
    pub(crate) fn has_late_work(&self) -> bool {
        !self.late.is_empty() || !self.delegate.is_empty()
    }

    pub(super) fn writes(&self) -> impl Iterator<Item = &Write> {
        self.early.iter().chain(&self.late)
    }
}

/// All of `linux.resources` but the devices.
pub(super) fn writes(host: &Hierarchies, resources: &Resources<'_>) -> Result<Writes> {
    if host.is_unified() { v2(resources) } else { v1(host, resources) }
}

fn v1(host: &Hierarchies, r: &Resources<'_>) -> Result<Writes> {
    let mut w = Writes::default();
    if let Some(cpu) = &r.cpu {
        w.extend(cpuset::v1(cpu));
        w.extend(cpu::v1(cpu)?);
    }
    if let Some(memory) = &r.memory {
        w.extend(memory::v1(memory)?);
    }
    if let Some(pids) = &r.pids {
        w.extend(pids::v1(pids));
    }
    if let Some(io) = &r.block_io {
        w.extend(io::v1(io));
    }
    // A hybrid host may have handed a controller over to its v2 hierarchy.
    let unified = |c: &str| host.v1_of(c).is_none() && host.has_unified(c);
    w.extend(if unified("hugetlb") {
        hugetlb::v2(&r.hugepage_limits)?
    } else {
        hugetlb::v1(&r.hugepage_limits)?
    });
    if let Some(network) = &r.network {
        w.extend(net::v1(network));
    }
    w.extend(rdma::v1(&r.rdma));
    w.extend(unified::v1(&r.unified)?);
    Ok(w)
}

fn v2(r: &Resources<'_>) -> Result<Writes> {
    let mut w = Writes::default();
    if let Some(pids) = &r.pids {
        w.extend(pids::v2(pids));
    }
    if let Some(memory) = &r.memory {
        w.extend(memory::v2(memory)?);
    }
    if let Some(io) = &r.block_io {
        w.extend(io::v2(io));
    }
    if let Some(cpu) = &r.cpu {
        w.extend(cpu::v2(cpu));
        w.extend(cpuset::v2(cpu));
    }
    w.extend(hugetlb::v2(&r.hugepage_limits)?);
    if let Some(network) = &r.network {
        w.extend(net::v2(network));
    }
    w.extend(rdma::v2(&r.rdma));
    w.extend(unified::v2(&r.unified)?);
    Ok(w)
}

/// A limit that the host has no controller for is an error, unless leaving it out changes nothing.
pub(super) fn check_mounted(host: &Hierarchies, write: &Write) -> Result<()> {
    let controller = write.controller();
    // Pressure is measured without the controller.
    if write.optional || controller == "cgroup" || write.file.ends_with(".pressure") {
        return Ok(());
    }
    if host.is_unified() {
        if host.has_unified(controller) {
            return Ok(());
        }
        bail!("{}: the {controller} controller is not available", write.property);
    }
    if host.v1_of(controller).is_none() && !host.has_unified(controller) {
        bail!("{}: the {controller} controller is not mounted", write.property);
    }
    Ok(())
}

/// The unit to be, and a connection to who makes it, if that is systemd.
fn unit(host: &Hierarchies, request: &Request<'_>) -> Result<Option<UnitPlan>> {
    if !request.systemd {
        return Ok(None);
    }
    systemd::check_host(host.is_unified(), request.rootless)?;
    UnitPlan::connect(request.cgroups_path, request.id, request.rootless).map(Some)
}

fn place(host: &Hierarchies, request: &Request<'_>, unit: Option<Inner>) -> Result<Cgroup> {
    let is_units = unit.is_some();
    let inner = unit.unwrap_or_else(|| Inner::plan(request.cgroups_path, request.id));
    if inner == Inner::Absolute(String::new()) {
        bail!("linux.cgroupsPath: {:?} is the root cgroup", request.cgroups_path);
    }
    if inner == Inner::Relative(String::new()) {
        // Whatever is killed, frozen or removed with the container would be the caller's.
        bail!("linux.cgroupsPath: {:?} is the caller's own cgroup", request.cgroups_path);
    }
    let hybrid = !host.is_unified();
    let lenient = !is_units && request.rootless && request.cgroups_path.is_empty();
    if !lenient {
        host.check_any()?;
    }
    if hybrid && !lenient && host.v1_of("devices").is_none() {
        // Without it nothing would keep the container from the host's devices.
        bail!("linux.resources.devices: the devices controller is not mounted");
    }
    let mut v1 = Vec::new();
    for hierarchy in host.v1.iter().filter(|h| h.is_known()) {
        v1.push(V1Dir {
            controllers: hierarchy.controllers.clone(),
            path: hierarchy.place(&inner)?,
            mount: hierarchy.mount.clone(),
            optional: hierarchy.is_optional(),
        });
    }
    let unified = match &host.unified {
        Some(unified) => Some(super::UnifiedDir {
            path: unified.place(&inner, hybrid)?,
            mount: unified.mount.clone(),
            subgroup: String::new(),
        }),
        None => None,
    };
    Ok(Cgroup {
        driver: Driver::Fs,
        unit: None,
        v1,
        unified,
        v2: !hybrid,
        rootless: request.rootless,
        lenient,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(path: &'a str, resources: Option<&'a Resources<'a>>) -> Request<'a> {
        Request {
            id: "c1",
            cgroups_path: path,
            resources,
            nodes: &[],
            strict_devices: false,
            owner: None,
            systemd: false,
            rootless: false,
        }
    }

    fn error(host: &Hierarchies, json: &str) -> String {
        let resources = serde_json::from_str(json).unwrap();
        CgroupPlan::new(host, &request("/a/c1", Some(&resources))).unwrap_err().to_string()
    }

    fn files(list: &[Write]) -> Vec<&str> {
        list.iter().map(|w| &*w.file).collect()
    }

    #[test]
    fn dockers_limits_on_v2_what_hinders_is_late() {
        let host = Hierarchies::test_v2(&["cpu", "memory", "pids", "cpuset", "io"]);
        let json = r#"{"memory": {"limit": 1000, "reservation": 500, "swap": 2000},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
            "pids": {"limit": 10}}"#;
        let resources = serde_json::from_str(json).unwrap();
        let plan = CgroupPlan::new(&host, &request("/docker/c1", Some(&resources))).unwrap();
        assert_eq!(
            files(&plan.early),
            ["memory.swap.max", "memory.max", "memory.low", "cpu.weight", "cpuset.cpus"]
        );
        assert_eq!(files(&plan.late), ["pids.max", "cpu.max"]);
        let place = plan.place();
        assert_eq!(place.unified.unwrap().path, "/sys/fs/cgroup/docker/c1");
        assert!(place.v1.is_empty());
    }

    #[test]
    fn a_whole_cpu_and_many_processes_do_not_hinder_the_assembling() {
        let late = |host: &Hierarchies, quota: i64, limit: i64| {
            let json = format!(
                r#"{{"cpu": {{"quota": {quota}, "period": 100000}}, "pids": {{"limit": {limit}}}}}"#
            );
            let resources = serde_json::from_str(&json).unwrap();
            let plan = CgroupPlan::new(host, &request("/docker/c1", Some(&resources))).unwrap();
            files(&plan.late).join(" ")
        };
        let v2 = Hierarchies::test_v2(&["cpu", "pids"]);
        assert_eq!(late(&v2, 100_000, 32), "");
        assert_eq!(late(&v2, -1, -1), "");
        assert_eq!(late(&v2, 99_999, 31), "pids.max cpu.max");
        let v1 = Hierarchies::test_v1(&["devices", "cpu", "pids"]);
        assert_eq!(late(&v1, 100_000, 32), "");
        assert_eq!(late(&v1, 99_999, 0), "cpu.cfs_period_us cpu.cfs_quota_us pids.max");
    }

    #[test]
    fn a_missing_controller_is_named_with_the_property() {
        let host = Hierarchies::test_v1(&["devices", "cpu"]);
        assert_eq!(
            error(&host, r#"{"memory": {"limit": 1000}}"#),
            "linux.resources.memory.limit: the memory controller is not mounted"
        );
        let host = Hierarchies::test_v2(&["hugetlb"]);
        assert_eq!(
            error(&host, r#"{"cpu": {"shares": 512}}"#),
            "linux.resources.cpu.shares: the cpu controller is not available"
        );
        assert_eq!(
            error(&host, r#"{"unified": {"memory.high": "1"}}"#),
            "linux.resources.unified[memory.high]: the memory controller is not available"
        );
    }

    #[test]
    fn without_the_devices_hierarchy_nothing_runs_on_v1() {
        let host = Hierarchies::test_v1(&["cpu"]);
        assert_eq!(
            error(&host, "{}"),
            "linux.resources.devices: the devices controller is not mounted"
        );
    }

    /// In a container that shows none, say.
    #[test]
    fn rootless_containers_do_without_any_cgroup_filesystem() {
        let none = Hierarchies::default();
        let rootless = Request { rootless: true, ..request("", None) };
        assert!(CgroupPlan::new(&none, &rootless).unwrap().place().is_none());
        for strict in [request("", None), Request { rootless: true, ..request("/a", None) }] {
            assert_eq!(
                CgroupPlan::new(&none, &strict).unwrap_err().to_string(),
                "no cgroup filesystem is mounted at /sys/fs/cgroup"
            );
        }
    }

    #[test]
    fn the_root_cgroup_is_refused() {
        let host = Hierarchies::test_v2(&[]);
        assert_eq!(
            CgroupPlan::new(&host, &request("/..", None)).unwrap_err().to_string(),
            r#"linux.cgroupsPath: "/.." is the root cgroup"#
        );
    }

    /// Found by fuzzing: `delete --force` would have killed the caller and whoever is with it.
    #[test]
    fn the_callers_own_cgroup_is_refused() {
        for host in [Hierarchies::test_v2(&[]), Hierarchies::test_v1(&["devices"])] {
            for path in [".", "..", "a/..", "./."] {
                assert_eq!(
                    CgroupPlan::new(&host, &request(path, None)).unwrap_err().to_string(),
                    format!("linux.cgroupsPath: {path:?} is the caller's own cgroup")
                );
            }
        }
    }
}
