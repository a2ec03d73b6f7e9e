// SPDX-License-Identifier: Apache-2.0
//! `checkpoint`.

use super::{delete, load};
use crate::ExitCode;
use crate::cli::args::{self, Globals};
use crate::criu::dump;
use crate::error::{Context, Result};
use crate::log;
use crate::state::Op;

pub(crate) fn checkpoint(globals: &Globals, checkpoint: &args::Checkpoint) -> Result<ExitCode> {
    let container = load(globals, &checkpoint.id)?;
    container.lock()?;
    container.status()?.allows(Op::Checkpoint, &checkpoint.id)?;
    dump::dump(&container, checkpoint).context(|| "checkpoint")?;
    if !checkpoint.leave_running && !checkpoint.pre_dump {
        // As runc: its processes are gone, the images are what there is of it.
        if let Err(error) = delete::destroy(&container) {
            log::warn(&error.to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}
