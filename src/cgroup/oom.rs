// SPDX-License-Identifier: Apache-2.0
//! Out-of-memory kills: how many there were, and waiting for the next one (`events`).

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Cgroup;
use super::dir::{Dir, File, keyed};
use crate::bail;
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

    pub(crate) fn watch_oom(&self) -> Result<OomWatch> {
        match (self.path("memory"), self.path("")) {
            (Some(path), _) => OomWatch::v1(path),
            (None, Some(path)) if self.is_unified() => OomWatch::v2(path),
            _ => bail!("memory controller missing"),
        }
        .context(|| "watch for out-of-memory kills")
    }
}

/// What a wake-up of the watch meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OomEvent {
    /// Processes were killed for want of memory since the last time.
    Oom,
    /// The container's last process is gone, or its cgroup: nothing more will come.
    Gone,
    /// Something else has changed.
    Nothing,
}

/// Poll `poll_fds`; when one is ready, ask `next`.
#[derive(Debug)]
pub(crate) struct OomWatch(Kind);

#[derive(Debug)]
enum Kind {
    V1 { event: EventFd, dir: Dir, _control: File },
    V2 { memory: File, events: File, seen: u64 },
}

impl OomWatch {
    /// The kernel counts up an eventfd at each kill, and once when the cgroup is removed.
    fn v1(path: &str) -> Result<Self> {
        let dir = Dir::open(path).context(|| format!("open cgroup {path}"))?;
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let control = dir
            .file("memory.oom_control", OFlag::O_RDONLY)
            .context(|| format!("open {path}/memory.oom_control"))?;
        let line = format!("{} {}", number(event.as_fd()), number(control.as_fd()));
        dir.write("cgroup.event_control", &line)
            .context(|| format!("write {path}/cgroup.event_control"))?;
        Ok(Self(Kind::V1 { event, dir, _control: control }))
    }

    fn v2(path: &str) -> Result<Self> {
        let dir = Dir::open(path).context(|| format!("open cgroup {path}"))?;
        let open = |file| dir.file(file, OFlag::O_RDONLY).context(|| format!("open {path}/{file}"));
        let (memory, events) = (open("memory.events")?, open("cgroup.events")?);
        let seen = keyed(&memory.read()?, "oom_kill").unwrap_or(0);
        Ok(Self(Kind::V2 { memory, events, seen }))
    }

    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        match &self.0 {
            Kind::V1 { event, .. } => vec![PollFd::new(event.as_fd(), PollFlags::POLLIN)],
            Kind::V2 { memory, events, .. } => vec![
                PollFd::new(memory.as_fd(), PollFlags::POLLPRI),
                PollFd::new(events.as_fd(), PollFlags::POLLPRI),
            ],
        }
    }

    /// Reads what has happened, so that the descriptors are quiet again.
    pub(crate) fn next(&mut self) -> Result<OomEvent> {
        match &mut self.0 {
            Kind::V1 { event, dir, .. } => match event.read() {
                Ok(_) if dir.read("cgroup.procs").is_err() => Ok(OomEvent::Gone),
                Ok(_) => Ok(OomEvent::Oom),
                Err(Errno::EAGAIN | Errno::EINTR) => Ok(OomEvent::Nothing),
                Err(errno) => Err(Error::from(errno)),
            },
            Kind::V2 { memory, events, seen } => {
                let kills = match memory.read() {
                    Ok(text) => keyed(&text, "oom_kill").unwrap_or(0),
                    Err(Errno::ENODEV) => return Ok(OomEvent::Gone),
                    Err(errno) => return Err(Error::from(errno)),
                };
                if kills > *seen {
                    *seen = kills;
                    return Ok(OomEvent::Oom);
                }
                match events.read() {
                    Ok(text) if keyed(&text, "populated") == Some(0) => Ok(OomEvent::Gone),
                    Ok(_) => Ok(OomEvent::Nothing),
                    Err(Errno::ENODEV) => Ok(OomEvent::Gone),
                    Err(errno) => Err(Error::from(errno)),
                }
            }
        }
    }
}
