// SPDX-License-Identifier: Apache-2.0
//! `linux.resources`, of config.json and of `update --resources`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Map, Str, nullable};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Resources<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub devices: Vec<DeviceRule<'a>>,
    pub memory: Option<Memory>,
    #[serde(borrow)]
    pub cpu: Option<Cpu<'a>>,
    pub pids: Option<Pids>,
    #[serde(rename = "blockIO")]
    pub block_io: Option<BlockIo>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub hugepage_limits: Vec<HugepageLimit<'a>>,
    #[serde(borrow)]
    pub network: Option<Network<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub rdma: BTreeMap<Str<'a>, Rdma>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub unified: Map<'a>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeviceRule<'a> {
    #[serde(deserialize_with = "nullable")]
    pub allow: bool,
    /// Empty or `a`: all.
    #[serde(borrow, rename = "type", deserialize_with = "nullable")]
    pub kind: Str<'a>,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub access: Str<'a>,
}

/// Bytes; -1 is no limit.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Memory {
    pub limit: Option<i64>,
    pub reservation: Option<i64>,
    /// Memory and swap together.
    pub swap: Option<i64>,
    pub kernel: Option<i64>,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    pub swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    pub use_hierarchy: Option<bool>,
    pub check_before_update: Option<bool>,
}

/// Times in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Cpu<'a> {
    pub shares: Option<u64>,
    pub quota: Option<i64>,
    pub burst: Option<u64>,
    pub period: Option<u64>,
    pub realtime_runtime: Option<i64>,
    pub realtime_period: Option<u64>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub cpus: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub mems: Str<'a>,
    pub idle: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pids {
    pub limit: Option<i64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BlockIo {
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
    #[serde(deserialize_with = "nullable")]
    pub weight_device: Vec<WeightDevice>,
    #[serde(deserialize_with = "nullable")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    #[serde(deserialize_with = "nullable")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "nullable")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "nullable")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WeightDevice {
    pub major: i64,
    pub minor: i64,
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ThrottleDevice {
    pub major: i64,
    pub minor: i64,
    pub rate: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HugepageLimit<'a> {
    /// `2MB`, `1GB`, … Go's decoder takes names in any case, and this one is met in lower case.
    #[serde(borrow, alias = "pagesize", deserialize_with = "nullable")]
    pub page_size: Str<'a>,
    pub limit: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Network<'a> {
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub priorities: Vec<InterfacePriority<'a>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InterfacePriority<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub name: Str<'a>,
    pub priority: u32,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rdma {
    pub hca_handles: Option<u32>,
    pub hca_objects: Option<u32>,
}
