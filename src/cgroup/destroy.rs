// SPDX-License-Identifier: Apache-2.0
//! Removing the container's cgroups, with those that were made below them. Kills nobody: on v2 waits
//! by events until nobody is inside, on v1 tries again for a while.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Cgroup;
use super::dir::{Dir, wait_event};
use crate::error::{Context, Result};

/// Killed processes are usually gone in a millisecond; one in an uninterruptible sleep may take long.
const LIMIT: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Succeeds also when there is nothing (any more). All hierarchies are tried; the first failure
    /// is returned.
    pub(crate) fn destroy(&self) -> Result<()> {
        let v1 = self.v1.iter().map(|d| &d.path);
        let unified = self.unified.iter().map(|u| &u.path);
        v1.chain(unified)
            .map(|path| remove(path).context(|| format!("remove cgroup {path}")))
            .fold(Ok(()), Result::and)
    }
}

/// Removes a directory and all below it.
fn remove(path: &str) -> Result<(), Errno> {
    let Some((parent, name)) = path.rsplit_once('/') else { return Err(Errno::EINVAL) };
    let parent = match Dir::open(parent) {
        Err(Errno::ENOENT) => return Ok(()),
        outcome => outcome?,
    };
    let deadline = Instant::now() + LIMIT;
    match parent.rmdir(name) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => {}
        // A read-only mount says so also of what is not there.
        Err(errno) => {
            let absent = matches!(parent.below(name), Err(Errno::ENOENT));
            return if absent { Ok(()) } else { Err(errno) };
        }
    }
    if let Ok(dir) = parent.below(name) {
        match wait_event(&dir, "populated", 0, LIMIT) {
            // v1 has no events; or it has just gone.
            Ok(_) | Err(Errno::ENOENT | Errno::ENODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    remove_below(&parent, name, deadline)
}

/// Children first. EBUSY lasts for a moment after the last process has gone.
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
