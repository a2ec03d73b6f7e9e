// SPDX-License-Identifier: Apache-2.0
//! One write into a file of /proc/PID, on the host's procfs.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use crate::error::{Context, Result};

/// The whole value in one call: the kernel takes it as one command.
pub(super) fn write(who: impl Display, file: &str, value: &str) -> Result<()> {
    let path = format!("/proc/{who}/{file}");
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let outcome = openat(AT_FDCWD, path.as_str(), flags, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|fd| File::from(fd).write_all(value.as_bytes()));
    outcome.context(|| format!("write {value:?} to {path}"))
}
