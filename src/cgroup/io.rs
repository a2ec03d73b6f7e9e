// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.blockIO`. Weights go to the BFQ scheduler's file where the kernel has it.

use super::systemd::{self, Property};
use super::writes::{Write, Writes};
use crate::error::Result;
use crate::oci::{BlockIo, ThrottleDevice, WeightDevice};

const WEIGHT: &str = "linux.resources.blockIO.weight";
const LEAF_WEIGHT: &str = "linux.resources.blockIO.leafWeight";
const WEIGHT_DEVICE: &str = "linux.resources.blockIO.weightDevice";
const READ_BPS: &str = "linux.resources.blockIO.throttleReadBpsDevice";
const WRITE_BPS: &str = "linux.resources.blockIO.throttleWriteBpsDevice";
const READ_IOPS: &str = "linux.resources.blockIO.throttleReadIOPSDevice";
const WRITE_IOPS: &str = "linux.resources.blockIO.throttleWriteIOPSDevice";

pub(crate) fn v1(io: &BlockIo) -> Writes {
    let mut w = Writes::default();
    if let Some(weight) = set(io.weight) {
        w.push(WEIGHT, "blkio.weight", weight).or("blkio.bfq.weight", weight);
    }
    if let Some(weight) = set(io.leaf_weight) {
        w.push(LEAF_WEIGHT, "blkio.leaf_weight", weight);
    }
    for WeightDevice { major, minor, weight, leaf_weight } in &io.weight_device {
        if let Some(weight) = set(*weight) {
            let line = format!("{major}:{minor} {weight}");
            w.push(WEIGHT_DEVICE, "blkio.weight_device", &line)
                .or("blkio.bfq.weight_device", &line)
                .clear(format!("{major}:{minor} 0"));
        }
        if let Some(weight) = set(*leaf_weight) {
            let line = format!("{major}:{minor} {weight}");
            w.push(WEIGHT_DEVICE, "blkio.leaf_weight_device", line)
                .clear(format!("{major}:{minor} 0"));
        }
    }
    for (property, file, list) in [
        (READ_BPS, "blkio.throttle.read_bps_device", &io.throttle_read_bps_device),
        (WRITE_BPS, "blkio.throttle.write_bps_device", &io.throttle_write_bps_device),
        (READ_IOPS, "blkio.throttle.read_iops_device", &io.throttle_read_iops_device),
        (WRITE_IOPS, "blkio.throttle.write_iops_device", &io.throttle_write_iops_device),
    ] {
        for ThrottleDevice { major, minor, rate } in list {
            w.push(property, file, format!("{major}:{minor} {rate}"))
                .clear(format!("{major}:{minor} 0"));
        }
    }
    w
}

pub(crate) fn v2(io: &BlockIo) -> Writes {
    let mut w = Writes::default();
    if let Some(weight) = set(io.weight) {
        w.push(WEIGHT, "io.bfq.weight", weight).or("io.weight", io_weight(weight));
    }
    w.ignore(LEAF_WEIGHT, set(io.leaf_weight).is_some());
    for WeightDevice { major, minor, weight, leaf_weight } in &io.weight_device {
        if let Some(weight) = set(*weight) {
            w.push(WEIGHT_DEVICE, "io.bfq.weight", format!("{major}:{minor} {weight}"))
                .or("io.weight", format!("{major}:{minor} {}", io_weight(weight)))
                .clear(format!("{major}:{minor} default"));
        }
        w.ignore(LEAF_WEIGHT, set(*leaf_weight).is_some());
    }
    for (property, key, list) in [
        (READ_BPS, "rbps", &io.throttle_read_bps_device),
        (WRITE_BPS, "wbps", &io.throttle_write_bps_device),
        (READ_IOPS, "riops", &io.throttle_read_iops_device),
        (WRITE_IOPS, "wiops", &io.throttle_write_iops_device),
    ] {
        for ThrottleDevice { major, minor, rate } in list {
            // Zero lifts the limit on v1; here that is a word.
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            w.push(property, "io.max", format!("{major}:{minor} {key}={rate}"))
                .clear(format!("{major}:{minor} {key}=max"));
        }
    }
    w
}

