// SPDX-License-Identifier: Apache-2.0
//! `linux.cgroupsPath` and `linux.resources`. What the kernel says is of v1 here: its files are
//! named in the messages.

use super::case::{Case, case, is_v1};
use crate::common::{Value, json};

const V2: &str = "this host has no v1 controllers";

fn limit(name: &'static str, pointer: &'static str, value: Value) -> Case {
    case(name).set(pointer, value)
}

pub(crate) fn rows() -> Vec<Case> {
    let mut rows = paths();
    rows.extend(memory_and_cpu());
    rows.extend(others());
    rows
}

fn paths() -> Vec<Case> {
    vec![
        limit("cgroupsPath the root", "/linux/cgroupsPath", json!("/"))
            .says(r#"linux.cgroupsPath: "/" is the root cgroup"#),
        case("cgroupsPath of a running container")
            .prepare(|bundle| {
                let path = format!("/{}", bundle.id());
                bundle.set("/linux/cgroupsPath", json!(path));
            })
            .before(&["run", "--detach", "{ID}"])
            .command(&["create", "{ID}-2"])
            .only_if(is_v1, V2)
            .stays("running")
            .says("linux.cgroupsPath: container's cgroup is not empty: 1 process(es) found in /sys/fs/cgroup/devices/{ID}"),
        case("cgroupsPath below a paused container")
            .prepare(|bundle| {
                let path = bundle.id().to_owned();
                bundle.set("/linux/cgroupsPath", json!(format!("/{path}/below")));
                bundle.set("/root/path", json!(bundle.rootfs()));
                let second = bundle.dir.join("second");
                std::fs::create_dir(&second).unwrap();
                std::fs::write(second.join("config.json"), bundle.config.to_string()).unwrap();
                bundle.set("/linux/cgroupsPath", json!(format!("/{path}")));
            })
            .before(&["run", "--detach", "{ID}"])
            .before(&["pause", "{ID}"])
            .command(&["create", "--bundle", "{DIR}/second", "{ID}-2"])
            .only_if(is_v1, V2)
            .unlike_runc("it waits for the frozen process without end")
            .stays("paused")
            .says("linux.cgroupsPath: container's cgroup is below a frozen one: /sys/fs/cgroup/freezer/{ID}/below"),
    ]
}

fn memory_and_cpu() -> Vec<Case> {
    vec![
        limit(
            "memory below what the runtime needs",
            "/linux/resources/memory",
            json!({"limit": 1}),
        )
        .says("container init was OOM-killed (linux.resources.memory.limit is too low?): signal: SIGKILL"),
        limit(
            "swap below memory",
            "/linux/resources/memory",
            json!({"limit": 100_000_000, "swap": 50_000_000}),
        )
        .only_if(is_v1, V2)
        .says(r#"linux.resources.memory.swap: write "50000000" to memory.memsw.limit_in_bytes: EINVAL: invalid argument"#),
        limit("swappiness out of range", "/linux/resources/memory", json!({"swappiness": 300}))
            .only_if(is_v1, V2)
            .says("linux.resources.memory.swappiness: invalid value 300 (valid range is 0-100)"),
        limit(
            "quota that the kernel refuses",
            "/linux/resources/cpu",
            json!({"quota": 5, "period": 100_000}),
        )
        .only_if(is_v1, V2)
        .says(r#"linux.resources.cpu.quota: write "5" to cpu.cfs_quota_us: EINVAL: invalid argument"#),
        limit("period out of range", "/linux/resources/cpu", json!({"period": 5}))
            .only_if(is_v1, V2)
            .says(r#"linux.resources.cpu.period: write "5" to cpu.cfs_period_us: EINVAL: invalid argument"#),
        limit("cpus that are no list", "/linux/resources/cpu", json!({"cpus": "a-b"}))
            .says(r#"linux.resources.cpu.cpus: write "a-b" to cpuset.cpus: EINVAL: invalid argument"#),
        limit("cpus that are not there", "/linux/resources/cpu", json!({"cpus": "900"}))
            .only_if(is_v1, V2)
            .says(r#"linux.resources.cpu.cpus: write "900" to cpuset.cpus: ERANGE: math result not representable"#),
    ]
}

fn others() -> Vec<Case> {
    vec![
        limit(
            "huge pages of an unknown size",
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 1}]),
        )
        .says("linux.resources.hugepageLimits[3MB]: hugetlb.3MB.max: this kernel has no such file"),
        limit("unified on v1", "/linux/resources/unified", json!({"memory.high": "1"}))
            .only_if(is_v1, V2)
            .says("linux.resources.unified: invalid configuration: cannot use unified on cgroup v1"),
        limit("weight out of range", "/linux/resources/blockIO", json!({"weight": 5000}))
            .only_if(is_v1, V2)
            .says(r#"linux.resources.blockIO.weight: write "5000" to blkio.weight: ERANGE: math result not representable"#),
        limit(
            "throttle of a device that is not there",
            "/linux/resources/blockIO",
            json!({"throttleReadBpsDevice": [{"major": 4000, "minor": 0, "rate": 1}]}),
        )
        .only_if(is_v1, V2)
        .says(r#"linux.resources.blockIO.throttleReadBpsDevice: write "4000:0 1" to blkio.throttle.read_bps_device: ENODEV: no such device"#),
        limit(
            "device rule of an unknown type",
            "/linux/resources/devices/-",
            json!({"allow": true, "type": "z", "access": "r"}),
        )
        .says(r#"linux.resources.devices[1].type: invalid cgroup device type "z""#),
        limit(
            "device rule of an unknown access",
            "/linux/resources/devices/-",
            json!({"allow": true, "type": "c", "access": "rx"}),
        )
        .unlike_runc("runc ignores the letter")
        .says("linux.resources.devices[1].access: unknown letter 'x' (r, w, m and a are known)"),
        limit(
            "network priorities without a controller",
            "/linux/resources/network",
            json!({"classID": 1}),
        )
        .only_if(
            || is_v1() && std::fs::metadata("/sys/fs/cgroup/net_cls").is_err(),
            "it has net_cls",
        )
        .says("linux.resources.network.classID: the net_cls controller is not mounted"),
    ]
}
