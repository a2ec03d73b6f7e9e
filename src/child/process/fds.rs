// SPDX-License-Identifier: Apache-2.0
//! `--preserve-fds`, LISTEN_FDS: which descriptors the program gets beyond the standard three.
//! `claim` in the parent, at start; `apply` in the child, as close to execve as seccomp lets it.

use std::ffi::OsString;

use nix::errno::Errno;
use nix::unistd::getpid;

use crate::bail;
use crate::error::{Context, Result};
use crate::sys::{Inside, fd};

/// How many descriptors from 3 on stay open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fds {
    count: u32,
    /// What tells the program of them: LISTEN_FDS and so on.
    env: Vec<String>,
}

/// systemd's socket activation, as sd_listen_fds(3) has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listen {
    count: u32,
    names: Option<String>,
}

/// The first after the standard streams; systemd's descriptors start there too.
const FIRST: u32 = 3;

impl Listen {
    /// Meant for this process only if LISTEN_PID says so.
    pub(crate) fn from_env(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let pid = text("LISTEN_PID").and_then(|pid| pid.parse().ok());
        let count = text("LISTEN_FDS").and_then(|count| count.parse::<i32>().ok());
        match count.and_then(|count| u32::try_from(count).ok()) {
            Some(count) if count > 0 && pid == Some(getpid().as_raw()) => {
                Self { count, names: text("LISTEN_FDNAMES").filter(|names| !names.is_empty()) }
            }
            _ => Self::default(),
        }
    }
}

impl Fds {
    /// Checks that all are there, and closes everything else that was inherited to whatever will be
    /// executed. Descriptors that creel opens are close-on-exec from birth.
    pub(crate) fn claim(preserve: u32, listen: &Listen) -> Result<Self> {
        for number in FIRST..FIRST.saturating_add(listen.count) {
            if !is_inherited(number) {
                bail!("LISTEN_FDS: descriptor {number} is not open");
            }
        }
        let base = FIRST + listen.count;
        for i in 0..preserve {
            if !base.checked_add(i).is_some_and(is_inherited) {
                bail!("--preserve-fds: unable to stat preserved-fd {i} (of {preserve})");
            }
        }
        let count = listen.count + preserve;
        close_the_rest(FIRST + count)?;
        let mut env = Vec::new();
        if listen.count > 0 {
            env.push(format!("LISTEN_FDS={}", listen.count));
            env.push("LISTEN_PID=1".to_owned());
            env.extend(listen.names.iter().map(|names| format!("LISTEN_FDNAMES={names}")));
        }
        Ok(Self { count, env })
    }

    /// For the program, behind `process.env`.
    pub(crate) fn env(&self) -> &[String] {
        &self.env
    }

    /// The first number that is not the program's.
    pub(crate) fn end(&self) -> u32 {
        FIRST + self.count
    }

    /// Once more, so that nothing opened since can have slipped through (CVE-2024-21626).
    pub(crate) fn apply(&self, _: &Inside) -> Result<()> {
        match fd::close_range_cloexec(FIRST + self.count) {
            // KERNEL(5.11): `claim` has done it by /proc, and what came later is creel's own.
            Ok(()) | Err(Errno::ENOSYS | Errno::EINVAL) => Ok(()),
            Err(errno) => Err(errno).context(|| "close descriptors"),
        }
    }
}

fn is_inherited(number: u32) -> bool {
    i32::try_from(number).is_ok_and(fd::is_inherited)
}

fn close_the_rest(first: u32) -> Result<()> {
    match fd::close_range_cloexec(first) {
        Err(Errno::ENOSYS | Errno::EINVAL) => close_by_proc(first),
        other => other.context(|| "close descriptors"),
    }
}

/// KERNEL(5.11): drop when close_range's flag can be assumed.
fn close_by_proc(first: u32) -> Result<()> {
    let context = || "close descriptors: /proc/self/fd";
    let listed = std::fs::read_dir("/proc/self/fd").context(context)?;
    let names = listed.map(|entry| Ok(entry?.file_name()));
    for name in names.collect::<Result<Vec<_>>>().context(context)? {
        let number = name.to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(number) = number.filter(|&n| n.cast_unsigned() >= first) else { continue };
        match fd::set_cloexec_number(number) {
            // The listing's own descriptor is gone.
            Ok(()) | Err(Errno::EBADF) => {}
            Err(errno) => return Err(errno).context(|| format!("close descriptor {number}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::testing::inside;

    fn listen(pid: &str, fds: &str, names: Option<&str>) -> Listen {
        Listen::from_env(|name| match name {
            "LISTEN_PID" => Some(pid.into()),
            "LISTEN_FDS" => Some(fds.into()),
            _ => names.map(Into::into),
        })
    }

    #[test]
    fn listen_fds_are_taken_only_when_meant_for_us() {
        let me = getpid().to_string();
        assert_eq!(listen(&me, "2", Some("a:b")), Listen { count: 2, names: Some("a:b".into()) });
        assert_eq!(listen("1", "2", None), Listen::default());
        assert_eq!(listen(&me, "-2", None), Listen::default());
        assert_eq!(listen(&me, "x", None), Listen::default());
        assert_eq!(Listen::from_env(|_| None), Listen::default());
    }

    /// Descriptors 3 and 4 as a caller would hand them over, 5 of our own.
    fn with_three(body: impl FnOnce(&Inside) -> Result<()>) {
        inside(|me| {
            let null = std::fs::File::open("/dev/null")?;
            let high = null.as_fd().try_clone_to_owned()?;
            for number in 3..=5 {
                fd::dup_to(high.as_fd(), number)?;
            }
            fd::set_cloexec_number(5)?;
            body(me)
        });
    }

    #[test]
    fn preserved_descriptors_stay_and_others_do_not() {
        with_three(|me| {
            let listen = Listen { count: 1, names: None };
            let fds = Fds::claim(1, &listen)?;
            assert_eq!(fds.env(), ["LISTEN_FDS=1", "LISTEN_PID=1"]);
            fds.apply(me)?;
            assert!(fd::is_inherited(3) && fd::is_inherited(4));
            let fds = Fds::claim(1, &Listen::default())?;
            fds.apply(me)?;
            assert!(fd::is_inherited(3) && !fd::is_inherited(4));
            Ok(())
        });
    }

    #[test]
    fn a_descriptor_of_our_own_is_not_one_to_preserve() {
        with_three(|_| {
            let error = Fds::claim(3, &Listen::default()).unwrap_err();
            let text = "--preserve-fds: unable to stat preserved-fd 2 (of 3)";
            assert_eq!(error.to_string(), text);
            let error = Fds::claim(0, &Listen { count: 3, names: None }).unwrap_err();
            assert_eq!(error.to_string(), "LISTEN_FDS: descriptor 5 is not open");
            Ok(())
        });
    }

    #[test]
    fn without_close_range_proc_does_it() {
        with_three(|_| {
            close_by_proc(4)?;
            assert!(fd::is_inherited(3) && !fd::is_inherited(4) && fd::is_open(4));
            Ok(())
        });
    }
}
