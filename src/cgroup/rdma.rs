// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.rdma`: the same file on v1 and v2.

use std::collections::BTreeMap;

use super::writes::Writes;
use crate::oci::{Rdma, Str};

pub(crate) fn v1(devices: &BTreeMap<Str<'_>, Rdma>) -> Writes {
    both(devices)
}

pub(crate) fn v2(devices: &BTreeMap<Str<'_>, Rdma>) -> Writes {
    both(devices)
}

fn both(devices: &BTreeMap<Str<'_>, Rdma>) -> Writes {
    let mut w = Writes::default();
    for (device, limits) in devices {
        let mut value = device.to_string();
        if let Some(handles) = limits.hca_handles {
            value += &format!(" hca_handle={handles}");
        }
        if let Some(objects) = limits.hca_objects {
            value += &format!(" hca_object={objects}");
        }
        w.push(format!("linux.resources.rdma[{device}]"), "rdma.max", value)
            .clear(format!("{device} hca_handle=max hca_object=max"));
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_per_device() {
        let limits = Rdma { hca_handles: Some(3), hca_objects: Some(10_000) };
        let devices = BTreeMap::from([(Str::from("mlx5_1"), limits)]);
        let want = [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000")];
        assert_eq!(v1(&devices).pairs(), want);
        assert_eq!(v2(&devices).pairs(), want);
    }
}
