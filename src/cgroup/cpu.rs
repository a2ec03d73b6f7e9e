// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.cpu`, but for `cpus` and `mems`. Zero means unset, as in runc.

use super::systemd::{self, NO_LIMIT, Property};
use super::writes::{Write, Writes};
use crate::bail;
use crate::error::{Error, Result};
use crate::log;
use crate::oci::Cpu;

const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const PERIOD: &str = "linux.resources.cpu.period";
const BURST: &str = "linux.resources.cpu.burst";
const IDLE: &str = "linux.resources.cpu.idle";
const RT_RUNTIME: &str = "linux.resources.cpu.realtimeRuntime";
const RT_PERIOD: &str = "linux.resources.cpu.realtimePeriod";

/// The kernel's own default, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

pub(crate) fn v1(cpu: &Cpu<'_>) -> Result<Writes> {
    let mut w = Writes::default();
    if let Some(shares) = set(cpu.shares) {
        // The kernel clamps in silence.
        match shares {
            2..=262_144 => w.push(SHARES, "cpu.shares", shares),
            0..2 => bail!("{SHARES}: the minimum allowed cpu-shares is 2"),
            _ => bail!("{SHARES}: the maximum allowed cpu-shares is 262144"),
        };
    }
    let quota = set(cpu.quota);
    if let Some(period) = set(cpu.period) {
        w.push(PERIOD, "cpu.cfs_period_us", period).again = quota.is_some();
    }
    if let Some(burst) = cpu.burst {
        w.push(BURST, "cpu.cfs_burst_us", burst).optional().again = quota.is_some();
    }
    if let Some(quota) = quota {
        w.push(QUOTA, "cpu.cfs_quota_us", quota);
    }
    if let Some(idle) = cpu.idle {
        w.push(IDLE, "cpu.idle", idle);
    }
    let runtime = set(cpu.realtime_runtime);
    if let Some(period) = set(cpu.realtime_period) {
        w.push(RT_PERIOD, "cpu.rt_period_us", period).again = runtime.is_some();
    }
    if let Some(runtime) = runtime {
        w.push(RT_RUNTIME, "cpu.rt_runtime_us", runtime);
    }
    Ok(w)
}

pub(crate) fn v2(cpu: &Cpu<'_>) -> Writes {
    let mut w = Writes::default();
    if let Some(idle) = cpu.idle {
        w.push(IDLE, "cpu.idle", idle);
    }
    if let Some(shares) = set(cpu.shares) {
        w.push(SHARES, "cpu.weight", weight(shares));
    }
    let (quota, period) = (set(cpu.quota), set(cpu.period));
    if let Some(burst) = cpu.burst {
        // Lowered before the quota; where it is to rise, after it.
        w.push(BURST, "cpu.max.burst", burst).again = quota.is_some();
    }
    if quota.is_some() || period.is_some() {
        let property = if quota.is_some() { QUOTA } else { PERIOD };
        let quota = quota.filter(|q| *q > 0).map_or_else(|| "max".into(), |q| q.to_string());
        w.push(property, "cpu.max", format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD)));
    }
    w.ignore(RT_RUNTIME, set(cpu.realtime_runtime).is_some());
    w.ignore(RT_PERIOD, set(cpu.realtime_period).is_some());
    w
}

/// systemd knows `idle` as a weight of 0, since 252. Burst it does not know.
pub(crate) fn systemd(list: &[Write], version: u32) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    if systemd::last(list, "cpu.idle") == Some("1") && version >= 252 {
        properties.push(systemd::property("CPUWeight", 0_u64));
    } else {
        properties.extend(systemd::numbers(list, &[("cpu.weight", "CPUWeight")])?);
    }
    properties.extend(systemd::numbers(list, &[("cpu.shares", "CPUShares")])?);
    if let Some((quota, period)) = bandwidth(list)? {
        properties.extend(period.map(|p| systemd::property("CPUQuotaPeriodUSec", p)));
        let per_second = quota.map_or(NO_LIMIT, |q| per_second(q, period));
        properties.push(systemd::property("CPUQuotaPerSecUSec", per_second));
    }
    Ok(properties)
}

/// Whether it is less than one CPU that one thread may have. What cannot be understood may be, too.
pub(crate) fn throttles(list: &[Write]) -> bool {
    bandwidth(list).map_or(true, |limits| {
        limits.is_some_and(|(quota, period)| {
            quota.is_some_and(|quota| quota < period.unwrap_or(DEFAULT_PERIOD))
        })
    })
}

