// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.network`: v1 only. v2 leaves traffic classes to eBPF; runc ignores them there.

use super::writes::Writes;
use crate::oci::Network;

const CLASS_ID: &str = "linux.resources.network.classID";
const PRIORITIES: &str = "linux.resources.network.priorities";

pub(crate) fn v1(network: &Network<'_>) -> Writes {
    let mut w = Writes::default();
    if let Some(class) = network.class_id.filter(|c| *c != 0) {
        w.push(CLASS_ID, "net_cls.classid", class);
    }
    for p in &network.priorities {
        w.push(PRIORITIES, "net_prio.ifpriomap", format!("{} {}", p.name, p.priority))
            .clear(format!("{} 0", p.name));
    }
    w
}

pub(crate) fn v2(network: &Network<'_>) -> Writes {
    let mut w = Writes::default();
    w.ignore(CLASS_ID, network.class_id.is_some_and(|c| c != 0));
    w.ignore(PRIORITIES, !network.priorities.is_empty());
    w
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::InterfacePriority;

    #[test]
    fn class_and_priorities() {
        let priorities = vec![InterfacePriority { name: "eth0".into(), priority: 500 }];
        let network = Network { class_id: Some(0x10_0001), priorities };
        let want = [("net_cls.classid", "1048577"), ("net_prio.ifpriomap", "eth0 500")];
        assert_eq!(v1(&network).pairs(), want);
        let w = v2(&network);
        assert!(w.is_empty());
        assert_eq!(w.ignored, [CLASS_ID, PRIORITIES]);
    }
}
