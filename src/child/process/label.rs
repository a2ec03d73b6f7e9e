// SPDX-License-Identifier: Apache-2.0
//! `process.apparmorProfile` and `process.selinuxLabel`, for the next execve.
//! Child side, through a descriptor of a procfs root that was checked to be one (CVE-2019-16884,
//! CVE-2025-52881): the container's own /proc may be anything.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, statfs};

use crate::bail;
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
    pub(crate) fn apply_apparmor(&self, proc: BorrowedFd<'_>, _: &Inside) -> Result<()> {
        let Some(profile) = &self.apparmor else { return Ok(()) };
        let text = format!("exec {profile}");
        let context = |attribute| move || format!("process.apparmorProfile: write {attribute}");
        // KERNEL(5.8): the second is AppArmor's only while no other module has taken it.
        let (own, shared) = ("self/attr/apparmor/exec", "self/attr/exec");
        match open(proc, own) {
            Err(Errno::ENOENT) => {
                let file = open(proc, shared).context(context("/proc/self/attr/exec"))?;
                write(&file, &text).context(context("/proc/self/attr/exec"))
            }
            other => {
                let file = other.context(context("/proc/self/attr/apparmor/exec"))?;
                write(&file, &text).context(context("/proc/self/attr/apparmor/exec"))
            }
        }
    }

    /// After Ready, before privileges drop.
    pub(crate) fn apply_selinux(&self, proc: BorrowedFd<'_>, _: &Inside) -> Result<()> {
        let Some(label) = &self.selinux else { return Ok(()) };
        set(proc, "exec", label)
    }

    /// Around the making of the session keyring, which gets the process's label.
    pub(crate) fn set_key_label(&self, proc: BorrowedFd<'_>, _: &Inside) -> Result<()> {
        let Some(label) = &self.selinux else { return Ok(()) };
        set(proc, "keycreate", label)
    }

    /// Afterwards: keys that the program makes are its own affair.
    pub(crate) fn reset_key_label(&self, proc: BorrowedFd<'_>, _: &Inside) -> Result<()> {
        if self.selinux.is_none() {
            return Ok(());
        }
        set(proc, "keycreate", "")
    }
}

fn set(proc: BorrowedFd<'_>, attribute: &str, label: &str) -> Result<()> {
    open(proc, &format!("self/attr/{attribute}"))
        .and_then(|file| write(&file, label))
        .context(|| format!("process.selinuxLabel: write /proc/self/attr/{attribute}"))
}

/// Not over a mount point or a magic link: something could be mounted on the file.
fn open(proc: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_XDEV
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    match openat2(proc, path, OpenHow::new().flags(flags).resolve(resolve)) {
        // KERNEL(5.6): drop when openat2 can be assumed. The filesystem is checked instead.
        Err(Errno::ENOSYS) => {
            let file = openat(proc, path, flags, Mode::empty())?;
            let is_proc = nix::sys::statfs::fstatfs(&file)?.filesystem_type()
                == nix::sys::statfs::PROC_SUPER_MAGIC;
            if is_proc { Ok(file) } else { Err(Errno::EXDEV) }
        }
        other => other,
    }
}

/// In one call: each write is a whole command for the kernel. An empty one resets.
fn write(file: &OwnedFd, text: &str) -> Result<(), Errno> {
    match nix::unistd::write(file, text.as_bytes())? {
        n if n == text.len() => Ok(()),
        _ => Err(Errno::EIO),
    }
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
    use std::fs::File;
    use std::os::fd::AsFd;

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
            let proc = File::open("/proc")?;
            let error = label.apply_selinux(proc.as_fd(), me).unwrap_err();
            let text = "process.selinuxLabel: write /proc/self/attr/exec: EXDEV: cross-device link";
            assert_eq!(error.to_string(), text);
            assert!(label.apply_apparmor(proc.as_fd(), me).is_err());
            assert_eq!(std::fs::read("/mnt/decoy")?, b"");
            Ok(())
        });
    }

    #[test]
    fn another_filesystem_in_procs_place_is_no_label() {
        let label = Label { apparmor: None, selinux: Some("l".to_owned()) };
        inside(|me| {
            let empty = File::open("/sys")?;
            let error = label.set_key_label(empty.as_fd(), me).unwrap_err();
            let text = "process.selinuxLabel: write /proc/self/attr/keycreate: ENOENT: no such file or directory";
            assert_eq!(error.to_string(), text);
            Ok(())
        });
    }
}
