//! config-linux.md: the limits of `resources`, read from outside on either cgroup version.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::case::{Case, Outcome, ensure, skip};
use crate::cases::cgroups::sleeping;
use crate::cgroupfs;
use crate::stage::Stage;

const MIB: u64 = 1 << 20;

pub(crate) const CASES: &[Case] = &[
    Case::run("memory-limit", "config-linux.md#memory: limit", |stage| {
        let row = Row { v1: ("memory.limit_in_bytes", "67108864"), v2: ("memory.max", "67108864") };
        one(stage, "memory", json!({"memory": {"limit": 64 * MIB}}), &[row])
    }),
    Case::run("memory-reservation", "config-linux.md#memory: reservation", |stage| {
        let row =
            Row { v1: ("memory.soft_limit_in_bytes", "33554432"), v2: ("memory.low", "33554432") };
        one(
            stage,
            "memory",
            json!({"memory": {"limit": 64 * MIB, "reservation": 32 * MIB}}),
            &[row],
        )
    }),
    Case::run("memory-swap", "config-linux.md#memory: swap is memory and swap together", |stage| {
        let row = Row {
            v1: ("memory.memsw.limit_in_bytes", "134217728"),
            v2: ("memory.swap.max", "67108864"),
        };
        one(stage, "memory", json!({"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}), &[row])
    }),
    Case::run("memory-swappiness", "config-linux.md#memory: swappiness", |stage| {
        v1_only("memory", "memory.swappiness")?;
        let row = Row { v1: ("memory.swappiness", "11"), v2: ("", "") };
        one(stage, "memory", json!({"memory": {"swappiness": 11}}), &[row])
    }),
    Case::run("memory-unlimited", "config-linux.md#memory: -1 is no limit", |stage| {
        let row =
            Row { v1: ("memory.limit_in_bytes", "9223372036854771712"), v2: ("memory.max", "max") };
        one(stage, "memory", json!({"memory": {"limit": -1}}), &[row])
    }),
    Case::run("cpu-shares", "config-linux.md#cpu: shares", cpu_shares),
    Case::run("cpu-quota", "config-linux.md#cpu: quota and period", |stage| {
        let quota = Row { v1: ("cpu.cfs_quota_us", "40000"), v2: ("cpu.max", "40000 50000") };
        let period = Row { v1: ("cpu.cfs_period_us", "50000"), v2: ("cpu.max", "40000 50000") };
        one(stage, "cpu", json!({"cpu": {"quota": 40000, "period": 50000}}), &[quota, period])
    }),
    Case::run("cpu-burst", "config-linux.md#cpu: burst", |stage| {
        let row = Row { v1: ("cpu.cfs_burst_us", "10000"), v2: ("cpu.max.burst", "10000") };
        one(stage, "cpu", json!({"cpu": {"quota": 40000, "period": 50000, "burst": 10000}}), &[row])
    }),
    Case::run("cpu-idle", "config-linux.md#cpu: idle", |stage| {
        let row = Row { v1: ("cpu.idle", "1"), v2: ("cpu.idle", "1") };
        one(stage, "cpu", json!({"cpu": {"idle": 1}}), &[row])
    }),
    Case::run("cpuset", "config-linux.md#cpu: cpus and mems", |stage| {
        let cpus = Row { v1: ("cpuset.cpus", "0"), v2: ("cpuset.cpus", "0") };
        let mems = Row { v1: ("cpuset.mems", "0"), v2: ("cpuset.mems", "0") };
        one(stage, "cpuset", json!({"cpu": {"cpus": "0", "mems": "0"}}), &[cpus, mems])
    }),
    Case::run("pids-limit", "config-linux.md#pids: limit", |stage| {
        let row = Row { v1: ("pids.max", "77"), v2: ("pids.max", "77") };
        one(stage, "pids", json!({"pids": {"limit": 77}}), &[row])
    }),
    Case::run("pids-unlimited", "config-linux.md#pids: -1 is no limit", |stage| {
        let row = Row { v1: ("pids.max", "max"), v2: ("pids.max", "max") };
        one(stage, "pids", json!({"pids": {"limit": -1}}), &[row])
    }),
    Case::run("pids-limit-holds", "config-linux.md#pids: the limit is enforced", pids_hold),
    Case::run("pids-limit-zero", "config-linux.md#pids: 0 is a limit and SHOULD be one", pids_zero),
    Case::run(
        "blkio-weight",
        "config-linux.md#block-io: weight is set, or refused where the kernel has none",
        blkio_weight,
    ),
    Case::run("blkio-throttle", "config-linux.md#block-io: rates per device", blkio_throttle),
    Case::run(
        "hugepage-limits",
        "config-linux.md#huge-page-limits: a limit per page size",
        huge_pages,
    ),
    Case::run(
        "limits-cpuset-invalid",
        "runtime.md#create: MUST error if a property cannot be applied",
        |stage| {
            need("cpuset")?;
            stage.must_refuse(json!({"linux": {"resources": {"cpu": {"cpus": "4000"}}}}))
        },
    ),
    Case::run(
        "limits-cpu-invalid",
        "runtime.md#create: MUST error if a property cannot be applied",
        |stage| {
            need("cpu")?;
            stage.must_refuse(json!({"linux": {"resources": {"cpu": {"quota": 5, "period": 5}}}}))
        },
    ),
    Case::run(
        "limits-swap-below-memory",
        "runtime.md#create: MUST error if a property cannot be applied",
        |stage| {
            need("memory")?;
            let memory = json!({"limit": 64 * MIB, "swap": 32 * MIB});
            stage.must_refuse(json!({"linux": {"resources": {"memory": memory}}}))
        },
    ),
    Case::run(
        "limits-absent-controller",
        "runtime.md#create: MUST error if a property cannot be applied",
        absent_controller,
    ),
];

/// A file and its value on either version.
struct Row {
    v1: (&'static str, &'static str),
    v2: (&'static str, &'static str),
}

fn need(controller: &str) -> Outcome<cgroupfs::Hierarchy> {
    cgroupfs::of(controller)
        .map_or_else(|| skip(format!("no {controller} controller on this machine")), Ok)
}

fn v1_only(controller: &str, file: &str) -> Outcome {
    let hierarchy = need(controller)?;
    if hierarchy.is_v2 {
        return skip(format!("{file} is of cgroup version 1"));
    }
    Ok(())
}

fn group(stage: &Stage, hierarchy: &cgroupfs::Hierarchy) -> PathBuf {
    hierarchy.mount.join(stage.cgroup()).join("c1")
}

/// Devices stay denied as in the base; the limits are added.
fn one(stage: &mut Stage, controller: &str, resources: Value, rows: &[Row]) -> Outcome {
    let hierarchy = need(controller)?;
    let root = |file: &str| has_file(&hierarchy, file);
    for row in rows {
        let file = if hierarchy.is_v2 { row.v2.0 } else { row.v1.0 };
        if !root(file)? {
            return skip(format!("this kernel has no {file}"));
        }
    }
    sleeping(stage, json!({"resources": resources}))?;
    let dir = group(stage, &hierarchy);
    for row in rows {
        let (file, want) = if hierarchy.is_v2 { row.v2 } else { row.v1 };
        let have = fs::read_to_string(dir.join(file))?;
        ensure(have.trim() == want, || format!("{file}: want {want}, have {}", have.trim()))?;
    }
    Ok(())
}

/// Asked of a cgroup made for the question: the root lacks some files.
fn has_file(hierarchy: &cgroupfs::Hierarchy, file: &str) -> Outcome<bool> {
    let probe = hierarchy.mount.join(format!("conformance-probe-{}", std::process::id()));
    fs::create_dir(&probe)?;
    let there = probe.join(file).exists();
    fs::remove_dir(&probe)?;
    Ok(there)
}

/// Version 2 has a weight; two formulas are in use, so only the order of two values is checked.
fn cpu_shares(stage: &mut Stage) -> Outcome {
    let hierarchy = need("cpu")?;
    if !hierarchy.is_v2 {
        let row = Row { v1: ("cpu.shares", "2048"), v2: ("", "") };
        return one(stage, "cpu", json!({"cpu": {"shares": 2048}}), &[row]);
    }
    sleeping(stage, json!({"resources": {"cpu": {"shares": 4096}}}))?;
    let have = fs::read_to_string(group(stage, &hierarchy).join("cpu.weight"))?;
    ensure(have.trim().parse::<u64>().is_ok_and(|weight| weight > 100), || {
        format!("cpu.weight {have}")
    })
}

fn pids_hold(stage: &mut Stage) -> Outcome {
    need("pids")?;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "forks", "20"]},
        "linux": {"resources": {"pids": {"limit": 6}}}
    }))?;
    let output = stage.run_to_end(&bundle, "one")?;
    ensure(output.contains("forked 5\n"), || format!("5 beside the program itself: {output}"))
}

