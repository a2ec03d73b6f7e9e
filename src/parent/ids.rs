// SPDX-License-Identifier: Apache-2.0
//! `linux.uidMappings` and `linux.gidMappings`: uid_map, gid_map, setgroups of a new user
//! namespace, see user_namespaces(7); by newuidmap and newgidmap where we may not write ourselves.
//! Parent side, after the namespace exists and before the process does anything in it.

use std::fmt::Write;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::unistd::{Pid, getegid, geteuid};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci::{self, IdMapping};
use crate::procfile;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdMaps {
    uids: Vec<IdMapping>,
    gids: Vec<IdMapping>,
    /// An unprivileged user may map a single group only after giving up setgroups.
    deny_setgroups: bool,
    /// Whether the set-user-ID helpers may be tried: only they help somebody who is not root.
    is_rootless: bool,
}

impl IdMaps {
    /// For a new user namespace; one that is joined has its maps.
    pub(crate) fn plan(linux: &oci::Linux<'_>) -> Result<Self> {
        for (property, mappings) in
            [("uidMappings", &linux.uid_mappings), ("gidMappings", &linux.gid_mappings)]
        {
            check(property, mappings)?;
        }
        let is_rootless = !geteuid().is_root();
        let gids = linux.gid_mappings.clone();
        let deny_setgroups = is_rootless && is_own(&gids);
        Ok(Self { uids: linux.uid_mappings.clone(), gids, deny_setgroups, is_rootless })
    }

    /// Refuses ids of the process that are not mapped.
    pub(crate) fn cover(&self, user: &oci::User<'_>) -> Result<()> {
        let find = |property: &str, id: u32, maps: &[IdMapping], map: &str| {
            let has = |m: &IdMapping| id.checked_sub(m.container_id).is_some_and(|at| at < m.size);
            if !maps.iter().any(has) {
                bail!("process.user.{property}: {id} is not mapped by linux.{map}");
            }
            Ok(())
        };
        find("uid", user.uid, &self.uids, "uidMappings")?;
        find("gid", user.gid, &self.gids, "gidMappings")?;
        for (i, gid) in user.additional_gids.iter().enumerate() {
            find(&format!("additionalGids[{i}]"), *gid, &self.gids, "gidMappings")?;
        }
        Ok(())
    }

    pub(crate) fn apply(&self, pid: Pid) -> Result<()> {
        if self.deny_setgroups {
            procfile::write(pid, "setgroups", "deny").context(|| "linux.gidMappings")?;
        }
        self.map(pid, "uid_map", "newuidmap", &self.uids).context(|| "linux.uidMappings")?;
        let gids = || self.map(pid, "gid_map", "newgidmap", &self.gids);
        match gids() {
            // Root of a user namespace, without CAP_SETGID.
            Err(error) if !self.deny_setgroups && is_refused(&error) && is_own(&self.gids) => {
                procfile::write(pid, "setgroups", "deny").and_then(|()| gids())
            }
            outcome => outcome,
        }
        .context(|| "linux.gidMappings")
    }

    fn map(&self, pid: Pid, file: &str, helper: &str, mappings: &[IdMapping]) -> Result<()> {
        if mappings.is_empty() {
            return Ok(());
        }
        match procfile::write(pid, file, &lines(mappings)) {
            Err(error) if self.is_rootless && is_refused(&error) => help(helper, pid, mappings),
            Err(error) if is_refused(&error) && mappings.iter().any(|m| m.host_id == 0) => {
                // Linux 5.12
                Err(error).context(|| "mapping the caller's root takes CAP_SETFCAP")
            }
            other => other,
        }
    }
}

/// The caller's own group and nothing else, which anybody may map.
fn is_own(gids: &[IdMapping]) -> bool {
    matches!(gids, [one] if (one.host_id, one.size) == (getegid().as_raw(), 1))
}

fn is_refused(error: &Error) -> bool {
    error.errno() == Some(Errno::EPERM)
}

