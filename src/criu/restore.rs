// SPDX-License-Identifier: Apache-2.0
//! A container from images: the transaction of `create`, in which CRIU makes the processes.
//!
//! ```text
//!   creel                                       criu, in the container's cgroup
//!   state directory, cgroup, mount points
//!   request                               ──▶
//!                                         ◀──   setup-namespaces    lo up, netDevices, prestart and
//!                                               createRuntime hooks
//!                                         ◀──   orphan-pts-master   the terminal, to its receiver
//!                                         ◀──   post-restore        limits that come late; pid recorded
//!                                         ◀──   answer              the processes run
//! ```
//! What fails is told to CRIU where it waits, which then kills the processes that it has made.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

use nix::unistd::Pid;

use super::root::Root;
use super::rpc::{self, Kind, opts, request};
use super::swrk::{self, Event, Start, Worker};
use super::wire::Message;
use super::{Directories, excerpt, external, stdio, tell};
use crate::bail;
use crate::cli::args;
use crate::error::{Context, Error, Result};
use crate::hooks::{DefaultEnv, Point};
use crate::namespace::{Entry, MOUNT, TIME};
use crate::parent::create::Undo;
use crate::parent::netdev;
use crate::parent::serve;
use crate::parent::spawn::{Init, Place};
use crate::plan::Plan;
use crate::signals::Signals;
use crate::state::{Container, Status};
use crate::{interrupt, log};

const LOG: &str = "restore.log";

/// The first version in which a changed profile is applied to every task.
const LSM: u32 = 3_16_00;

/// A container whose processes run.
#[derive(Debug)]
pub(crate) struct Restored {
    // Before `undo`: dropped in this order, init dies before its cgroup is removed.
    pub init: Init,
    undo: Undo,
}

impl Restored {
    /// The container lives on by itself from here.
    ///
    /// # Errors
    /// A signal was faster.
    pub(crate) fn keep(mut self) -> Result<(Container, Init)> {
        interrupt::check()?;
        self.init.detach();
        Ok((self.undo.keep(), self.init))
    }
}

/// # Errors
/// Nothing is left of it.
pub(crate) fn restore(
    mut plan: Plan,
    root: &Path,
    config: &str,
    options: &args::Restore,
    signals: Option<&Signals>,
) -> Result<(Restored, Plan)> {
    super::warn_rootless("restore");
    let directories = Directories::open(&options.criu, LOG)?;
    let program = swrk::find()?;
    interrupt::catch()?;
    let container =
        Container::create(root, plan.facts.clone(), config, || plan.cgroup_place.check_unused())?;
    let mut undo = Undo::new(container);
    undo.make_surroundings(&mut plan)?;
    let mut place = Root::make(undo.container().path())?;
    let mut worker = start(&program, &mut plan, undo.container_mut(), &place, signals)?;
    let directories = directories.of(worker.process().pid)?;
    let message = message(&plan, options, &directories, &mut place, &worker)?;
    let mut made = Made { plan: &plan, undo: &mut undo, init: None };
    let answer = worker.call(&message, &mut |event| made.on_event(event));
    let init = made.init.take();
    let outcome = answer.and_then(|answer| match (worker.finish()?, answer.pid, init) {
        (0, Some(_), Some(init)) => Ok(init),
        (0, Some(pid), None) => bail!("criu did not say that {pid} is restored"),
        (0, None, _) => bail!("criu does not say which process it has restored"),
        (status, ..) => bail!("criu ended: exit status {status}"),
    });
    let init = outcome.inspect_err(|_| excerpt::show(&directories.log))?;
    place.remove()?;
    Ok((Restored { init, undo }, plan))
}

/// In the cgroup where the processes are to be, since they are its children.
fn start(
    program: &CString,
    plan: &mut Plan,
    container: &mut Container,
    root: &Root,
    signals: Option<&Signals>,
) -> Result<Worker> {
    // With systemd there is no cgroup yet: it makes one around the worker.
    let cgroup = plan.ways.into.take();
    let start = Start {
        entry: Entry { clone: MOUNT.flag, ..Entry::default() },
        place: Place { cgroup: cgroup.as_ref().map(AsFd::as_fd), ..Place::default() },
        inherit: external::inherited(&plan.entry),
        has_stdio: true,
        signals,
    };
    let worker = Worker::start(program, &start, |me| {
        plan.ways.doors.enter(me)?;
        root.prepare(&plan.rootfs, me)
    })?;
    serve::place(plan, container, worker.process())?;
    serve::join_resctrl(container, worker.process())?;
    Ok(worker)
}

