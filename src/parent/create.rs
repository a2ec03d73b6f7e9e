// SPDX-License-Identifier: Apache-2.0
//! `create` and the first half of `run`: a transaction. What is made is made known first, and undone
//! in reverse by whatever fails.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag};

use super::serve;
use super::spawn::{self, Init, Place};
use crate::cgroup::Ways;
use crate::child;
use crate::error::{Context, Result};
use crate::hooks::Hooks;
use crate::plan::Plan;
use crate::signals::Signals;
use crate::state::{Container, FIFO, Status};
use crate::sync::ParentLink;
use crate::sys;
use crate::timings::{self, Step};
use crate::{interrupt, log};

/// A container with its init, which has said that it is ready and waits to be answered; or, in `run`, has
/// its answer and goes on.
#[derive(Debug)]
pub(crate) struct Created {
    // Before `undo`: dropped in this order, init dies before its cgroup is removed.
    pub init: Init,
    pub link: ParentLink,
    undo: Undo,
    /// It goes on without being answered.
    pub is_answered: bool,
}

impl Created {
    pub(crate) fn container(&self) -> &Container {
        self.undo.container()
    }

    /// The container lives on by itself from here.
    ///
    /// # Errors
    /// A signal was faster.
    pub(crate) fn keep(mut self) -> Result<(Container, Init, ParentLink)> {
        interrupt::check()?;
        self.init.detach();
        Ok((self.undo.keep(), self.init, self.link))
    }
}

/// Takes back what has been made, unless the container was taken out of it.
#[derive(Debug)]
pub(crate) struct Undo {
    container: Option<Container>,
    /// Until it has been made, one of that name is somebody else's.
    has_cgroup: bool,
    /// From the clone on, the container has lived: its poststop hooks run.
    hooks: Option<Hooks>,
}

impl Undo {
    pub(crate) fn new(container: Container) -> Self {
        Self { container: Some(container), has_cgroup: false, hooks: None }
    }

    pub(crate) fn container(&self) -> &Container {
        self.container.as_ref().expect("there until `keep`")
    }

    pub(crate) fn container_mut(&mut self) -> &mut Container {
        self.container.as_mut().expect("there until `keep`")
    }

    /// The container lives on by itself.
    pub(crate) fn keep(mut self) -> Container {
        self.container.take().expect("taken only here")
    }

    /// There is a process of the container's: its poststop hooks run from now on.
    pub(crate) fn lives(&mut self, hooks: &Hooks) {
        self.hooks = Some(hooks.clone());
    }

    /// The notify socket, the cgroup, the group of resctrl.
    pub(crate) fn make_surroundings(&mut self, plan: &mut Plan) -> Result<()> {
        let waits_for_start = plan.waits_for_start;
        if let Some(notify) = &mut plan.notify {
            notify.make_dir()?;
            // `create` leaves it to `start`.
            if !waits_for_start {
                notify.listen()?;
            }
        }
        // systemd makes it when the process is there.
        if !plan.cgroup_place.is_units() {
            plan.ways = make_cgroup(plan, self.container_mut())?;
            self.has_cgroup = true;
        }
        make_resctrl(plan, self.container_mut())
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let Some(container) = self.container.take() else { return };
        let undone = match self.has_cgroup || container.facts.cgroup.has_unit() {
            true => crate::commands::delete::release(&container),
            false => container.remove(),
        };
        if let Err(error) = undone {
            log::warn(&format!("undo create: {error}"));
        }
        if let Some(hooks) = &self.hooks {
            hooks.run_poststop(&container.oci_state(Status::Stopped, 0));
        }
    }
}

/// Makes the state directory, the cgroup and the clone, and serves it until it is ready.
pub(crate) fn create(
    mut plan: Plan,
    root: &Path,
    config: &str,
    signals: Option<&Signals>,
) -> Result<(Created, Plan)> {
    // From here on there is something to undo.
    interrupt::catch()?;
    let container =
        Container::create(root, plan.facts.clone(), config, || plan.cgroup_place.check_unused())?;
    let mut undo = Undo::new(container);
    timings::step(Step::StateDirectory);
    undo.make_surroundings(&mut plan)?;
    timings::step(Step::Cgroup);
    let fifo = plan.waits_for_start.then(|| make_fifo(undo.container())).transpose()?;
    let cgroup = plan.ways.into.take();
    let time_offsets = plan.time_offsets.text().map(str::to_owned);
    let place = Place {
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
        comes_later: plan.cgroup_place.is_units(),
        time_offsets: time_offsets.as_deref(),
    };
    let entry = Rc::clone(&plan.entry);
    let lock = sys::fd::number(undo.container().dir().as_fd());
    let (mut init, link) = spawn::spawn(&entry, &place, |link, me, born| {
        plan.born = born;
        // The lock is of whoever has the descriptor: this copy must not hold it for the container.
        sys::fd::close_inherited(lock);
        child::main(link, fifo, &me, |voice, me| {
            signals.map_or(Ok(()), |signals| signals.restore(me))?;
            if plan.is_answered_ahead(plan.born) {
                voice.expect_answer();
            }
            child::create::run(&mut plan, voice, me)
        })
    })?;
    timings::step(Step::Clone);
    undo.lives(&plan.hooks);
    interrupt::watch(link.fd());
    let container = undo.container_mut();
    container.record_init(init.pid)?;
    serve::join_resctrl(container, &init)?;
    timings::step(Step::Record);
    log::debug(|| format!("init is process {}", init.pid));
    let is_answered = plan.is_answered_ahead(init.born);
    serve::until_ready(&mut plan, container, &mut init, &link)?;
    Ok((Created { init, link, undo, is_answered }, plan))
}

/// exec.fifo, which says `created` while it is there. Opened now, as the clone cannot reach it later:
/// for reading the byte of `start`, and for writing why the program could not be executed.
fn make_fifo(container: &Container) -> Result<OwnedFd> {
    let dir = container.dir();
    let mode = Mode::from_bits_truncate(0o600);
    let doing = || format!("make {:?}", container.path().join(FIFO));
    nix::sys::stat::mknodat(dir, FIFO, SFlag::S_IFIFO, mode, 0).context(doing)?;
    openat(dir, FIFO, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).context(doing)
}

fn make_resctrl(plan: &mut Plan, container: &mut Container) -> Result<()> {
    let Some(rdt) = &mut plan.resctrl else { return Ok(()) };
    let outcome = rdt.create();
    // Also after a failure: what turned out to be somebody else's must not be removed.
    if container.facts.resctrl.as_ref() != Some(rdt.group()) {
        container.facts.resctrl = Some(rdt.group().clone());
        container.save()?;
    }
    outcome
}

fn make_cgroup(plan: &mut Plan, container: &mut Container) -> Result<Ways> {
    let ways = match plan.cgroup_place.create(&plan.cgroup) {
        // Words that runc's own suite looks for.
        Err(error)
            if plan.cgroup_place.is_rootless()
                && matches!(error.errno(), Some(Errno::EACCES | Errno::EPERM)) =>
        {
            return Err(error).context(|| "unable to apply cgroup configuration");
        }
        outcome => outcome?,
    };
    if container.facts.cgroup != plan.cgroup_place {
        container.facts.cgroup = plan.cgroup_place.clone();
        container.save()?;
    }
    if container.facts.cgroup.is_none() && !container.facts.own_pid_namespace {
        log::warn(
            "without a cgroup (rootless) and without a pid namespace of its own, not all processes of \
             the container can be found and killed. Such configuration is strongly discouraged",
        );
    }
    Ok(ways)
}