fn check(property: &str, mappings: &[IdMapping]) -> Result<()> {
    let overlap = |a: u32, b: u32, m: &IdMapping, n: &IdMapping| {
        u64::from(a) < u64::from(b) + u64::from(n.size)
            && u64::from(b) < u64::from(a) + u64::from(m.size)
    };
    for (i, mapping) in mappings.iter().enumerate() {
        let IdMapping { container_id, host_id, size } = *mapping;
        if size == 0 {
            bail!("linux.{property}[{i}].size: must not be 0");
        }
        if container_id.checked_add(size).is_none() || host_id.checked_add(size).is_none() {
            bail!(
                "linux.{property}[{i}].size: {size} ids from {} on are more than there are",
                container_id.max(host_id)
            );
        }
        let clash = mappings[..i].iter().position(|other| {
            overlap(container_id, other.container_id, mapping, other)
                || overlap(host_id, other.host_id, mapping, other)
        });
        if let Some(other) = clash {
            bail!("linux.{property}[{i}]: overlaps linux.{property}[{other}]");
        }
    }
    Ok(())
}

fn lines(mappings: &[IdMapping]) -> String {
    let mut lines = String::new();
    for IdMapping { container_id, host_id, size } in mappings {
        writeln!(lines, "{container_id} {host_id} {size}").expect("a String grows");
    }
    lines
}

