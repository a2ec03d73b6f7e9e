// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp`: the system calls that the container may make.
//! `Filter::plan` runs in the parent and is pure but for asking the kernel which flags it has; the
//! child only loads the finished program, as late as it can: last before execve with no_new_privs,
//! else before the capabilities go.

mod annotated;
mod arch;
mod args;
mod bpf;
mod compile;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(any(test, fuzzing))]
mod naive;
mod names;
mod profile;
mod rules;
mod saved;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;

use libc::{c_ulong, sock_filter};

use crate::bail;
use crate::error::{Context, Result};
use crate::sys::{self, Inside};
use crate::{log, oci};

pub(crate) use annotated::{is_set, plan};
pub(crate) use arch::known as known_archs;
pub(crate) use profile::{known_actions, known_operators};

use arch::Arch;
use profile::Profile;

/// A profile, ready for seccomp(2).
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) program: Vec<sock_filter>,
    /// `SECCOMP_FILTER_FLAG_*`, the one for a listener included.
    pub(crate) flags: c_ulong,
    /// Who gets the listener: loading returns one.
    pub(crate) listener: Option<Listener>,
}

/// `linux.seccomp.listenerPath` and `listenerMetadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) path: String,
    pub(crate) metadata: String,
}

/// The spec's flags. TSYNC has no bit: creel has one thread, and runc accepts and leaves it out too.
const FLAGS: &[(&str, c_ulong)] = &[
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_LOG", libc::SECCOMP_FILTER_FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
];

pub(crate) fn known_flags() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|row| row.0)
}

/// Whether any architecture has a system call of that name.
pub(crate) fn knows(name: &str) -> bool {
    names::Name::find(name).is_some()
}

/// Those of `known_flags` that this kernel has.
pub(crate) fn supported_flags() -> impl Iterator<Item = &'static str> {
    let is_supported = |flag| flag == 0 || sys::seccomp::flag_is_supported(flag);
    FLAGS.iter().filter(move |row| is_supported(row.1)).map(|row| row.0)
}

impl Filter {
    /// `None`: the profile neither names a default action nor a system call.
    pub(crate) fn plan(profile: &oci::Seccomp<'_>) -> Result<Option<Self>> {
        Self::plan_for(profile, Arch::NATIVE, sys::seccomp::flag_is_supported)
    }

    fn plan_for(
        profile: &oci::Seccomp<'_>,
        native: Arch,
        flag_is_supported: impl Fn(c_ulong) -> bool,
    ) -> Result<Option<Self>> {
        if profile.default_action.is_empty() && profile.syscalls.is_empty() {
            return Ok(None);
        }
        let mut flags = flags(profile.flags.as_deref(), flag_is_supported)?;
        let archs = arch::plan(&profile.architectures, native)?;
        let rules = Profile::plan(profile)?;
        let listener = listener(profile, rules.notifies)?;
        if listener.is_some() {
            flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        }
        let program = compile::compile(&rules, &archs)?;
        Ok(Some(Self { program, flags, listener }))
    }

    /// From here on the program decides, on this process and all that it becomes. The last step
    /// before execve with no_new_privs; else CAP_SYS_ADMIN is needed, and goes after it. Returns the
    /// listener if the profile has one.
    pub(crate) fn load(&self, _: &Inside) -> Result<Option<OwnedFd>> {
        log::debug(|| format!("seccomp filter flags: {}", self.flags));
        sys::seccomp::load(&self.program, self.flags).context(|| "linux.seccomp: load the filter")
    }
}

fn flags(
    listed: Option<&[oci::Str<'_>]>,
    is_supported: impl Fn(c_ulong) -> bool,
) -> Result<c_ulong> {
    let Some(listed) = listed else {
        // Not even an empty list: as runc has it, no mitigation of speculative store bypass.
        let default = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        return Ok(if is_supported(default) { default } else { 0 });
    };
    let mut flags = 0;
    for (at, flag) in listed.iter().enumerate() {
        let Some((_, bit)) = FLAGS.iter().find(|row| *flag == row.0) else {
            bail!("linux.seccomp.flags[{at}]: unknown flag {:?}", flag.as_str());
        };
        if *bit != 0 && !is_supported(*bit) {
            bail!("linux.seccomp.flags[{at}]: this kernel does not support {}", flag.as_str());
        }
        flags |= bit;
    }
    Ok(flags)
}

fn listener(profile: &oci::Seccomp<'_>, notifies: bool) -> Result<Option<Listener>> {
    let (path, metadata) = (profile.listener_path.as_str(), profile.listener_metadata.as_str());
    if !metadata.is_empty() && path.is_empty() {
        bail!("linux.seccomp.listenerMetadata: set without listenerPath");
    }
    if !notifies {
        return Ok(None);
    }
    if path.is_empty() {
        bail!("linux.seccomp.listenerPath: not set, but a rule has SCMP_ACT_NOTIFY");
    }
    Ok(Some(Listener { path: path.to_owned(), metadata: metadata.to_owned() }))
}
