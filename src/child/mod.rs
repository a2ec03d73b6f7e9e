// SPDX-License-Identifier: Apache-2.0
//! From inside: only code between clone and execve. Every function takes `&Inside`.

pub(crate) mod create;
pub(crate) mod exec;
pub(crate) mod keyring;
pub(crate) mod loopback;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod rootfs;
pub(crate) mod seccomp;
pub(crate) mod stage;
pub(crate) mod sysctl;
pub(crate) mod tail;
pub(crate) mod uts;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use crate::error::{Context, Error, Result};
use crate::sync::{Ask, ChildLink};
use crate::sys::{self, Inside};
use crate::timings;

/// Where the clone's failure goes: to the parent, and after `create` has returned into exec.fifo, where
/// `start` reads it.
#[derive(Debug)]
pub(crate) struct Voice {
    link: Option<ChildLink>,
    /// Open for reading and writing.
    fifo: Option<OwnedFd>,
    is_answered_ahead: bool,
}

impl Voice {
    pub(crate) fn link(&self) -> &ChildLink {
        self.link.as_ref().expect("only `hang_up` takes it, after the last use")
    }

    /// The parent answers Ask::Ready without being asked.
    pub(crate) fn expect_answer(&mut self) {
        self.is_answered_ahead = true;
    }

    /// Ready: until the parent is, too.
    pub(crate) fn be_answered(&self) -> Result<()> {
        match self.is_answered_ahead {
            true => self.link().wait_done(),
            false => self.link().ask(Ask::Ready),
        }
    }

    /// The parent ends now; what fails from here on is for `start`.
    pub(crate) fn hang_up(&mut self) {
        timings::leave();
        self.link = None;
    }

    /// The same without closing anything, in which a seccomp filter could have a say by now.
    pub(crate) fn hang_up_open(&mut self) {
        std::mem::forget(self.link.take());
    }

    /// exec.fifo, if the program waits for `start`.
    pub(crate) fn fifo(&self) -> Option<BorrowedFd<'_>> {
        self.fifo.as_ref().map(AsFd::as_fd)
    }

    /// The descriptors of the link and of exec.fifo; -1 for the one that is not there.
    pub(crate) fn numbers(&self) -> [RawFd; 2] {
        let link = self.link.as_ref().map(|link| link.fd());
        [link, self.fifo()].map(|fd| fd.map_or(-1, sys::fd::number))
    }

    fn fail(&self, error: &Error) {
        match (&self.link, &self.fifo) {
            (Some(link), _) => link.fail(error),
            (None, Some(fifo)) => {
                // Nobody is left to hear that this failed too.
                let _ = nix::unistd::write(fifo, error.to_string().as_bytes());
            }
            (None, None) => {}
        }
    }
}

/// What `ps` shows of a clone that has not become the program yet, and how it begins.
const COMM: &std::ffi::CStr = c"creel:[init]";
pub(crate) const NAME: &str = "creel:[";

/// The clone's life: does what `head` says, reports why that ended, exits.
pub(crate) fn main(
    link: ChildLink,
    fifo: Option<OwnedFd>,
    me: &Inside,
    head: impl FnOnce(&mut Voice, &Inside) -> Result<Infallible>,
) -> Infallible {
    // Until execve: `serve` tells by it that there was none.
    sys::set_name(COMM);
    timings::enter_child();
    let mut voice = Voice { link: Some(link), fifo, is_answered_ahead: false };
    let Err(error) = head(&mut voice, me);
    voice.fail(&error);
    sys::exit(1)
}

/// Dies with the parent from here on, until `forget_parent`; fails if it is gone already.
pub(crate) fn die_with_parent(_: &Inside) -> Result<()> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
        .context(|| "prctl PR_SET_PDEATHSIG")?;
    Ok(())
}

/// Until execve, no process of the container traces this one or opens its memory or descriptors
/// (CVE-2016-9962): not even one with the same ids and capabilities, or root of its user namespace.
/// From here on an unprivileged parent cannot write to its files in /proc either.
pub(crate) fn hide(_: &Inside) -> Result<()> {
    sys::prctl(libc::PR_SET_DUMPABLE, 0).context(|| "prctl PR_SET_DUMPABLE")?;
    Ok(())
}

/// Takes `hide` back.
pub(crate) fn show(_: &Inside) -> Result<()> {
    sys::prctl(libc::PR_SET_DUMPABLE, 1).context(|| "prctl PR_SET_DUMPABLE")?;
    Ok(())
}

/// The container outlives the runtime.
pub(crate) fn forget_parent(_: &Inside) -> Result<()> {
    sys::prctl(libc::PR_SET_PDEATHSIG, 0).context(|| "prctl PR_SET_PDEATHSIG")?;
    Ok(())
}
