// SPDX-License-Identifier: Apache-2.0
//! `run` and `exec` without `--detach`: signals go to the container's process, its terminal is
//! relayed, orphans are reaped, its exit status is ours. One thread, one poll.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socketpair};
use nix::unistd::{Pid, getpid};

use super::console::{Console, HostTty};
use crate::child::process::terminal::Receiver;
use crate::error::{Context, Result};
use crate::notify_socket::NotifySocket;
use crate::signals::Signals;
use crate::sys::wait::wait_any;
use crate::sys::{self, pidfd, scm};
use crate::{interrupt, log};

#[derive(Debug)]
pub(crate) struct Foreground {
    signals: Signals,
    terminal: Option<Waiting>,
}

/// A terminal whose other end the child has yet to make.
#[derive(Debug)]
struct Waiting {
    host: HostTty,
    socket: OwnedFd,
}

/// Orphans of the container's process come to us; best effort, as in runc.
pub(crate) fn become_subreaper() {
    if let Err(errno) = sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) {
        log::warn(&format!("become a subreaper: {}", crate::error::describe(errno)));
    }
}

impl Foreground {
    /// Before the clone: from here on no signal is lost, but those that ask to end do end this command
    /// until `hold`. The child must `signals().restore(me)`.
    pub(crate) fn prepare() -> Result<Self> {
        Ok(Self { signals: Signals::block()?, terminal: None })
    }

    /// With `process.terminal`: where the child is to send its terminal.
    pub(crate) fn expect_terminal(&mut self) -> Result<Receiver> {
        let host = HostTty::find()?;
        let (family, kind) = (AddressFamily::Unix, SockType::Stream);
        let (socket, theirs) =
            socketpair(family, kind, None::<SockProtocol>, SockFlag::SOCK_CLOEXEC)
                .context(|| "process.terminal: socketpair")?;
        let size = host.size();
        self.terminal = Some(Waiting { host, socket });
        Ok(Receiver::Foreground { socket: theirs, size })
    }

    /// Those that ask to end are the process's from here on, too.
    pub(crate) fn hold(&self) -> Result<()> {
        interrupt::hold().map(drop)
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// After Ready: until the child, which must be ours to wait for, has ended. Its exit status,
    /// 128+n if signal n has killed it.
    pub(crate) fn run(
        self,
        child: Pid,
        pidfd: BorrowedFd<'_>,
        mut notify: Option<NotifySocket>,
    ) -> Result<i32> {
        let mut console = self.terminal.map(Waiting::receive).transpose()?.flatten();
        // It may have ended before signals were blocked.
        let mut status = reap(child)?;
        while status.is_none() {
            let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(notify.iter().map(|n| PollFd::new(n.as_fd(), PollFlags::POLLIN)));
            let first = fds.len();
            fds.extend(console.iter().flat_map(Console::interests));
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.context(|| "poll")?,
            };
            let is_notified = first > 1 && fds[1].any() == Some(true);
            let ready = console.as_ref().map(|console| console.ready(&fds[first..]));
            if let (Some(console), Some(ready)) = (&mut console, ready) {
                console.progress(ready);
            }
            if is_notified && notify.as_ref().is_none_or(pass_on) {
                notify = None;
            }
            while let Some(signal) = self.signals.next()? {
                match signal {
                    libc::SIGCHLD => status = reap(child)?.or(status),
                    libc::SIGWINCH => console.iter().for_each(Console::resize),
                    // runc never forwards it: the Go runtime signals itself with it.
                    libc::SIGURG => {}
                    other => forward(other, pidfd),
                }
            }
        }
        console.iter_mut().for_each(Console::drain);
        // They stay blocked: what is to be cleared now is not to be left halfway.
        std::mem::forget(self.signals);
        Ok(status.expect("the loop has ended"))
    }
}

impl Waiting {
    /// None: nobody is left who could send one.
    fn receive(self) -> Result<Option<Console>> {
        match scm::recv_fd(self.socket.as_fd()) {
            Ok((master, _)) => Console::new(master, self.host).map(Some),
            Err(Errno::ENODATA) => Ok(None),
            Err(errno) => Err(errno).context(|| "process.terminal: receive it"),
        }
    }
}

/// Whether the container's readiness has been told to the host, and the socket has done its work.
/// The barrier need not be waited for: creel stays until the end.
fn pass_on(notify: &NotifySocket) -> bool {
    match notify.receive(getpid()) {
        Ok(barrier) => barrier.is_some(),
        Err(error) => {
            log::warn(&error.to_string());
            true
        }
    }
}

fn forward(signal: i32, pidfd: BorrowedFd<'_>) {
    log::debug(|| format!("forwarding signal {signal}"));
    match pidfd::pidfd_send_signal(pidfd, signal) {
        // It has ended, and SIGCHLD is on its way.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => {
            log::error(&format!("forward signal {signal}: {}", crate::error::describe(errno)));
        }
    }
}

/// Collects everyone who has ended; the status of `child` if it was among them.
fn reap(child: Pid) -> Result<Option<i32>> {
    let mut status = None;
    loop {
        match wait_any() {
            Ok(Some((pid, code))) => status = (pid == child).then_some(code).or(status),
            Ok(None) | Err(Errno::ECHILD) => return Ok(status),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for the container's process"),
        }
    }
}

#[cfg(test)]
#[path = "foreground_tests.rs"]
mod tests;
