// SPDX-License-Identifier: Apache-2.0
//! `linux.resources`, of config.json and of `update --resources`. The aliases are the names that Go's
//! structures have for the same: their decoder takes names in any case, and such files are met.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Map, Str, nullable};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Resources<'a> {
    #[serde(alias = "Devices", borrow, deserialize_with = "nullable")]
    pub devices: Vec<DeviceRule<'a>>,
    #[serde(alias = "Memory")]
    pub memory: Option<Memory>,
    #[serde(alias = "CPU", borrow)]
    pub cpu: Option<Cpu<'a>>,
    #[serde(alias = "Pids")]
    pub pids: Option<Pids>,
    #[serde(alias = "BlockIO", rename = "blockIO")]
    pub block_io: Option<BlockIo>,
    #[serde(alias = "HugepageLimits", borrow, deserialize_with = "nullable")]
    pub hugepage_limits: Vec<HugepageLimit<'a>>,
    #[serde(alias = "Network", borrow)]
    pub network: Option<Network<'a>>,
    #[serde(alias = "Rdma", borrow, deserialize_with = "nullable")]
    pub rdma: BTreeMap<Str<'a>, Rdma>,
    #[serde(alias = "Unified", borrow, deserialize_with = "nullable")]
    pub unified: Map<'a>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeviceRule<'a> {
    #[serde(alias = "Allow", deserialize_with = "nullable")]
    pub allow: bool,
    /// Empty or `a`: all.
    #[serde(alias = "Type", borrow, rename = "type", deserialize_with = "nullable")]
    pub kind: Str<'a>,
    #[serde(alias = "Major")]
    pub major: Option<i64>,
    #[serde(alias = "Minor")]
    pub minor: Option<i64>,
    #[serde(alias = "Access", borrow, deserialize_with = "nullable")]
    pub access: Str<'a>,
}

/// Bytes; -1 is no limit.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Memory {
    #[serde(alias = "Limit")]
    pub limit: Option<i64>,
    #[serde(alias = "Reservation")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(alias = "Swap")]
    pub swap: Option<i64>,
    #[serde(alias = "Kernel")]
    pub kernel: Option<i64>,
    #[serde(alias = "KernelTCP", rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    #[serde(alias = "Swappiness")]
    pub swappiness: Option<u64>,
    #[serde(alias = "DisableOOMKiller", rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    #[serde(alias = "UseHierarchy")]
    pub use_hierarchy: Option<bool>,
    #[serde(alias = "CheckBeforeUpdate")]
    pub check_before_update: Option<bool>,
}

/// Times in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Cpu<'a> {
    #[serde(alias = "Shares")]
    pub shares: Option<u64>,
    #[serde(alias = "Quota")]
    pub quota: Option<i64>,
    #[serde(alias = "Burst")]
    pub burst: Option<u64>,
    #[serde(alias = "Period")]
    pub period: Option<u64>,
    #[serde(alias = "RealtimeRuntime")]
    pub realtime_runtime: Option<i64>,
    #[serde(alias = "RealtimePeriod")]
    pub realtime_period: Option<u64>,
    #[serde(alias = "Cpus", borrow, deserialize_with = "nullable")]
    pub cpus: Str<'a>,
    #[serde(alias = "Mems", borrow, deserialize_with = "nullable")]
    pub mems: Str<'a>,
    #[serde(alias = "Idle")]
    pub idle: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pids {
    #[serde(alias = "Limit")]
    pub limit: Option<i64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BlockIo {
    #[serde(alias = "Weight")]
    pub weight: Option<u16>,
    #[serde(alias = "LeafWeight")]
    pub leaf_weight: Option<u16>,
    #[serde(alias = "WeightDevice", deserialize_with = "nullable")]
    pub weight_device: Vec<WeightDevice>,
    #[serde(alias = "ThrottleReadBpsDevice", deserialize_with = "nullable")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    #[serde(alias = "ThrottleWriteBpsDevice", deserialize_with = "nullable")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    #[serde(
        alias = "ThrottleReadIOPSDevice",
        rename = "throttleReadIOPSDevice",
        deserialize_with = "nullable"
    )]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    #[serde(
        alias = "ThrottleWriteIOPSDevice",
        rename = "throttleWriteIOPSDevice",
        deserialize_with = "nullable"
    )]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WeightDevice {
    #[serde(alias = "Major")]
    pub major: i64,
    #[serde(alias = "Minor")]
    pub minor: i64,
    #[serde(alias = "Weight")]
    pub weight: Option<u16>,
    #[serde(alias = "LeafWeight")]
    pub leaf_weight: Option<u16>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ThrottleDevice {
    #[serde(alias = "Major")]
    pub major: i64,
    #[serde(alias = "Minor")]
    pub minor: i64,
    #[serde(alias = "Rate")]
    pub rate: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HugepageLimit<'a> {
    /// `2MB`, `1GB`, … Go's decoder takes names in any case, and this one is met in lower case.
    #[serde(borrow, alias = "pagesize", alias = "PageSize", deserialize_with = "nullable")]
    pub page_size: Str<'a>,
    #[serde(alias = "Limit")]
    pub limit: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Network<'a> {
    #[serde(alias = "ClassID", rename = "classID")]
    pub class_id: Option<u32>,
    #[serde(alias = "Priorities", borrow, deserialize_with = "nullable")]
    pub priorities: Vec<InterfacePriority<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InterfacePriority<'a> {
    #[serde(alias = "Name", borrow, deserialize_with = "nullable")]
    pub name: Str<'a>,
    #[serde(alias = "Priority")]
    pub priority: u32,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rdma {
    #[serde(alias = "HcaHandles")]
    pub hca_handles: Option<u32>,
    #[serde(alias = "HcaObjects")]
    pub hca_objects: Option<u32>,
}
