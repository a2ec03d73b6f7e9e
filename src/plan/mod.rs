// SPDX-License-Identifier: Apache-2.0
//! config.json with every decision taken, in the order of application. Everything that can be refused
//! is refused here, before anything exists; the clone only executes it.

pub(crate) mod exec;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::annotations;
use crate::bail;
use crate::bundle::Bundle;
use crate::cgroup::{self, Cgroup, CgroupPlan, Hierarchies, Manager, Ways};
use crate::child::keyring::Keyring;
use crate::child::process::fds::Fds;
use crate::child::process::terminal::Receiver;
use crate::child::process::{Process, ProcessRequest};
use crate::child::rootfs::{self, CgroupView, HostRoot, Rootfs, V1Mount};
use crate::child::seccomp;
use crate::child::sysctl::Sysctl;
use crate::child::tail::Finish;
use crate::child::uts::Uts;
use crate::criu::stdio;
use crate::error::Result;
use crate::hooks::{Hooks, Point};
use crate::limits::Limits;
use crate::namespace::{self, Entry, Namespaces};
use crate::notify_socket::NotifySocket;
use crate::oci;
use crate::parent::affinity::Affinity;
use crate::parent::ids::IdMaps;
use crate::parent::netdev::NetDevices;
use crate::parent::resctrl::Resctrl;
use crate::parent::spawn::Born;
use crate::parent::time::TimeOffsets;
use crate::rules;
use crate::state::{Container, Facts, Status, oci_state};

/// What the command line adds to the config.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub id: &'a str,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    pub fds: Fds,
    pub cgroup_manager: Manager,
    pub rootless: Option<bool>,
    /// Who gets the terminal: the peer of `--console-socket`, or creel in the foreground.
    pub console: Option<Receiver>,
    /// The program waits for `start` (create), else for the parent (run).
    pub waits_for_start: bool,
    /// The service manager waits for the container's readiness.
    pub notify: Option<NotifySocket>,
    /// Somebody is told of init before the program runs: `--pid-file`, `--pidfd-socket`, crun's annotation.
    pub is_announced: bool,
}

/// A container to be.
#[derive(Debug)]
pub(crate) struct Plan {
    pub entry: Rc<Entry>,
    /// Ids to take in the user namespace before anything is made.
    pub root_ids: Option<(u32, u32)>,
    pub maps: Option<IdMaps>,
    pub time_offsets: TimeOffsets,
    pub cgroup: CgroupPlan,
    pub cgroup_place: Cgroup,
    pub waits_for_start: bool,
    /// Into the cgroups, when they have been made.
    pub ways: Ways,
    pub resctrl: Option<Resctrl>,
    pub born: Born,
    pub net_devices: NetDevices,
    pub keyring: Option<Keyring>,
    pub new_network: bool,
    pub rootfs: Rootfs,
    pub hooks: Hooks,
    /// net devices, prestart or createRuntime: the child asks for them.
    pub needs_parent_hooks: bool,
    is_announced: bool,
    pub uts: Uts,
    pub sysctl: Sysctl,
    pub process: Process,
    pub finish: Finish,
    pub facts: Facts,
    pub notify: Option<NotifySocket>,
}

