// SPDX-License-Identifier: Apache-2.0
//! `update`: writes what was asked for and nothing else, and puts the old values back when one is
//! refused. Device rules stay as they are, as with runc.

use nix::errno::Errno;

use super::Cgroup;
use super::cpu;
use super::dir::Dir;
use super::hierarchy::Hierarchies;
use super::plan;
use super::writes::{self, Write, Writes};
use crate::bail;
use crate::error::{Context, Result};
use crate::log;
use crate::oci::{Cpu, Memory, Resources};

impl Cgroup {
    /// `then` is part of it: when that fails, the old values come back too.
    pub(crate) fn update(
        &self,
        resources: &Resources<'_>,
        then: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut resources = resources.clone();
        if self.is_unified() {
            self.complete(&mut resources)?;
        }
        let host = self.as_hierarchies()?;
        let mut writes = plan::writes(&host, &resources)?;
        if self.is_none() && !writes.list.is_empty() {
            bail!("linux.resources: cannot set limits: container could not join or create cgroup");
        }
        if self.is_units() {
            cpu::leave_idle(&mut writes);
            cpu::fit(&mut writes)?;
        }
        writes.list.iter().try_for_each(|write| plan::check_mounted(&host, write))?;
        for property in &writes.ignored {
            log::warn(&format!("{property} has no effect on this host's cgroups"));
        }
        let list: Vec<Write> = writes.list;
        let mut done: Vec<(String, Vec<(String, String)>)> = Vec::new();
        let outcome = self.each_directory(&list, |dir, writes| {
            let mut undo = Vec::new();
            let outcome = writes::apply(dir, writes, Some(&mut undo));
            done.push((dir.path().to_owned(), undo));
            outcome
        });
        // After the files, which say what is wrong.
        let is_manager_asked = outcome.is_ok();
        let outcome = outcome.and_then(|()| self.set_unit(&list)).and_then(|()| then());
        if outcome.is_err() {
            // It may have done what it gave no answer to, or do it still.
            if is_manager_asked {
                let old = done.iter().flat_map(|(_, undo)| undo.clone()).collect();
                // The first error is the one to report.
                let _ = self.set_unit(&Writes::of_files(old).list);
            }
            for (path, undo) in done.iter().rev() {
                if let Ok(dir) = Dir::open(path) {
                    writes::restore(&dir, undo);
                }
            }
        }
        outcome
    }

    /// systemd writes the files too, and not all as they were asked for: a period without a quota it
    /// takes for nothing.
    fn set_unit(&self, list: &[Write]) -> Result<()> {
        let Some(unit) = &self.unit else { return Ok(()) };
        unit.set(list)?;
        self.each_directory(list, |dir, writes| writes::apply(dir, writes, None))
    }

    /// v2 keeps in one file what config.json has in two: what was not asked for is read back.
    fn complete(&self, resources: &mut Resources<'_>) -> Result<()> {
        let Some(path) = self.path("") else { return Ok(()) };
        let dir = Dir::open(path).context(|| format!("open cgroup {path}"))?;
        let read = |file: &str| dir.read(file).ok();
        if let Some(cpu) = &mut resources.cpu {
            complete_cpu(cpu, || read("cpu.max"));
        }
        if let Some(memory) = &mut resources.memory {
            complete_memory(memory, &read);
            check_usage(memory, &dir)?;
        }
        Ok(())
    }

    /// Enough of the host to plan writes by.
    fn as_hierarchies(&self) -> Result<Hierarchies> {
        Hierarchies::of(
            self.v1.iter().map(|d| (&*d.mount, &*d.controllers)),
            self.unified.as_ref().map(|u| &*u.mount),
        )
    }
}

