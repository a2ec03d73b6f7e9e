// SPDX-License-Identifier: Apache-2.0
//! sigaction(2): back to the default; handlers for what asks a process to end.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::Relaxed};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};

/// Writing to a closed pipe is then an error (EPIPE) and no more.
pub(crate) fn ignore_sigpipe() -> Result<(), Errno> {
    ignore(Signal::SIGPIPE)
}

pub(crate) fn ignore(number: Signal) -> Result<(), Errno> {
    // SAFETY: SIG_IGN installs no handler.
    unsafe { signal(number, SigHandler::SigIgn) }.map(drop)
}

/// The default action for SIGPIPE, which creel ignores; an ignored signal stays ignored across execve.
pub(crate) fn default_sigpipe() -> Result<(), Errno> {
    // SAFETY: SIG_DFL installs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

/// What asks a process to end.
pub(crate) const TERMINATION: [Signal; 4] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Of this process's life, the first that came; and the one that nobody has asked about yet.
static FIRST: AtomicI32 = AtomicI32::new(0);
static CAUGHT: AtomicI32 = AtomicI32::new(0);
static SOCKET: AtomicI32 = AtomicI32::new(-1);
static HANDLED: AtomicUsize = AtomicUsize::new(0);
static IS_CLONE: AtomicBool = AtomicBool::new(false);

extern "C" fn on_termination(signal: libc::c_int) {
    if IS_CLONE.load(Relaxed) {
        // SAFETY: _exit is async-signal-safe and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    let _ = FIRST.compare_exchange(0, signal, Relaxed, Relaxed);
    CAUGHT.store(signal, Relaxed);
    shut_down(SOCKET.load(Relaxed));
}

fn shut_down(socket: RawFd) {
    if socket >= 0 {
        let errno = Errno::last();
        // SAFETY: shutdown is async-signal-safe; on what is no socket it is an error and no more.
        unsafe { libc::shutdown(socket, libc::SHUT_RDWR) };
        errno.set();
    }
}

/// Notes them, and shuts the socket down; no call is restarted. Ignored ones stay ignored.
pub(crate) fn catch_termination() -> Result<(), Errno> {
    if HANDLED.load(Relaxed) > 0 {
        return Ok(());
    }
    let action =
        SigAction::new(SigHandler::Handler(on_termination), SaFlags::empty(), SigSet::empty());
    for number in TERMINATION {
        // SAFETY: the handler does nothing but what a handler may.
        let old = unsafe { sigaction(number, &action) }?;
        if matches!(old.handler(), SigHandler::SigIgn) {
            ignore(number)?;
        } else {
            HANDLED.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

pub(crate) fn is_catching() -> bool {
    HANDLED.load(Relaxed) > 0 && !IS_CLONE.load(Relaxed)
}

/// Also if one has come before, and nobody has asked.
pub(crate) fn shut_down_on_termination(socket: RawFd) {
    SOCKET.store(socket, Relaxed);
    if has_caught() {
        shut_down(socket);
    }
}

/// Whether one has come that nobody has asked about yet.
pub(crate) fn has_caught() -> bool {
    CAUGHT.load(Relaxed) != 0
}

pub(crate) fn take_caught() -> Option<i32> {
    if !has_caught() {
        return None;
    }
    Some(CAUGHT.swap(0, Relaxed)).filter(|signal| *signal != 0)
}

pub(crate) fn first_caught() -> Option<i32> {
    Some(FIRST.load(Relaxed)).filter(|signal| *signal != 0)
}

/// In a clone, before anything else: the handlers, which it has inherited, end it from here on.
pub(super) fn in_a_clone() {
    IS_CLONE.store(true, Relaxed);
}

/// For tests of what the parent does, which run in clones.
#[cfg(test)]
pub(crate) fn not_in_a_clone() {
    IS_CLONE.store(false, Relaxed);
}

/// In the clone that waits for `start`: they end this process. As the first of a pid namespace it would
/// be deaf to them without a handler. execve(2) puts the default back.
pub(crate) fn end_on_termination() -> Result<(), Errno> {
    if HANDLED.load(Relaxed) == TERMINATION.len() {
        return Ok(());
    }
    for number in TERMINATION {
        // SAFETY: the handler does nothing but what a handler may; in a clone it only calls _exit.
        unsafe { signal(number, SigHandler::Handler(on_termination)) }?;
    }
    Ok(())
}
