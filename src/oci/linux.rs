// SPDX-License-Identifier: Apache-2.0
//! `linux`, but for `linux.resources`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{IdMapping, Map, Resources, Str, nullable};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Linux<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub namespaces: Vec<Namespace<'a>>,
    #[serde(deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub time_offsets: BTreeMap<Str<'a>, TimeOffset>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub devices: Vec<Device<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub net_devices: BTreeMap<Str<'a>, NetDevice<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub cgroups_path: Str<'a>,
    #[serde(borrow)]
    pub resources: Option<Resources<'a>>,
    #[serde(borrow)]
    pub intel_rdt: Option<IntelRdt<'a>>,
    #[serde(borrow)]
    pub memory_policy: Option<MemoryPolicy<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub sysctl: Map<'a>,
    #[serde(borrow)]
    pub seccomp: Option<Seccomp<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub rootfs_propagation: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub masked_paths: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub readonly_paths: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub mount_label: Str<'a>,
    #[serde(borrow)]
    pub personality: Option<Personality<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "nullable")]
    pub kind: Str<'a>,
    /// Empty: a new namespace.
    #[serde(borrow, deserialize_with = "nullable")]
    pub path: Str<'a>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TimeOffset {
    #[serde(deserialize_with = "nullable")]
    pub secs: i64,
    #[serde(deserialize_with = "nullable")]
    pub nanosecs: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Device<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "nullable")]
    pub kind: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub path: Str<'a>,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NetDevice<'a> {
    /// The name inside; empty keeps it.
    #[serde(borrow, deserialize_with = "nullable")]
    pub name: Str<'a>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IntelRdt<'a> {
    #[serde(borrow, rename = "closID", deserialize_with = "nullable")]
    pub clos_id: Str<'a>,
    #[serde(borrow)]
    pub schemata: Option<Vec<Str<'a>>>,
    #[serde(borrow, rename = "l3CacheSchema", deserialize_with = "nullable")]
    pub l3_cache_schema: Str<'a>,
    #[serde(borrow, rename = "memBwSchema", deserialize_with = "nullable")]
    pub mem_bw_schema: Str<'a>,
    #[serde(rename = "enableMonitoring", deserialize_with = "nullable")]
    pub enable_monitoring: bool,
    /// Up to runtime-spec 1.2 the two kinds of counting were asked for one by one; the hardware knows
    /// them together only.
    #[serde(rename = "enableCMT", deserialize_with = "nullable")]
    pub enable_cmt: bool,
    #[serde(rename = "enableMBM", deserialize_with = "nullable")]
    pub enable_mbm: bool,
}

impl IntelRdt<'_> {
    pub(crate) fn is_monitored(&self) -> bool {
        self.enable_monitoring || self.enable_cmt || self.enable_mbm
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MemoryPolicy<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub mode: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub nodes: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub flags: Vec<Str<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Personality<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub domain: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub flags: Vec<Str<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Seccomp<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub default_action: Str<'a>,
    pub default_errno_ret: Option<u32>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub architectures: Vec<Str<'a>>,
    #[serde(borrow)]
    pub flags: Option<Vec<Str<'a>>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub listener_path: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub listener_metadata: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub syscalls: Vec<Syscall<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Syscall<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub names: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub action: Str<'a>,
    pub errno_ret: Option<u32>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub args: Vec<Arg<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Arg<'a> {
    #[serde(deserialize_with = "nullable")]
    pub index: u32,
    #[serde(deserialize_with = "nullable")]
    pub value: u64,
    #[serde(deserialize_with = "nullable")]
    pub value_two: u64,
    #[serde(borrow, deserialize_with = "nullable")]
    pub op: Str<'a>,
}
