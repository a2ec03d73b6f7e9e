// SPDX-License-Identifier: Apache-2.0
//! `process.scheduler` and `process.ioPriority`.
//! Child side, while privileged; no call for what is not configured.

use nix::errno::Errno;

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci;
use crate::sys::Inside;
use crate::sys::sched::{SchedAttr, ioprio_set, sched_setattr};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sched {
    scheduler: Option<SchedAttr>,
    /// `linux.resources.cpu.cpus` is set, which most policies cannot be combined with.
    has_cpus: bool,
    /// Class and priority.
    io: Option<(u8, u8)>,
}

/// Numbers as in sched(7); the kernel has kept 4 for SCHED_ISO and refuses it.
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

const IO_CLASSES: [(&str, u8); 3] =
    [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

impl Sched {
    pub(crate) fn plan(process: &oci::Process<'_>, linux: Option<&oci::Linux<'_>>) -> Result<Self> {
        let resources = linux.and_then(|linux| linux.resources.as_ref());
        let cpu = resources.and_then(|resources| resources.cpu.as_ref());
        Ok(Self {
            scheduler: process.scheduler.as_ref().map(plan_scheduler).transpose()?,
            has_cpus: cpu.is_some_and(|cpu| !cpu.cpus.is_empty()),
            io: process.io_priority.as_ref().map(plan_io).transpose()?,
        })
    }

    pub(crate) fn apply(&self, _: &Inside) -> Result<()> {
        if let Some(attr) = &self.scheduler {
            match sched_setattr(attr) {
                Err(Errno::EPERM) if self.has_cpus => bail!(
                    "process.scheduler: process scheduler can't be used together with AllowedCPUs"
                ),
                other => other.context(|| "process.scheduler: sched_setattr")?,
            }
        }
        if let Some((class, priority)) = self.io {
            ioprio_set(class, priority).context(|| "process.ioPriority: ioprio_set")?;
        }
        Ok(())
    }
}

fn plan_scheduler(scheduler: &oci::Scheduler<'_>) -> Result<SchedAttr> {
    let name = scheduler.policy.as_str();
    if name.is_empty() {
        bail!("process.scheduler.policy: scheduler policy is required");
    }
    let policy = row(&POLICIES, name)
        .ok_or_else(|| Error::text(format!("process.scheduler.policy: unknown {name:?}")))?;
    if matches!(name, "SCHED_OTHER" | "SCHED_BATCH") && !(-20..=19).contains(&scheduler.nice) {
        bail!("process.scheduler.nice: {} is not within -20 to 19", scheduler.nice);
    }
    let is_realtime = matches!(name, "SCHED_FIFO" | "SCHED_RR");
    if scheduler.priority != 0 && !is_realtime {
        bail!("process.scheduler.priority: is only for SCHED_FIFO and SCHED_RR, not for {name}");
    }
    let times = [
        ("runtime", scheduler.runtime),
        ("deadline", scheduler.deadline),
        ("period", scheduler.period),
    ];
    if let Some((time, _)) = times.iter().find(|(_, time)| *time != 0)
        && name != "SCHED_DEADLINE"
    {
        bail!("process.scheduler.{time}: is only for SCHED_DEADLINE, not for {name}");
    }
    let mut flags = 0;
    for flag in &scheduler.flags {
        flags |= row(&FLAGS, flag)
            .ok_or_else(|| Error::text(format!("process.scheduler.flags: unknown {flag:?}")))?;
    }
    if is_realtime && !(1..=99).contains(&scheduler.priority) {
        bail!("process.scheduler.priority: {} is not within 1 to 99", scheduler.priority);
    }
    let priority = u32::try_from(scheduler.priority).expect("0, or within 1 to 99");
    Ok(SchedAttr {
        policy,
        flags,
        nice: scheduler.nice,
        priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        ..SchedAttr::default()
    })
}

fn plan_io(io: &oci::IoPriority<'_>) -> Result<(u8, u8)> {
    let class = row(&IO_CLASSES, &io.class)
        .ok_or_else(|| Error::text(format!("process.ioPriority.class: unknown {:?}", io.class)))?;
    match u8::try_from(io.priority) {
        Ok(priority @ 0..=7) => Ok((class, priority)),
        _ => bail!("process.ioPriority.priority: {} is not within 0 to 7", io.priority),
    }
}

fn row<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sched::ioprio_get;
    use crate::testing::inside;

    fn scheduler(policy: &'static str) -> oci::Scheduler<'static> {
        oci::Scheduler { policy: policy.into(), ..Default::default() }
    }

    fn refusal(scheduler: &oci::Scheduler<'_>) -> String {
        plan_scheduler(scheduler).unwrap_err().to_string()
    }

    #[test]
    fn every_rule_names_its_property() {
        assert_eq!(
            refusal(&scheduler("")),
            "process.scheduler.policy: scheduler policy is required"
        );
        assert_eq!(refusal(&scheduler("X")), "process.scheduler.policy: unknown \"X\"");
        let nice = oci::Scheduler { nice: 20, ..scheduler("SCHED_BATCH") };
        assert_eq!(refusal(&nice), "process.scheduler.nice: 20 is not within -20 to 19");
        let priority = oci::Scheduler { priority: 1, ..scheduler("SCHED_IDLE") };
        let text =
            "process.scheduler.priority: is only for SCHED_FIFO and SCHED_RR, not for SCHED_IDLE";
        assert_eq!(refusal(&priority), text);
        let negative = oci::Scheduler { priority: -1, ..scheduler("SCHED_RR") };
        assert_eq!(refusal(&negative), "process.scheduler.priority: -1 is not within 1 to 99");
        let deadline = oci::Scheduler { deadline: 9, ..scheduler("SCHED_RR") };
        let text = "process.scheduler.deadline: is only for SCHED_DEADLINE, not for SCHED_RR";
        assert_eq!(refusal(&deadline), text);
        let flags = oci::Scheduler { flags: vec!["Y".into()], ..scheduler("SCHED_RR") };
        assert_eq!(refusal(&flags), "process.scheduler.flags: unknown \"Y\"");
    }

    #[test]
    fn io_priority_is_class_and_number() {
        let io = |class, priority| plan_io(&oci::IoPriority { class, priority });
        assert_eq!(io("IOPRIO_CLASS_BE".into(), 4).unwrap(), (2, 4));
        let text = io("IOPRIO_CLASS_BE".into(), 8).unwrap_err().to_string();
        assert_eq!(text, "process.ioPriority.priority: 8 is not within 0 to 7");
        let text = io("NONE".into(), 0).unwrap_err().to_string();
        assert_eq!(text, "process.ioPriority.class: unknown \"NONE\"");
    }

    #[test]
    fn batch_with_nice_and_io_are_set() {
        let process = oci::Process {
            scheduler: Some(oci::Scheduler { nice: 3, ..scheduler("SCHED_BATCH") }),
            io_priority: Some(oci::IoPriority { class: "IOPRIO_CLASS_BE".into(), priority: 6 }),
            ..Default::default()
        };
        let sched = Sched::plan(&process, None).unwrap();
        inside(|me| {
            sched.apply(me)?;
            let stat = std::fs::read_to_string("/proc/self/stat")?;
            let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            // proc_pid_stat(5): nice is field 19, policy 41, counted from pid as 1.
            assert_eq!((fields[16], fields[38]), ("3", "3"));
            assert_eq!(ioprio_get()?, 2 << 13 | 6);
            Ok(())
        });
    }

    #[test]
    fn a_policy_the_kernel_lacks_is_its_errno_with_the_property() {
        let process =
            oci::Process { scheduler: Some(scheduler("SCHED_ISO")), ..Default::default() };
        inside(|me| {
            let error = Sched::plan(&process, None)?.apply(me).unwrap_err();
            let text = "process.scheduler: sched_setattr: EINVAL: invalid argument";
            assert_eq!(error.to_string(), text);
            Ok(())
        });
    }
}
