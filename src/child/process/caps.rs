// SPDX-License-Identifier: Apache-2.0
//! `process.capabilities` and `process.noNewPrivileges`.
//! Child side: `drop_bounding` before the change of user, `apply` after it.

use std::collections::BTreeSet;

use caps::Capability;
use nix::errno::Errno;
use nix::libc;

use crate::bail;
use crate::error::{Context, Result, describe};
use crate::log;
use crate::oci;
use crate::sys::capset::{self, Sets};
use crate::sys::{self, Inside};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    /// None: the config has no `capabilities`, and nothing is changed, as in runc.
    sets: Option<Plan>,
    no_new_privileges: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// To be dropped from the bounding set.
    drop: u64,
    sets: Sets,
    ambient: u64,
}

/// What the kernel knows, and what of that this process could ever have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Host {
    known: u64,
    /// What this process can hand on; asking for more is a warning (config.md#linux-process).
    grantable: u64,
}

impl Caps {
    pub(crate) fn plan(process: &oci::Process<'_>, has_user_namespace: bool) -> Result<Self> {
        let no_new_privileges = process.no_new_privileges;
        let Some(wanted) = &process.capabilities else {
            return Ok(Self { sets: None, no_new_privileges });
        };
        let mut host = Host::probe();
        if has_user_namespace {
            // Entering one fills all sets.
            host.grantable = host.known;
        }
        let mut ignored = BTreeSet::new();
        let sets = Plan::new(wanted, host, &mut ignored)?;
        if !ignored.is_empty() {
            let names = ignored.into_iter().collect::<Vec<_>>().join(" ");
            log::warn(&format!("ignoring unknown or unavailable capabilities: [{names}]"));
        }
        Ok(Self { sets: Some(sets), no_new_privileges })
    }

    /// Before the change of user: it takes CAP_SETPCAP.
    pub(crate) fn drop_bounding(&self, _: &Inside) -> Result<()> {
        let Some(plan) = &self.sets else { return Ok(()) };
        for number in numbers(plan.drop) {
            match capset::capbset_drop(number) {
                // Nobody needs the right to drop what is not there.
                Err(Errno::EPERM) if capset::capbset_read(number) == Ok(false) => {}
                outcome => outcome
                    .context(|| format!("process.capabilities.bounding: drop {}", name(number)))?,
            }
        }
        Ok(())
    }

    /// After the change of user, which must have kept the permitted set.
    pub(crate) fn apply(&self, _: &Inside) -> Result<()> {
        let Some(plan) = &self.sets else { return Ok(()) };
        capset::capset(&plan.sets).context(|| "process.capabilities: capset")?;
        if plan.sets.permitted & plan.sets.inheritable == 0 {
            // capset has emptied the ambient set: it is always within these two.
            return Ok(());
        }
        capset::ambient_clear_all().context(|| "process.capabilities.ambient: clear")?;
        for number in numbers(plan.ambient) {
            match capset::ambient_raise(number) {
                Ok(()) => {}
                Err(Errno::EPERM) => warn_ambient(number),
                Err(errno) => {
                    return Err(errno)
                        .context(|| format!("process.capabilities.ambient: {}", name(number)));
                }
            }
        }
        Ok(())
    }

    /// As `apply`, but CAP_SYS_ADMIN stays for loading a filter; `apply` must follow.
    pub(crate) fn apply_keeping_sys_admin(&self, _: &Inside) -> Result<()> {
        let Some(plan) = &self.sets else { return Ok(()) };
        let admin = 1 << Capability::CAP_SYS_ADMIN.index();
        let mut sets = plan.sets;
        sets.permitted |= admin;
        sets.effective |= admin;
        capset::capset(&sets).context(|| "process.capabilities: capset")
    }

    /// Whether seccomp filters can be loaded without privileges, and so go last.
    pub(crate) fn no_new_privileges(&self) -> bool {
        self.no_new_privileges
    }

    pub(crate) fn apply_no_new_privileges(&self, _: &Inside) -> Result<()> {
        if self.no_new_privileges {
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).context(|| "process.noNewPrivileges")?;
        }
        Ok(())
    }
}

impl Plan {
    fn new(
        wanted: &oci::Capabilities<'_>,
        host: Host,
        ignored: &mut BTreeSet<String>,
    ) -> Result<Self> {
        let mut mask = |names: &[oci::Str<'_>]| {
            let mut mask = 0;
            for wanted in names {
                match wanted.parse::<Capability>() {
                    Ok(known) if known.bitmask() & host.grantable != 0 => mask |= known.bitmask(),
                    _ => drop(ignored.insert(wanted.to_string())),
                }
            }
            mask
        };
        let bounding = mask(&wanted.bounding);
        let sets = Sets {
            effective: mask(&wanted.effective),
            permitted: mask(&wanted.permitted),
            inheritable: mask(&wanted.inheritable),
        };
        let ambient = mask(&wanted.ambient);
        if let Some(number) = numbers(sets.effective & !sets.permitted).next() {
            bail!("process.capabilities.effective: {} is not in permitted", name(number));
        }
        let allowed = sets.permitted & sets.inheritable;
        numbers(ambient & !allowed).for_each(warn_ambient);
        Ok(Self { drop: host.known & !bounding, sets, ambient: ambient & allowed })
    }
}