/// The weight alone: limits per device are by path in systemd, and it takes a partition for its disk.
pub(crate) fn systemd(list: &[Write]) -> Result<Option<Property>> {
    let is_default = |w: &&Write| !w.value.contains(':');
    let find = |file: &str| list.iter().rev().filter(is_default).find(|w| w.file == file);
    let or = |w: &Write| w.or.as_ref().map_or_else(String::new, |(_, value)| value.clone());
    let (file, name, value) = if let Some(write) = find("io.weight") {
        ("io.weight", "IOWeight", write.value.clone())
    } else if let Some(write) = find("io.bfq.weight").filter(|w| w.or.is_some()) {
        ("io.weight", "IOWeight", or(write))
    } else if let Some(write) = find("blkio.weight") {
        ("blkio.weight", "BlockIOWeight", write.value.clone())
    } else {
        return Ok(None);
    };
    let value = value.trim().trim_start_matches("default").trim();
    Ok(Some(systemd::property(name, systemd::number(file, value)?)))
}

/// 10..1000 to 1..10000.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

fn set(weight: Option<u16>) -> Option<u16> {
    weight.filter(|w| *w != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io() -> BlockIo {
        BlockIo {
            weight: Some(500),
            leaf_weight: Some(300),
            weight_device: vec![WeightDevice {
                major: 8,
                minor: 16,
                weight: Some(1000),
                leaf_weight: None,
            }],
            throttle_read_bps_device: vec![ThrottleDevice { major: 8, minor: 0, rate: 600 }],
            throttle_write_iops_device: vec![ThrottleDevice { major: 8, minor: 0, rate: 0 }],
            ..BlockIo::default()
        }
    }

    #[test]
    fn v1_files() {
        let w = v1(&io());
        assert_eq!(
            w.pairs(),
            [
                ("blkio.weight", "500"),
                ("blkio.leaf_weight", "300"),
                ("blkio.weight_device", "8:16 1000"),
                ("blkio.throttle.read_bps_device", "8:0 600"),
                ("blkio.throttle.write_iops_device", "8:0 0"),
            ]
        );
        assert_eq!(w.list[0].or, Some(("blkio.bfq.weight", "500".into())));
    }

    #[test]
    fn v2_files_and_conversion() {
        let w = v2(&io());
        assert_eq!(
            w.pairs(),
            [
                ("io.bfq.weight", "500"),
                ("io.bfq.weight", "8:16 1000"),
                ("io.max", "8:0 rbps=600"),
                ("io.max", "8:0 wiops=max"),
            ]
        );
        assert_eq!(w.list[0].or, Some(("io.weight", "4950".into())));
        assert_eq!(w.list[1].or, Some(("io.weight", "8:16 10000".into())));
        assert_eq!(w.ignored, [LEAF_WEIGHT]);
        assert_eq!(io_weight(10), 1);
    }

    #[test]
    fn systemd_gets_the_weight() {
        let shown = |w: &Writes| systemd::shown(systemd(&w.list).unwrap().as_slice());
        assert_eq!(shown(&v2(&io())), ["IOWeight=uint64 4950"]);
        assert_eq!(shown(&v1(&io())), ["BlockIOWeight=uint64 500"]);
        let mut unified = Writes::default();
        unified.push("unified", "io.weight", "default 70");
        assert_eq!(shown(&unified), ["IOWeight=uint64 70"]);
        let mut device = Writes::default();
        device.push("unified", "io.weight", "8:0 70");
        assert!(shown(&device).is_empty());
    }

    /// Every one that the kernel takes; what it does not take stays out of its range, to be refused.
    #[test]
    fn more_weight_is_never_less() {
        let mut below = 1;
        for weight in 10..=1000 {
            let io = io_weight(weight);
            assert!((below..=10_000).contains(&io), "{weight}: {io}");
            below = io;
        }
        assert_eq!([10, 1000].map(io_weight), [1, 10_000]);
        assert!((1001..=u16::MAX).all(|weight| io_weight(weight) > 10_000));
    }

    proptest::proptest! {
        /// A rate of v2 is a number above zero or `max`, and what removes the line is of the same device.
        #[test]
        fn a_rate_is_for_its_device(major in 0..4096_i64, minor in 0..1_i64 << 20, rate in 0..4_u64) {
            let device = ThrottleDevice { major, minor, rate };
            let w = v2(&BlockIo { throttle_read_iops_device: vec![device], ..BlockIo::default() });
            let shown = if rate == 0 { "max".to_owned() } else { rate.to_string() };
            proptest::prop_assert_eq!(&w.list[0].value, &format!("{major}:{minor} riops={shown}"));
            proptest::prop_assert_eq!(w.list[0].clear.clone(), Some(format!("{major}:{minor} riops=max")));
        }
    }
}
