// SPDX-License-Identifier: Apache-2.0
//! `process.rlimits` and `process.oomScoreAdj`.
//! In the clone before its change of user; from outside where it enters a user namespace, from inside
//! which no hard limit could be raised.

use nix::libc;
use nix::unistd::Pid;

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci;
use crate::procfile;
use crate::sys::Inside;
use crate::sys::rlimit::{getrlimit, prlimit};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    rlimits: Vec<Rlimit>,
    oom_score_adj: Option<i32>,
    /// The files of a process that became another user are closed to a parent without privileges: it
    /// sets its own score, before.
    is_rootless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rlimit {
    name: &'static str,
    resource: u32,
    soft: u64,
    hard: u64,
}

/// The C libraries disagree about the type.
#[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
const RESOURCES: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS as u32),
    ("RLIMIT_CORE", libc::RLIMIT_CORE as u32),
    ("RLIMIT_CPU", libc::RLIMIT_CPU as u32),
    ("RLIMIT_DATA", libc::RLIMIT_DATA as u32),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE as u32),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS as u32),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK as u32),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE as u32),
    ("RLIMIT_NICE", libc::RLIMIT_NICE as u32),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE as u32),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC as u32),
    ("RLIMIT_RSS", libc::RLIMIT_RSS as u32),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO as u32),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME as u32),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING as u32),
    ("RLIMIT_STACK", libc::RLIMIT_STACK as u32),
];

