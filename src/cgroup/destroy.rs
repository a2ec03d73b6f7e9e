// SPDX-License-Identifier: Apache-2.0
//! Removing the container's cgroups, with those that were made below them. Kills nobody: waits until
//! nobody is inside, on v2 (also beside v1) by events, on v1 by the processes' pidfds.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};

use super::Cgroup;
use super::dir::{Dir, keyed, wait_event};
use crate::bail;
use crate::error::{Context, Result};
use crate::procstat::state_letter;
use crate::sys::pidfd::{pidfd_open, wait_exit};

/// How long nobody at all may end. Killed processes are usually gone in a millisecond; one in an
/// uninterruptible sleep may take long.
const LIMIT: Duration = Duration::from_secs(5);

/// How many of those that remain are named.
const NAMED: usize = 5;

impl Cgroup {
    /// Succeeds also when there is nothing (any more). All hierarchies are tried; the first failure
    /// is returned.
    pub(crate) fn destroy(&self) -> Result<()> {
        if let Some(unit) = &self.unit {
            unit.stop(!self.exists())?;
        }
        let v1 = self.v1.iter().map(|d| &d.path);
        let unified = self.unified.iter().map(|u| &u.path);
        let mut outcome = Ok(());
        for path in v1.chain(unified) {
            // Who did not leave one does not leave the others: one wait is enough.
            let limit = if outcome.is_ok() { LIMIT } else { Duration::ZERO };
            let removed = self.remove(path, limit);
            outcome = outcome.and(removed.context(|| format!("remove cgroup {path}")));
        }
        outcome
    }

    /// Removes a directory and all below it.
    fn remove(&self, path: &str, limit: Duration) -> Result<()> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Err(Errno::EINVAL.into()) };
        // Nearly always this is all. The kernel removes nothing that is in use or has anything in it.
        let refused = match unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => errno,
        };
        let parent = match Dir::open(parent) {
            Err(Errno::ENOENT) => return Ok(()),
            outcome => outcome?,
        };
        // A read-only mount says EROFS also of what is not there.
        if !matches!(refused, Errno::EBUSY | Errno::ENOTEMPTY) {
            let absent = matches!(parent.below(name), Err(Errno::ENOENT));
            return if absent { Ok(()) } else { Err(refused.into()) };
        }
        if let Ok(dir) = parent.below(name) {
            // Beside v1 as well: a process leaves all its cgroups in one step.
            if let Some(Ok(unified)) = self.path("").map(Dir::open) {
                wait_unpopulated(&unified, limit)?;
            }
            wait_processes(&dir, limit)?;
        }
        Ok(remove_below(&parent, name, Instant::now() + limit)?)
    }
}

fn wait_unpopulated(dir: &Dir, limit: Duration) -> Result<()> {
    let mut remain = count(dir)?;
    loop {
        match wait_event(dir, "populated", 0, limit) {
            Ok(true) | Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
            Ok(false) => {}
            Err(errno) => return Err(errno.into()),
        }
        let now = count(dir)?;
        if now >= remain {
            return still_there(dir);
        }
        // Many take their time on a busy machine, but they go.
        remain = now;
    }
}

fn count(dir: &Dir) -> Result<usize> {
    let mut pids = Vec::new();
    super::processes::collect(dir, true, &mut pids)?;
    Ok(pids.len())
}

/// v1 has no event for it: each process that is inside is waited for.
fn wait_processes(dir: &Dir, limit: Duration) -> Result<()> {
    loop {
        let mut pids = Vec::new();
        super::processes::collect(dir, true, &mut pids)?;
        let mut waited = false;
        for pid in &pids {
            let Ok(pidfd) = pidfd_open(*pid) else { continue };
            waited |= !wait_exit(pidfd.as_fd(), Some(Duration::ZERO))?;
            if !wait_exit(pidfd.as_fd(), Some(limit))? {
                return still_there(dir);
            }
        }
        if !waited {
            return Ok(());
        }
    }
}

/// Says who, and in what state.
fn still_there(dir: &Dir) -> Result<()> {
    let mut pids = Vec::new();
    super::processes::collect(dir, true, &mut pids)?;
    if pids.is_empty() {
        return Ok(());
    }
    let one = |pid: &Pid| format!("{pid} ({})", state_letter(*pid).unwrap_or('?'));
    let named: Vec<String> = pids.iter().take(NAMED).map(one).collect();
    let more = if pids.len() > NAMED { ", …" } else { "" };
    let frozen = if is_held(dir) { "; a cgroup above it is frozen" } else { "" };
    bail!(
        "{} process(es) did not end within {LIMIT:?}: {}{more}{frozen}",
        pids.len(),
        named.join(", ")
    )
}

/// Frozen from above: on v1 nobody inside dies then.
fn is_held(dir: &Dir) -> bool {
    let v1 = dir.read("freezer.parent_freezing").is_ok_and(|text| text.trim() == "1");
    v1 || dir.read("cgroup.events").is_ok_and(|text| keyed(&text, "frozen") == Some(1))
}

/// Children first. On v1 EBUSY lasts for a moment after the last process has ended, and nothing tells
/// when it is over.
fn remove_below(parent: &Dir, name: &str, deadline: Instant) -> Result<(), Errno> {
    let mut pause = Duration::from_micros(100);
    loop {
        match parent.rmdir(name) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY | Errno::ENOTEMPTY) if Instant::now() < deadline => {}
            Err(errno) => return Err(errno),
        }
        match parent.below(name).and_then(|dir| Ok((dir.children()?, dir))) {
            Ok((children, dir)) => {
                for child in children {
                    remove_below(&dir, &child, deadline)?;
                }
            }
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        match parent.rmdir(name) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => std::thread::sleep(pause),
            Err(errno) => return Err(errno),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
