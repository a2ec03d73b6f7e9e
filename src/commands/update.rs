// SPDX-License-Identifier: Apache-2.0
//! `update`: writes what was asked for, nothing else, all of it or none; and lays it over the saved
//! config, for whoever plans from that later.

use std::io::Read;

use super::load;
use crate::ExitCode;
use crate::bail;
use crate::cli::args::{Globals, Limits, Update};
use crate::error::{Context, Result};
use crate::interrupt;
use crate::oci::{self, Changes, Resources};
use crate::state::{Container, Op};

pub(crate) fn update(globals: &Globals, update: &Update) -> Result<ExitCode> {
    let container = load(globals, &update.id)?;
    container.lock()?;
    interrupt::hold()?;
    container.status()?.allows(Op::Update, &update.id)?;
    match &update.limits {
        Limits::Flags(resources) => change(&container, update, resources)?,
        Limits::File(path) => {
            let text = read(path)?;
            let text = oci::spelled(&text).unwrap_or(text);
            let resources: Resources<'_> = oci::parse(&text).context(|| "--resources")?;
            change(&container, update, &resources)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(container: &Container, update: &Update, resources: &Resources<'_>) -> Result<()> {
    let (l3, mb) = (update.l3_cache_schema.as_deref(), update.mem_bw_schema.as_deref());
    // Before anything is written: what cannot be kept must not be done.
    let config = Changes::new(resources, l3, mb).over(&container.config()?)?;
    let save = || container.save_config(&config);
    let group = match &container.facts.resctrl {
        _ if l3.is_none() && mb.is_none() => None,
        Some(group) => Some(group),
        None => bail!("updating a non-existent Intel RDT configuration is not supported"),
    };
    container.facts.cgroup.update(resources, || {
        let Some(group) = group else { return save() };
        let old = group.update(l3, mb)?;
        save().inspect_err(|_| {
            // The first error is the one to report.
            let _ = group.restore(&old);
        })
    })
}

/// The file's text, or that of standard input.
fn read(path: &std::path::Path) -> Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path).context(|| format!("--resources {path:?}"));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context(|| "read standard input")?;
    Ok(text)
}
