// SPDX-License-Identifier: Apache-2.0
//! `pause` and `resume`.

use super::load;
use crate::ExitCode;
use crate::cli::args::Globals;
use crate::error::{Context, Result};
use crate::interrupt;
use crate::state::Op;

pub(crate) fn pause(globals: &Globals, id: &str) -> Result<ExitCode> {
    let container = load(globals, id)?;
    interrupt::hold()?;
    container.status()?.allows(Op::Pause, id)?;
    container.facts.cgroup.freeze().context(|| "pause")?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn resume(globals: &Globals, id: &str) -> Result<ExitCode> {
    let container = load(globals, id)?;
    interrupt::hold()?;
    container.status()?.allows(Op::Resume, id)?;
    container.facts.cgroup.thaw().context(|| "resume")?;
    Ok(ExitCode::SUCCESS)
}
