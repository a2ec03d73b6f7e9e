// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.hugepageLimits`: pages in use, and pages reserved where the kernel counts them
//! (Linux 5.7).

use super::writes::Writes;
use crate::bail;
use crate::error::Result;
use crate::oci::HugepageLimit;

pub(crate) fn v1(limits: &[HugepageLimit<'_>]) -> Result<Writes> {
    both(limits, "limit_in_bytes")
}

pub(crate) fn v2(limits: &[HugepageLimit<'_>]) -> Result<Writes> {
    both(limits, "max")
}

fn both(limits: &[HugepageLimit<'_>], suffix: &str) -> Result<Writes> {
    let mut w = Writes::default();
    for HugepageLimit { page_size, limit } in limits {
        if page_size.is_empty() || !page_size.bytes().all(|b| b.is_ascii_alphanumeric()) {
            // It is a part of a file's name.
            bail!("linux.resources.hugepageLimits: pageSize {:?} is no size", page_size.as_str());
        }
        let property = format!("linux.resources.hugepageLimits[{page_size}]");
        w.push(property.clone(), format!("hugetlb.{page_size}.{suffix}"), limit);
        w.push(property, format!("hugetlb.{page_size}.rsvd.{suffix}"), limit).optional();
    }
    Ok(w)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_and_reserved() {
        let limits = [HugepageLimit { page_size: "2MB".into(), limit: 4_194_304 }];
        let w = v2(&limits).unwrap();
        assert_eq!(
            w.pairs(),
            [("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")]
        );
        assert!(!w.list[0].optional && w.list[1].optional);
        assert_eq!(v1(&limits).unwrap().pairs()[0].0, "hugetlb.2MB.limit_in_bytes");
    }

    /// Found by fuzzing: the name led out of the cgroup's directory.
    #[test]
    fn a_page_size_is_no_path() {
        for size in ["", "a/../../x", "2MB\0", "2.MB"] {
            let limits = [HugepageLimit { page_size: size.into(), limit: 0 }];
            assert_eq!(
                v2(&limits).unwrap_err().to_string(),
                format!("linux.resources.hugepageLimits: pageSize {size:?} is no size")
            );
        }
    }

    proptest::proptest! {
        /// A text is refused, or is whole between two dots of the file's name.
        #[test]
        fn a_name_is_a_file_of_the_directory(size in "[0-9]{1,4}[KMG]B|[./A-Z0-9]{0,6}|\\PC{0,5}", limit in 0..u64::MAX) {
            let limits = [HugepageLimit { page_size: size.as_str().into(), limit }];
            let fine = !size.is_empty() && size.chars().all(|c| c.is_ascii_alphanumeric());
            for (outcome, suffix) in [(v1(&limits), "limit_in_bytes"), (v2(&limits), "max")] {
                proptest::prop_assert_eq!(outcome.is_ok(), fine, "{:?}", size);
                let Ok(w) = outcome else { continue };
                let (used, reserved) = (format!("hugetlb.{size}.{suffix}"), format!("hugetlb.{size}.rsvd.{suffix}"));
                let limit = limit.to_string();
                proptest::prop_assert_eq!(w.pairs(), [(&*used, &*limit), (&*reserved, &*limit)]);
                proptest::prop_assert!(w.list.iter().all(|w| w.controller() == "hugetlb"));
            }
        }
    }
}