fn message(
    plan: &Plan,
    restore: &args::Restore,
    directories: &Directories,
    place: &mut Root,
    worker: &Worker,
) -> Result<Message> {
    let mut options = Message::default();
    directories.tell(&mut options, LOG);
    tell(&mut options, &restore.criu, &plan.facts);
    options
        .set(opts::ROOT, place.path())
        .set(opts::RST_SIBLING, true)
        .set(opts::EVASIVE_DEVICES, true);
    if restore.tcp_close {
        options.set(opts::TCP_CLOSE, true);
    }
    if let Some(profile) = &restore.lsm_profile {
        worker.needs(LSM, "--lsm-profile")?;
        options.set(opts::LSM_PROFILE, profile.as_str());
    }
    if let Some(context) = &restore.lsm_mount_context {
        worker.needs(LSM, "--lsm-mount-context")?;
        options.set(opts::LSM_MOUNT_CONTEXT, context.as_str());
    }
    cgroup_roots(&mut options, worker.process().pid)?;
    external::tell_restore(&mut options, &plan.entry, worker)?;
    stdio::tell(&mut options, &directories.images)?;
    for (key, value) in place.found()? {
        let pair = [(rpc::KEY, key.as_str().into()), (rpc::VAL, value.as_path().into())];
        options.set(opts::EXT_MNT, Message::of(pair));
    }
    let mut message = rpc::request(Kind::Restore);
    message.set(request::OPTS, options);
    Ok(message)
}

/// Each controller's cgroup, where the worker is, stands for what was the container's in the images.
fn cgroup_roots(options: &mut Message, worker: Pid) -> Result<()> {
    let path = format!("/proc/{worker}/cgroup");
    let text = std::fs::read_to_string(&path).context(|| format!("read {path}"))?;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(cgroup)) = (parts.next(), parts.next()) else {
            return Err(Error::text(format!("{path}: {line:?}")));
        };
        for controller in controllers.split(',') {
            let root = [(rpc::CTRL, controller.into()), (rpc::PATH, cgroup.into())];
            options.set(opts::CG_ROOT, Message::of(root));
        }
    }
    Ok(())
}

/// What has come about while CRIU works.
struct Made<'a> {
    plan: &'a Plan,
    undo: &'a mut Undo,
    init: Option<Init>,
}

impl Made<'_> {
    fn on_event(&mut self, event: Event) -> Result<()> {
        match (event.notify.script.as_str(), event.notify.pid) {
            ("setup-namespaces", Some(pid)) => self.set_up(Pid::from_raw(pid)),
            ("post-restore", Some(pid)) => self.record(Pid::from_raw(pid)),
            ("orphan-pts-master", _) => match (&self.plan.process.terminal, event.fd) {
                (Some(terminal), Some(master)) => terminal.hand_over(master.as_fd()),
                (_, None) => bail!("criu sent no terminal"),
                (None, Some(_)) => {
                    bail!("process.terminal: false, but the images are of a container with one")
                }
            },
            _ => Ok(()),
        }
    }

    /// Its namespaces are there, its memory is not yet.
    fn set_up(&mut self, pid: Pid) -> Result<()> {
        let Self { plan, undo, .. } = self;
        undo.lives(&plan.hooks);
        if plan.new_network {
            netdev::loopback_up(pid)?;
            plan.net_devices.apply(pid)?;
        }
        let state = undo.container().oci_state(Status::Created, pid.as_raw());
        plan.hooks.run(Point::Prestart, &state, &DefaultEnv::Own)?;
        plan.hooks.run(Point::CreateRuntime, &state, &DefaultEnv::Own)
    }

    /// All of its processes are there, and stand still.
    fn record(&mut self, pid: Pid) -> Result<()> {
        self.plan.cgroup_place.apply_late(&self.plan.cgroup)?;
        let init = self.init.insert(Init::adopt(pid)?);
        let container = self.undo.container_mut();
        container.facts.has_time_namespace = !is_ours(pid, TIME.proc)?;
        container.record_init(init.pid)?;
        log::debug(|| format!("restored init is process {pid}"));
        Ok(())
    }
}

/// Whether a process is in this process's own namespace of that kind; also if there is no such kind.
fn is_ours(pid: Pid, kind: &str) -> Result<bool> {
    let read = |who: &str| match std::fs::read_link(format!("/proc/{who}/ns/{kind}")) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| format!("read the {kind} namespace of {who}")),
    };
    Ok(read("self")? == read(&pid.to_string())?)
}
