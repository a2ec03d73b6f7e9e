// SPDX-License-Identifier: Apache-2.0
//! `mounts add` and `mounts remove`: mounts in a container that is there already, as crun has them.

use std::io::Read;
use std::path::Path;

use super::load;
use crate::ExitCode;
use crate::child::rootfs::Hotplug;
use crate::cli::args::{Globals, MountChange};
use crate::error::{Context, Error, Result};
use crate::parent::mounts;
use crate::plan::exec::Way;
use crate::state::Op;
use crate::{oci, seal};

pub(crate) fn mounts(
    globals: &Globals,
    id: &str,
    change: MountChange,
    file: &Path,
) -> Result<ExitCode> {
    seal::ensure()?;
    let container = load(globals, id)?;
    let text = read(file)?;
    let list: Vec<oci::Mount<'_>> =
        oci::parse_list(&text).context(|| format!("{}", file.display()))?;
    // Of two at a time, the second sees what the first has done.
    container.lock()?;
    container.status()?.allows(Op::Update, id)?;
    let config = container.config()?;
    let spec: oci::Spec<'_> = oci::parse(&config)?;
    let process = spec.process.clone().unwrap_or_default();
    let way = Way::plan(&container, &spec, &process)?;
    if way.root.is_some() {
        return Err(Error::text("the container has no mount namespace of its own"));
    }
    let facts = &container.facts;
    let hotplug = match change {
        MountChange::Add => Hotplug::add(&spec, &list, &facts.bundle, &facts.rootfs)?,
        MountChange::Remove => Hotplug::remove(&spec, &list, &facts.rootfs)?,
    };
    mounts::change(way, &hotplug, &container)?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file).context(|| format!("read {}", file.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context(|| "read standard input")?;
    Ok(text)
}
