// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.memory`. Zero means unset and -1 no limit, as in runc.

use super::systemd::{self, Property};
use super::writes::{Write, Writes};
use crate::bail;
use crate::error::Result;
use crate::oci::Memory;

const LIMIT: &str = "linux.resources.memory.limit";
const RESERVATION: &str = "linux.resources.memory.reservation";
const SWAP: &str = "linux.resources.memory.swap";
const SWAPPINESS: &str = "linux.resources.memory.swappiness";
const OOM: &str = "linux.resources.memory.disableOOMKiller";

pub(crate) fn v1(memory: &Memory) -> Result<Writes> {
    let mut w = Writes::default();
    let (limit, swap) = (value(memory.limit), value(memory.swap));
    // The kernel wants limit <= swap at every moment: raising, the limit is written once more after
    // swap has made room for it.
    if let Some(limit) = limit {
        w.push(LIMIT, "memory.limit_in_bytes", limit).again = swap.is_some() || limit == -1;
    }
    match (swap, limit) {
        (Some(swap), _) => {
            w.push(SWAP, "memory.memsw.limit_in_bytes", swap);
        }
        // No limit for memory lifts the one for memory and swap, where swap is counted at all.
        (None, Some(-1)) => {
            w.push(LIMIT, "memory.memsw.limit_in_bytes", -1).optional();
        }
        (None, _) => {}
    }
    if let Some(reservation) = value(memory.reservation) {
        w.push(RESERVATION, "memory.soft_limit_in_bytes", reservation);
    }
    if memory.disable_oom_killer == Some(true) {
        w.push(OOM, "memory.oom_control", 1);
    }
    match memory.swappiness {
        None => {}
        Some(n @ 0..=100) => {
            w.push(SWAPPINESS, "memory.swappiness", n);
        }
        Some(n) => bail!("{SWAPPINESS}: invalid value {n} (valid range is 0-100)"),
    }
    kernel(&mut w, memory);
    Ok(w)
}

pub(crate) fn v2(memory: &Memory) -> Result<Writes> {
    let mut w = Writes::default();
    let limit = value(memory.limit);
    if let Some(swap) = swap_max(limit, value(memory.swap))? {
        let text = max(swap);
        let property = if value(memory.swap).is_some() { SWAP } else { LIMIT };
        // Without swap accounting there is nothing to lift or to forbid.
        let harmless = swap <= 0;
        w.push(property, "memory.swap.max", text).optional = harmless;
    }
    if let Some(limit) = limit {
        w.push(LIMIT, "memory.max", max(limit));
    }
    if let Some(reservation) = value(memory.reservation) {
        w.push(RESERVATION, "memory.low", max(reservation));
    }
    w.ignore(SWAPPINESS, memory.swappiness.is_some());
    w.ignore(OOM, memory.disable_oom_killer == Some(true));
    kernel(&mut w, memory);
    Ok(w)
}

/// Of typed limits and of `unified` alike.
pub(crate) fn systemd(list: &[Write]) -> Result<Vec<Property>> {
    systemd::numbers(
        list,
        &[
            ("memory.max", "MemoryMax"),
            ("memory.low", "MemoryLow"),
            ("memory.high", "MemoryHigh"),
            ("memory.min", "MemoryMin"),
            ("memory.swap.max", "MemorySwapMax"),
            ("memory.limit_in_bytes", "MemoryLimit"),
        ],
    )
}

/// What systemd takes only when the unit is made (since 253), and would undo otherwise.
pub(crate) fn systemd_once(list: &[Write], version: u32) -> Option<Property> {
    let policy = match systemd::last(list, "memory.oom.group")? {
        "0" => "continue",
        "1" => "kill",
        _ => return None,
    };
    (version >= 253).then(|| systemd::property("OOMPolicy", policy))
}

/// `swap` counts memory and swap together; v2 counts swap alone. -1: no limit; None: leave it.
fn swap_max(limit: Option<i64>, swap: Option<i64>) -> Result<Option<i64>> {
    Ok(match (limit, swap) {
        (Some(-1), None) | (_, Some(-1)) => Some(-1),
        (_, None) => None,
        (_, Some(..0)) => bail!("{SWAP}: invalid memory value: {}", swap.unwrap_or_default()),
        (Some(-1), Some(swap)) => Some(swap),
        (None, Some(_)) => bail!("{SWAP}: unable to set swap limit without memory limit"),
        (Some(limit), Some(_)) if limit < 0 => bail!("{LIMIT}: invalid memory value: {limit}"),
        (Some(limit), Some(swap)) if swap < limit => {
            bail!("{SWAP}: memory+swap limit should be >= memory limit")
        }
        (Some(limit), Some(swap)) => Some(swap - limit),
    })
}

