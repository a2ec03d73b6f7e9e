// SPDX-License-Identifier: Apache-2.0
//! `update`: writes what was asked for, nothing else. What is in force is in the cgroup files; nothing
//! of a later command is planned from the limits in the saved config.

use std::io::Read;

use super::load;
use crate::ExitCode;
use crate::cli::args::{Globals, Limits, Update};
use crate::error::{Context, Error, Result};
use crate::oci::{self, Resources};
use crate::state::Op;

pub(crate) fn update(globals: &Globals, update: &Update) -> Result<ExitCode> {
    let container = load(globals, &update.id)?;
    container.lock()?;
    container.status()?.allows(Op::Update, &update.id)?;
    if update.l3_cache_schema.is_some() || update.mem_bw_schema.is_some() {
        return Err(Error::text(
            "--l3-cache-schema, --mem-bw-schema: intelRdt is not supported yet",
        ));
    }
    match &update.limits {
        Limits::Flags(resources) => container.facts.cgroup.update(resources)?,
        Limits::File(path) => {
            let text = read(path)?;
            let resources: Resources<'_> = oci::parse(&text).context(|| "--resources")?;
            container.facts.cgroup.update(&resources)?;
        }
    }
    Ok(ExitCode::SUCCESS)
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
