// SPDX-License-Identifier: Apache-2.0
//! `state`.

use super::{details, load, print};
use crate::ExitCode;
use crate::cli::args::{Globals, Output};
use crate::cli::output::{self, StateView};
use crate::error::Result;
use crate::state::{Container, Status};

pub(crate) fn state(
    globals: &Globals,
    id: &str,
    format: Output,
    all_details: bool,
) -> Result<ExitCode> {
    let container = load(globals, id)?;
    let status = container.status()?;
    let details = all_details.then(|| details::of(&container, status));
    let view = StateView { details: details.as_ref(), ..view(&container, status, "") };
    print(&match (format, all_details) {
        (Output::Json, _) => output::state(&view),
        (Output::Table, true) => crate::cli::details::list_table(&[view]),
        (Output::Table, false) => output::list_table(&[view]),
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn view<'a>(container: &'a Container, status: Status, owner: &'a str) -> StateView<'a> {
    let facts = &container.facts;
    StateView {
        oci_version: crate::oci::VERSION,
        id: &facts.id,
        pid: if status == Status::Stopped { 0 } else { facts.pid },
        status: status.name(),
        bundle: facts.bundle.to_str().unwrap_or_default(),
        rootfs: facts.rootfs.to_str().unwrap_or_default(),
        created: &facts.created,
        annotations: &facts.annotations,
        owner,
        details: None,
    }
}
