// SPDX-License-Identifier: Apache-2.0
//! `process.execCPUAffinity`, and the reset to all CPUs where it is absent.
//! Parent side: `initial` before the process joins its cgroup, `finish` right after.

use std::ffi::c_ulong;

use nix::unistd::Pid;

use crate::error::{Context, Result};
use crate::log;
use crate::mask::Mask;
use crate::oci;
use crate::sys::sched::sched_setaffinity;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    initial: Option<Mask>,
    last: Option<Mask>,
}

/// Every CPU a kernel can be built for: also those that are not there yet, so that a cpuset which
/// grows later finds nothing masked out. The kernel cuts it to what may be used.
static ALL: [c_ulong; 1024] = [c_ulong::MAX; 1024];

impl Affinity {
    /// For `exec` only: the property says nothing about a container's first process.
    pub(crate) fn plan(process: &oci::Process<'_>) -> Result<Self> {
        let Some(wanted) = &process.exec_cpu_affinity else { return Ok(Self::default()) };
        let mask = |property: &str, list: &str| {
            Mask::parse(list).context(|| format!("process.execCPUAffinity.{property}: {list:?}"))
        };
        Ok(Self { initial: mask("initial", &wanted.initial)?, last: mask("final", &wanted.last)? })
    }

    pub(crate) fn apply_initial(&self, pid: Pid) -> Result<()> {
        let Some(mask) = &self.initial else { return Ok(()) };
        sched_setaffinity(pid, mask.words()).context(|| "process.execCPUAffinity.initial")
    }

    /// The final affinity; with neither configured, all CPUs: creel's own must not be inherited.
    pub(crate) fn apply_final(&self, pid: Pid) -> Result<()> {
        match (&self.last, &self.initial) {
            (Some(mask), _) => {
                sched_setaffinity(pid, mask.words()).context(|| "process.execCPUAffinity.final")
            }
            (None, Some(_)) => Ok(()),
            (None, None) => {
                reset(pid);
                Ok(())
            }
        }
    }
}

/// Best effort, as in runc.
pub(crate) fn reset(pid: Pid) {
    if let Err(errno) = sched_setaffinity(pid, &ALL) {
        let why = crate::error::describe(errno);
        let text = "the container process may inherit creel's CPU affinity";
        log::warn(&format!("resetting the CPU affinity of pid {pid} failed -- {text}: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::getpid;

    use super::*;
    use crate::sys::sched::sched_getaffinity;
    use crate::testing::inside;

    fn plan(initial: &str, last: &str) -> Result<Affinity> {
        let affinity = oci::ExecCpuAffinity { initial: initial.into(), last: last.into() };
        Affinity::plan(&oci::Process { exec_cpu_affinity: Some(affinity), ..Default::default() })
    }

    #[test]
    fn a_bad_list_names_its_property() {
        let text = plan("0", "0-x").unwrap_err().to_string();
        assert_eq!(text, "process.execCPUAffinity.final: \"0-x\": \"x\" is not a number");
        assert_eq!(plan("", "").unwrap(), Affinity::default());
    }

    #[test]
    fn initial_final_and_reset_hold() {
        let pid = || getpid();
        inside(|_| {
            let all = sched_getaffinity(pid())?;
            if all[0] & 1 == 0 {
                println!("SKIP: CPU 0 is not ours to use");
                return Ok(());
            }
            let affinity = plan("0", "")?;
            affinity.apply_initial(pid())?;
            affinity.apply_final(pid())?;
            assert_eq!(sched_getaffinity(pid())?[0], 1);
            Affinity::default().apply_initial(pid())?;
            assert_eq!(sched_getaffinity(pid())?[0], 1);
            Affinity::default().apply_final(pid())?;
            let now = sched_getaffinity(pid())?;
            assert!(now.iter().zip(&all).all(|(now, before)| now & before == *before));
            plan("", "0")?.apply_final(pid())?;
            assert_eq!(sched_getaffinity(pid())?[0], 1);
            Ok(())
        });
    }
}
