// SPDX-License-Identifier: Apache-2.0
//! `create` and `run`.

use std::path::Path;

use super::{code, delete, start};
use crate::ExitCode;
use crate::annotations::{self, PIDFD_RECEIVER};
use crate::bundle::Bundle;
use crate::child::process::fds::{Fds, Listen};
use crate::child::process::terminal::{Receiver, connect_console_socket};
use crate::cli::args::{self, Globals};
use crate::error::{Context, Result};
use crate::interrupt;
use crate::log;
use crate::notify_socket::NotifySocket;
use crate::oci;
use crate::parent::create::{self, Created};
use crate::parent::foreground::{self, Foreground};
use crate::parent::seccomp_agent::Agent;
use crate::parent::serve;
use crate::pidfiles;
use crate::plan::{Plan, Request};
use crate::seal;
use crate::state::{Container, check_id};
use crate::timings::{self, Step};

/// The bundle is the working directory while the container is made: relative sources are its own.
pub(super) fn open_bundle(create: &args::Create) -> Result<Bundle> {
    let bundle =
        Bundle::open(create.bundle.as_deref().unwrap_or(Path::new(".")), create.config.as_deref())?;
    std::env::set_current_dir(&bundle.dir).context(|| format!("enter {:?}", bundle.dir))?;
    timings::step(Step::Bundle);
    Ok(bundle)
}

pub(super) fn plan(
    globals: &Globals,
    create: &args::Create,
    bundle: &Bundle,
    console: impl FnOnce(&oci::Process<'_>) -> Result<Option<Receiver>>,
    waits_for_start: bool,
) -> Result<Plan> {
    check_id(&create.id)?;
    let spec = bundle.spec()?;
    let fds = Fds::claim(create.preserve_fds, &listen())?;
    let state_dir = globals.root.join(&create.id);
    let notify = NotifySocket::plan(&state_dir, std::env::var_os("NOTIFY_SOCKET"));
    let console = match &spec.process {
        Some(process) => console(process)?,
        None => None,
    };
    let is_announced = create.pid_file.is_some()
        || create.pidfd_socket.is_some()
        || annotations::get(&spec, PIDFD_RECEIVER).is_some();
    Plan::create(
        bundle,
        &spec,
        Request {
            id: &create.id,
            no_pivot: create.no_pivot,
            no_new_keyring: create.no_new_keyring,
            fds,
            cgroup_manager: globals.cgroup_manager,
            rootless: globals.rootless,
            console,
            waits_for_start,
            notify,
            is_announced,
        },
    )
}

fn listen() -> Listen {
    Listen::from_env(|name| std::env::var_os(name))
}

pub(super) fn console_socket(create: &args::Create) -> Result<Option<Receiver>> {
    let path = create.console_socket.as_deref();
    path.map(|path| connect_console_socket(path).map(Receiver::ConsoleSocket)).transpose()
}

pub(crate) fn create(globals: &Globals, create: &args::Create) -> Result<ExitCode> {
    seal::ensure()?;
    let bundle = open_bundle(create)?;
    let plan = plan(globals, create, &bundle, |_| console_socket(create), true)?;
    let (created, _) = create::create(planned(plan), &globals.root, bundle.config(), None)?;
    hand_out(create, &created)?;
    created.keep()?;
    Ok(ExitCode::SUCCESS)
}

fn planned(plan: Plan) -> Plan {
    timings::step(Step::Plan);
    plan
}

/// `--pid-file`, `--pidfd-socket` and crun's annotation for the latter.
fn hand_out(create: &args::Create, created: &Created) -> Result<()> {
    if let Some(path) = &create.pidfd_socket {
        pidfiles::send_pidfd(path, "standard", created.init.pidfd())?;
    }
    if let Some(path) = created.container().annotation(PIDFD_RECEIVER) {
        pidfiles::send_to_receiver(path, created.init.pidfd())?;
    }
    if let Some(path) = &create.pid_file {
        pidfiles::write(path, created.init.pid)?;
    }
    timings::step(Step::PidFiles);
    Ok(())
}

pub(crate) fn run(globals: &Globals, run: &args::Run) -> Result<ExitCode> {
    seal::ensure()?;
    let bundle = open_bundle(&run.create)?;
    if run.detach { detached(globals, run, &bundle) } else { in_foreground(globals, run, &bundle) }
}

fn detached(globals: &Globals, run: &args::Run, bundle: &Bundle) -> Result<ExitCode> {
    let plan = plan(globals, &run.create, bundle, |_| console_socket(&run.create), false)?;
    let (created, mut plan) = create::create(planned(plan), &globals.root, bundle.config(), None)?;
    go(run, &created, &plan)?;
    let notify = plan.notify.take();
    let (container, init, _) = created.keep()?;
    drop(container);
    if let Some(notify) = notify {
        notify.wait(init.pid, init.pidfd())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// From ready to executed: pid files, the last answer, poststart hooks.
fn go(run: &args::Run, created: &Created, plan: &Plan) -> Result<()> {
    let agent = Agent::of_init(plan, created.container());
    let until_executed = || serve::until_executed(&created.init, &created.link, &agent);
    if created.is_answered {
        until_executed()?;
        go_on()?;
    } else {
        hand_out(&run.create, created)?;
        go_on()?;
        created.link.done()?;
        until_executed()?;
    }
    timings::step(Step::Executed);
    start::run_poststart(created.container(), &plan.hooks)?;
    timings::step(Step::Poststart);
    // The container may live long.
    timings::save()
}

/// The program runs from here on: a signal is its own, but for poststart hooks, which it ends.
fn go_on() -> Result<()> {
    interrupt::hold()?;
    interrupt::check()
}

fn in_foreground(globals: &Globals, run: &args::Run, bundle: &Bundle) -> Result<ExitCode> {
    if !run.no_subreaper {
        foreground::become_subreaper();
    }
    let mut foreground = Foreground::prepare()?;
    let console =
        |process: &oci::Process<'_>| foreground_console(&run.create, process, &mut foreground);
    let plan = plan(globals, &run.create, bundle, console, false)?;
    let (created, mut plan) =
        create::create(planned(plan), &globals.root, bundle.config(), Some(foreground.signals()))?;
    go(run, &created, &plan)?;
    let (container, init, _) = created.keep()?;
    let status = foreground.run(init.pid, init.pidfd(), plan.notify.take());
    timings::step(Step::Life);
    if !run.keep {
        clear(&container);
    }
    status.map(code)
}

/// Without `--console-socket` a terminal is ours to relay.
pub(super) fn foreground_console(
    create: &args::Create,
    process: &oci::Process<'_>,
    foreground: &mut Foreground,
) -> Result<Option<Receiver>> {
    match (&create.console_socket, process.terminal) {
        (Some(_), _) => console_socket(create),
        (None, true) => foreground.expect_terminal().map(Some),
        (None, false) => Ok(None),
    }
}

/// The container has ended; what can't be removed is a warning, as its own status counts.
pub(super) fn clear(container: &Container) {
    if let Err(error) = delete::destroy(container) {
        log::warn(&error.to_string());
    }
}
