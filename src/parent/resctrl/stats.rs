// SPDX-License-Identifier: Apache-2.0
//! What `events` says of the group: `intel_rdt`, in runc's JSON.

use std::path::Path;

use serde::Serialize;

use super::{Group, has, read};
use crate::error::{Context, Error, Result};

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schemata: Vec<String>,
    /// One entry for each cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_stats: Option<Vec<Bandwidth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmt_stats: Option<Vec<Occupancy>>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct CacheInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    cbm_mask: String,
    #[serde(skip_serializing_if = "is_zero")]
    min_cbm_bits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    num_closids: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct BandwidthInfo {
    #[serde(skip_serializing_if = "is_zero")]
    bandwidth_gran: u64,
    #[serde(skip_serializing_if = "is_zero")]
    delay_linear: u64,
    #[serde(skip_serializing_if = "is_zero")]
    min_bandwidth: u64,
    #[serde(skip_serializing_if = "is_zero")]
    num_closids: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Bandwidth {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Group {
    pub(crate) fn stats(&self) -> Result<Stats> {
        let own = self.read("schemata")?;
        let all = read(&self.root.join("schemata"))?;
        let mut stats =
            Stats { schemata: own.trim().lines().map(str::to_owned).collect(), ..Stats::default() };
        let info = self.root.join("info");
        if has(&self.root, "L3") {
            let dir = info.join("L3");
            stats.l3_cache_info = Some(CacheInfo {
                cbm_mask: read(&dir.join("cbm_mask"))?.trim().to_owned(),
                min_cbm_bits: number(&dir, "min_cbm_bits")?,
                num_closids: number(&dir, "num_closids")?,
            });
            stats.l3_cache_schema_root = last_of(&all, "L3");
            stats.l3_cache_schema = last_of(&own, "L3");
        }
        if has(&self.root, "MB") {
            let dir = info.join("MB");
            stats.mem_bw_info = Some(BandwidthInfo {
                bandwidth_gran: number(&dir, "bandwidth_gran")?,
                delay_linear: number(&dir, "delay_linear")?,
                min_bandwidth: number(&dir, "min_bandwidth")?,
                num_closids: number(&dir, "num_closids")?,
            });
            stats.mem_bw_schema_root = last_of(&all, "MB");
            stats.mem_bw_schema = last_of(&own, "MB");
        }
        self.count(&mut stats)?;
        Ok(stats)
    }

    /// What the hardware counts, of the container's own group where it has one.
    fn count(&self, stats: &mut Stats) -> Result<()> {
        let features = self.root.join("info/L3_MON/mon_features");
        let Ok(features) = std::fs::read_to_string(features) else { return Ok(()) };
        let has = |name: &str| features.lines().any(|line| line == name);
        let dir = self.monitor.as_ref().unwrap_or(&self.path).join("mon_data");
        let caches = std::fs::read_dir(&dir).context(|| format!("list {dir:?}"))?;
        let mut caches: Vec<_> = caches.filter_map(|entry| Some(entry.ok()?.path())).collect();
        caches.sort();
        let value = |dir: &Path, name: &str| if has(name) { number(dir, name) } else { Ok(0) };
        if has("mbm_total_bytes") || has("mbm_local_bytes") {
            let one = |dir: &std::path::PathBuf| -> Result<Bandwidth> {
                let mbm_total_bytes = value(dir, "mbm_total_bytes")?;
                Ok(Bandwidth { mbm_total_bytes, mbm_local_bytes: value(dir, "mbm_local_bytes")? })
            };
            stats.mbm_stats = Some(caches.iter().map(one).collect::<Result<_>>()?);
        }
        if has("llc_occupancy") {
            let one = |dir: &std::path::PathBuf| -> Result<Occupancy> {
                Ok(Occupancy { llc_occupancy: value(dir, "llc_occupancy")? })
            };
            stats.cmt_stats = Some(caches.iter().map(one).collect::<Result<_>>()?);
        }
        Ok(())
    }
}

fn last_of(schemata: &str, resource: &str) -> String {
    let line = schemata.lines().rfind(|line| line.contains(resource));
    line.unwrap_or_default().trim().to_owned()
}

fn number(dir: &Path, file: &str) -> Result<u64> {
    let file = dir.join(file);
    let text = read(&file)?;
    let text = text.trim();
    let refused = || Error::text(format!("{file:?}: {text:?} is not a number"));
    text.parse().map_err(|_| refused())
}