impl Plan {
    /// Reads, validates and resolves; opens what the clone needs. Makes nothing.
    pub(crate) fn create(
        bundle: &Bundle,
        spec: &oci::Spec<'_>,
        request: Request<'_>,
    ) -> Result<Self> {
        let none = oci::Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        rules::check(spec)?;
        let process = spec.process.as_ref().expect("rules::check wants a process");
        let namespaces = Namespaces::plan(&linux.namespaces)?;
        let has_user = namespaces.has(&namespace::USER);
        let root = HostRoot::open(spec, &bundle.dir)?;

        let cgroup = plan_cgroup(spec, linux, &request)?;
        let place = cgroup.place();
        let maps = namespaces.is_new(&namespace::USER).then(|| IdMaps::plan(linux)).transpose()?;
        if let Some(maps) = &maps {
            maps.cover(&process.user)?;
        }
        let rootfs = plan_rootfs((bundle, spec), &root, &request, &namespaces, &place)?;
        let hooks = plan_hooks(bundle, spec)?;
        let net_devices = NetDevices::plan(linux)?;
        let resctrl = Resctrl::plan(linux, request.id)?;
        let facts = Facts {
            resctrl: resctrl.as_ref().map(|rdt| rdt.group().clone()),
            own_pid_namespace: namespaces.is_new(&namespace::PID),
            has_poststart: hooks.has(Point::Poststart),
            has_poststop: hooks.has(Point::Poststop),
            no_new_keyring: request.no_new_keyring,
            ..facts(bundle, spec, request.id, &root.path, place)
        };
        let filter = seccomp::plan(spec)?;
        let start_hooks = hooks.has(Point::StartContainer).then(|| (hooks.clone(), facts.clone()));
        let limits = Limits::plan(process)?;
        // For `exec` only, but what is wrong with it is wrong now.
        Affinity::plan(process)?;
        let env = request.notify.iter().map(|_| NotifySocket::env()).collect();
        let (fds, console) = (request.fds, request.console);
        let keeps_groups = keeps_groups(spec);
        let outside =
            ProcessRequest { has_user_namespace: has_user, keeps_groups, fds, console, env };
        Ok(Self {
            root_ids: has_user.then(|| root_ids(linux, process)),
            time_offsets: TimeOffsets::plan(linux)?,
            ways: Ways::default(),
            born: Born::default(),
            new_network: namespaces.is_new(&namespace::NETWORK),
            uts: Uts::plan(spec)?,
            finish: Finish::new(filter, limits, start_hooks),
            entry: Rc::new(namespaces.entry()),
            cgroup_place: facts.cgroup.clone(),
            waits_for_start: request.waits_for_start,
            process: Process::plan(process, Some(linux), outside)?,
            maps,
            cgroup,
            needs_parent_hooks: has_parent_hooks(&hooks) || !net_devices.is_empty(),
            is_announced: request.is_announced,
            net_devices,
            resctrl,
            keyring: Keyring::plan(request.id, request.no_new_keyring, has_user)?,
            rootfs,
            hooks,
            sysctl: Sysctl::plan(spec)?,
            facts,
            notify: request.notify,
        })
    }

    /// Whether nothing is left to do outside once init has been recorded: its one question is then
    /// answered before it is asked, and neither side wakes the other up for it.
    pub(crate) fn is_answered_ahead(&self, born: Born) -> bool {
        let asks = self.entry.needs_map
            || self.entry.refork
            || self.needs_parent_hooks
            || born.owes_pid
            || !born.is_placed;
        !self.waits_for_start
            && !asks
            && !self.is_announced
            && !self.cgroup.has_late_work()
            && !self.finish.notifies()
    }

    /// The state as hooks get it.
    pub(crate) fn hook_state(&self, status: Status, pid: i32) -> String {
        oci_state(&self.facts, status, pid)
    }
}

fn plan_hooks(bundle: &Bundle, spec: &oci::Spec<'_>) -> Result<Hooks> {
    let mut hooks = Hooks::plan(spec.hooks.as_ref())?;
    hooks.write_to(&bundle.dir, |name| annotations::get(spec, name))?;
    Ok(hooks)
}

fn has_parent_hooks(hooks: &Hooks) -> bool {
    hooks.has(Point::Prestart) || hooks.has(Point::CreateRuntime)
}

fn plan_cgroup(
    spec: &oci::Spec<'_>,
    linux: &oci::Linux<'_>,
    request: &Request<'_>,
) -> Result<CgroupPlan> {
    if request.cgroup_manager == Manager::Disabled {
        return CgroupPlan::disabled(&Hierarchies::detect()?, linux.resources.as_ref());
    }
    let is_systemd = request.cgroup_manager == Manager::Systemd;
    let mut plan = CgroupPlan::new(
        &Hierarchies::detect()?,
        &cgroup::Request {
            id: request.id,
            cgroups_path: &linux.cgroups_path,
            resources: linux.resources.as_ref(),
            nodes: &linux.devices,
            owner: cgroup::plan_owner(spec, linux),
            strict_devices: rules::is_set(spec, rules::STRICT_DEVICES),
            systemd: is_systemd,
            rootless: request.rootless.unwrap_or_else(|| is_rootless(is_systemd)),
        },
    )?;
    plan.annotate(&spec.annotations)?;
    Ok(plan)
}