fn max(bytes: i64) -> String {
    if bytes == -1 { "max".into() } else { bytes.to_string() }
}

/// Kernel memory has no limit of its own any more (Linux 5.16); as runc, say so and go on.
fn kernel(w: &mut Writes, memory: &Memory) {
    w.ignore("linux.resources.memory.kernel", value(memory.kernel).is_some());
    w.ignore("linux.resources.memory.kernelTCP", value(memory.kernel_tcp).is_some());
    w.ignore("linux.resources.memory.useHierarchy", memory.use_hierarchy == Some(false));
}

fn value(bytes: Option<i64>) -> Option<i64> {
    bytes.filter(|b| *b != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memory(limit: i64, swap: i64) -> Memory {
        Memory { limit: Some(limit), swap: Some(swap), ..Memory::default() }
    }

    #[test]
    fn v2_swap_is_without_memory() {
        let swap = |limit, swap| {
            v2(&memory(limit, swap)).map(|w| {
                w.list.iter().find(|w| w.file == "memory.swap.max").map(|w| w.value.clone())
            })
        };
        let is = |limit, s| swap(limit, s).unwrap();
        assert_eq!(is(100, 300).as_deref(), Some("200"));
        assert_eq!(is(100, 100).as_deref(), Some("0"));
        assert_eq!(is(100, -1).as_deref(), Some("max"));
        assert_eq!(is(100, 0), None);
        assert_eq!(is(-1, 0).as_deref(), Some("max"));
        assert_eq!(is(-1, 300).as_deref(), Some("300"));
        assert_eq!(is(0, -1).as_deref(), Some("max"));
        assert_eq!(
            swap(0, 300).unwrap_err().to_string(),
            "linux.resources.memory.swap: unable to set swap limit without memory limit"
        );
        assert_eq!(
            swap(300, 100).unwrap_err().to_string(),
            "linux.resources.memory.swap: memory+swap limit should be >= memory limit"
        );
    }

    #[test]
    fn v2_without_swap_accounting_only_a_real_limit_is_an_error() {
        let optional = |m| v2(&m).unwrap().list[0].optional;
        assert!(optional(memory(100, 100)));
        assert!(optional(memory(-1, 0)));
        assert!(!optional(memory(100, 101)));
    }

    #[test]
    fn v1_limit_and_swap_in_an_order_that_works_both_ways() {
        let w = v1(&memory(100, 200)).unwrap();
        let want = [("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "200")];
        assert_eq!(w.pairs(), want);
        assert!(w.list[0].again);
        let w = v1(&memory(-1, 0)).unwrap();
        let want = [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")];
        assert_eq!(w.pairs(), want);
        assert!(w.list[0].again && w.list[1].optional);
    }

    #[test]
    fn v1_the_rest() {
        let all = Memory {
            reservation: Some(50),
            swappiness: Some(60),
            disable_oom_killer: Some(true),
            kernel: Some(9),
            ..Memory::default()
        };
        let w = v1(&all).unwrap();
        let want = [
            ("memory.soft_limit_in_bytes", "50"),
            ("memory.oom_control", "1"),
            ("memory.swappiness", "60"),
        ];
        assert_eq!(w.pairs(), want);
        assert_eq!(w.ignored, ["linux.resources.memory.kernel"]);
        let w = v2(&all).unwrap();
        assert_eq!(w.pairs(), [("memory.low", "50")]);
        assert_eq!(w.ignored.len(), 3);
    }

    #[test]
    fn v1_swappiness_over_100_is_refused() {
        let error = v1(&Memory { swappiness: Some(101), ..Memory::default() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.resources.memory.swappiness: invalid value 101 (valid range is 0-100)"
        );
    }

    #[test]
    fn systemd_knows_each_limit_of_v2_and_one_of_v1() {
        let mut w = v2(&memory(100, 300)).unwrap();
        w.push("unified", "memory.high", "max");
        w.push("unified", "memory.max", "70");
        let shown = |w: &Writes| systemd::shown(&systemd(&w.list).unwrap());
        // What is written last counts.
        assert_eq!(
            shown(&w),
            [
                "MemoryMax=uint64 70",
                "MemoryHigh=uint64 18446744073709551615",
                "MemorySwapMax=uint64 200"
            ]
        );
        let w = v1(&memory(-1, 0)).unwrap();
        assert_eq!(shown(&w), ["MemoryLimit=uint64 18446744073709551615"]);
        let mut w = Writes::default();
        w.push("unified", "memory.low", "lots");
        assert_eq!(
            systemd(&w.list).unwrap_err().to_string(),
            "memory.low: \"lots\" is not a number"
        );
    }

    #[test]
    fn the_oom_policy_is_for_new_systemds() {
        let policy = |value: &str, version| {
            let mut w = Writes::default();
            w.push("unified", "memory.oom.group", value);
            systemd_once(&w.list, version).map(|p| systemd::shown(&[p]).remove(0))
        };
        assert_eq!(policy("1", 253).as_deref(), Some("OOMPolicy=\"kill\""));
        assert_eq!(policy("0", 257).as_deref(), Some("OOMPolicy=\"continue\""));
        assert_eq!(policy("1", 252), None);
        assert_eq!(policy("2", 257), None);
    }

    /// Found by the property below: it went to the kernel as it was, and where there is no file for swap
    /// it was passed over.
    #[test]
    fn v2_no_swap_below_zero_but_minus_one() {
        for limit in [-1, 0, 100] {
            assert_eq!(
                v2(&memory(limit, -5)).unwrap_err().to_string(),
                "linux.resources.memory.swap: invalid memory value: -5"
            );
        }
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![-2..3_i64, any::<i64>(), 0..1_i64 << 50]
    }

    proptest! {
        /// Never below zero, never more than memory and swap together; -1 is no limit, 0 is unset.
        #[test]
        fn v2_swap_is_what_is_beside_memory(limit in number(), swap in number()) {
            let Ok(w) = v2(&memory(limit, swap)) else {
                let fine = matches!((limit, swap), (_, -1) | (-1.., 0))
                    || (limit == -1 && swap > 0)
                    || (limit > 0 && swap >= limit);
                prop_assert!(!fine);
                return Ok(());
            };
            let of = |file: &str| systemd::last(&w.list, file).map(str::to_owned);
            let want = match (limit, swap) {
                (_, -1) | (-1, 0) => Some("max".to_owned()),
                (_, 0) => None,
                (-1, swap) => Some(swap.to_string()),
                (limit, swap) => Some((swap - limit).to_string()),
            };
            prop_assert!(want.as_ref().is_none_or(|w| !w.starts_with('-')), "{:?}", want);
            prop_assert_eq!(of("memory.swap.max"), want);
            let want = match limit {
                -1 => Some("max".to_owned()),
                0 => None,
                limit => Some(limit.to_string()),
            };
            prop_assert_eq!(of("memory.max"), want);
            // Room for it must be there, or be made, before memory is limited: swap comes first.
            let first = w.list.first().map(|w| &*w.file);
            prop_assert!(w.list.len() < 2 || first == Some("memory.swap.max"));
        }

        /// v1 counts as config.json does; and systemd is told what the files say.
        #[test]
        fn v1_is_as_it_is(limit in number(), swap in number()) {
            let w = v1(&memory(limit, swap)).unwrap();
            let number = |text: &str| text.parse::<i64>().unwrap();
            let of = |file: &str| systemd::last(&w.list, file).map(number);
            prop_assert_eq!(of("memory.limit_in_bytes"), value(Some(limit)));
            let want = if limit == -1 && swap == 0 { Some(-1) } else { value(Some(swap)) };
            prop_assert_eq!(of("memory.memsw.limit_in_bytes"), want);
            let limit = value(Some(limit)).map(|n| u64::try_from(n).unwrap_or(systemd::NO_LIMIT));
            let want: Vec<_> = limit.into_iter().map(|n| systemd::property("MemoryLimit", n)).collect();
            prop_assert_eq!(systemd(&w.list).unwrap(), want);
        }
    }
}
