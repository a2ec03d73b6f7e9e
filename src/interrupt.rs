// SPDX-License-Identifier: Apache-2.0
//! SIGINT, SIGTERM, SIGHUP and SIGQUIT while a command is at work. Three ways:
//! - a transaction (create, run, restore) catches them: whatever it waits for then ends, `check` is an
//!   error, and that undoes as any other error does;
//! - what would be left half done (delete, update, pause) holds them until the command has ended;
//! - what leaves nothing (exec before its process runs, state, list) is ended by them, as by default.
//!
//! Parent side. A clone inherits the handlers: there they end it.

use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::{fd, sigaction};

/// What `--detach` and a terminal's end send, and what people press.
pub(crate) const SIGNALS: [Signal; 4] = sigaction::TERMINATION;

/// From here on they are caught. Ignored ones stay ignored (nohup, a shell's `&`).
pub(crate) fn catch() -> Result<()> {
    sigaction::catch_termination().context(|| "signal handlers")
}

/// The socket that is shut down when one comes: a wait for what it says ends, also if it has not begun.
pub(crate) fn watch(socket: BorrowedFd<'_>) {
    sigaction::shut_down_on_termination(fd::number(socket));
}

/// # Errors
/// One has come since the last time this was asked.
pub(crate) fn check() -> Result<()> {
    match sigaction::take_caught() {
        None => Ok(()),
        Some(signal) => {
            Err(Error::text(format!("interrupted by {}", name(signal)))
                .with_kind(Kind::Interrupted))
        }
    }
}

fn name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |s| s.as_str().to_owned())
}

/// The exit status of a command that was interrupted.
pub(crate) fn status() -> Option<u8> {
    u8::try_from(128 + sigaction::first_caught()?).ok()
}

/// They stay away; returns how they were before.
pub(crate) fn hold() -> Result<SigSet> {
    let mut before = SigSet::empty();
    let held: SigSet = SIGNALS.into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before))
        .context(|| "block signals")?;
    Ok(before)
}

/// Around a wait that only a signal may have to end: held but in `ppoll` itself, so that none comes
/// between the question and the wait. None where they are not caught, or in a clone.
#[derive(Debug)]
pub(crate) struct Held(SigSet);

impl Held {
    /// # Errors
    /// One has come before.
    pub(crate) fn if_caught() -> Result<Option<Self>> {
        if !sigaction::is_catching() {
            return Ok(None);
        }
        let held = Self(hold()?);
        check()?;
        Ok(Some(held))
    }

    /// The mask for ppoll.
    pub(crate) fn mask(&self) -> SigSet {
        let mut mask = self.0;
        for signal in SIGNALS {
            mask.remove(signal);
        }
        mask
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It cannot fail: the mask is one that the kernel gave.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;
    use crate::testing::inside;

    #[test]
    fn what_is_caught_is_said_once_and_ends_a_wait() {
        inside(|_| {
            sigaction::not_in_a_clone();
            catch()?;
            let (ours, _theirs) = crate::sync::pair()?;
            watch(ours.fd());
            check()?;
            raise(Signal::SIGTERM)?;
            assert_eq!(check().unwrap_err().to_string(), "interrupted by SIGTERM");
            assert!(matches!(ours.next()?, crate::sync::Message::End));
            check()?;
            assert_eq!(status(), Some(143));
            Ok(())
        });
    }

    /// A clone can be in a hook that hangs before its parent listens to it.
    #[test]
    fn what_came_before_the_watch_ends_the_wait() {
        inside(|_| {
            sigaction::not_in_a_clone();
            catch()?;
            let (ours, _theirs) = crate::sync::pair()?;
            raise(Signal::SIGTERM)?;
            watch(ours.fd());
            assert_eq!(ours.next().unwrap_err().to_string(), "interrupted by SIGTERM");
            Ok(())
        });
    }

    #[test]
    fn what_is_held_comes_in_ppoll_alone() {
        inside(|_| {
            sigaction::not_in_a_clone();
            catch()?;
            let held = Held::if_caught()?.expect("they are caught");
            raise(Signal::SIGTERM)?;
            check()?;
            let mask = held.mask();
            let waited = nix::poll::ppoll(&mut [], None, Some(mask));
            assert_eq!(waited, Err(nix::errno::Errno::EINTR));
            assert_eq!(check().unwrap_err().kind(), Kind::Interrupted);
            Ok(())
        });
    }

    #[test]
    fn what_was_ignored_stays_ignored() {
        inside(|_| {
            sigaction::not_in_a_clone();
            sigaction::ignore(Signal::SIGHUP)?;
            catch()?;
            raise(Signal::SIGHUP)?;
            check()
        });
    }
}
