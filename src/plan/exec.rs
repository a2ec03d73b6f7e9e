// SPDX-License-Identifier: Apache-2.0
//! The plan of `exec`, from the config that `create` saved.

use std::os::fd::OwnedFd;

use crate::cgroup::{ExecCgroup, SubCgroups};
use crate::child::keyring::Keyring;
use crate::child::process::fds::Fds;
use crate::child::process::terminal::Receiver;
use crate::child::process::{Process, ProcessRequest};
use crate::child::seccomp::{self, Filter};
use crate::child::tail::Finish;
use crate::error::{Context, Result};
use crate::limits::Limits;
use crate::namespace::{self, Entry, KINDS, is_own};
use crate::oci;
use crate::parent::affinity::Affinity;
use crate::parent::spawn::Born;
use crate::state::Container;

/// What the command line adds.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub fds: Fds,
    /// Who gets the terminal.
    pub console: Option<Receiver>,
    pub cgroups: &'a SubCgroups,
}

/// A process to be.
#[derive(Debug)]
pub(crate) struct Plan {
    pub entry: Entry,
    /// All namespaces to join at once through init's pidfd.
    pub join: u64,
    pub init: OwnedFd,
    /// Not placed: it waits until it is. Where the parent was not allowed to enter the pid namespace,
    /// the process does, and clones once more.
    pub born: Born,
    /// The root directory, where no mount namespace leads to it.
    pub root: Option<OwnedFd>,
    pub root_ids: Option<(u32, u32)>,
    pub keyring: Option<Keyring>,
    pub process: Process,
    pub finish: Finish,
    pub affinity: Affinity,
    pub cgroup: ExecCgroup,
}

impl Plan {
    pub(crate) fn new(
        container: &Container,
        spec: &oci::Spec<'_>,
        process: &oci::Process<'_>,
        request: Request<'_>,
    ) -> Result<Self> {
        let none = oci::Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        let way = Way::plan(container, spec, process)?;
        let has_user = way.entry.joins_user;
        let limits = Limits::plan(process)?;
        let filter = filter(container, spec)?;
        Ok(Self {
            entry: way.entry,
            join: way.join,
            born: Born::default(),
            root: way.root,
            root_ids: way.root_ids,
            keyring: Keyring::plan(&container.facts.id, container.facts.no_new_keyring, has_user)?,
            affinity: Affinity::plan(process)?,
            cgroup: container
                .facts
                .cgroup
                .for_exec(Some(nix::unistd::Pid::from_raw(container.facts.pid)), request.cgroups)?,
            process: Process::plan(
                process,
                Some(linux),
                ProcessRequest {
                    has_user_namespace: has_user,
                    keeps_groups: super::keeps_groups(spec),
                    fds: request.fds,
                    console: request.console,
                    env: Vec::new(),
                },
            )?,
            finish: Finish::new(filter, limits, None),
            init: way.init,
        })
    }
}

/// Into the namespaces of a running container.
#[derive(Debug)]
pub(crate) struct Way {
    pub entry: Entry,
    /// All namespaces to join at once through init's pidfd.
    pub join: u64,
    pub init: OwnedFd,
    /// The root directory, where no mount namespace leads to it.
    pub root: Option<OwnedFd>,
    pub root_ids: Option<(u32, u32)>,
}

impl Way {
    pub(crate) fn plan(
        container: &Container,
        spec: &oci::Spec<'_>,
        process: &oci::Process<'_>,
    ) -> Result<Self> {
        let none = oci::Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        let init = container.init_pidfd()?;
        let pid = container.facts.pid;
        let has_user = linux.namespaces.iter().any(|ns| ns.kind == namespace::USER.oci);
        let mut join = 0;
        for ns in &linux.namespaces {
            let kind = KINDS.into_iter().find(|kind| kind.oci == &*ns.kind);
            join |= kind.map_or(0, |kind| kind.flag);
        }
        if container.facts.has_time_namespace {
            join |= namespace::TIME.flag;
        }
        if join & namespace::USER.flag != 0 && is_own(pid, &namespace::USER)? {
            join &= !namespace::USER.flag;
        }
        let mut entry = Entry::default();
        if join & namespace::PID.flag != 0 {
            entry.pid = Some(init.try_clone().context(|| "dup")?);
            join &= !namespace::PID.flag;
        }
        let root = match join & namespace::MOUNT.flag {
            0 => Some(open_root(pid)?),
            _ => None,
        };
        let has_user = has_user && join & namespace::USER.flag != 0;
        entry.joins_user = has_user;
        entry.is_nested = entry.pid.is_some() && namespace::is_in_user_namespace();
        let root_ids = has_user.then(|| super::root_ids(linux, process));
        Ok(Self { entry, join, init, root, root_ids })
    }
}

/// The filter of the container's own process: the first exec compiles it again and saves it. To read
/// it back takes a fourteenth of the time (docs/benchmarks.md); a container without exec pays nothing.
fn filter(container: &Container, spec: &oci::Spec<'_>) -> Result<Option<Filter>> {
    if !seccomp::is_set(spec) {
        return Ok(None);
    }
    let saved = container.saved_filter();
    if let Some(filter) = saved.as_deref().and_then(Filter::from_bytes) {
        return Ok(Some(filter));
    }
    let filter = seccomp::plan(spec)?;
    if let Some(filter) = &filter {
        container.save_filter(&filter.to_bytes());
    }
    Ok(filter)
}

fn open_root(pid: i32) -> Result<OwnedFd> {
    use nix::fcntl::{OFlag, open};
    let path = format!("/proc/{pid}/root");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path.as_str(), flags, nix::sys::stat::Mode::empty()).context(|| format!("open {path}"))
}
