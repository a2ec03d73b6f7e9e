// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.hugepageLimits`: pages in use, and pages reserved where the kernel counts them
//! (Linux 5.7).

use super::writes::Writes;
use crate::oci::HugepageLimit;

pub(crate) fn v1(limits: &[HugepageLimit<'_>]) -> Writes {
    both(limits, "limit_in_bytes")
}

pub(crate) fn v2(limits: &[HugepageLimit<'_>]) -> Writes {
    both(limits, "max")
}

fn both(limits: &[HugepageLimit<'_>], suffix: &str) -> Writes {
    let mut w = Writes::default();
    for HugepageLimit { page_size, limit } in limits {
        let property = format!("linux.resources.hugepageLimits[{page_size}]");
        w.push(property.clone(), format!("hugetlb.{page_size}.{suffix}"), limit);
        w.push(property, format!("hugetlb.{page_size}.rsvd.{suffix}"), limit).optional();
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_and_reserved() {
        let limits = [HugepageLimit { page_size: "2MB".into(), limit: 4_194_304 }];
        let w = v2(&limits);
        assert_eq!(
            w.pairs(),
            [("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")]
        );
        assert!(!w.list[0].optional && w.list[1].optional);
        assert_eq!(v1(&limits).pairs()[0].0, "hugetlb.2MB.limit_in_bytes");
    }
}