/// Quota (None: no limit) and period, in microseconds, of either version's files.
fn bandwidth(list: &[Write]) -> Result<Option<(Option<u64>, Option<u64>)>> {
    let number = |file: &str, text: &str| {
        systemd::number(file, text).map(|n| Some(n).filter(|n| *n != NO_LIMIT))
    };
    if let Some(value) = systemd::last(list, "cpu.max") {
        let mut words = value.split_ascii_whitespace();
        let (quota, period) = (words.next().unwrap_or_default(), words.next());
        if words.next().is_some() {
            return Err(Error::text(format!("cpu.max: {value:?} is not a quota and a period")));
        }
        let period = period.map(|p| number("cpu.max", p)).transpose()?.flatten();
        return Ok(Some((number("cpu.max", quota)?, Some(period.unwrap_or(DEFAULT_PERIOD)))));
    }
    let files = ["cpu.cfs_quota_us", "cpu.cfs_period_us"];
    let [quota, period] = files.map(|file| systemd::last(list, file).map(|v| number(file, v)));
    let (quota, period) = (quota.transpose()?, period.transpose()?);
    Ok(match (quota, period) {
        (None, None) => None,
        (quota, period) => Some((quota.flatten(), period.flatten())),
    })
}

/// Of one CPU's second; rounded up to a hundredth of it, which is how systemd remembers it.
fn per_second(quota: u64, period: Option<u64>) -> u64 {
    let period = period.filter(|p| *p != 0).unwrap_or(DEFAULT_PERIOD);
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    u64::try_from(exact).unwrap_or(NO_LIMIT).div_ceil(10_000).saturating_mul(10_000)
}

/// What systemd can keep: idle is a weight to it, and of both it would take one.
pub(crate) fn fit(writes: &mut Writes) -> Result<()> {
    let is_weight = |w: &Write| w.file == "cpu.weight";
    if systemd::last(&writes.list, "cpu.idle") == Some("1") && writes.list.iter().any(is_weight) {
        log::warn("unable to apply both cpu.idle and cpu.weight to systemd, ignoring cpu.weight");
        writes.list.retain(|w| !is_weight(w));
    }
    round(&mut writes.list)
}

/// With systemd a new weight ends being idle; the kernel alone would refuse it.
pub(crate) fn leave_idle(writes: &mut Writes) {
    let find = |file: &str| writes.list.iter().position(|w| w.file == file);
    if let (None, Some(weight)) = (find("cpu.idle"), find("cpu.weight")) {
        let mut idle = Writes::default();
        idle.push(IDLE, "cpu.idle", 0).optional();
        writes.list.splice(weight..weight, idle.list);
    }
}

/// The quota as systemd will have it, so that the files say the same.
fn round(list: &mut [Write]) -> Result<()> {
    let Some((Some(quota), period)) = bandwidth(list)? else { return Ok(()) };
    let whole = period.filter(|p| *p != 0).unwrap_or(DEFAULT_PERIOD);
    let exact = u128::from(quota) * 1_000_000 / u128::from(whole);
    if exact.is_multiple_of(10_000) {
        return Ok(());
    }
    let rounded = u128::from(per_second(quota, period)) * u128::from(whole) / 1_000_000;
    let files = ["cpu.max", "cpu.cfs_quota_us"];
    for write in list.iter_mut().filter(|w| files.contains(&&*w.file)) {
        write.value = match &*write.file {
            "cpu.max" => format!("{rounded} {whole}"),
            _ => rounded.to_string(),
        };
    }
    Ok(())
}

/// Shares 2..262144 to a weight 1..10000, the default 1024 to the default 100.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1..10000")]
            let weight = 10_f64.powf(exponent).ceil() as u64;
            weight
        }
    }
}

