// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.pids`: absent leaves the limit as it is, below zero lifts it.

use super::systemd::{self, Property};
use super::writes::{Write, Writes};
use crate::error::Result;
use crate::oci::Pids;

pub(crate) fn v1(pids: &Pids) -> Writes {
    both(pids)
}

pub(crate) fn v2(pids: &Pids) -> Writes {
    both(pids)
}

fn both(pids: &Pids) -> Writes {
    let mut w = Writes::default();
    if let Some(limit) = pids.limit {
        let value = match limit {
            ..0 => "max".to_owned(),
            // systemd has no TasksMax=0; both drivers do the same, as in runc. No fork either way.
            0 => "1".to_owned(),
            n => n.to_string(),
        };
        w.push("linux.resources.pids.limit", "pids.max", value);
    }
    w
}

/// 0 is none of its values: of `unified` too it becomes 1.
pub(crate) fn systemd(list: &[Write]) -> Result<Option<Property>> {
    let Some(value) = systemd::last(list, "pids.max") else { return Ok(None) };
    let limit = systemd::number("pids.max", value)?.max(1);
    Ok(Some(systemd::property("TasksMax", limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (limit, want) in [(100, "100"), (0, "1"), (-1, "max"), (-5, "max")] {
            let w = v2(&Pids { limit: Some(limit) });
            assert_eq!(w.pairs(), [("pids.max", want)]);
        }
        assert!(v1(&Pids { limit: None }).is_empty());
    }

    #[test]
    fn systemd_takes_no_zero() {
        let shown = |limit: &str| {
            let mut w = Writes::default();
            w.push("unified", "pids.max", limit);
            systemd::shown(systemd(&w.list).unwrap().as_slice())
        };
        assert_eq!(shown("100"), ["TasksMax=uint64 100"]);
        assert_eq!(shown("0"), ["TasksMax=uint64 1"]);
        assert_eq!(shown("max"), ["TasksMax=uint64 18446744073709551615"]);
    }
}
