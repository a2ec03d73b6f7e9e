// SPDX-License-Identifier: Apache-2.0
//! `ps`: the host's ps(1), cut down to the container's processes.

use std::process::{Command, Stdio};

use nix::unistd::Pid;

use super::{load, print};
use crate::ExitCode;
use crate::bail;
use crate::cli::args::{Globals, Output};
use crate::cli::output;
use crate::error::{Context, Result};
use crate::state::{Container, Facts};

pub(crate) fn ps(globals: &Globals, id: &str, format: Output, args: &[String]) -> Result<ExitCode> {
    let container = load(globals, id)?;
    let mut pids = pids(&container)?;
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

/// Those in the cgroup; without one (rootless) those in the pid namespace, if it is the container's own.
fn pids(container: &Container) -> Result<Vec<i32>> {
    let Facts { cgroup, pid, own_pid_namespace, .. } = &container.facts;
    if !cgroup.is_none() {
        return Ok(cgroup.pids(true)?.into_iter().map(Pid::as_raw).collect());
    }
    if !own_pid_namespace {
        bail!("the container has neither a cgroup nor a pid namespace to know its processes by");
    }
    // The container has ended: nobody is left.
    let Ok(own) = std::fs::read_link(format!("/proc/{pid}/ns/pid")) else { return Ok(Vec::new()) };
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").context(|| "list /proc")? {
        let entry = entry.context(|| "list /proc")?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // Of somebody else's processes the link cannot be read.
        let is_inside = |_: &i32| {
            std::fs::read_link(entry.path().join("ns/pid")).is_ok_and(|namespace| namespace == own)
        };
        pids.extend(number.filter(is_inside));
    }
    Ok(pids)
}
