//! config-linux.md: cgroups path and unified; where the container's process is.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::case::{Case, Outcome, ensure, skip};
use crate::cgroupfs;
use crate::stage::Stage;

pub(crate) const CASES: &[Case] = &[
    Case::run(
        "cgroup-path-absolute",
        "config-linux.md#cgroups-path: an absolute path MUST be relative to the cgroups mount point",
        absolute,
    ),
    Case::run(
        "cgroup-path-relative",
        "config-linux.md#cgroups-path: a relative path may be placed by the runtime",
        relative,
    ),
    Case::run(
        "cgroup-path-absent",
        "config-linux.md#cgroups-path: without a path the runtime MAY define one",
        absent,
    ),
    Case::run(
        "cgroup-path-same-place",
        "config-linux.md#cgroups-path: the same value MUST lead to the same place",
        same_place,
    ),
    Case::run(
        "cgroup-all-hierarchies",
        "config-linux.md#cgroups-path: the process is in its cgroup of every hierarchy",
        all_hierarchies,
    ),
    Case::run(
        "cgroup-owner-kept",
        "config-linux.md#cgroup-ownership: cgroups of version 1 SHOULD NOT change owner",
        owner_kept,
    ),
    Case::run(
        "cgroup-unified-absent-controller",
        "config-linux.md#unified: MUST error for a controller that is not there",
        |stage| {
            unified_only()?;
            stage.must_refuse(json!({"linux": {"resources": {"unified": {"unheard.max": "1"}}}}))
        },
    ),
    Case::run(
        "cgroup-unified-written",
        "config-linux.md#unified: each entry MUST be written to its file",
        unified_written,
    ),
    Case::run(
        "cgroup-unified-invalid",
        "runtime.md#create: MUST error if a property cannot be applied",
        |stage| {
            let Some(size) = huge_page_file() else {
                return skip("no cgroup v2 hierarchy with the hugetlb controller");
            };
            unified_only()?;
            stage.must_refuse(json!({"linux": {"resources": {"unified": {size: "not a number"}}}}))
        },
    ),
    Case::refused(
        "rdt-without-resctrl",
        "config-linux.md#intelrdt: MUST error if no resctrl filesystem is mounted",
        || json!({"linux": {"intelRdt": {"closID": "conformance", "l3CacheSchema": "L3:0=f"}}}),
    ),
];

/// A container that sleeps, and its pid.
pub(crate) fn sleeping(stage: &mut Stage, linux: serde_json::Value) -> Outcome<i32> {
    let patch = json!({"process": {"args": ["/inside", "sleep"]}, "linux": linux});
    let bundle = stage.bundle(patch)?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_output("one", "inside: sleeping")?;
    Ok(pid)
}

/// Lines of /proc/PID/cgroup as (controllers, path).
fn places(pid: i32) -> Outcome<Vec<(String, String)>> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let lines = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    });
    Ok(lines.collect())
}

/// The hierarchies that a runtime must use: those with controllers, or the only one.
fn used() -> Vec<cgroupfs::Hierarchy> {
    let all = cgroupfs::hierarchies();
    let is_hybrid = all.iter().any(|one| !one.is_v2);
    all.into_iter().filter(|one| !(one.is_v2 && is_hybrid)).collect()
}

fn absolute(stage: &mut Stage) -> Outcome {
    let name = stage.cgroup();
    let pid = sleeping(stage, json!({"cgroupsPath": format!("/{name}/abs")}))?;
    let mut seen = 0;
    for hierarchy in used() {
        let dir = hierarchy.mount.join(&name).join("abs");
        ensure(cgroupfs::pids(&dir).contains(&pid), || {
            format!("{pid} is not in {}", dir.display())
        })?;
        seen += 1;
    }
    if seen == 0 { skip("no cgroup hierarchy is mounted") } else { Ok(()) }
}

/// A relative path is anywhere, but ends as it was written.
fn relative(stage: &mut Stage) -> Outcome {
    let name = stage.cgroup();
    let pid = sleeping(stage, json!({"cgroupsPath": format!("{name}/rel")}))?;
    let places = places(pid)?;
    let fitting = places.iter().filter(|(_, path)| path.ends_with(&format!("{name}/rel"))).count();
    let result = ensure(fitting > 0, || format!("{places:?}"));
    stage.rt.call(&["delete", "--force", "one"])?.must_pass()?;
    remove_parents(&places, &name);
    result
}

