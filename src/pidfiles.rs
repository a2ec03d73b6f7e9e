// SPDX-License-Identifier: Apache-2.0
//! `--pid-file` and `--pidfd-socket`: how managers learn which process it is.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::Pid;

use crate::annotations::PIDFD_RECEIVER;
use crate::child::process::terminal;
use crate::error::{Context, Error, Result};
use crate::sys::scm;

/// Decimal, no newline; whole or not at all: a hidden file beside it is renamed.
pub(crate) fn write(path: &Path, pid: Pid) -> Result<()> {
    let doing = || format!("--pid-file {path:?}");
    let name = path.file_name().ok_or_else(|| Error::text("is a directory")).context(doing)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o666)
        .open(&temporary)
        .and_then(|mut file| write!(file, "{pid}"))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // Not ours to remove if it was there before, which create_new reports.
        if !matches!(&written, Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists) {
            let _ = std::fs::remove_file(&temporary);
        }
    }
    written.context(doing)
}

/// Sends the process's pidfd, with `kind` (`standard`, or `setns` for exec) as the message.
pub(crate) fn send_pidfd(path: &Path, kind: &str, pidfd: BorrowedFd<'_>) -> Result<()> {
    send(path, kind, pidfd).context(|| "--pidfd-socket")
}

/// The same for crun's annotation, with a blank as the message.
pub(crate) fn send_to_receiver(path: &str, pidfd: BorrowedFd<'_>) -> Result<()> {
    send(Path::new(path), " ", pidfd).context(|| format!("annotations[{PIDFD_RECEIVER}]"))
}

fn send(path: &Path, message: &str, pidfd: BorrowedFd<'_>) -> Result<()> {
    let socket = terminal::connect(path).context(|| format!("connect to {}", path.display()))?;
    scm::send_fd(socket.as_fd(), message.as_bytes(), pidfd)
        .context(|| format!("send to {}", path.display()))
}