/// A quota without a period keeps the period and the other way round.
fn complete_cpu(cpu: &mut Cpu<'_>, current: impl Fn() -> Option<String>) {
    let (quota, period) = (cpu.quota.filter(|q| *q != 0), cpu.period.filter(|p| *p != 0));
    if quota.is_some() == period.is_some() {
        return;
    }
    let Some(text) = current() else { return };
    let mut words = text.split_ascii_whitespace();
    let (now_quota, now_period) = (words.next(), words.next());
    if quota.is_none() {
        cpu.quota = now_quota.map(|q| q.parse().unwrap_or(-1));
    } else {
        cpu.period = now_period.and_then(|p| p.parse().ok());
    }
}

/// `swap` counts memory too: with one of the two changed, the sum is what stays.
fn complete_memory(memory: &mut Memory, read: &dyn Fn(&str) -> Option<String>) {
    let number = |file: &str| read(file).and_then(|text| text.trim().parse::<i64>().ok());
    let (limit, swap) = (memory.limit.unwrap_or(0), memory.swap.unwrap_or(0));
    if limit == 0 && swap > 0 {
        memory.limit = match read("memory.max") {
            Some(text) => Some(text.trim().parse().unwrap_or(-1)),
            None => memory.limit,
        };
    } else if limit > 0
        && swap == 0
        // Without a limit for memory there has been no sum.
        && let (Some(now_swap), Some(now)) = (number("memory.swap.max"), number("memory.max"))
    {
        memory.swap = Some(now_swap.saturating_add(now));
    }
}

/// `checkBeforeUpdate`: rather an error than an out-of-memory kill.
fn check_usage(memory: &Memory, dir: &Dir) -> Result<()> {
    if memory.check_before_update != Some(true) {
        return Ok(());
    }
    let usage = match dir.read("memory.current") {
        Ok(text) => text.trim().parse().unwrap_or(0),
        // No usage to compare with.
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno).context(|| "read memory.current"),
    };
    match (memory.limit, memory.swap) {
        (_, Some(swap)) if swap > 0 && swap <= usage => {
            bail!(
                "linux.resources.memory.swap: rejecting memory+swap limit {swap} <= usage {usage}"
            )
        }
        (Some(limit), _) if limit > 0 && limit <= usage => {
            bail!("linux.resources.memory.limit: rejecting memory limit {limit} <= usage {usage}")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_alone_keeps_the_period_and_the_other_way_round() {
        let now = || Some("50000 200000\n".to_owned());
        let mut cpu = Cpu { quota: Some(30_000), ..Cpu::default() };
        complete_cpu(&mut cpu, now);
        assert_eq!(cpu.period, Some(200_000));
        let mut cpu = Cpu { period: Some(1000), ..Cpu::default() };
        complete_cpu(&mut cpu, now);
        assert_eq!(cpu.quota, Some(50_000));
        let mut cpu = Cpu { period: Some(1000), ..Cpu::default() };
        complete_cpu(&mut cpu, || Some("max 100000\n".to_owned()));
        assert_eq!(cpu.quota, Some(-1));
    }

    #[test]
    fn the_sum_of_memory_and_swap_stays() {
        let read =
            |file: &str| Some(if file == "memory.max" { "100\n" } else { "150\n" }.to_owned());
        let mut memory = Memory { limit: Some(200), ..Memory::default() };
        complete_memory(&mut memory, &read);
        assert_eq!(memory.swap, Some(250));
        let mut memory = Memory { swap: Some(400), ..Memory::default() };
        complete_memory(&mut memory, &read);
        assert_eq!(memory.limit, Some(100));
        let only_swap =
            |file: &str| Some(if file == "memory.max" { "max\n" } else { "50\n" }.to_owned());
        let mut memory = Memory { limit: Some(200), ..Memory::default() };
        complete_memory(&mut memory, &only_swap);
        assert_eq!(memory.swap, None);
        let unlimited = |_: &str| Some("max\n".to_owned());
        let mut memory = Memory { limit: Some(200), ..Memory::default() };
        complete_memory(&mut memory, &unlimited);
        assert_eq!(memory.swap, None);
    }
}
