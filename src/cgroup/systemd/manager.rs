// SPDX-License-Identifier: Apache-2.0
//! What systemd's manager is asked, of the system or of the user.

use std::path::Path;

use zvariant::{OwnedObjectPath, OwnedValue};

use super::dbus::{Bus, DRIVER, Failure, Target};
use super::property::Property;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::log;

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: Target = Target {
    name: NAME,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const PROPERTIES: Target = Target { interface: "org.freedesktop.DBus.Properties", ..MANAGER };

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// A conversation with a manager.
#[derive(Debug)]
pub(crate) struct Manager {
    bus: Bus,
}

/// How an attempt to start a unit failed.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// Nothing was made; a unit of that name is somebody else's.
    Refused(Error),
    /// There may be a unit now.
    Broken(Error),
}

impl Manager {
    pub(crate) fn connect(is_user: bool) -> Result<Self> {
        if !Path::new("/run/systemd/system").is_dir() {
            bail!("systemd does not run on this host (there is no /run/systemd/system)");
        }
        let (name, address) = match is_user {
            false => ("system", system_address()),
            true => ("user", user_address()?),
        };
        let bus = Bus::connect(&address).context(|| format!("the {name} bus"))?;
        Ok(Self { bus })
    }

    #[cfg(test)]
    pub(crate) fn over(stream: std::os::unix::net::UnixStream, limit: std::time::Duration) -> Self {
        Self { bus: Bus::new(stream, limit).unwrap() }
    }

    /// systemd's version; 0 where it can't be told.
    pub(crate) fn version(&mut self) -> Result<u32> {
        Ok(major(&self.property("Version")?))
    }

    /// The manager's own cgroup, which all units are below.
    pub(crate) fn control_group(&mut self) -> Result<String> {
        self.property("ControlGroup")
    }

    fn property(&mut self, name: &str) -> Result<String> {
        let doing = || format!("read systemd's {name}");
        let answer = self.bus.call(PROPERTIES, "Get", &(MANAGER.interface, name));
        let (value,) = answer.map_err(Error::from).context(doing)?.read::<(OwnedValue,)>()?;
        String::try_from(value).map_err(|e| Error::text(e.to_string())).context(doing)
    }

