// SPDX-License-Identifier: Apache-2.0
//! `--systemd-cgroup`: the container's cgroup is that of a transient unit, a scope or a slice.
//! One connection and one awaited job for `create`; none for a container that systemd has forgotten.
//! The manager hands over what it makes (Delegate=yes): files are read and written as without it.

mod dbus;
mod manager;
mod name;
mod property;
mod text;

#[cfg(test)]
mod tests;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Cgroup;
use super::devices::Filter;
use super::path::{Inner, join};
use super::writes::Write;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci::Map;
use manager::{Manager, NotStarted};
pub(super) use name::Name;
#[cfg(test)]
pub(crate) use property::shown;
pub(crate) use property::{NO_LIMIT, Property, last, number, numbers, property};

const FLAG: &str = "--systemd-cgroup";

/// The container's unit: what state.json keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    name: String,
    /// Of the user's manager.
    user: bool,
    /// Not yet: systemd may have been asked or not.
    started: bool,
}

impl Unit {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// A unit to be, and the manager that will start it.
#[derive(Debug)]
pub(crate) struct UnitPlan {
    manager: Manager,
    name: Name,
    is_user: bool,
    /// The manager's own cgroup.
    above: String,
    properties: Vec<Property>,
}

/// Whether the caller, root in a user namespace, belongs to an ordinary user's session.
pub(crate) fn is_users_session() -> bool {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    own.split(['/', '\n']).any(|part| {
        let uid = part.strip_prefix("user-").and_then(|rest| rest.strip_suffix(".slice"));
        uid.is_some_and(|uid| uid != "0")
    })
}

impl UnitPlan {
    pub(super) fn connect(cgroups_path: &str, id: &str, is_user: bool) -> Result<Self> {
        let name = Name::plan(cgroups_path, id, is_user)?;
        let mut manager = Manager::connect(is_user).context(|| FLAG)?;
        // Below a user's manager the place depends on where that is itself.
        let above = if is_user { manager.control_group().context(|| FLAG)? } else { String::new() };
        Ok(Self { manager, name, is_user, above, properties: Vec::new() })
    }

    pub(super) fn inner(&self) -> Inner {
        Inner::Absolute(super::path::clean(&join(&self.above, &self.name.dir)))
    }

    pub(super) fn unit(&self) -> Unit {
        Unit { name: self.name.unit.clone(), user: self.is_user, started: false }
    }

    /// All that the unit is started with, but for its process.
    pub(super) fn limit(
        &mut self,
        list: &[Write],
        filter: &Filter,
        is_unified: bool,
    ) -> Result<()> {
        let version = match property::needs_version(list) {
            true => self.manager.version().context(|| FLAG)?,
            false => 0,
        };
        self.properties = property::basic(&self.name, is_unified);
        self.properties.extend(property::limits(list, version)?);
        self.properties.extend(property::once(list, filter, is_unified, version));
        Ok(())
    }

    /// Last, so that the user's word counts.
    pub(super) fn annotate(&mut self, annotations: &Map<'_>) -> Result<()> {
        self.properties.extend(text::properties(annotations)?);
        Ok(())
    }

    fn start(&mut self, pid: Pid) -> Result<(), NotStarted> {
        if !self.name.is_slice() {
            let pid = u32::try_from(pid.as_raw()).expect("a pid is above 0");
            self.properties.push(property::property("PIDs", vec![pid]));
        }
        self.manager.start(&self.name.unit, &self.properties)
    }
}

impl Unit {
    /// Starts the unit with the process in it. Only a unit that may be there is marked as started.
    pub(super) fn start(&mut self, plan: &mut UnitPlan, pid: Pid) -> Result<()> {
        let (outcome, may_exist) = match plan.start(pid) {
            Ok(()) => (Ok(()), true),
            Err(NotStarted::Refused(error)) => (Err(error), false),
            Err(NotStarted::Broken(error)) => (Err(error), true),
        };
        self.started = may_exist;
        outcome.context(|| format!("{FLAG}: start unit {}", self.name))
    }

    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    pub(super) fn is_slice(&self) -> bool {
        name::is_slice(&self.name)
    }

    fn is_forgotten(&self) -> bool {
        manager::is_forgotten(&self.name, self.user)
    }

    /// Stops the unit, unless systemd knows none of that name any more: a scope ends by itself with
    /// its last process. `is_empty`: its cgroups are gone.
    pub(super) fn stop(&self, is_empty: bool) -> Result<()> {
        if self.started && is_empty && self.is_forgotten() {
            return Ok(());
        }
        let doing = || format!("stop unit {}", self.name);
        let mut manager = Manager::connect(self.user).context(doing)?;
        manager.stop(&self.name, || self.is_forgotten()).context(doing)
    }

    /// The properties of these files, now and after whatever systemd does to the unit.
    pub(super) fn set(&self, list: &[Write]) -> Result<()> {
        let doing = || format!("set properties of unit {}", self.name);
        let mut manager = None;
        let version = match property::needs_version(list) {
            true => connected(&mut manager, self.user).and_then(Manager::version).context(doing)?,
            false => 0,
        };
        let properties = property::limits(list, version)?;
        if properties.is_empty() {
            return Ok(());
        }
        let manager = connected(&mut manager, self.user).context(doing)?;
        manager.set(&self.name, &properties).context(doing)
    }

    /// Moves a process where only the manager may.
    pub(super) fn attach(&self, below: &str, pid: Pid) -> Result<()> {
        let doing = || format!("attach {pid} to unit {}", self.name);
        let mut manager = Manager::connect(self.user).context(doing)?;
        manager.attach(&self.name, below, pid.as_raw()).context(doing)
    }
}

fn connected(manager: &mut Option<Manager>, is_user: bool) -> Result<&mut Manager> {
    if manager.is_none() {
        *manager = Some(Manager::connect(is_user)?);
    }
    Ok(manager.as_mut().expect("it was just made"))
}

impl Cgroup {
    /// systemd makes the cgroup when the process is there to be put into it.
    pub(crate) fn is_units(&self) -> bool {
        self.unit.is_some()
    }

    /// Of the user's manager, whose tree can't be entered from outside.
    pub(super) fn is_users_unit(&self) -> bool {
        self.unit.as_ref().is_some_and(|unit| unit.user)
    }

    /// There is a unit that is this container's, or may be.
    pub(crate) fn has_unit(&self) -> bool {
        self.unit.as_ref().is_some_and(Unit::is_started)
    }

    /// systemd reports no failure to move a process.
    pub(super) fn check_moved(&self, pid: Pid) -> Result<()> {
        let (Some(unified), true) = (&self.unified, self.v2) else { return Ok(()) };
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .context(|| format!("read the cgroup of {pid}"))?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        if join(&unified.mount, own) != unified.unit_path() {
            return Err(Error::text(format!(
                "{FLAG}: systemd has left {pid} in {own} instead of {}",
                unified.unit_path()
            )));
        }
        Ok(())
    }
}

/// v1 has no units of an ordinary user.
pub(super) fn check_host(is_unified: bool, is_user: bool) -> Result<()> {
    if is_user && !is_unified {
        bail!("{FLAG}: cannot use rootless systemd cgroups manager on cgroup v1");
    }
    Ok(())
}

/// For the fuzz targets: whatever comes from a bus is a message, or an error.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    if let Ok(Some(length)) = dbus::length(bytes)
        && let Some(whole) = bytes.get(..length)
    {
        drop(dbus::parse(whole));
    }
}