/// `--rootless auto`, by runc's rule: whether cgroups may be out of reach. systemd's manager in a user
/// namespace may be root's there, or that of the user whose namespace it is.
fn is_rootless(systemd: bool) -> bool {
    !nix::unistd::geteuid().is_root()
        || namespace::is_in_user_namespace() && (!systemd || cgroup::is_users_session())
}

/// crun's annotation, which Podman's `--group-add keep-groups` sets: being there is enough.
fn keeps_groups(spec: &oci::Spec<'_>) -> bool {
    spec.annotations.contains_key(annotations::KEEP_GROUPS)
}

/// The cgroup that a container of this config has been given, limits aside.
///
/// # Errors
/// A config that cannot be understood; a path below the cgroup of whoever ran `create`, which is not
/// known any more.
pub(crate) fn cgroup_of_config(config: &str, id: &str, manager: Manager) -> Result<Cgroup> {
    let systemd = manager == Manager::Systemd;
    let spec: oci::Spec<'_> = oci::parse(config)?;
    let path = spec.linux.map(|linux| linux.cgroups_path).unwrap_or_default();
    if path.is_empty() {
        bail!("linux.cgroupsPath is empty: the cgroup depends on who ran create");
    }
    let request = cgroup::Request {
        id,
        cgroups_path: &path,
        resources: None,
        nodes: &[],
        strict_devices: false,
        owner: None,
        systemd,
        rootless: is_rootless(systemd),
    };
    CgroupPlan::new(&Hierarchies::detect()?, &request).map(|plan| plan.place())
}

fn plan_rootfs(
    (bundle, spec): (&Bundle, &oci::Spec<'_>),
    root: &HostRoot,
    request: &Request<'_>,
    namespaces: &Namespaces,
    place: &Cgroup,
) -> Result<Rootfs> {
    let none = oci::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&none);
    let notify: Vec<_> = request.notify.iter().map(NotifySocket::mount).collect();
    Rootfs::plan(
        spec,
        &rootfs::Request {
            bundle: &bundle.dir,
            root,
            new_user_namespace: namespaces.has(&namespace::USER),
            joined_user_namespace: namespaces.joined_fd(&namespace::USER),
            new_cgroup_namespace: namespaces.is_new(&namespace::CGROUP),
            mount_namespace: namespaces.has(&namespace::MOUNT),
            no_pivot: request.no_pivot,
            cgroups: view(place),
            uid_map: &linux.uid_mappings,
            gid_map: &linux.gid_mappings,
            extra_mounts: &notify,
        },
    )
}

fn facts(bundle: &Bundle, spec: &oci::Spec<'_>, id: &str, rootfs: &Path, place: Cgroup) -> Facts {
    let annotations =
        spec.annotations.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Facts {
        annotations: annotations.collect(),
        pipes: stdio::plan(),
        ..Container::new_facts(id, &bundle.dir, rootfs, place)
    }
}

/// Root's ids in the user namespace where they are mapped, else those of the process.
fn root_ids(linux: &oci::Linux<'_>, process: &oci::Process<'_>) -> (u32, u32) {
    let has_root =
        |maps: &[oci::IdMapping]| maps.is_empty() || maps.iter().any(|m| m.container_id == 0);
    let uid = if has_root(&linux.uid_mappings) { 0 } else { process.user.uid };
    let gid = if has_root(&linux.gid_mappings) { 0 } else { process.user.gid };
    (uid, gid)
}

pub(crate) fn view(place: &Cgroup) -> CgroupView {
    let view = place.mount_view();
    CgroupView {
        v2: view.v2.map(PathBuf::from),
        optional: view.optional,
        v1: view
            .v1
            .into_iter()
            .map(|v1| V1Mount {
                dir: v1.name,
                links: v1.links,
                host: PathBuf::from(v1.dir),
                instead: v1.instead.map(PathBuf::from),
                optional: v1.optional,
            })
            .collect(),
    }
}
