// SPDX-License-Identifier: Apache-2.0
//! What happens to the container's cgroups, told by the kernel as it happens (`events`): kills for
//! want of memory, forks that the limit of processes refused, the end of the last process.
//! On v1 refused forks are counted without a word since Linux 6.11: seen whenever `next` looks.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Cgroup;
use super::dir::{Dir, File, keyed};
use crate::error::{Context, Error, Result};
use crate::sys::fd::number;

impl Cgroup {
    /// How many processes the kernel has killed for want of memory; None when it does not say.
    pub(crate) fn oom_kill_count(&self) -> Option<u64> {
        let (path, file) = match self.path("memory") {
            Some(path) => (path, "memory.oom_control"),
            None => (self.path("")?, "memory.events"),
        };
        keyed(&Dir::open(path).ok()?.read(file).ok()?, "oom_kill")
    }

    /// Watches what there is to watch.
    pub(crate) fn watch(&self) -> Result<Watch> {
        let dir = |path: &str| Dir::open(path).context(|| format!("open cgroup {path}"));
        let mut watch = Watch { oom: None, pids: None, populated: None };
        if let Some(path) = self.path("memory") {
            watch.oom = Some(oom_of_v1(dir(path)?).context(|| "watch for out-of-memory kills")?);
        }
        if let Some(path) = self.path("pids") {
            watch.pids = Counter::open(&dir(path)?, "pids.events", "max")?;
        }
        if self.is_unified()
            && let Some(path) = self.path("")
        {
            let dir = dir(path)?;
            watch.oom = Counter::open(&dir, "memory.events", "oom_kill")?.map(Oom::V2);
            watch.pids = Counter::open(&dir, "pids.events", "max")?;
            watch.populated = dir.file("cgroup.events", OFlag::O_RDONLY).ok();
        }
        Ok(watch)
    }
}

/// What a wake-up of the watch meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    /// Processes were killed for want of memory since the last time.
    Oom,
    /// The limit of processes has refused a fork since the last time.
    PidsLimit,
    /// The container's last process is gone, or its cgroup: nothing more will come.
    Gone,
}

/// Poll `poll_fds`; when one is ready, ask `next`.
#[derive(Debug)]
pub(crate) struct Watch {
    oom: Option<Oom>,
    pids: Option<Counter>,
    /// v2 says when nobody is left.
    populated: Option<File>,
}

#[derive(Debug)]
enum Oom {
    V1 { event: EventFd, dir: Dir, _control: File },
    V2(Counter),
}

/// The kernel counts up an eventfd at each kill, and once when the cgroup is removed.
fn oom_of_v1(dir: Dir) -> Result<Oom> {
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let control = dir.file("memory.oom_control", OFlag::O_RDONLY);
    let control = control.context(|| format!("open {}/memory.oom_control", dir.path()))?;
    let line = format!("{} {}", number(event.as_fd()), number(control.as_fd()));
    dir.write("cgroup.event_control", &line)
        .context(|| format!("write {}/cgroup.event_control", dir.path()))?;
    Ok(Oom::V1 { event, dir, _control: control })
}

/// A number in a file that the kernel counts up, with a POLLPRI.
#[derive(Debug)]
struct Counter {
    file: File,
    key: &'static str,
    seen: u64,
}

impl Counter {
    /// None where the kernel has no such file.
    fn open(dir: &Dir, file: &str, key: &'static str) -> Result<Option<Self>> {
        let Ok(file) = dir.file(file, OFlag::O_RDONLY) else { return Ok(None) };
        let seen = keyed(&file.read()?, key).unwrap_or(0);
        Ok(Some(Self { file, key, seen }))
    }

    /// Whether it has gone up; ENODEV when the cgroup is gone.
    fn has_risen(&mut self) -> Result<bool, Errno> {
        let now = keyed(&self.file.read()?, self.key).unwrap_or(0);
        Ok(now > std::mem::replace(&mut self.seen, now))
    }
}

impl Watch {
    pub(crate) fn sees_oom(&self) -> bool {
        self.oom.is_some()
    }

    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let oom = self.oom.iter().map(|oom| match oom {
            Oom::V1 { event, .. } => PollFd::new(event.as_fd(), PollFlags::POLLIN),
            Oom::V2(counter) => PollFd::new(counter.file.as_fd(), PollFlags::POLLPRI),
        });
        let files = self.pids.iter().map(|pids| &pids.file).chain(&self.populated);
        oom.chain(files.map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI))).collect()
    }

    /// Reads what has happened, so that the descriptors are quiet again. `Gone` is the last.
    pub(crate) fn next(&mut self) -> Result<Vec<Happened>> {
        let mut found = Vec::new();
        let mut is_gone = false;
        match &mut self.oom {
            Some(Oom::V1 { event, dir, .. }) => match event.read() {
                Ok(_) if dir.read("cgroup.procs").is_err() => is_gone = true,
                Ok(_) => found.push(Happened::Oom),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(Error::from(errno)),
            },
            Some(Oom::V2(counter)) => note(counter, Happened::Oom, &mut found, &mut is_gone)?,
            None => {}
        }
        if let Some(pids) = &mut self.pids {
            note(pids, Happened::PidsLimit, &mut found, &mut is_gone)?;
        }
        if let Some(file) = &self.populated {
            match file.read() {
                Ok(text) => is_gone |= keyed(&text, "populated") == Some(0),
                Err(Errno::ENODEV) => is_gone = true,
                Err(errno) => return Err(Error::from(errno)),
            }
        }
        if is_gone {
            found.push(Happened::Gone);
        }
        Ok(found)
    }
}

fn note(
    counter: &mut Counter,
    what: Happened,
    found: &mut Vec<Happened>,
    is_gone: &mut bool,
) -> Result<()> {
    match counter.has_risen() {
        Ok(true) => found.push(what),
        Ok(false) => {}
        Err(Errno::ENODEV) => *is_gone = true,
        Err(errno) => return Err(Error::from(errno)),
    }
    Ok(())
}
