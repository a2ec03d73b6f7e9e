// SPDX-License-Identifier: Apache-2.0
//! `state`.

use super::list::Seen;
use super::{details, load, print};
use crate::ExitCode;
use crate::cli::args::{Globals, Output};
use crate::cli::output;
use crate::error::Result;

pub(crate) fn state(
    globals: &Globals,
    id: &str,
    format: Output,
    all_details: bool,
) -> Result<ExitCode> {
    let container = load(globals, id)?;
    let status = container.status()?;
    let details = all_details
        .then(|| details::of(&container.facts, container.config().ok().as_deref(), status));
    let seen = Seen::new(container.facts, status, String::new(), details);
    let view = seen.view();
    print(&match (format, all_details) {
        (Output::Json, _) => output::state(&view),
        (Output::Table, true) => crate::cli::details::list_table(&[view]),
        (Output::Table, false) => output::list_table(&[view]),
    })?;
    Ok(ExitCode::SUCCESS)
}
