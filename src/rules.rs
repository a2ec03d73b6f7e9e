// SPDX-License-Identifier: Apache-2.0
//! Rules between properties, on the config as it is written. A property's own values are its home's.

use crate::annotations as crun;
use crate::bail;
use crate::error::Result;
use crate::oci::{Linux, Spec};

type Rule = fn(&Spec<'_>, &Linux<'_>) -> Result<()>;

const RULES: &[Rule] =
    &[version, annotations, process, root, uts, user, time, restricted_paths, seccomp];

/// Device rules beyond the config's, which images rely on, are left out.
pub(crate) const STRICT_DEVICES: &str = "io.github.creel.devices.strict";

/// Creel's own annotations that say yes or no.
const SWITCHES: &[&str] = &[STRICT_DEVICES];

/// Whether one of `SWITCHES` is on.
pub(crate) fn is_set(spec: &Spec<'_>, switch: &str) -> bool {
    spec.annotations.get(switch).is_some_and(|value| *value == "true")
}

/// The first rule that the config breaks.
pub(crate) fn check(spec: &Spec<'_>) -> Result<()> {
    let none = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&none);
    RULES.iter().try_for_each(|rule| rule(spec, linux))
}

/// Whether `linux.namespaces` names the type at all.
fn has(linux: &Linux<'_>, kind: &str) -> bool {
    linux.namespaces.iter().any(|ns| ns.kind == kind)
}

fn version(spec: &Spec<'_>, _: &Linux<'_>) -> Result<()> {
    let version = &*spec.oci_version;
    let mut parts = version.splitn(3, '.');
    let numbers = [parts.next(), parts.next()].map(|n| n.and_then(|n| n.parse::<u32>().ok()));
    match numbers {
        _ if version.is_empty() => bail!("ociVersion: must be set"),
        [Some(1), Some(_)] if parts.next().is_some() => Ok(()),
        _ => bail!("ociVersion: {version:?} is not a 1.x.y version of runtime-spec"),
    }
}

fn annotations(spec: &Spec<'_>, _: &Linux<'_>) -> Result<()> {
    if spec.annotations.contains_key("") {
        bail!("annotations: a key must not be empty");
    }
    for name in SWITCHES {
        match spec.annotations.get(*name).map(|value| &**value) {
            None | Some("true" | "false") => {}
            Some(value) => bail!("annotations[{name}]: {value:?} is neither true nor false"),
        }
    }
    crun::check(spec)
}

fn process(spec: &Spec<'_>, _: &Linux<'_>) -> Result<()> {
    let Some(process) = &spec.process else { bail!("process: must be set") };
    if process.cwd.is_empty() {
        bail!("process.cwd: must be set");
    }
    if process.args.is_empty() {
        bail!("process.args: must not be empty");
    }
    Ok(())
}

fn root(spec: &Spec<'_>, _: &Linux<'_>) -> Result<()> {
    match &spec.root {
        Some(root) if !root.path.is_empty() => Ok(()),
        Some(_) => bail!("root.path: must be set"),
        None => bail!("root: must be set"),
    }
}

fn uts(spec: &Spec<'_>, linux: &Linux<'_>) -> Result<()> {
    if has(linux, "uts") {
        return Ok(());
    }
    if !spec.hostname.is_empty() {
        bail!("hostname: cannot be set without a uts namespace");
    }
    if !spec.domainname.is_empty() {
        bail!("domainname: cannot be set without a uts namespace");
    }
    Ok(())
}

fn user(_: &Spec<'_>, linux: &Linux<'_>) -> Result<()> {
    let namespace = linux.namespaces.iter().find(|ns| ns.kind == "user");
    let maps = (!linux.uid_mappings.is_empty(), !linux.gid_mappings.is_empty());
    match namespace {
        None if maps.0 => bail!("linux.uidMappings: need a user namespace"),
        None if maps.1 => bail!("linux.gidMappings: need a user namespace"),
        Some(ns) if ns.path.is_empty() && !maps.0 => {
            bail!("linux.uidMappings: must be set for a new user namespace")
        }
        Some(ns) if ns.path.is_empty() && !maps.1 => {
            bail!("linux.gidMappings: must be set for a new user namespace")
        }
        _ => Ok(()),
    }
}

fn time(_: &Spec<'_>, linux: &Linux<'_>) -> Result<()> {
    if linux.time_offsets.is_empty() {
        return Ok(());
    }
    match linux.namespaces.iter().find(|ns| ns.kind == "time") {
        None => bail!("linux.timeOffsets: need a time namespace"),
        Some(ns) if !ns.path.is_empty() => {
            bail!("linux.timeOffsets: cannot be set for a time namespace that is joined by path")
        }
        Some(_) => Ok(()),
    }
}

fn restricted_paths(_: &Spec<'_>, linux: &Linux<'_>) -> Result<()> {
    if has(linux, "mount") {
        return Ok(());
    }
    if !linux.masked_paths.is_empty() {
        bail!("linux.maskedPaths: need a mount namespace");
    }
    if !linux.readonly_paths.is_empty() {
        bail!("linux.readonlyPaths: need a mount namespace");
    }
    Ok(())
}

fn seccomp(_: &Spec<'_>, linux: &Linux<'_>) -> Result<()> {
    let Some(seccomp) = &linux.seccomp else { return Ok(()) };
    for (i, syscall) in seccomp.syscalls.iter().enumerate() {
        if syscall.names.is_empty() {
            bail!("linux.seccomp.syscalls[{i}].names: must not be empty");
        }
    }
    Ok(())
}
