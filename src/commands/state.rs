// SPDX-License-Identifier: Apache-2.0
//! `state`.

use super::{load, print};
use crate::ExitCode;
use crate::cli::args::Globals;
use crate::cli::output::{self, StateView};
use crate::error::Result;
use crate::state::{Container, Status};

pub(crate) fn state(globals: &Globals, id: &str) -> Result<ExitCode> {
    let container = load(globals, id)?;
    let status = container.status()?;
    print(&output::state(&view(&container, status, "")))?;
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
    }
}
