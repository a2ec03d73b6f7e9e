// SPDX-License-Identifier: Apache-2.0
//! Signals as a descriptor. Blocked before the clone, so that none is lost; the child puts the old
//! mask back before it executes anything.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Context, Result};
use crate::interrupt;
use crate::sys::{Inside, sigaction};

/// Every signal, readable where it is blocked.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    inherited: SigSet,
}

impl Signals {
    /// Blocks all signals until dropped; those of `interrupt` not yet, but they are read when blocked.
    pub(crate) fn block() -> Result<Self> {
        let mut inherited = SigSet::empty();
        let all = SigSet::all();
        let mut blocked = all;
        for signal in interrupt::SIGNALS {
            blocked.remove(signal);
        }
        // An inherited block stays.
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut inherited))
            .context(|| "block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&all, flags).context(|| "signalfd")?;
        Ok(Self { fd, inherited })
    }

    /// The next pending signal's number.
    pub(crate) fn next(&self) -> Result<Option<i32>> {
        let info = self.fd.read_signal().context(|| "read signals")?;
        Ok(info.map(|info| i32::try_from(info.ssi_signo).expect("a signal number")))
    }

    /// In the child: what the program is to inherit.
    pub(crate) fn restore(&self, _: &Inside) -> Result<()> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.inherited), None)
            .context(|| "unblock signals")
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // It cannot fail: the mask is one that the kernel gave.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.inherited), None);
    }
}

/// In the child that waits for `start`: what asks a process to end does end it.
pub(crate) fn end_on_termination(_: &Inside) -> Result<()> {
    sigaction::end_on_termination().context(|| "signal handlers")
}

/// In the child: SIGPIPE as a program expects to find it.
pub(crate) fn default_sigpipe(_: &Inside) -> Result<()> {
    sigaction::default_sigpipe().context(|| "SIGPIPE")
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;
    use crate::testing::inside;

    #[test]
    fn a_blocked_signal_is_read_and_the_old_mask_comes_back() {
        inside(|me| {
            let signals = Signals::block()?;
            interrupt::hold()?;
            raise(Signal::SIGTERM)?;
            assert_eq!(signals.next()?, Some(15));
            assert_eq!(signals.next()?, None);
            let mask = SigSet::thread_get_mask()?;
            assert!(mask.contains(Signal::SIGTERM));
            signals.restore(me)?;
            assert!(!SigSet::thread_get_mask()?.contains(Signal::SIGTERM));
            Ok(())
        });
    }
}