impl Host {
    fn probe() -> Self {
        let known = u64::MAX >> (63 - Self::last());
        Self { known, grantable: capset::capget().map_or(known, |own| own.permitted) }
    }

    /// The last capability that the kernel knows. There are no gaps, so that the search begins at the
    /// last one that has a name.
    fn last() -> u8 {
        let is_known = |number: u8| capset::capbset_read(number).is_ok();
        let mut last = Capability::CAP_CHECKPOINT_RESTORE.index();
        while last > 0 && !is_known(last) {
            last -= 1;
        }
        while last < 63 && is_known(last + 1) {
            last += 1;
        }
        last
    }
}

fn warn_ambient(number: u8) {
    let why = describe(Errno::EPERM);
    log::warn(&format!("can't raise ambient capability {}: {why}", name(number)));
}

fn numbers(mask: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |number| mask & 1 << number != 0)
}

fn name(number: u8) -> String {
    let known = caps::all().into_iter().find(|known| known.index() == number);
    known.map_or_else(|| format!("capability {number}"), |known| known.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::inside;

    const HOST: Host = Host { known: 0x1ff_ffff_ffff, grantable: 0x1ff_ffff_ffff };

    fn names(names: &[&str]) -> Vec<oci::Str<'static>> {
        names.iter().map(|&name| oci::Str::from(name.to_owned())).collect()
    }

    fn plan(wanted: &oci::Capabilities<'_>) -> (Result<Plan>, Vec<String>) {
        let mut ignored = BTreeSet::new();
        let plan = Plan::new(wanted, HOST, &mut ignored);
        (plan, ignored.into_iter().collect())
    }

    #[test]
    fn names_become_masks_and_all_others_are_dropped() {
        let wanted = oci::Capabilities {
            bounding: names(&["CAP_CHOWN", "CAP_KILL", "CAP_CHECKPOINT_RESTORE"]),
            effective: names(&["CAP_KILL"]),
            permitted: names(&["CAP_KILL", "CAP_CHOWN"]),
            inheritable: names(&["CAP_CHOWN"]),
            ambient: names(&["CAP_CHOWN", "CAP_KILL"]),
        };
        let sets = Sets { effective: 1 << 5, permitted: 1 << 5 | 1, inheritable: 1 };
        let (plan, ignored) = plan(&wanted);
        assert_eq!(
            plan.unwrap(),
            Plan { drop: HOST.known & !(1 << 40 | 1 << 5 | 1), sets, ambient: 1 }
        );
        assert!(ignored.is_empty());
    }

    #[test]
    fn unknown_names_are_ignored_and_said_once() {
        let unknown = names(&["UNKNOWN_CAP", "CAP_UNKNOWN", "CAP_KILL", "cap_chown"]);
        let wanted = oci::Capabilities {
            bounding: unknown.clone(),
            inheritable: unknown,
            ..Default::default()
        };
        let (plan, ignored) = plan(&wanted);
        assert_eq!(plan.unwrap().drop, HOST.known & !(1 << 5));
        assert_eq!(ignored, ["CAP_UNKNOWN", "UNKNOWN_CAP", "cap_chown"]);
    }

    #[test]
    fn an_effective_capability_must_be_permitted() {
        let wanted = oci::Capabilities { effective: names(&["CAP_BPF"]), ..Default::default() };
        let text = "process.capabilities.effective: CAP_BPF is not in permitted";
        assert_eq!(plan(&wanted).0.unwrap_err().to_string(), text);
    }

    #[test]
    fn absent_capabilities_are_left_alone() {
        let process = oci::Process::default();
        assert_eq!(Caps::plan(&process, false).unwrap().sets, None);
    }

    fn status_line(name: &str) -> String {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    #[test]
    fn all_five_sets_are_as_asked_for() {
        let set = ["CAP_CHOWN", "CAP_KILL"];
        let wanted = oci::Capabilities {
            bounding: names(&["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"]),
            effective: names(&["CAP_KILL"]),
            permitted: names(&set),
            inheritable: names(&set),
            ambient: names(&["CAP_KILL"]),
        };
        let process = oci::Process {
            capabilities: Some(wanted),
            no_new_privileges: true,
            ..Default::default()
        };
        inside(|me| {
            let caps = Caps::plan(&process, false)?;
            caps.drop_bounding(me)?;
            caps.apply_no_new_privileges(me)?;
            caps.apply(me)?;
            assert_eq!(status_line("CapBnd:"), "00000000000000a1");
            assert_eq!(status_line("CapEff:"), "0000000000000020");
            assert_eq!(status_line("CapPrm:"), "0000000000000021");
            assert_eq!(status_line("CapInh:"), "0000000000000021");
            assert_eq!(status_line("CapAmb:"), "0000000000000020");
            assert_eq!(status_line("NoNewPrivs:"), "1");
            Ok(())
        });
    }

    #[test]
    fn no_capability_is_no_capability() {
        let capabilities = Some(oci::Capabilities::default());
        let process = oci::Process { capabilities, ..Default::default() };
        inside(|me| {
            let caps = Caps::plan(&process, false)?;
            caps.drop_bounding(me)?;
            caps.apply_no_new_privileges(me)?;
            caps.apply(me)?;
            for set in ["CapBnd:", "CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
                assert_eq!(status_line(set), "0000000000000000", "{set}");
            }
            assert_eq!(status_line("NoNewPrivs:"), "0");
            Ok(())
        });
    }
}
