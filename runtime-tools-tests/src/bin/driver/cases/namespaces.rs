//! config-linux.md: namespaces, mappings, offsets; config.md: hostname and domainname.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::os::unix::fs::chown;

use serde_json::{Value, json};

use conformance::names::NAMESPACES;

use crate::case::{Case, Outcome, ensure};
use crate::stage::{Bundle, Stage, verdict};

pub(crate) const CASES: &[Case] = &[
    Case::inside(
        "namespaces-new",
        "config-linux.md#namespaces: without path a new namespace MUST be created",
        "namespaces",
        || {
            json!({"linux": {"namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}
            ]}})
        },
    ),
    Case::inside(
        "namespaces-inherited",
        "config-linux.md#namespaces: a type that is not listed MUST be inherited",
        "namespaces",
        || json!({"linux": {"namespaces": [{"type": "mount"}]}}),
    ),
    Case::run(
        "namespaces-joined",
        "config-linux.md#namespaces: with path the process MUST be placed in that namespace",
        joined,
    ),
    Case::run(
        "namespaces-joined-pid",
        "config-linux.md#namespaces: with path the process MUST be placed in that pid namespace",
        joined_pid,
    ),
    Case::run(
        "namespaces-joined-user",
        "config-linux.md#namespaces: with path the process MUST be placed in that user namespace",
        joined_user,
    ),
    Case::run(
        "namespaces-path-of-other-type",
        "config-linux.md#namespaces: MUST error if path is not of that type",
        wrong_type,
    ),
    Case::refused(
        "namespaces-path-absent",
        "config-linux.md#namespaces: MUST error if path is not a namespace",
        || json!({"linux": {"+namespaces": [{"type": "network", "path": "@DIR@/absent"}]}}),
    ),
    Case::refused(
        "namespaces-path-not-a-namespace",
        "config-linux.md#namespaces: MUST error if path is not a namespace",
        || json!({"linux": {"+namespaces": [{"type": "network", "path": "/dev/null"}]}}),
    ),
    Case::refused(
        "namespaces-path-relative",
        "config-linux.md#namespaces: path MUST be absolute",
        || json!({"linux": {"+namespaces": [{"type": "network", "path": "proc/self/ns/net"}]}}),
    ),
    Case::refused(
        "namespaces-twice",
        "config-linux.md#namespaces: MUST error if a type is duplicated",
        || json!({"linux": {"+namespaces": [{"type": "pid"}]}}),
    ),
    Case::refused(
        "namespaces-unknown-type",
        "config.md#valid-values: MUST error when an invalid value is encountered",
        || json!({"linux": {"+namespaces": [{"type": "unheard"}]}}),
    ),
    Case::run(
        "namespaces-user",
        "config-linux.md#user-namespace-mappings: the mappings are the namespace's",
        |stage| {
            user(
                stage,
                json!({}),
                "namespaces,mappings,user,groups,capabilities,mounts,devices,links",
            )
        },
    ),
    Case::run(
        "namespaces-user-other-user",
        "config-linux.md#user-namespace-mappings: user.uid is an ID in the container namespace",
        |stage| {
            let ids = json!({"uid": 1000, "gid": 1000, "additionalGids": [5]});
            user(stage, json!({"process": {"user": ids}}), "mappings,user,groups")
        },
    ),
    Case::run(
        "namespaces-user-two-ranges",
        "config-linux.md#user-namespace-mappings: every range is mapped",
        |stage| {
            let ranges = json!([
                {"containerID": 0, "hostID": 100_000, "size": 1000},
                {"containerID": 2000, "hostID": 300_000, "size": 500}
            ]);
            let patch = json!({"linux": {"uidMappings": ranges, "gidMappings": ranges}});
            user(stage, patch, "mappings,user")
        },
    ),
    Case::run(
        "namespaces-user-keeps-owners",
        "config-linux.md#user-namespace-mappings: the filesystem's owners SHOULD NOT be changed",
        owners_kept,
    ),
    Case::inside(
        "time-namespace",
        "config-linux.md#offset-for-time-namespace: timeOffsets are set",
        "namespaces,timeoffsets",
        || {
            json!({"linux": {
                "+namespaces": [{"type": "time"}],
                "timeOffsets": {
                    "monotonic": {"secs": 172_800, "nanosecs": 5},
                    "boottime": {"secs": 604_800}
                }
            }})
        },
    ),
    Case::inside(
        "hostname",
        "config.md#hostname: the container's hostname",
        "names",
        || json!({"hostname": "its-own-name"}),
    ),
    Case::inside(
        "domainname",
        "config.md#domainname: the container's domainname",
        "names",
        || json!({"domainname": "its-own.domain"}),
    ),
    Case::inside(
        "personality",
        "config-linux.md#personality: LINUX32 shows in uname",
        "personality",
        || json!({"linux": {"personality": {"domain": "LINUX32"}}}),
    ),
    Case::inside(
        "personality-linux",
        "config-linux.md#personality: LINUX",
        "personality",
        || json!({"linux": {"personality": {"domain": "LINUX"}}}),
    ),
    Case::refused(
        "personality-unknown",
        "config.md#valid-values: MUST error when an invalid value is encountered",
        || json!({"linux": {"personality": {"domain": "UNHEARD"}}}),
    ),
    Case::inside(
        "sysctl",
        "config-linux.md#sysctl: parameters are set for the container",
        "sysctl",
        || {
            json!({"linux": {
                "+namespaces": [{"type": "network"}],
                "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1",
                           "net.ipv4.ping_group_range": "0 0"}
            }})
        },
    ),
    Case::refused(
        "sysctl-unknown",
        "runtime.md#create: MUST error if a property cannot be applied",
        || json!({"linux": {"sysctl": {"kernel.unheard_of": "1"}}}),
    ),
    Case::refused(
        "sysctl-invalid-value",
        "runtime.md#create: MUST error if a property cannot be applied",
        || json!({"linux": {"sysctl": {"kernel.shm_rmid_forced": "neither"}}}),
    ),
    Case::inside(
        "memory-policy",
        "config-linux.md#memory-policy: mode and nodes are the process's",
        "memorypolicy",
        || json!({"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"}}}),
    ),
    Case::refused(
        "memory-policy-unknown",
        "config.md#valid-values: MUST error when an invalid value is encountered",
        || json!({"linux": {"memoryPolicy": {"mode": "MPOL_UNHEARD"}}}),
    ),
];

