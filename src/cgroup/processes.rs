// SPDX-License-Identifier: Apache-2.0
//! Who is in the container's cgroups, and killing them all.

use std::collections::HashSet;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::Cgroup;
use super::dir::Dir;
use crate::error::{Context, Result};
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};

/// More rounds than this only a fork bomb needs, and that is frozen first.
const ROUNDS: usize = 8;

impl Cgroup {
    /// The processes inside; with `recursive` those in cgroups below as well. Gone: none.
    pub(crate) fn pids(&self, recursive: bool) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        let Some(path) = self.main_path() else { return Ok(pids) };
        match Dir::open(path) {
            Ok(dir) => collect(&dir, recursive, &mut pids)?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).context(|| format!("open cgroup {path}")),
        }
        Ok(pids)
    }

    /// Whether anybody at all is in there or below, in whatever hierarchy.
    pub(crate) fn has_any_process(&self) -> Result<bool> {
        let mut pids = Vec::new();
        for path in self.all_paths() {
            match Dir::open(path) {
                Ok(dir) => collect(&dir, true, &mut pids)?,
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno).context(|| format!("open cgroup {path}")),
            }
        }
        Ok(!pids.is_empty())
    }

    /// Sends the signal to every process inside and below. SIGKILL also reaches frozen ones.
    pub(crate) fn kill(&self, signal: i32) -> Result<()> {
        if signal == libc::SIGKILL && self.kill_unified()? {
            // The kernel has killed all of v2; beside it v1 may hold some that never joined.
            return if self.is_unified() { Ok(()) } else { self.kill_rounds() };
        }
        // Frozen, nobody forks away. Where it can't be frozen signals still go out.
        let frozen_before = self.is_frozen().unwrap_or(false);
        let froze = self.freeze();
        let outcome = self.pids(true).map(|pids| pids.into_iter().for_each(|p| send(p, signal)));
        if froze.is_err() && signal == libc::SIGKILL {
            self.kill_rounds()?;
        }
        if signal == libc::SIGKILL {
            self.thaw_tree()?;
        } else if !frozen_before {
            self.thaw_if_any()?;
        }
        outcome
    }

    /// `cgroup.kill`, Linux 5.14; false where there is none.
    fn kill_unified(&self) -> Result<bool> {
        let Some(path) = self.path("") else { return Ok(false) };
        match Dir::open(path).and_then(|dir| dir.write("cgroup.kill", "1")) {
            Ok(()) => Ok(true),
            // KERNEL(5.14), or there is no such cgroup (any more).
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
            // A threaded cgroup.
            Err(Errno::EOPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno).context(|| format!("write {path}/cgroup.kill")),
        }
    }

    /// Kills who is listed until nobody new turns up: a killed process forks no more.
    fn kill_rounds(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for _ in 0..ROUNDS {
            let new: Vec<Pid> =
                self.pids(true)?.into_iter().filter(|pid| seen.insert(*pid)).collect();
            if new.is_empty() {
                return self.thaw_tree();
            }
            new.into_iter().for_each(|pid| send(pid, libc::SIGKILL));
        }
        if self.freeze().is_ok() {
            self.pids(true)?.into_iter().for_each(|pid| send(pid, libc::SIGKILL));
        }
        self.thaw_tree()
    }
}

/// A process that is gone needs no signal, and of others' refusals the caller learns by waiting.
fn send(pid: Pid, signal: i32) {
    if let Ok(pidfd) = pidfd_open(pid) {
        let _ = pidfd_send_signal(std::os::fd::AsFd::as_fd(&pidfd), signal);
    }
}

/// Adds the processes of a directory; one that vanishes meanwhile has none.
pub(super) fn collect(dir: &Dir, recursive: bool, pids: &mut Vec<Pid>) -> Result<()> {
    let text = match dir.read("cgroup.procs") {
        // A threaded cgroup lists threads only.
        Err(Errno::EOPNOTSUPP) => dir.read("cgroup.threads"),
        outcome => outcome,
    };
    match text {
        Ok(text) => pids.extend(text.lines().filter_map(|l| l.parse().ok()).map(Pid::from_raw)),
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        Err(errno) => return Err(errno).context(|| format!("read {}/cgroup.procs", dir.path())),
    }
    if !recursive {
        return Ok(());
    }
    let children = match dir.children() {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        outcome => outcome.context(|| format!("list cgroup {}", dir.path()))?,
    };
    for name in children {
        match dir.below(&name) {
            Ok(child) => collect(&child, true, pids)?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).context(|| format!("open {}/{name}", dir.path())),
        }
    }
    Ok(())
}
