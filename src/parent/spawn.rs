// SPDX-License-Identifier: Apache-2.0
//! The clone, seen from outside: `Init` is the process that becomes (or joins) the container, known
//! by pid and pidfd. Dropped, it is killed and reaped, so that every `?` in the parent is safe.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::namespace::{Entry, PID, TIME};
use crate::sync::{self, ChildLink, ParentLink};
use crate::sys::clone::{CloneFlagsBits, CloneRequest, Fork, clone3};
use crate::sys::{self, Inside};
use crate::timings;

/// The process that was cloned (or, after a second clone, the final one). Our child in each case.
#[derive(Debug)]
pub(crate) struct Init {
    pub pid: Pid,
    pidfd: OwnedFd,
    pub born: Born,
    is_ours: bool,
}

impl Init {
    /// A child of ours that somebody else has cloned.
    pub(crate) fn adopt(pid: Pid) -> Result<Self> {
        let pidfd = sys::pidfd::pidfd_open(pid).context(|| format!("pidfd_open {pid}"))?;
        Ok(Self { pid, pidfd, born: Born { is_placed: true, owes_pid: false }, is_ours: true })
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Lets it live on after this value.
    pub(crate) fn detach(&mut self) {
        self.is_ours = false;
    }

    /// The stage between has cloned the final process (CLONE_PARENT makes it our child too) and ends.
    pub(crate) fn follow(&mut self, pidfd: OwnedFd) -> Result<()> {
        self.reap().context(|| "wait for the stage between the clones")?;
        // The stage may know it by another number: in the pid namespace that it has joined.
        self.pid = sys::pidfd::pid_of(pidfd.as_fd()).context(|| "read the pid of a pidfd")?;
        self.pidfd = pidfd;
        timings::cloned(self.pid);
        Ok(())
    }

    /// Whether it ends within that time (it is not reaped by this).
    pub(crate) fn has_ended_within(&self, time: Duration) -> bool {
        sys::pidfd::wait_exit(self.pidfd.as_fd(), Some(time)).unwrap_or(false)
    }

    /// Waits for its end.
    pub(crate) fn reap(&self) -> Result<WaitStatus, Errno> {
        loop {
            match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED) {
                Err(Errno::EINTR) => {}
                other => return other,
            }
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if self.is_ours {
            // ESRCH, ECHILD: it is gone already, which is what is wanted.
            let _ = sys::pidfd::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
            let _ = self.reap();
        }
    }
}

/// What the kernel granted the clone at its birth.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Born {
    /// In the v2 cgroup that was asked for, if any; nor does it come into one later.
    pub is_placed: bool,
    /// Not in the pid namespace to be joined: it has to enter that itself, by a second clone.
    pub owes_pid: bool,
}

/// What the clone enters besides its namespaces.
#[derive(Debug, Default)]
pub(crate) struct Place<'a> {
    /// A cgroup2 directory to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// It is put into its cgroup later, by systemd.
    pub comes_later: bool,
    /// The text for timens_offsets of a new time namespace.
    pub time_offsets: Option<&'a str>,
}

/// Clones. `body` runs in the child, with the link's other end; it must not return.
pub(crate) fn spawn(
    entry: &Entry,
    place: &Place<'_>,
    body: impl FnOnce(ChildLink, Inside, Born) -> std::convert::Infallible,
) -> Result<(Init, ParentLink)> {
    let (parent, child) = sync::pair().context(|| "socketpair")?;
    let around = Around::enter(entry, place.time_offsets)?;
    let mut request = CloneRequest { flags: CloneFlagsBits(entry.clone), cgroup: place.cgroup };
    let forked = match clone3(&request) {
        // A cgroup that takes no process by clone (threaded, busy with sub-cgroups, out of a delegated
        // one): the caller joins it otherwise, or hears from that why not.
        Err(Errno::EBUSY | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EACCES)
            if request.cgroup.is_some() =>
        {
            request.cgroup = None;
            clone3(&request)
        }
        other => other,
    };
    let has_place = request.cgroup.is_some() || place.cgroup.is_none();
    let is_placed = has_place && !place.comes_later;
    let born = Born { is_placed, owes_pid: around.owes_pid };
    match forked.map_err(Error::of_clone3)? {
        Fork::Child(me) => {
            drop(parent);
            // No value of that type exists: the match is for the type checker.
            #[expect(unreachable_code)]
            match body(child, me, born) {}
        }
        Fork::Parent { child: pid, pidfd } => {
            timings::cloned(pid);
            let init = Init { pid, pidfd, born, is_ours: true };
            around.leave()?;
            Ok((init, parent))
        }
    }
}

/// Namespaces that only take effect on children: this process asks for them, clones, and goes back,
/// so that its hooks run where it is itself.
struct Around {
    back: Vec<(OwnedFd, u64, &'static str)>,
    owes_pid: bool,
}

impl Around {
    fn enter(entry: &Entry, time_offsets: Option<&str>) -> Result<Self> {
        let mut back = Vec::new();
        let mut owes_pid = false;
        if entry.is_nested {
            owes_pid = entry.pid.is_some();
        } else if let Some(pid) = &entry.pid {
            let own = own("/proc/self/ns/pid")?;
            match sys::ns::setns_for_children(pid.as_fd(), PID.flag) {
                // Nobody yet: its owner is who enters the user namespace.
                Err(Errno::EPERM) if entry.joins_user => owes_pid = true,
                outcome => {
                    outcome.context(|| "join the pid namespace")?;
                    back.push((own, PID.flag, "pid"));
                }
            }
        }
        if entry.new_time {
            back.push((own("/proc/self/ns/time")?, TIME.flag, "time"));
            sys::ns::unshare_for_children(TIME.flag).context(|| "make a time namespace")?;
            if let Some(text) = time_offsets {
                std::fs::write("/proc/self/timens_offsets", text)
                    .context(|| "linux.timeOffsets: write /proc/self/timens_offsets")?;
            }
        }
        Ok(Self { back, owes_pid })
    }

    fn leave(self) -> Result<()> {
        for (fd, flag, name) in self.back {
            sys::ns::setns_for_children(fd.as_fd(), flag)
                .context(|| format!("return to the own {name} namespace"))?;
        }
        Ok(())
    }
}

fn own(path: &str) -> Result<OwnedFd> {
    Ok(File::open(path).context(|| format!("open {path}"))?.into())
}