/// Zero is unset.
fn set<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|v| *v != T::default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_become_a_weight() {
        let want =
            [(2, 1), (1024, 100), (512, 59), (2048, 174), (262_144, 10_000), (1_000_000, 10_000)];
        for (shares, weight_wanted) in want {
            assert_eq!(weight(shares), weight_wanted, "{shares}");
        }
    }

    #[test]
    fn v2_quota_and_period() {
        let max = |quota, period| {
            let w = v2(&Cpu { quota, period, ..Cpu::default() });
            w.list.first().map(|w| w.value.clone())
        };
        assert_eq!(max(Some(50_000), Some(200_000)).as_deref(), Some("50000 200000"));
        assert_eq!(max(Some(50_000), None).as_deref(), Some("50000 100000"));
        assert_eq!(max(Some(-1), None).as_deref(), Some("max 100000"));
        assert_eq!(max(None, Some(1000)).as_deref(), Some("max 1000"));
        assert_eq!(max(Some(0), Some(0)), None);
    }

    #[test]
    fn v1_period_and_burst_wait_for_the_quota() {
        let cpu = Cpu {
            shares: Some(512),
            quota: Some(40_000),
            burst: Some(10_000),
            period: Some(50_000),
            realtime_runtime: Some(950),
            realtime_period: Some(1000),
            ..Cpu::default()
        };
        let w = v1(&cpu).unwrap();
        assert_eq!(
            w.pairs(),
            [
                ("cpu.shares", "512"),
                ("cpu.cfs_period_us", "50000"),
                ("cpu.cfs_burst_us", "10000"),
                ("cpu.cfs_quota_us", "40000"),
                ("cpu.rt_period_us", "1000"),
                ("cpu.rt_runtime_us", "950"),
            ]
        );
        let again: Vec<_> = w.list.iter().map(|w| w.again).collect();
        assert_eq!(again, [false, true, true, false, true, false]);
    }

    #[test]
    fn v1_shares_out_of_range_are_refused() {
        let error = v1(&Cpu { shares: Some(1), ..Cpu::default() }).unwrap_err().to_string();
        assert_eq!(error, "linux.resources.cpu.shares: the minimum allowed cpu-shares is 2");
    }

    #[test]
    fn v2_lowers_the_burst_before_the_quota() {
        let w = v2(&Cpu { quota: Some(10_000), burst: Some(0), ..Cpu::default() });
        assert_eq!(w.pairs(), [("cpu.max.burst", "0"), ("cpu.max", "10000 100000")]);
        assert!(w.list[0].again);
    }

    fn shown(w: &Writes, version: u32) -> Vec<String> {
        systemd::shown(&systemd(&w.list, version).unwrap())
    }

    #[test]
    fn systemd_counts_the_quota_per_second() {
        let is = |quota, period| shown(&v2(&Cpu { quota, period, ..Cpu::default() }), 0);
        let want = ["CPUQuotaPeriodUSec=uint64 200000", "CPUQuotaPerSecUSec=uint64 250000"];
        assert_eq!(is(Some(50_000), Some(200_000)), want);
        // A hundredth of a CPU is the smallest step, upwards.
        assert_eq!(is(Some(33_333), None)[1], "CPUQuotaPerSecUSec=uint64 340000");
        assert_eq!(is(Some(1), None)[1], "CPUQuotaPerSecUSec=uint64 10000");
        assert_eq!(is(Some(-1), None)[1], format!("CPUQuotaPerSecUSec=uint64 {NO_LIMIT}"));
        let w = v1(&Cpu { quota: Some(20_000), shares: Some(512), ..Cpu::default() }).unwrap();
        assert_eq!(shown(&w, 0), ["CPUShares=uint64 512", "CPUQuotaPerSecUSec=uint64 200000"]);
        let w = v1(&Cpu { period: Some(1000), ..Cpu::default() }).unwrap();
        let want =
            ["CPUQuotaPeriodUSec=uint64 1000", "CPUQuotaPerSecUSec=uint64 18446744073709551615"];
        assert_eq!(shown(&w, 0), want);
    }

    #[test]
    fn the_files_get_the_quota_that_systemd_has() {
        let rounded = |mut w: Writes| {
            round(&mut w.list).unwrap();
            w.list.last().unwrap().value.clone()
        };
        let v2 = |quota, period| v2(&Cpu { quota, period, ..Cpu::default() });
        assert_eq!(rounded(v2(Some(33_333), None)), "34000 100000");
        assert_eq!(rounded(v2(Some(50_000), Some(200_000))), "50000 200000");
        assert_eq!(rounded(v2(Some(-1), Some(1000))), "max 1000");
        let v1 = v1(&Cpu { quota: Some(33_333), period: Some(50_000), ..Cpu::default() });
        assert_eq!(rounded(v1.unwrap()), "33500");
    }

    #[test]
    fn systemd_takes_idle_or_a_weight() {
        let mut both = v2(&Cpu { idle: Some(1), shares: Some(200), ..Cpu::default() });
        leave_idle(&mut both);
        fit(&mut both).unwrap();
        assert_eq!(both.pairs(), [("cpu.idle", "1")]);
        let mut weight = v2(&Cpu { shares: Some(200), quota: Some(10_000), ..Cpu::default() });
        leave_idle(&mut weight);
        fit(&mut weight).unwrap();
        let want = [("cpu.idle", "0"), ("cpu.weight", "29"), ("cpu.max", "10000 100000")];
        assert_eq!(weight.pairs(), want);
        assert!(weight.list[0].optional);
    }

    #[test]
    fn systemd_has_idle_as_a_weight() {
        let w = v2(&Cpu { idle: Some(1), shares: Some(1024), ..Cpu::default() });
        assert_eq!(shown(&w, 252), ["CPUWeight=uint64 0"]);
        assert_eq!(shown(&w, 251), ["CPUWeight=uint64 100"]);
        let mut unified = Writes::default();
        unified.push("unified", "cpu.max", "max");
        let want =
            ["CPUQuotaPeriodUSec=uint64 100000", "CPUQuotaPerSecUSec=uint64 18446744073709551615"];
        assert_eq!(shown(&unified, 0), want);
        unified.push("unified", "cpu.max", "1 2 3");
        let error = systemd(&unified.list, 0).unwrap_err().to_string();
        assert_eq!(error, "cpu.max: \"1 2 3\" is not a quota and a period");
    }

    /// Every one that the kernel takes: the ends, the default, and never down.
    #[test]
    fn more_shares_never_weigh_less() {
        let mut below = 1;
        for shares in 2..=262_144 {
            let weight = weight(shares);
            assert!((below..=10_000).contains(&weight), "{shares}: {weight}");
            below = weight;
        }
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
    }

    fn v2_max(quota: i64, period: u64) -> Writes {
        v2(&Cpu { quota: Some(quota), period: Some(period), ..Cpu::default() })
    }

    proptest! {
        /// Two words that the kernel reads: a quota above zero or `max`, and a period that is not zero.
        #[test]
        fn cpu_max_reads_back(quota in prop_oneof![-2..3_i64, any::<i64>()],
                              period in prop_oneof![0..2_u64, any::<u64>()]) {
            let w = v2_max(quota, period);
            if (quota, period) == (0, 0) {
                prop_assert!(w.is_empty());
                return Ok(());
            }
            let text = systemd::last(&w.list, "cpu.max").unwrap();
            let (left, right) = text.split_once(' ').unwrap();
            prop_assert_eq!(left.parse().ok(), Some(quota).filter(|q| *q > 0), "{}", text);
            prop_assert!(quota > 0 || left == "max", "{}", text);
            let want = if period == 0 { DEFAULT_PERIOD } else { period };
            prop_assert_eq!(right.parse(), Ok(want));
        }

        /// Upwards to a hundredth of a CPU, by less than one; in the order of what was asked for.
        #[test]
        fn per_second_is_the_next_hundredth(quota in 1..1_u64 << 40, more in 0..1_u64 << 20,
                                            period in 1000..=1_000_000_u64) {
            let is = per_second(quota, Some(period));
            prop_assert!(is >= 10_000 && is.is_multiple_of(10_000));
            let exact = u128::from(quota) * 1_000_000 / u128::from(period);
            let over = u128::from(is).checked_sub(exact);
            prop_assert!(over.is_some_and(|over| over < 10_000), "{} of {}: {}", quota, period, is);
            prop_assert!(per_second(quota + more, Some(period)) >= is);
        }

        /// The file has what systemd would write, so nothing is left to round the second time.
        #[test]
        fn rounding_is_done_once(quota in 1..1_i64 << 40, period in 1000..=1_000_000_u64) {
            let mut w = v2_max(quota, period);
            let before = systemd(&w.list, 257).unwrap();
            round(&mut w.list).unwrap();
            let once = w.clone();
            let text = systemd::last(&once.list, "cpu.max").unwrap();
            let (left, _) = text.split_once(' ').unwrap();
            let rounded: i64 = left.parse().unwrap();
            let step = i64::try_from(period / 100).unwrap() + 1;
            prop_assert!((quota..=quota + step).contains(&rounded), "{}: {}", quota, text);
            prop_assert_eq!(systemd(&once.list, 257).unwrap(), before);
            round(&mut w.list).unwrap();
            prop_assert_eq!(w, once);
        }

        /// No number is too large to be told; a limit never becomes a smaller one.
        #[test]
        fn any_bandwidth_is_told(quota in any::<i64>(), period in any::<u64>()) {
            for mut w in [v2_max(quota, period), v1(&Cpu {
                quota: Some(quota), period: Some(period), ..Cpu::default()
            }).unwrap()] {
                let list = systemd(&w.list, 257).unwrap();
                let told = list.iter().find(|(name, _)| name == "CPUQuotaPerSecUSec");
                let told = told.map(|(_, value)| u64::try_from(value).unwrap());
                let want = match quota {
                    0 if period == 0 => None,
                    ..=0 => Some(NO_LIMIT),
                    _ => Some(per_second(quota.unsigned_abs(), Some(period))),
                };
                prop_assert_eq!(told, want);
                round(&mut w.list).unwrap();
            }
        }
    }
}
