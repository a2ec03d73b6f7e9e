// SPDX-License-Identifier: Apache-2.0
//! `check`: looks, and makes nothing.

use super::print;
use crate::ExitCode;
use crate::check::Report;
use crate::cli::args::{Check, Globals};
use crate::error::Result;

pub(crate) fn check(globals: &Globals, check: &Check) -> Result<ExitCode> {
    let report = Report::of(check.bundle.as_deref(), globals);
    print(&if check.as_json { report.json() } else { report.text() })?;
    Ok(ExitCode(u8::from(report.has_errors())))
}
