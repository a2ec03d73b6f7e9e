// SPDX-License-Identifier: Apache-2.0
//! What the fuzz targets do with `linux.resources`, `linux.cgroupsPath` and what a bus says.

use super::systemd::{self, Name};
use super::{CgroupPlan, Hierarchies, Request, path};
use crate::oci::{self, Changes, Resources};

const V1: [&str; 12] = [
    "cpuset", "devices", "memory", "cpu", "cpuacct", "pids", "blkio", "hugetlb", "net_cls",
    "net_prio", "freezer", "rdma",
];
const V2: [&str; 7] = ["cpu", "memory", "pids", "cpuset", "io", "hugetlb", "rdma"];

fn hosts() -> [Hierarchies; 2] {
    [Hierarchies::test_v1(&V1), Hierarchies::test_v2(&V2)]
}

fn request<'a>(cgroups_path: &'a str, resources: Option<&'a Resources<'a>>) -> Request<'a> {
    Request {
        id: "fuzz",
        cgroups_path,
        resources,
        nodes: &[],
        strict_devices: false,
        owner: None,
        systemd: false,
        rootless: false,
    }
}

/// `linux.resources`, of config.json and of `update --resources`: files of the cgroup's own directory,
/// or an error that names a property; laid over a config, the same as laid over it twice.
pub fn resources(text: &str) {
    let spelled = oci::spelled(text);
    let text = spelled.as_deref().unwrap_or(text);
    let Ok(resources) = oci::parse::<Resources<'_>>(text) else { return };
    for host in hosts() {
        match CgroupPlan::new(&host, &request("/fuzz", Some(&resources))) {
            Ok(plan) => {
                for write in plan.writes() {
                    assert!(!write.file.contains('/') && !write.file.starts_with('.'), "{write:?}");
                    assert!(!write.controller().is_empty(), "{write:?}");
                }
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with("linux."), "{error}");
            }
        }
    }
    let changes = Changes::new(&resources, None, None);
    let once = changes.over(r#"{"linux":{"resources":{}}}"#).expect("a config");
    assert_eq!(changes.over(&once).expect("a config"), once);
    let spec = oci::parse::<oci::Spec<'_>>(&once).map(drop);
    assert!(spec.is_ok(), "{spec:?}: {once}");
}

/// `linux.cgroupsPath`: inside the hierarchies, whatever it says.
pub fn cgroup_path(text: &str) {
    for host in hosts() {
        let Ok(plan) = CgroupPlan::new(&host, &request(text, None)) else { continue };
        let place = plan.place();
        let paths = place.v1.iter().map(|d| (&d.mount, &d.path));
        for (mount, path) in paths.chain(place.unified.iter().map(|u| (&u.mount, &u.path))) {
            let below = path::relative(mount, path);
            // Relative ones are beside the caller's own cgroup.
            assert!(below.is_some_and(|below| is_plain(below) && !below.is_empty()), "{path:?}");
        }
    }
    if let Some(inside) = path::inside("/base", text) {
        let below = path::relative("/base", &inside);
        assert!(below.is_some_and(is_plain), "{inside:?}");
    }
    for is_user in [false, true] {
        let Ok(name) = Name::plan(text, "fuzz", is_user) else { continue };
        assert!(is_plain(&name.dir) && !name.dir.is_empty(), "{name:?}");
        assert!(!name.unit.contains('/') && !name.unit.is_empty(), "{name:?}");
        assert!(name.dir.ends_with(&name.unit), "{name:?}");
    }
}

fn is_plain(path: &str) -> bool {
    path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// What comes in from a bus.
pub(crate) fn bus(bytes: &[u8]) {
    systemd::fuzz(bytes);
}
