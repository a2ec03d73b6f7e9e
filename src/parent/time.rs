// SPDX-License-Identifier: Apache-2.0
//! `linux.timeOffsets`, see time_namespaces(7).
//! Parent side, after the process has unshared its time namespace and before anybody enters it.

use std::fmt::Write;

use nix::unistd::Pid;

use crate::bail;
use crate::error::{Context, Result};
use crate::oci;
use crate::procfile;

/// The lines of timens_offsets; empty if there are none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeOffsets(String);

const CLOCKS: [&str; 2] = ["monotonic", "boottime"];
const NANOSECONDS: u32 = 1_000_000_000;

impl TimeOffsets {
    pub(crate) fn plan(linux: &oci::Linux<'_>) -> Result<Self> {
        let mut lines = String::new();
        for (clock, offset) in &linux.time_offsets {
            if !CLOCKS.contains(&clock.as_str()) {
                bail!("linux.timeOffsets: {clock:?} is neither monotonic nor boottime");
            }
            let (secs, nanosecs) = (offset.secs, offset.nanosecs);
            if nanosecs >= NANOSECONDS {
                bail!("linux.timeOffsets.{clock}.nanosecs: {nanosecs} is a second or more");
            }
            writeln!(lines, "{clock} {secs} {nanosecs}").expect("a String grows");
        }
        Ok(Self(lines))
    }

    /// What timens_offsets takes; None without offsets.
    pub(crate) fn text(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }

    /// Whether a new time namespace is needed.
    #[cfg(test)]
    pub(crate) fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// `pid` still lives in the old namespace; its children will live in the new one.
    pub(crate) fn apply(&self, pid: Pid) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        procfile::write(pid, "timens_offsets", &self.0).context(|| "linux.timeOffsets")
    }
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};
    use nix::unistd::getpid;

    use super::*;
    use crate::testing::inside;

    fn plan(offsets: &[(&'static str, i64, u32)]) -> Result<TimeOffsets> {
        let entry = |&(clock, secs, nanosecs): &(&'static str, _, _)| {
            (clock.into(), oci::TimeOffset { secs, nanosecs })
        };
        let time_offsets = offsets.iter().map(entry).collect();
        TimeOffsets::plan(&oci::Linux { time_offsets, ..Default::default() })
    }

    #[test]
    fn lines_and_refusals() {
        let offsets = plan(&[("monotonic", -7, 5), ("boottime", 9, 0)]).unwrap();
        assert_eq!(offsets.0, "boottime 9 0\nmonotonic -7 5\n");
        assert!(!plan(&[]).unwrap().is_set());
        let text = plan(&[("realtime", 1, 0)]).unwrap_err().to_string();
        assert_eq!(text, "linux.timeOffsets: \"realtime\" is neither monotonic nor boottime");
        let text = plan(&[("boottime", 1, NANOSECONDS)]).unwrap_err().to_string();
        assert_eq!(text, "linux.timeOffsets.boottime.nanosecs: 1000000000 is a second or more");
    }

    #[test]
    fn offsets_are_the_new_namespaces() {
        let offsets = plan(&[("monotonic", 7881, 2_718_281), ("boottime", 1337, 5)]).unwrap();
        inside(|_| {
            const CLONE_NEWTIME: i32 = 0x80;
            if let Err(errno) = unshare(CloneFlags::from_bits_retain(CLONE_NEWTIME)) {
                println!("SKIP: time namespaces: {errno}");
                return Ok(());
            }
            offsets.apply(getpid())?;
            let text = std::fs::read_to_string("/proc/self/timens_offsets")?;
            let words: Vec<_> = text.split_whitespace().collect();
            assert_eq!(words, ["monotonic", "7881", "2718281", "boottime", "1337", "5"]);
            Ok(())
        });
    }
}