/// The kernel lets the first process in by migration and refuses each fork after it. Written as 1,
/// as systemd's units need it, the effect is the same.
fn pids_zero(stage: &mut Stage) -> Outcome {
    need("pids")?;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "forks", "3"]},
        "linux": {"resources": {"pids": {"limit": 0}}}
    }))?;
    let answer = stage.try_create(&bundle, "one")?;
    if !answer.is_ok() {
        // The runtime could not fork in there any more: then the limit holds as well.
        return answer.must_fail("create failed").map(|_| ());
    }
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_exit(pid)?;
    let output = stage.output("one");
    ensure(output.contains("forked 0\n"), || output.clone())
}

/// A disk of this machine, as major:minor.
fn disk() -> Option<(u64, u64)> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten();
    let numbers = disks.filter_map(|entry| {
        let text = fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    numbers.min_by_key(|(major, _)| u64::from(*major == 7 || *major == 1))
}

/// Kernels without the CFQ scheduler have only the weight of BFQ, whose use is the runtime's choice.
fn blkio_weight(stage: &mut Stage) -> Outcome {
    let hierarchy = need("blkio").or_else(|_| need("io"))?;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "sleep"]},
        "linux": {"resources": {"blockIO": {"weight": 500}}}
    }))?;
    let answer = stage.try_create(&bundle, "one")?;
    if !answer.is_ok() {
        answer.must_fail("create failed")?;
        return stage.must_be_unknown("one");
    }
    // On version 2 the range 10 to 1000 is spread over 1 to 10000, but for BFQ.
    let files = if hierarchy.is_v2 {
        [("io.weight", "default 4950"), ("io.bfq.weight", "500")]
    } else {
        [("blkio.weight", "500"), ("blkio.bfq.weight", "500")]
    };
    let read = |file: &str| fs::read_to_string(group(stage, &hierarchy).join(file)).ok();
    let have = files.map(|(file, want)| (read(file), want));
    let is_set =
        |(text, want): &(Option<String>, &str)| text.iter().any(|t| t.trim().ends_with(want));
    ensure(have.iter().any(is_set), || format!("weights are {have:?}"))
}

