// SPDX-License-Identifier: Apache-2.0
//! `ps`: the host's ps(1), cut down to the container's processes.

use std::process::{Command, Stdio};

use super::{load, print};
use crate::ExitCode;
use crate::bail;
use crate::cli::args::{Globals, Output};
use crate::cli::output;
use crate::error::{Context, Result};

pub(crate) fn ps(globals: &Globals, id: &str, format: Output, args: &[String]) -> Result<ExitCode> {
    let container = load(globals, id)?;
    let mut pids: Vec<i32> =
        container.facts.cgroup.pids(true)?.into_iter().map(nix::unistd::Pid::as_raw).collect();
    pids.sort_unstable();
    if format == Output::Json {
        print(&output::ps_json(&pids))?;
        return Ok(ExitCode::SUCCESS);
    }
    let default = ["-ef".to_owned()];
    let args = if args.is_empty() { &default[..] } else { args };
    let listed =
        Command::new("ps").args(args).stdin(Stdio::null()).output().context(|| "execute ps")?;
    if !listed.status.success() {
        let said = String::from_utf8_lossy(&listed.stderr);
        bail!("ps {}: {}: {}", args.join(" "), listed.status, said.trim());
    }
    print(&output::ps_table(&String::from_utf8_lossy(&listed.stdout), &pids)?)?;
    Ok(ExitCode::SUCCESS)
}
