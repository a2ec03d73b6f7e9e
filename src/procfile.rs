// SPDX-License-Identifier: Apache-2.0
//! One write into a file of /proc/PID, on the host's procfs.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;

use crate::error::{Context, Result};

/// The whole value in one call: the kernel takes it as one command.
pub(super) fn write(who: impl Display, file: &str, value: &str) -> Result<()> {
    let path = format!("/proc/{who}/{file}");
    let outcome = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    outcome.context(|| format!("write {value:?} to {path}"))
}
