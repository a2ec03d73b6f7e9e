// SPDX-License-Identifier: Apache-2.0
//! What the container uses: the `data` of an `events` line, in runc's JSON. Zeros and empty lists
//! are left out where runc leaves them out.

mod v1;
mod v2;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::Cgroup;
use super::dir::Dir;
use crate::error::{Context, Result};
use crate::parent::resctrl;

#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Not of a cgroup: `events` fills it in, and the next.
    pub intel_rdt: resctrl::Stats,
    pub network_interfaces: Option<Vec<NetworkInterface>>,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct Cpu {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: CpuUsage,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Nanoseconds.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Pressure: how long tasks have waited.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct Psi {
    #[serde(skip_serializing_if = "is_zero")]
    pub some: PsiData,
    #[serde(skip_serializing_if = "is_zero")]
    pub full: PsiData,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct PsiData {
    #[serde(serialize_with = "as_go_writes_it")]
    pub avg10: f64,
    #[serde(serialize_with = "as_go_writes_it")]
    pub avg60: f64,
    #[serde(serialize_with = "as_go_writes_it")]
    pub avg300: f64,
    pub total: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cpuset {
    #[serde(skip_serializing_if = "is_zero")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: MemoryEntry,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "is_zero")]
    pub swap: MemoryEntry,
    #[serde(skip_serializing_if = "is_zero")]
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_zero")]
    pub kernel_tcp: MemoryEntry,
    /// memory.stat
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct MemoryEntry {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// A limit of zero is none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Blkio {
    #[serde(skip_serializing_if = "is_zero")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "is_zero")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "is_zero")]
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BlkioEntry {
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub op: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkInterface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl Cgroup {
    pub(crate) fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let open = |path: &str| Dir::open(path).context(|| format!("open cgroup {path}"));
        if self.is_unified() {
            if let Some(path) = self.path("") {
                v2::gather(&open(path)?, &mut stats)?;
            }
            return Ok(stats);
        }
        for place in &self.v1 {
            let dir = open(&place.path)?;
            for controller in &place.controllers {
                v1::gather(controller, &dir, &mut stats)?;
            }
        }
        Ok(stats)
    }
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Go has no `.0` behind a whole number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn as_go_writes_it<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "a percentage")]
        return serializer.serialize_i64(*value as i64);
    }
    serializer.serialize_f64(*value)
}

/// A number or `max`, from a file that must be there.
fn number(dir: &Dir, file: &str) -> Result<u64> {
    parse_number(&dir.read_named(file)?).context(|| format!("read {}/{file}", dir.path()))
}

/// As `number`; None where the kernel has no such file.
fn number_if_any(dir: &Dir, file: &str) -> Result<Option<u64>> {
    dir.read_if_any(file)?
        .map(|text| parse_number(&text))
        .transpose()
        .context(|| format!("read {}/{file}", dir.path()))
}

fn parse_number(text: &str) -> Result<u64> {
    match text.trim() {
        "max" => Ok(u64::MAX),
        negative if negative.starts_with('-') => Ok(0),
        text => {
            text.parse().map_err(|_| crate::error::Error::text(format!("{text:?} is not a number")))
        }
    }
}

/// Lines of `key number`; others are skipped.
fn table(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

/// The sizes of huge pages that this machine has, as the files are named: `2MB`.
fn hugepage_sizes() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let mut sizes: Vec<String> =
        entries.filter_map(|entry| hugepage_size(entry.ok()?.file_name().to_str()?)).collect();
    sizes.sort();
    sizes
}

fn hugepage_size(name: &str) -> Option<String> {
    let kb: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kb {
        0..1024 => format!("{kb}KB"),
        1024..1_048_576 => format!("{}MB", kb >> 10),
        _ => format!("{}GB", kb >> 20),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_nothing_is_runcs() {
        let want = concat!(
            r#"{"cpu":{},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"#,
            r#""memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"#,
            r#""memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
            r#""memory":{},"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"#,
            r#""network_interfaces":null}"#
        );
        assert_eq!(serde_json::to_string(&Stats::default()).unwrap(), want);
    }

    #[test]
    fn the_json_of_something() {
        let stats = Stats {
            cpu: Cpu {
                usage: CpuUsage { total: 5, percpu: vec![2, 3], ..CpuUsage::default() },
                psi: Some(Psi {
                    some: PsiData { avg10: 1.5, total: 7, ..PsiData::default() },
                    full: PsiData::default(),
                }),
                ..Cpu::default()
            },
            memory: Memory {
                usage: MemoryEntry { limit: 9, ..MemoryEntry::default() },
                kernel_tcp: MemoryEntry { failcnt: 1, ..MemoryEntry::default() },
                ..Memory::default()
            },
            ..Stats::default()
        };
        let json = serde_json::to_string(&stats).unwrap();
        let cpu = concat!(
            r#""cpu":{"usage":{"total":5,"percpu":[2,3],"kernel":0,"user":0},"#,
            r#""psi":{"some":{"avg10":1.5,"avg60":0,"avg300":0,"total":7}}}"#
        );
        let memory = concat!(
            r#""memory":{"usage":{"limit":9,"failcnt":0},"#,
            r#""kernelTCP":{"limit":0,"failcnt":1}}"#
        );
        assert!(json.contains(cpu), "{json}");
        assert!(json.contains(memory), "{json}");
    }

    #[test]
    fn hugepage_sizes_as_the_files_are_named() {
        let size = |name| hugepage_size(name);
        assert_eq!(size("hugepages-2048kB").as_deref(), Some("2MB"));
        assert_eq!(size("hugepages-1048576kB").as_deref(), Some("1GB"));
        assert_eq!(size("hugepages-64kB").as_deref(), Some("64KB"));
        assert_eq!(size("other"), None);
    }

    proptest::proptest! {
        /// Each power of two has a name of its own, and a number below 1024 in it, as the kernel has them.
        #[test]
        fn a_page_size_by_its_name(power in 0..30_u32) {
            let kb = 1_u64 << power;
            let name = hugepage_size(&format!("hugepages-{kb}kB")).unwrap();
            let (number, unit) = name.split_at(name.len() - 2);
            let number: u64 = number.parse().unwrap();
            let unit = ["KB", "MB", "GB"].iter().position(|u| *u == unit).unwrap();
            proptest::prop_assert!(number < 1024 && number << (unit * 10) == kb, "{}", name);
        }
    }
}
