// SPDX-License-Identifier: Apache-2.0
//! Statistics from the v2 hierarchy, in the units and under the names of v1. A controller that is
//! not enabled leaves its part empty.

use nix::errno::Errno;

use super::{
    Blkio, BlkioEntry, Hugetlb, MemoryEntry, Psi, PsiData, Stats, hugepage_sizes, number,
    number_if_any, table,
};
use crate::cgroup::dir::{Dir, keyed};
use crate::error::{Context, Result};

pub(super) fn gather(dir: &Dir, stats: &mut Stats) -> Result<()> {
    pids(dir, stats)?;
    memory(dir, stats)?;
    stats.memory.psi = pressure(dir, "memory.pressure")?;
    io(&dir.read_if_any("io.stat")?.unwrap_or_default(), &mut stats.blkio);
    stats.blkio.psi = pressure(dir, "io.pressure")?;
    cpu(&dir.read_if_any("cpu.stat")?.unwrap_or_default(), stats);
    stats.cpu.psi = pressure(dir, "cpu.pressure")?;
    hugetlb(dir, stats)
}

fn pids(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let Some(current) = number_if_any(dir, "pids.current")? else {
        // Without the controller they can still be counted.
        let procs = match dir.read("cgroup.procs") {
            Err(Errno::EOPNOTSUPP) => dir.read("cgroup.threads"),
            outcome => outcome,
        };
        let procs = procs.context(|| format!("read {}/cgroup.procs", dir.path()))?;
        stats.pids.current = procs.lines().count() as u64;
        return Ok(());
    };
    stats.pids.current = current;
    // No limit is shown as zero.
    stats.pids.limit = Some(number(dir, "pids.max")?).filter(|n| *n != u64::MAX).unwrap_or(0);
    Ok(())
}

fn memory(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    let Some(stat) = dir.read_if_any("memory.stat")? else { return Ok(()) };
    memory.raw = table(&stat);
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    memory.usage = entry(dir, "memory")?;
    let swap = entry(dir, "memory.swap")?;
    // v1 counts memory and swap together; the two peaks can't be added.
    memory.swap = MemoryEntry {
        usage: swap.usage + memory.usage.usage,
        limit: if swap.limit == u64::MAX {
            u64::MAX
        } else {
            swap.limit.saturating_add(memory.usage.limit)
        },
        max: 0,
        failcnt: 0,
    };
    Ok(())
}

fn entry(dir: &Dir, name: &str) -> Result<MemoryEntry> {
    let Some(usage) = number_if_any(dir, &format!("{name}.current"))? else {
        return Ok(MemoryEntry::default());
    };
    Ok(MemoryEntry {
        limit: number(dir, &format!("{name}.max"))?,
        usage,
        // Linux 5.19; for swap 6.5.
        max: number_if_any(dir, &format!("{name}.peak"))?.unwrap_or(0),
        failcnt: 0,
    })
}

/// Microseconds to nanoseconds.
fn cpu(stat: &str, stats: &mut Stats) {
    let stat = table(stat);
    let value = |key| stat.get(key).copied().unwrap_or(0);
    stats.cpu.usage.total = value("usage_usec") * 1000;
    stats.cpu.usage.user = value("user_usec") * 1000;
    stats.cpu.usage.kernel = value("system_usec") * 1000;
    stats.cpu.throttling.periods = value("nr_periods");
    stats.cpu.throttling.throttled_periods = value("nr_throttled");
    stats.cpu.throttling.throttled_time = value("throttled_usec") * 1000;
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`
fn io(text: &str, blkio: &mut Blkio) {
    for line in text.lines() {
        let Some((device, values)) = line.split_once(' ') else { continue };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (key, value) in values.split_ascii_whitespace().filter_map(|kv| kv.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            let Ok(value) = value.parse() else { continue };
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
}

fn hugetlb(dir: &Dir, stats: &mut Stats) -> Result<()> {
    for size in hugepage_sizes() {
        let mut usage = number_if_any(dir, &format!("hugetlb.{size}.rsvd.current"))?;
        if usage.is_none() {
            usage = number_if_any(dir, &format!("hugetlb.{size}.current"))?;
        }
        let Some(usage) = usage else { continue };
        let events = dir.read_if_any(&format!("hugetlb.{size}.events"))?.unwrap_or_default();
        let failcnt = keyed(&events, "max").unwrap_or(0);
        stats.hugetlb.insert(size, Hugetlb { usage, max: 0, failcnt });
    }
    Ok(())
}

/// None where the kernel keeps no pressure: too old, built without, or switched off.
fn pressure(dir: &Dir, file: &str) -> Result<Option<Psi>> {
    Ok(dir.read_if_any(file)?.map(|text| parse_pressure(&text)))
}

fn parse_pressure(text: &str) -> Psi {
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let data = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        *data = parse_pressure_line(words);
    }
    psi
}

fn parse_pressure_line<'a>(words: impl Iterator<Item = &'a str>) -> PsiData {
    let mut data = PsiData::default();
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        match key {
            "avg10" => data.avg10 = value.parse().unwrap_or(0.0),
            "avg60" => data.avg60 = value.parse().unwrap_or(0.0),
            "avg300" => data.avg300 = value.parse().unwrap_or(0.0),
            "total" => data.total = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_lines() {
        let psi = parse_pressure(
            "some avg10=1.71 avg60=2.36 avg300=2.57 total=230548833\n\
             full avg10=1.00 avg60=1.01 avg300=1.00 total=157622356\n",
        );
        assert_eq!(
            psi.some,
            PsiData { avg10: 1.71, avg60: 2.36, avg300: 2.57, total: 230_548_833 }
        );
        assert_eq!(psi.full.total, 157_622_356);
    }

    #[test]
    fn io_lines_go_to_v1_tables() {
        let mut blkio = Blkio::default();
        io(
            "254:1 rbytes=6901432320 wbytes=14245535744 rios=2 wios=3 dbytes=0 dios=0\n254:0 \n",
            &mut blkio,
        );
        let want = |op: &str, value| BlkioEntry { major: 254, minor: 1, op: op.into(), value };
        assert_eq!(
            blkio.io_service_bytes_recursive,
            [want("Read", 6_901_432_320), want("Write", 14_245_535_744)]
        );
        assert_eq!(blkio.io_serviced_recursive, [want("Read", 2), want("Write", 3)]);
    }

    #[test]
    fn cpu_times_in_nanoseconds() {
        let mut stats = Stats::default();
        cpu(
            "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 1\nthrottled_usec 4\n",
            &mut stats,
        );
        assert_eq!(stats.cpu.usage.total, 5000);
        assert_eq!(stats.cpu.usage.user, 3000);
        assert_eq!(stats.cpu.throttling.throttled_time, 4000);
    }
}