impl Limits {
    pub(crate) fn plan(process: &oci::Process<'_>) -> Result<Self> {
        let mut rlimits = Vec::<Rlimit>::new();
        for (i, limit) in process.rlimits.iter().enumerate() {
            let name = limit.kind.as_str();
            let (name, resource) =
                RESOURCES.into_iter().find(|(known, _)| *known == name).ok_or_else(|| {
                    Error::text(format!("process.rlimits[{i}].type: wrong rlimit value: {name}"))
                })?;
            if rlimits.iter().any(|other| other.resource == resource) {
                bail!("process.rlimits[{i}].type: {name} is there twice");
            }
            let (soft, hard) = (limit.soft, limit.hard);
            if soft > hard {
                bail!("process.rlimits[{i}]: {name}: soft {soft} is above hard {hard}");
            }
            rlimits.push(Rlimit { name, resource, soft, hard });
        }
        let oom_score_adj = process.oom_score_adj;
        if let Some(score) = oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
            bail!("process.oomScoreAdj: {score} is not within -1000 to 1000");
        }
        Ok(Self { rlimits, oom_score_adj, is_rootless: !nix::unistd::geteuid().is_root() })
    }

    /// For `check`: hard limits above what this process may give.
    pub(crate) fn foresee(&self, may_raise: bool) -> Vec<(usize, Error)> {
        let most_files = std::fs::read_to_string("/proc/sys/fs/nr_open");
        let most_files = most_files.ok().and_then(|n| n.trim().parse::<u64>().ok());
        let refused = |limit: &Rlimit| {
            let is_files = limit.name == "RLIMIT_NOFILE";
            let (_, present) = getrlimit(Pid::from_raw(0), limit.resource).unwrap_or_default();
            is_files && most_files.is_some_and(|most| limit.hard > most)
                || limit.hard > present && !may_raise
        };
        let error = |&Rlimit { name, soft, hard, .. }: &Rlimit| {
            let doing = format!("process.rlimits: {name} (soft {soft}, hard {hard})");
            Error::from(nix::errno::Errno::EPERM).within(doing)
        };
        let all = self.rlimits.iter().enumerate().filter(|(_, limit)| refused(limit));
        all.map(|(i, limit)| (i, error(limit))).collect()
    }

    /// In the clone; the change of user must come after.
    pub(crate) fn apply_to_self(&self, _: &Inside) -> Result<()> {
        self.apply_rlimits(Pid::from_raw(0))
    }

    /// For a process that will enter a user namespace, before it does: from inside no hard limit can be
    /// raised. Lower ones wait for `apply_to_self`, as they could hinder what comes before.
    pub(crate) fn raise(&self, pid: Pid) -> Result<()> {
        for &Rlimit { name, resource, hard, .. } in &self.rlimits {
            let doing = || format!("process.rlimits: raise the hard {name} to {hard}");
            let (soft, present) = getrlimit(pid, resource).context(doing)?;
            if hard > present {
                prlimit(pid, resource, soft, hard).context(doing)?;
            }
        }
        Ok(())
    }

    /// `raise`, in the clone.
    pub(crate) fn raise_own(&self, _: &Inside) -> Result<()> {
        self.raise(Pid::from_raw(0))
    }

    /// In the clone, while it is nobody else yet, what its parent has no right to do later.
    pub(crate) fn apply_before_user_namespace(&self, _: &Inside) -> Result<()> {
        match self.is_rootless {
            true => self.write_oom_score_adj("self"),
            false => Ok(()),
        }
    }

    pub(crate) fn apply_rlimits(&self, pid: Pid) -> Result<()> {
        for &Rlimit { name, resource, soft, hard } in &self.rlimits {
            prlimit(pid, resource, soft, hard)
                .context(|| format!("process.rlimits: {name} (soft {soft}, hard {hard})"))?;
        }
        Ok(())
    }

    /// Only if it is set; otherwise the score is inherited.
    pub(crate) fn apply_oom_score_adj(&self, pid: Pid) -> Result<()> {
        if self.is_rootless {
            return Ok(());
        }
        self.write_oom_score_adj(&pid.to_string())
    }

    fn write_oom_score_adj(&self, who: &str) -> Result<()> {
        let Some(score) = self.oom_score_adj else { return Ok(()) };
        procfile::write(who, "oom_score_adj", &score.to_string()).context(|| "process.oomScoreAdj")
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::getpid;

    use super::*;
    use crate::testing::inside;

    fn plan(rlimits: &[(&'static str, u64, u64)], oom_score_adj: Option<i32>) -> Result<Limits> {
        let rlimit = |&(kind, soft, hard): &(&'static str, _, _)| oci::Rlimit {
            kind: kind.into(),
            soft,
            hard,
        };
        let rlimits = rlimits.iter().map(rlimit).collect();
        Limits::plan(&oci::Process { rlimits, oom_score_adj, ..Default::default() })
    }

    #[test]
    fn refusals_name_the_property() {
        let refusal = |rlimits: &[_], score| plan(rlimits, score).unwrap_err().to_string();
        assert_eq!(
            refusal(&[("RLIMIT_CPU", 1, 1), ("RLIMIT_X", 1, 1)], None),
            "process.rlimits[1].type: wrong rlimit value: RLIMIT_X"
        );
        assert_eq!(
            refusal(&[("RLIMIT_CPU", 1, 1), ("RLIMIT_CPU", 2, 2)], None),
            "process.rlimits[1].type: RLIMIT_CPU is there twice"
        );
        assert_eq!(
            refusal(&[("RLIMIT_CPU", 2, 1)], None),
            "process.rlimits[0]: RLIMIT_CPU: soft 2 is above hard 1"
        );
        assert_eq!(
            refusal(&[], Some(1001)),
            "process.oomScoreAdj: 1001 is not within -1000 to 1000"
        );
    }

    #[test]
    fn limits_and_score_hold() {
        let limits = plan(&[("RLIMIT_NOFILE", 100, 200), ("RLIMIT_CORE", 0, 0)], Some(1000));
        let limits = limits.unwrap();
        inside(|me| {
            limits.apply_rlimits(getpid())?;
            limits.apply_before_user_namespace(me)?;
            limits.apply_oom_score_adj(getpid())?;
            let resource = nix::sys::resource::Resource::RLIMIT_NOFILE;
            assert_eq!(nix::sys::resource::getrlimit(resource)?, (100, 200));
            assert_eq!(std::fs::read_to_string("/proc/self/oom_score_adj")?, "1000\n");
            Ok(())
        });
    }

    #[test]
    fn an_absent_score_is_left_alone() {
        inside(|_| {
            std::fs::write("/proc/self/oom_score_adj", "900")?;
            plan(&[], None)?.apply_oom_score_adj(getpid())?;
            assert_eq!(std::fs::read_to_string("/proc/self/oom_score_adj")?, "900\n");
            Ok(())
        });
    }
}