/// Where the runtime put a relative path is its own affair; the case's directory is removed by name.
fn remove_parents(places: &[(String, String)], name: &str) {
    for (controllers, path) in places {
        let Some(at) = path.find(&format!("/{name}")) else { continue };
        let hierarchies = cgroupfs::hierarchies().into_iter();
        for hierarchy in hierarchies.filter(|one| {
            controllers.split(',').all(|name| one.controllers.iter().any(|have| have == name))
                || (one.is_v2 && controllers.is_empty())
        }) {
            let path =
                format!("{}{}", path[..at].trim_start_matches('/'), &path[at..at + name.len() + 1]);
            let dir: PathBuf = hierarchy.mount.join(path.trim_start_matches('/'));
            if dir.is_dir() && dir.ends_with(name) {
                cgroupfs::remove(&dir);
            }
        }
    }
}

fn absent(stage: &mut Stage) -> Outcome {
    let patch = json!({
        "process": {"args": ["/inside", "sleep"]},
        "linux": {"cgroupsPath": null}
    });
    let bundle = stage.bundle(patch)?;
    // The default is derived from the ID, which must not be another container's.
    let id = stage.cgroup();
    stage.create(&bundle, &id)?;
    let pid = stage.pid(&id)?;
    let own = places(std::process::id().try_into().unwrap_or(0))?;
    let its = places(pid)?;
    ensure(own != its, || format!("the container is in the runtime's cgroups {its:?}"))?;
    stage.rt.call(&["delete", "--force", &id])?.must_pass()?;
    remove_parents(&its, &id);
    Ok(())
}

fn same_place(stage: &mut Stage) -> Outcome {
    let path = json!({"cgroupsPath": format!("/{}/same", stage.cgroup())});
    let first = sleeping(stage, path.clone())?;
    let first = places(first)?;
    stage.rt.call(&["delete", "--force", "one"])?.must_pass()?;
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}, "linux": path}))?;
    stage.create(&bundle, "two")?;
    let second = stage.pid("two")?;
    let second = places(second)?;
    ensure(first == second, || format!("first {first:?}, then {second:?}"))
}

fn all_hierarchies(stage: &mut Stage) -> Outcome {
    let name = stage.cgroup();
    let pid = sleeping(stage, json!({}))?;
    let mut missing = Vec::new();
    for hierarchy in used() {
        let dir = hierarchy.mount.join(&name).join("c1");
        if !cgroupfs::pids(&dir).contains(&pid) {
            missing.push(dir);
        }
    }
    ensure(missing.is_empty(), || format!("{pid} is not in {missing:?}"))
}

fn owner_kept(stage: &mut Stage) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let name = stage.cgroup();
    sleeping(stage, json!({}))?;
    let v1: Vec<_> = cgroupfs::hierarchies().into_iter().filter(|one| !one.is_v2).collect();
    if v1.is_empty() {
        return skip("no hierarchy of cgroup version 1");
    }
    for hierarchy in v1 {
        let owner = fs::metadata(hierarchy.mount.join(&name).join("c1"))?.uid();
        ensure(owner == 0, || format!("{} belongs to {owner}", hierarchy.mount.display()))?;
    }
    Ok(())
}

fn unified_only() -> Outcome {
    let all = cgroupfs::hierarchies();
    if all.iter().all(|one| one.is_v2) && !all.is_empty() {
        Ok(())
    } else {
        skip("not a host with cgroup version 2 only")
    }
}

/// `hugetlb.SIZE.max` as a cgroup of version 2 has it.
fn huge_page_file() -> Option<String> {
    let hierarchy = cgroupfs::of("hugetlb").filter(|one| one.is_v2)?;
    let files = fs::read_dir("/sys/kernel/mm/hugepages").ok()?.flatten();
    let sizes = files.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()
    });
    let size = sizes.min()?;
    let unit =
        if size >= 1 << 20 { format!("{}GB", size >> 20) } else { format!("{}MB", size >> 10) };
    let _ = hierarchy;
    Some(format!("hugetlb.{unit}.max"))
}

fn unified_written(stage: &mut Stage) -> Outcome {
    let Some(file) = huge_page_file() else {
        return skip("no cgroup v2 hierarchy with the hugetlb controller");
    };
    unified_only()?;
    let limit = "4194304";
    let name = stage.cgroup();
    sleeping(stage, json!({"resources": {"unified": {file.as_str(): limit}}}))?;
    let Some(hierarchy) = cgroupfs::of("hugetlb") else { return skip("no hugetlb controller") };
    let have = fs::read_to_string(hierarchy.mount.join(&name).join("c1").join(&file))?;
    ensure(have.trim() == limit, || format!("{file} is {have}"))
}