    /// Starts a transient unit and waits for it. One of that name that has failed is put away first.
    pub(crate) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), NotStarted> {
        self.watch_job(unit).map_err(NotStarted::Refused)?;
        let outcome = match self.try_start(unit, properties) {
            Err(Failure::Refused { name, .. }) if name == UNIT_EXISTS => {
                self.reset_failed(unit).map_err(NotStarted::Refused)?;
                self.try_start(unit, properties)
            }
            outcome => outcome,
        };
        let job = match outcome {
            Ok(job) => job,
            Err(failure @ Failure::Refused { .. }) => {
                return Err(NotStarted::Refused(failure.into()));
            }
            Err(Failure::Broken(error)) => return Err(NotStarted::Broken(error)),
        };
        match self.job_result(&job) {
            Ok(result) if result == "done" => Ok(()),
            Ok(result) => {
                Err(NotStarted::Broken(Error::text(format!("the job ended as {result:?}"))))
            }
            Err(error) => Err(NotStarted::Broken(error)),
        }
    }

    fn try_start(
        &mut self,
        unit: &str,
        properties: &[Property],
    ) -> Result<OwnedObjectPath, Failure> {
        let auxiliary: [(&str, Vec<Property>); 0] = [];
        let arguments = (unit, "replace", properties, &auxiliary[..]);
        let answer = self.bus.call(MANAGER, "StartTransientUnit", &arguments)?;
        Ok(answer.read::<(OwnedObjectPath,)>()?.0)
    }

    /// Stops a unit, waits for it, and has systemd forget it. None of that name is fine too.
    pub(crate) fn stop(&mut self, unit: &str, is_forgotten: impl Fn() -> bool) -> Result<()> {
        self.watch_job(unit)?;
        let job = match self.bus.call(MANAGER, "StopUnit", &(unit, "replace")) {
            Ok(answer) => answer.read::<(OwnedObjectPath,)>()?.0,
            Err(Failure::Refused { name, .. }) if name == NO_SUCH_UNIT => return Ok(()),
            Err(failure) => return Err(failure.into()),
        };
        let result = self.job_result(&job)?;
        if result != "done" {
            log::warn(&format!("stop unit {unit}: the job ended as {result:?}"));
        }
        // One that has failed stays until it is told.
        if is_forgotten() { Ok(()) } else { self.reset_failed(unit) }
    }

    fn reset_failed(&mut self, unit: &str) -> Result<()> {
        match self.bus.call(MANAGER, "ResetFailedUnit", &(unit,)) {
            Ok(_) => Ok(()),
            // It has not failed, or is gone.
            Err(Failure::Refused { .. }) => Ok(()),
            Err(Failure::Broken(error)) => Err(error),
        }
    }

    /// Changes a unit until it ends.
    pub(crate) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let answer = self.bus.call(MANAGER, "SetUnitProperties", &(unit, true, properties));
        answer.map(drop).map_err(Error::from)
    }

    /// Moves a process into a unit's cgroup, or the one of that name below it.
    pub(crate) fn attach(&mut self, unit: &str, below: &str, pid: i32) -> Result<()> {
        let pids = [u32::try_from(pid).expect("a pid is above 0")];
        let arguments = (unit, below, &pids[..]);
        let answer = self.bus.call(MANAGER, "AttachProcessesToUnit", &arguments);
        answer.map(drop).map_err(Error::from)
    }

    /// Of this unit's jobs alone: with many creels at once each hears only of its own. The answer
    /// comes with that of the next call.
    fn watch_job(&mut self, unit: &str) -> Result<()> {
        let (path, interface) = (MANAGER.path, MANAGER.interface);
        let rule = format!(
            "type='signal',sender='{NAME}',path='{path}',interface='{interface}',member='JobRemoved',arg2='{unit}'"
        );
        self.bus.send(DRIVER, "AddMatch", &(rule,)).map(drop)
    }

    fn job_result(&mut self, job: &OwnedObjectPath) -> Result<String> {
        let result = self.bus.signal(|message| {
            if !message.is_signal(MANAGER.interface, "JobRemoved") {
                return None;
            }
            let (_, path, _, result) =
                message.read::<(u32, OwnedObjectPath, String, String)>().ok()?;
            (path == *job).then_some(result)
        });
        result.context(|| "wait for its job")
    }
}

/// `257.13-1~deb13u1`, `v245.4`
fn major(version: &str) -> u32 {
    let digits = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn system_address() -> String {
    std::env::var("DBUS_SYSTEM_BUS_ADDRESS")
        .unwrap_or_else(|_| "unix:path=/run/dbus/system_bus_socket".to_owned())
}

/// The session's, or that of the runtime directory.
fn user_address() -> Result<String> {
    if let Ok(address) = std::env::var("DBUS_SESSION_BUS_ADDRESS")
        && !address.is_empty()
    {
        return Ok(address);
    }
    let directory = runtime_directory();
    let socket = format!("{directory}/bus");
    if !Path::new(&socket).exists() {
        bail!(
            "there is no user bus: DBUS_SESSION_BUS_ADDRESS is not set, {socket} does not exist (is dbus-user-session installed?)"
        );
    }
    Ok(format!("unix:path={}", escape(&socket)))
}

/// Where the user's manager keeps its own.
fn runtime_directory() -> String {
    match std::env::var("XDG_RUNTIME_DIR") {
        Ok(directory) if !directory.is_empty() => directory,
        _ => format!("/run/user/{}", nix::unistd::getuid()),
    }
}

/// Whether systemd holds no unit of that name: a transient unit is a file for as long. Not to be told:
/// false.
pub(crate) fn is_forgotten(unit: &str, is_user: bool) -> bool {
    let base = if is_user { runtime_directory() } else { "/run".to_owned() };
    let systemd = Path::new(&base).join("systemd");
    systemd.is_dir() && !systemd.join("transient").join(unit).exists()
}

fn escape(path: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_/.\\*".contains(&b);
    let one = |b: u8| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") };
    path.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(major("257.13-1~deb13u1"), 257);
        assert_eq!(major("v245.4-1.fc32"), 245);
        assert_eq!(major("now"), 0);
    }

    #[test]
    fn addresses_are_escaped() {
        assert_eq!(escape("/run/user/1000/a b,c"), "/run/user/1000/a%20b%2cc");
    }
}