fn blkio_throttle(stage: &mut Stage) -> Outcome {
    let hierarchy = need("blkio").or_else(|_| need("io"))?;
    let Some((major, minor)) = disk() else { return skip("no block device") };
    let file = if hierarchy.is_v2 { "io.max" } else { "blkio.throttle.read_bps_device" };
    if !has_file(&hierarchy, file)? {
        return skip(format!("this kernel has no {file}"));
    }
    let rate = json!([{"major": major, "minor": minor, "rate": 1_048_576}]);
    sleeping(stage, json!({"resources": {"blockIO": {"throttleReadBpsDevice": rate}}}))?;
    let have = fs::read_to_string(group(stage, &hierarchy).join(file))?;
    let want = if hierarchy.is_v2 {
        format!("{major}:{minor} rbps=1048576")
    } else {
        format!("{major}:{minor} 1048576")
    };
    ensure(have.contains(&want), || format!("{file}: want {want}, have {have}"))
}

fn huge_pages(stage: &mut Stage) -> Outcome {
    let hierarchy = need("hugetlb")?;
    if cgroupfs::hierarchies().iter().any(|one| !one.is_v2) && hierarchy.is_v2 {
        return skip("hugetlb is on the version 2 side of a hybrid machine");
    }
    let file = if hierarchy.is_v2 { "hugetlb.2MB.max" } else { "hugetlb.2MB.limit_in_bytes" };
    if !has_file(&hierarchy, file)? {
        return skip(format!("this machine has no {file}"));
    }
    let limits = json!([{"pageSize": "2MB", "limit": 4_194_304}]);
    sleeping(stage, json!({"resources": {"hugepageLimits": limits}}))?;
    let have = fs::read_to_string(group(stage, &hierarchy).join(file))?;
    ensure(have.trim() == "4194304", || format!("{file}: {have}"))
}

/// A limit of a controller that no hierarchy has must not be dropped in silence.
fn absent_controller(stage: &mut Stage) -> Outcome {
    let rows = [
        ("memory", json!({"memory": {"limit": 64 * MIB}})),
        ("cpu", json!({"cpu": {"quota": 40000, "period": 50000}})),
        ("pids", json!({"pids": {"limit": 77}})),
        ("hugetlb", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]})),
        ("net_cls", json!({"network": {"classID": 1}})),
    ];
    // What version 2 never had may be passed over where there is nothing else.
    let has_v1 = cgroupfs::hierarchies().iter().any(|one| !one.is_v2);
    let is_absent = |name: &str| cgroupfs::of(name).is_none() && (has_v1 || name != "net_cls");
    let absent = rows.into_iter().find(|(name, _)| is_absent(name));
    let Some((_, resources)) = absent else { return skip("every controller is there") };
    stage.must_refuse(json!({"linux": {"resources": resources}}))
}
