// SPDX-License-Identifier: Apache-2.0
//! sigaction(2): back to the default.

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// Writing to a closed pipe is then an error (EPIPE) and no more.
pub(crate) fn ignore_sigpipe() -> Result<(), Errno> {
    // SAFETY: SIG_IGN installs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.map(drop)
}

/// The default action for SIGPIPE, which creel ignores; an ignored signal stays ignored across execve.
pub(crate) fn default_sigpipe() -> Result<(), Errno> {
    // SAFETY: SIG_DFL installs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM end this process. As the first of a pid namespace it would be
/// deaf to them without a handler. execve(2) puts the default back.
pub(crate) fn end_on_termination() -> Result<(), Errno> {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit is async-signal-safe and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    for number in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        // SAFETY: the handler only calls _exit.
        unsafe { signal(number, SigHandler::Handler(end)) }?;
    }
    Ok(())
}
