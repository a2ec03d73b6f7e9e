// SPDX-License-Identifier: Apache-2.0
//! Statistics from v1 controllers.

use super::{
    Blkio, BlkioEntry, Hugetlb, MemoryEntry, Stats, hugepage_sizes, number, number_if_any, table,
};
use crate::cgroup::dir::Dir;
use crate::error::{Context, Error, Result};

/// `cpuacct.stat` counts in these (USER_HZ, the same on every architecture).
const NS_PER_TICK: u64 = 1_000_000_000 / 100;

pub(super) fn gather(controller: &str, dir: &Dir, stats: &mut Stats) -> Result<()> {
    match controller {
        "cpu" => cpu(dir, stats),
        "cpuacct" => cpuacct(dir, stats),
        "cpuset" => cpuset(dir, stats),
        "memory" => memory(dir, stats),
        "pids" => pids(dir, stats),
        "blkio" => blkio(dir, &mut stats.blkio),
        "hugetlb" => hugetlb(dir, stats),
        _ => Ok(()),
    }
}

fn cpu(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let stat = table(&dir.read_if_any("cpu.stat")?.unwrap_or_default());
    let value = |key| stat.get(key).copied().unwrap_or(0);
    stats.cpu.throttling.periods = value("nr_periods");
    stats.cpu.throttling.throttled_periods = value("nr_throttled");
    stats.cpu.throttling.throttled_time = value("throttled_time");
    Ok(())
}

fn cpuacct(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    let stat = table(&dir.read_named("cpuacct.stat")?);
    let ticks = |key| stat.get(key).copied().unwrap_or(0) * NS_PER_TICK;
    (usage.user, usage.kernel) = (ticks("user"), ticks("system"));
    usage.total = number(dir, "cpuacct.usage")?;
    let percpu = dir.read_named("cpuacct.usage_percpu")?;
    usage.percpu = percpu.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
    let all = dir.read_if_any("cpuacct.usage_all")?.unwrap_or_default();
    (usage.percpu_user, usage.percpu_kernel) = usage_all(&all);
    Ok(())
}

/// A heading, then per CPU its number, user and system time.
fn usage_all(text: &str) -> (Vec<u64>, Vec<u64>) {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            Some((words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?))
        })
        .unzip()
}

fn cpuset(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let list = |file: &str| -> Result<Vec<u16>> {
        let text = dir.read_if_any(file)?.unwrap_or_default();
        ranges(text.trim())
            .ok_or_else(|| Error::text(format!("{:?} is not a list of numbers", text.trim())))
            .context(|| format!("read {}/{file}", dir.path()))
    };
    let flag = |name: &str| -> Result<u64> {
        Ok(number_if_any(dir, &format!("cpuset.{name}"))?.unwrap_or(0))
    };
    let level = dir.read_if_any("cpuset.sched_relax_domain_level")?.unwrap_or_default();
    stats.cpuset = super::Cpuset {
        cpus: list("cpuset.cpus")?,
        cpu_exclusive: flag("cpu_exclusive")?,
        mems: list("cpuset.mems")?,
        mem_hardwall: flag("mem_hardwall")?,
        mem_exclusive: flag("mem_exclusive")?,
        memory_migrate: flag("memory_migrate")?,
        memory_spread_page: flag("memory_spread_page")?,
        memory_spread_slab: flag("memory_spread_slab")?,
        memory_pressure: flag("memory_pressure")?,
        sched_load_balance: flag("sched_load_balance")?,
        sched_relax_domain_level: level.trim().parse().unwrap_or(0),
    };
    Ok(())
}

