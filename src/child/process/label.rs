// SPDX-License-Identifier: Apache-2.0
//! `process.apparmorProfile` and `process.selinuxLabel`, for the next execve.
//! Child side, through a private procfs (CVE-2019-16884, CVE-2025-52881): the container's own /proc
//! may be anything.

use nix::errno::Errno;
use nix::sys::statfs::{FsType, statfs};

use crate::bail;
use crate::child::rootfs::Proc;
use crate::error::{Context, Result};
use crate::oci;
use crate::sys::Inside;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    apparmor: Option<String>,
    selinux: Option<String>,
}

impl Label {
    pub(crate) fn plan(process: &oci::Process<'_>) -> Result<Self> {
        let given = |text: &oci::Str<'_>| (!text.is_empty()).then(|| text.to_string());
        let label = Self {
            apparmor: given(&process.apparmor_profile),
            selinux: given(&process.selinux_label),
        };
        if label.apparmor.is_some() && !is_apparmor_enabled() {
            bail!("process.apparmorProfile: config provided but apparmor not supported");
        }
        if label.selinux.is_some() && !is_selinux_enabled() {
            let text =
                "selinux label is specified in config, but selinux is disabled or not supported";
            bail!("process.selinuxLabel: {text}");
        }
        Ok(label)
    }

    /// Whether `apply_*` will need procfs.
    pub(crate) fn is_set(&self) -> bool {
        self.apparmor.is_some() || self.selinux.is_some()
    }

    pub(crate) fn has_selinux(&self) -> bool {
        self.selinux.is_some()
    }

    /// As late as possible in `exec`; before sysctls in `create`, as runc: a profile applies from
    /// the next execve.
    pub(crate) fn apply_apparmor(&self, proc: &Proc, _: &Inside) -> Result<()> {
        let Some(profile) = &self.apparmor else { return Ok(()) };
        let text = format!("exec {profile}");
        let write = |attribute: &str| {
            let path = format!("self/attr/{attribute}");
            proc.write(&path, text.as_bytes())
                .context(|| format!("process.apparmorProfile: write /proc/{path}"))
        };
        match write("apparmor/exec") {
            // KERNEL(5.8): the second is AppArmor's only while no other module has taken it.
            Err(error) if error.errno() == Some(Errno::ENOENT) => write("exec"),
            other => other,
        }
    }

    /// After Ready, before privileges drop.
    pub(crate) fn apply_selinux(&self, proc: &Proc, _: &Inside) -> Result<()> {
        let Some(label) = &self.selinux else { return Ok(()) };
        set(proc, "exec", label)
    }

    /// Around the making of the session keyring, which gets the process's label.
    pub(crate) fn set_key_label(&self, proc: &Proc, _: &Inside) -> Result<()> {
        let Some(label) = &self.selinux else { return Ok(()) };
        set(proc, "keycreate", label)
    }

    /// Afterwards: keys that the program makes are its own affair.
    pub(crate) fn reset_key_label(&self, proc: &Proc, _: &Inside) -> Result<()> {
        if self.selinux.is_none() {
            return Ok(());
        }
        set(proc, "keycreate", "")
    }
}

/// In one call: each write is a whole command for the kernel. An empty one resets.
fn set(proc: &Proc, attribute: &str, label: &str) -> Result<()> {
    proc.write(&format!("self/attr/{attribute}"), label.as_bytes())
        .context(|| format!("process.selinuxLabel: write /proc/self/attr/{attribute}"))
}

fn is_apparmor_enabled() -> bool {
    std::fs::metadata("/sys/kernel/security/apparmor").is_ok()
        && std::fs::read("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|text| text.first() == Some(&b'Y'))
}

fn is_selinux_enabled() -> bool {
    const SELINUX_MAGIC: FsType = FsType(0xf97c_ff8c);
    // Without a loaded policy everything is "kernel".
    statfs("/sys/fs/selinux").is_ok_and(|fs| fs.filesystem_type() == SELINUX_MAGIC)
        && std::fs::read("/proc/self/attr/current")
            .is_ok_and(|label| label.trim_ascii_end() != b"kernel")
}

#[cfg(test)]
mod tests {
    use nix::mount::{MsFlags, mount};

    use super::*;
    use crate::testing::inside;

    fn plan(apparmor: &str, selinux: &str) -> Result<Label> {
        Label::plan(&oci::Process {
            apparmor_profile: apparmor.into(),
            selinux_label: selinux.into(),
            ..Default::default()
        })
    }

    #[test]
    fn a_module_that_is_off_refuses_its_property() {
        assert!(!plan("", "").unwrap().is_set());
        if is_apparmor_enabled() {
            println!("SKIP: AppArmor is on, its absence cannot be tried");
        } else {
            let text = "process.apparmorProfile: config provided but apparmor not supported";
            assert_eq!(plan("docker-default", "").unwrap_err().to_string(), text);
        }
        if is_selinux_enabled() {
            println!("SKIP: SELinux is on, its absence cannot be tried");
        } else {
            let text = "process.selinuxLabel: selinux label is specified in config, \
                but selinux is disabled or not supported";
            assert_eq!(plan("", "u:r:t:s0").unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_file_mounted_over_the_attribute_is_not_written() {
        let label = Label { apparmor: Some("p".to_owned()), selinux: Some("l".to_owned()) };
        inside(|me| {
            mount(Some("t"), "/mnt", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            std::fs::write("/mnt/decoy", "")?;
            let none = None::<&str>;
            let bind = MsFlags::MS_BIND;
            mount(Some("/mnt/decoy"), "/proc/self/attr/exec", none, bind, none)?;
            // SELinux and AppArmor may be on, and refuse the label: not the covered file's answer.
            for proc in [Proc::open(me)?, Proc::mounted(me)?] {
                let is_refused = |outcome: Result<()>| {
                    let text = outcome.unwrap_err().to_string();
                    let errors = ["EINVAL", "EOPNOTSUPP", "ENOENT", "EACCES", "EPERM", "EXDEV"];
                    assert!(errors.iter().any(|error| text.contains(error)), "{text}");
                };
                is_refused(label.apply_selinux(&proc, me));
                is_refused(label.apply_apparmor(&proc, me));
            }
            assert_eq!(std::fs::read("/mnt/decoy")?, b"");
            Ok(())
        });
    }

    #[test]
    fn another_filesystem_in_procs_place_is_no_label() {
        inside(|me| {
            mount(Some("t"), "/proc", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            let error = Proc::mounted(me).unwrap_err();
            assert_eq!(error.to_string(), "/proc is not a procfs");
            Ok(())
        });
    }
}
