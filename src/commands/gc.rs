// SPDX-License-Identifier: Apache-2.0
//! `gc`: what dead containers have left below `--root`, also those whose manager is dead as well. A dry
//! run unless `--force`.
//!
//! Whatever creel makes is named by a state directory that is made before and removed after it, so
//! these are all that has to be looked through. Nobody is killed: a container with a process, of init's
//! or in its cgroups, lives, and so does one whose directory is locked (a command is at work on it) or
//! cannot be understood well enough to know.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use super::{delete, print};
use crate::ExitCode;
use crate::cgroup::Cgroup;
use crate::cli::args::{Gc, Globals, Output};
use crate::cli::output::{self, GcView};
use crate::error::{Context, Kind, Result};
use crate::state::remove::{is_at, remove};
use crate::state::{self, Container, Status};
use crate::{interrupt, log, sys};

/// One that is dead, and what it holds.
#[derive(Debug)]
struct Found {
    id: String,
    why: &'static str,
    holds: Vec<String>,
    remains: Remains,
    /// Its directory, locked.
    lock: File,
}

#[derive(Debug)]
enum Remains {
    Container(Box<Container>),
    /// Of a directory without a readable state.json.
    Cgroup(Option<Cgroup>),
}

pub(crate) fn gc(globals: &Globals, gc: &Gc) -> Result<ExitCode> {
    let mut is_clear = true;
    let mut views = Vec::new();
    for id in ids(globals)? {
        let found = match look(globals, &id, gc.older_than) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                // Not knowing is no reason to remove.
                log::warn(&format!("{id} is left alone: {error}"));
                continue;
            }
        };
        let mut outcome = "found";
        if gc.force {
            interrupt::hold()?;
            outcome = "cleared";
            if let Err(error) = clear(globals, &found) {
                log::error(&format!("clear {id}: {error}"));
                (outcome, is_clear) = ("failed", false);
            }
        }
        views.push(GcView { id, why: found.why, holds: found.holds, outcome });
    }
    print(&match gc.format {
        Output::Json => output::gc_json(&views),
        Output::Table => output::gc_table(&views, gc.force),
    })?;
    Ok(if is_clear { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn ids(globals: &Globals) -> Result<Vec<String>> {
    let root = &globals.root;
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        // Nothing was ever created in the default root; one that was named should be there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !globals.root_is_explicit => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).context(|| format!("open {root:?}")),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.context(|| format!("read {root:?}"))?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name().into_string().unwrap_or_default();
        if is_dir && state::check_id(&name).is_ok() {
            ids.push(name);
        }
    }
    ids.sort();
    Ok(ids)
}

/// None: it lives, somebody is at work on it, or it was so until just now.
fn look(globals: &Globals, id: &str, older_than: Duration) -> Result<Option<Found>> {
    let path = globals.root.join(id);
    let lock = match File::open(&path) {
        Ok(dir) => dir,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(|| format!("open {path:?}")),
    };
    // A `create` has no lock yet when the directory is new.
    if changed_within(&lock, older_than)? {
        return Ok(None);
    }
    match sys::fd::flock(lock.as_fd(), libc::LOCK_EX | libc::LOCK_NB) {
        Err(Errno::EWOULDBLOCK) => return Ok(None),
        outcome => outcome.context(|| format!("lock {path:?}"))?,
    }
    if !is_at(&lock, &path) {
        // Deleted meanwhile, and perhaps made anew.
        return Ok(None);
    }
    let (why, remains) = match Container::load(&globals.root, id) {
        Ok(container) => match why_dead(&container)? {
            Some(why) => (why, Remains::Container(Box::new(container))),
            None => return Ok(None),
        },
        Err(error) if matches!(error.kind(), Kind::NoSuchContainer | Kind::Damaged) => {
            let why = match error.kind() {
                Kind::Damaged => "state.json is damaged",
                _ => "state.json is missing",
            };
            let cgroup = match state::orphaned_config(&globals.root, id) {
                Some(config) => {
                    Some(crate::plan::cgroup_of_config(&config, id, globals.cgroup_manager)?)
                }
                // Written before anything is made: there is nothing, unless it was lost.
                None if error.kind() == Kind::NoSuchContainer => None,
                None => return Err(error),
            };
            if cgroup.as_ref().map_or(Ok(false), has_processes)? {
                return Ok(None);
            }
            (why, Remains::Cgroup(cgroup))
        }
        Err(error) => return Err(error),
    };
    let holds = holds(&remains, &path);
    Ok(Some(Found { id: id.to_owned(), why, holds, remains, lock }))
}

fn changed_within(dir: &File, time: Duration) -> Result<bool> {
    let changed = dir.metadata().and_then(|about| about.modified()).context(|| "stat")?;
    // A clock that was set back makes it look new for longer, which harms nobody.
    Ok(!time.is_zero() && SystemTime::now().duration_since(changed).is_ok_and(|age| age < time)
        || changed > SystemTime::now() && !time.is_zero())
}

/// None: something of it lives.
fn why_dead(container: &Container) -> Result<Option<&'static str>> {
    if container.has_init()? || has_processes(&container.facts.cgroup)? {
        return Ok(None);
    }
    Ok(match container.facts.pid {
        0 => Some("create was killed"),
        // Its lock is ours: nobody else's is meant by it.
        _ if container.status()? == Status::Stopped => Some("stopped"),
        _ => None,
    })
}

fn has_processes(cgroup: &Cgroup) -> Result<bool> {
    cgroup.has_any_process()
}

/// In words, for people.
fn holds(remains: &Remains, path: &Path) -> Vec<String> {
    let (cgroup, fifo, group) = match remains {
        Remains::Container(c) => (Some(&c.facts.cgroup), c.has_fifo(), c.facts.resctrl.is_some()),
        Remains::Cgroup(cgroup) => (cgroup.as_ref(), path.join(state::FIFO).exists(), false),
    };
    let mut holds: Vec<String> = Vec::new();
    if let Some(cgroup) = cgroup {
        holds.extend(cgroup.existing().map(|path| format!("cgroup {path}")));
        holds.extend(cgroup.unit_name().map(|name| format!("unit {name}")));
    }
    if group {
        holds.push("resctrl group".to_owned());
    }
    if fifo {
        holds.push("exec.fifo".to_owned());
    }
    holds.extend(mounts_below(path).into_iter().map(|place| format!("mount {place}")));
    holds.push(format!("directory {}", path.display()));
    holds
}

/// The innermost first. Without mountinfo none are known, and removing says what is in its way.
fn mounts_below(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = text.lines().filter_map(|line| line.split(' ').nth(4));
    let below = places.filter(|place| Path::new(place).starts_with(path));
    let mut below: Vec<String> = below.map(str::to_owned).collect();
    below.reverse();
    below
}

/// As `delete` would; but whoever has come to life meanwhile is left.
fn clear(globals: &Globals, found: &Found) -> Result<()> {
    let path = globals.root.join(&found.id);
    for place in mounts_below(&path) {
        nix::mount::umount2(place.as_str(), nix::mount::MntFlags::MNT_DETACH)
            .context(|| format!("unmount {place}"))?;
    }
    match &found.remains {
        Remains::Container(container) => delete::destroy(container)?,
        Remains::Cgroup(cgroup) => {
            if let Some(cgroup) = cgroup {
                cgroup.destroy().context(|| "remove the container's cgroup")?;
            }
            remove(&found.lock, &path)?;
        }
    }
    Ok(())
}