/// `0-2,5`
fn ranges(text: &str) -> Option<Vec<u16>> {
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        if first > last {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn memory(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = table(&dir.read_if_any("memory.stat")?.unwrap_or_default());
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
    memory.usage = entry(dir, "memory")?;
    memory.swap = entry(dir, "memory.memsw")?;
    memory.kernel = entry(dir, "memory.kmem")?;
    memory.kernel_tcp = entry(dir, "memory.kmem.tcp")?;
    Ok(())
}

/// All zero where the kernel does not count this.
fn entry(dir: &Dir, name: &str) -> Result<MemoryEntry> {
    let Some(usage) = number_if_any(dir, &format!("{name}.usage_in_bytes"))? else {
        return Ok(MemoryEntry::default());
    };
    let value = |what: &str| -> Result<u64> {
        Ok(number_if_any(dir, &format!("{name}.{what}"))?.unwrap_or(0))
    };
    Ok(MemoryEntry {
        limit: value("limit_in_bytes")?,
        usage,
        max: value("max_usage_in_bytes")?,
        failcnt: value("failcnt")?,
    })
}

fn pids(dir: &Dir, stats: &mut Stats) -> Result<()> {
    stats.pids.current = number(dir, "pids.current")?;
    // No limit is shown as zero.
    stats.pids.limit = Some(number(dir, "pids.max")?).filter(|n| *n != u64::MAX).unwrap_or(0);
    Ok(())
}

fn hugetlb(dir: &Dir, stats: &mut Stats) -> Result<()> {
    for size in hugepage_sizes() {
        let mut prefix = format!("hugetlb.{size}.rsvd");
        let mut usage = number_if_any(dir, &format!("{prefix}.usage_in_bytes"))?;
        if usage.is_none() {
            prefix = format!("hugetlb.{size}");
            usage = Some(number(dir, &format!("{prefix}.usage_in_bytes"))?);
        }
        let entry = Hugetlb {
            usage: usage.unwrap_or(0),
            max: number(dir, &format!("{prefix}.max_usage_in_bytes"))?,
            failcnt: number(dir, &format!("{prefix}.failcnt"))?,
        };
        stats.hugetlb.insert(size, entry);
    }
    Ok(())
}

type Field = fn(&mut Blkio) -> &mut Vec<BlkioEntry>;

/// Files by scheduler, richest first: the first set whose first file says something is taken.
const BLKIO: &[&[(&str, Field)]] = &[
    &[
        ("bfq.sectors_recursive", |b| &mut b.sectors_recursive),
        ("bfq.io_service_time_recursive", |b| &mut b.io_service_time_recursive),
        ("bfq.io_wait_time_recursive", |b| &mut b.io_wait_time_recursive),
        ("bfq.io_merged_recursive", |b| &mut b.io_merged_recursive),
        ("bfq.io_queued_recursive", |b| &mut b.io_queued_recursive),
        ("bfq.time_recursive", |b| &mut b.io_time_recursive),
        ("bfq.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("bfq.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("bfq.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("bfq.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("sectors_recursive", |b| &mut b.sectors_recursive),
        ("io_service_time_recursive", |b| &mut b.io_service_time_recursive),
        ("io_wait_time_recursive", |b| &mut b.io_wait_time_recursive),
        ("io_merged_recursive", |b| &mut b.io_merged_recursive),
        ("io_queued_recursive", |b| &mut b.io_queued_recursive),
        ("time_recursive", |b| &mut b.io_time_recursive),
        ("io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("throttle.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("throttle.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("throttle.io_serviced", |b| &mut b.io_serviced_recursive),
        ("throttle.io_service_bytes", |b| &mut b.io_service_bytes_recursive),
    ],
];

fn blkio(dir: &Dir, blkio: &mut Blkio) -> Result<()> {
    for set in BLKIO {
        for (i, (file, field)) in set.iter().enumerate() {
            let entries = entries(&dir.read_if_any(&format!("blkio.{file}"))?.unwrap_or_default());
            if entries.is_empty() {
                if i == 0 {
                    break;
                }
                return Ok(());
            }
            *field(blkio) = entries;
            if i + 1 == set.len() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// `8:0 Read 4096` or `8:0 12`; the last line is a total.
fn entries(text: &str) -> Vec<BlkioEntry> {
    let parse = |line: &str| {
        let words: Vec<&str> = line.split([' ', ':']).filter(|w| !w.is_empty()).collect();
        let (major, minor, op, value) = match words.as_slice() {
            [major, minor, value] => (major, minor, "", value),
            [major, minor, op, value] => (major, minor, *op, value),
            _ => return None,
        };
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(ranges("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(ranges(""), Some(vec![]));
        assert_eq!(ranges("3-1"), None);
        assert_eq!(ranges("x"), None);
    }

    #[test]
    fn blkio_lines() {
        let found = entries("8:0 Read 100\n8:0 Write 0\n8:16 7\nTotal 107\n");
        let want =
            |major, minor, op: &str, value| BlkioEntry { major, minor, op: op.into(), value };
        assert_eq!(found, [want(8, 0, "Read", 100), want(8, 0, "Write", 0), want(8, 16, "", 7)]);
    }

    #[test]
    fn usage_by_cpu() {
        let text = "cpu user system\n0 11 22\n1 33 44\n";
        assert_eq!(usage_all(text), (vec![11, 33], vec![22, 44]));
    }
}