/// A container that holds its namespaces until the case is cleaned up.
fn holder(stage: &mut Stage, patch: Value) -> Outcome<i32> {
    let args = json!({"process": {"args": ["/inside", "sleep"]}});
    let bundle = stage.bundle_of([args, patch])?;
    stage.create(&bundle, "holder")?;
    let pid = stage.pid("holder")?;
    stage.start("holder")?;
    stage.wait_output("holder", "inside: sleeping")?;
    Ok(pid)
}

fn path_of(pid: i32, kind: &str) -> String {
    let file = conformance::names::lookup(&NAMESPACES, kind).unwrap_or(kind);
    format!("/proc/{pid}/ns/{file}")
}

fn join(stage: &mut Stage, pid: i32, kinds: &[&str], groups: &str) -> Outcome {
    let mut namespaces = vec![json!({"type": "mount"})];
    for kind in kinds {
        let path = path_of(pid, kind);
        stage.joined[*kind] = fs::read_link(&path)?.to_string_lossy().into_owned().into();
        namespaces.push(json!({"type": kind, "path": path}));
    }
    stage.check_inside(groups, json!({"linux": {"namespaces": namespaces}}))
}

fn joined(stage: &mut Stage) -> Outcome {
    let kinds = ["network", "ipc", "uts", "cgroup"];
    let listed =
        ["mount", "pid", "network", "ipc", "uts", "cgroup"].map(|kind| json!({"type": kind}));
    let pid = holder(stage, json!({"linux": {"namespaces": listed}}))?;
    join(stage, pid, &kinds, "namespaces")
}

fn joined_pid(stage: &mut Stage) -> Outcome {
    let pid = holder(stage, json!({}))?;
    join(stage, pid, &["pid"], "namespaces")
}

const RANGE: [(&str, u32); 3] = [("containerID", 0), ("hostID", 100_000), ("size", 65_536)];

fn mapped() -> Value {
    let range: Value = RANGE.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({"linux": {
        "namespaces": [{"type": "user"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
                       {"type": "mount"}],
        "uidMappings": [range.clone()],
        "gidMappings": [range]
    }})
}

/// The container's root must own the root filesystem, or nothing could be made in it.
fn give(bundle: &Bundle) -> Outcome {
    for entry in fs::read_dir(bundle.rootfs())? {
        chown(entry?.path(), Some(100_000), Some(100_000))?;
    }
    Ok(chown(bundle.rootfs(), Some(100_000), Some(100_000))?)
}

fn user(stage: &mut Stage, patch: Value, groups: &str) -> Outcome {
    let args = json!({"process": {"args": ["/inside", "check", groups]}});
    let bundle = stage.bundle_of([mapped(), args, patch])?;
    give(&bundle)?;
    stage.check_bundle(&bundle, "one")
}

fn joined_user(stage: &mut Stage) -> Outcome {
    let mut first = mapped();
    first["process"] = json!({"args": ["/inside", "sleep"]});
    let bundle = stage.bundle(first)?;
    give(&bundle)?;
    stage.create(&bundle, "holder")?;
    let pid = stage.pid("holder")?;
    stage.start("holder")?;
    stage.wait_output("holder", "inside: sleeping")?;
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "pid"})];
    for kind in ["user", "ipc", "uts"] {
        let path = path_of(pid, kind);
        stage.joined[kind] = fs::read_link(&path)?.to_string_lossy().into_owned().into();
        namespaces.push(json!({"type": kind, "path": path}));
    }
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "check", "namespaces,user"]},
        "linux": {"namespaces": namespaces}
    }))?;
    give(&bundle)?;
    stage.check_bundle(&bundle, "one")
}

fn wrong_type(stage: &mut Stage) -> Outcome {
    let pid = holder(stage, json!({"linux": {"+namespaces": [{"type": "network"}]}}))?;
    for (kind, other) in [("network", "ipc"), ("ipc", "network"), ("uts", "pid"), ("pid", "uts")] {
        let bundle = stage.bundle(json!({"linux": {"namespaces": [
            {"type": "mount"}, {"type": kind, "path": path_of(pid, other)}
        ]}}))?;
        let id = format!("{kind}-{other}");
        let answer = stage.try_create(&bundle, &id)?;
        answer.must_fail(&format!("{kind} has the path of a {other} namespace"))?;
        stage.must_be_unknown(&id)?;
    }
    Ok(())
}

fn owners_kept(stage: &mut Stage) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let mut whole = mapped();
    whole["process"] = json!({"args": ["/inside", "check", "mappings"]});
    let bundle = stage.bundle(whole)?;
    give(&bundle)?;
    fs::write(bundle.rootfs().join("etc/foreign"), "")?;
    let output = stage.run_to_end(&bundle, "one")?;
    verdict(&output)?;
    let owner = fs::metadata(bundle.rootfs().join("etc/foreign"))?.uid();
    ensure(owner == 0, || format!("the file's owner 0 became {owner}"))
}