/// `helper PID inside outside count [inside outside count]…`
fn help(helper: &str, pid: Pid, mappings: &[IdMapping]) -> Result<()> {
    let numbers = mappings.iter().flat_map(|m| [m.container_id, m.host_id, m.size]);
    let output = Command::new(helper)
        .arg(pid.to_string())
        .args(numbers.map(|n| n.to_string()))
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "{helper}: executable file not found in $PATH; a user without privileges needs it to map \
             other ids than the own one (the uidmap package)"
        ),
        output => output.context(|| helper)?,
    };
    if !output.status.success() {
        // It begins with its name.
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().strip_prefix(&format!("{helper}: ")).unwrap_or(said.trim());
        bail!("{helper}: {}: {said}", output.status);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use nix::mount::{MsFlags, mount};
    use nix::sys::wait::waitpid;

    use super::*;
    use crate::sys::clone::{CloneFlagsBits, CloneRequest, Fork, clone3};
    use crate::sys::pidfd::pidfd_send_signal;
    use crate::testing::inside;

    fn mapping(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    fn plan(uids: &[IdMapping], gids: &[IdMapping]) -> Result<IdMaps> {
        let (uid_mappings, gid_mappings) = (uids.to_vec(), gids.to_vec());
        IdMaps::plan(&oci::Linux { uid_mappings, gid_mappings, ..Default::default() })
    }

    #[test]
    fn impossible_ranges_name_their_property() {
        let text = plan(&[mapping(0, 0, 1), mapping(1, 1, 0)], &[]).unwrap_err().to_string();
        assert_eq!(text, "linux.uidMappings[1].size: must not be 0");
        let text = plan(&[], &[mapping(1, 0, u32::MAX)]).unwrap_err().to_string();
        let says = "4294967295 ids from 1 on are more than there are";
        assert_eq!(text, format!("linux.gidMappings[0].size: {says}"));
        let plan = |second| plan(&[mapping(10, 100, 10), second], &[mapping(0, 0, 1)]);
        for clash in [mapping(19, 300, 1), mapping(5, 300, 6), mapping(30, 50, 51)] {
            let text = plan(clash).unwrap_err().to_string();
            assert_eq!(text, "linux.uidMappings[1]: overlaps linux.uidMappings[0]");
        }
        for side_by_side in [mapping(20, 110, 5), mapping(0, 90, 10)] {
            assert!(plan(side_by_side).is_ok());
        }
    }

    #[test]
    fn any_number_of_lines_is_written() {
        let range: Vec<_> = (0..100).map(|i| mapping(i * 10, 100_000 + i * 10, 5)).collect();
        let text = lines(&range);
        assert_eq!(text.lines().count(), 100);
        assert_eq!(text.lines().last(), Some("990 100990 5"));
    }

    /// `body` with a process that waits in a new user namespace.
    fn with_namespace(body: impl FnOnce(Pid)) {
        let flags = CloneFlagsBits::from(nix::sched::CloneFlags::CLONE_NEWUSER);
        match clone3(&CloneRequest { flags, cgroup: None }) {
            Err(errno) => println!("SKIP: user namespaces: {errno}"),
            Ok(Fork::Child(_)) => {
                nix::unistd::pause();
                crate::sys::exit(0)
            }
            Ok(Fork::Parent { child, pidfd }) => {
                let outcome = catch_unwind(AssertUnwindSafe(|| body(child)));
                pidfd_send_signal(pidfd.as_fd(), 9).unwrap();
                waitpid(child, None).unwrap();
                outcome.unwrap_or_else(|panic| resume_unwind(panic));
            }
        }
    }

    fn read(pid: Pid, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
    }

    #[test]
    fn maps_are_in_force() {
        if !geteuid().is_root() {
            println!("SKIP: needs root, to map other ids than one's own");
            return;
        }
        let uids: Vec<_> = (0..20).map(|i| mapping(i, 100_000 + i * 2, 1)).collect();
        let maps = plan(&uids, &[mapping(0, 200_000, 65536)]).unwrap();
        assert!(!maps.deny_setgroups);
        with_namespace(|pid| {
            maps.apply(pid).unwrap();
            assert_eq!(read(pid, "uid_map").lines().count(), 20);
            let gid_map = read(pid, "gid_map");
            let words: Vec<_> = gid_map.split_whitespace().collect();
            assert_eq!(words, ["0", "200000", "65536"]);
        });
    }

    #[test]
    fn a_rootless_user_maps_oneself_and_gives_up_setgroups() {
        if geteuid().is_root() {
            println!("SKIP: needs an ordinary user");
            return;
        }
        let own = |id| [mapping(0, id, 1)];
        let maps = plan(&own(geteuid().as_raw()), &own(getegid().as_raw())).unwrap();
        with_namespace(|pid| {
            maps.apply(pid).unwrap();
            assert_eq!(read(pid, "setgroups"), "deny\n");
            assert_eq!(read(pid, "gid_map").lines().count(), 1);
        });
    }

    /// crun loses all lines after the sixth, runc too.
    #[test]
    fn the_helper_gets_every_line() {
        if !geteuid().is_root() {
            println!("SKIP: needs root, to put up a subuid file");
            return;
        }
        if let Err(error) = Command::new("newuidmap").output() {
            println!("SKIP: newuidmap cannot be run: {error}");
            return;
        }
        inside(|_| {
            let none = None::<&str>;
            mount(Some("t"), "/mnt", Some("tmpfs"), MsFlags::empty(), none)?;
            std::fs::write("/mnt/subuid", "root:100000:65536\n")?;
            if let Err(errno) =
                mount(Some("/mnt/subuid"), "/etc/subuid", none, MsFlags::MS_BIND, none)
            {
                println!("SKIP: no /etc/subuid to cover: {errno}");
                return Ok(());
            }
            let lines: Vec<_> = (0..30).map(|i| mapping(i, 100_000 + i * 2, 1)).collect();
            with_namespace(|pid| {
                help("newuidmap", pid, &lines).unwrap();
                assert_eq!(read(pid, "uid_map").lines().count(), 30);
            });
            Ok(())
        });
    }

    #[test]
    fn a_helper_that_fails_is_named_with_what_it_said() {
        let error = help("newuidmap", Pid::from_raw(1), &[mapping(0, 0, 1)]).unwrap_err();
        let text = error.to_string();
        if error.errno().is_some() || error.to_string().contains("not found in $PATH") {
            println!("SKIP: it cannot be run: {text}");
            return;
        }
        assert!(text.starts_with("newuidmap: exit status: 1: "), "{text}");
        assert!(text.len() > 30 && !text[11..].contains("newuidmap: "), "{text}");
    }
}
