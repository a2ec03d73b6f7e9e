// SPDX-License-Identifier: Apache-2.0
//! `exec`.

use super::{code, load};
use crate::ExitCode;
use crate::cgroup::SubCgroups;
use crate::child::process::fds::{Fds, Listen};
use crate::child::process::terminal::{Receiver, connect_console_socket};
use crate::cli::args::{self, Globals, ProcessOptions};
use crate::error::{Context, Error, Result};
use crate::oci::{self, Process};
use crate::parent::exec;
use crate::parent::foreground::Foreground;
use crate::parent::seccomp_agent::Agent;
use crate::parent::serve;
use crate::plan::exec::{Plan, Request};
use crate::state::{Container, Op};
use crate::timings::{self, Step};
use crate::{interrupt, pidfiles, seal};

/// A failure before the program runs is 255: it cannot be the program's own.
pub(crate) fn exec(globals: &Globals, args: &args::Exec) -> Result<ExitCode> {
    seal::ensure()?;
    let container = load(globals, &args.id)?;
    let op = if args.ignore_paused { Op::ExecPaused } else { Op::Exec };
    container.status()?.allows(op, &args.id)?;
    timings::step(Step::Load);
    let config = container.config()?;
    let spec: oci::Spec<'_> = oci::parse(&config)?;
    match &args.process {
        args::Process::File(path) => {
            let place = || format!("--process {path:?}");
            let text = std::fs::read_to_string(path).context(place)?;
            let process = oci::parse::<Process<'_>>(&text).context(place)?;
            start(args, &container, &spec, &process)
        }
        args::Process::Options(options) => {
            let process = spec.process.clone().unwrap_or_default();
            start(args, &container, &spec, &override_with(process, options))
        }
    }
}

/// The container's own process, with what the flags change.
fn override_with<'a>(mut process: Process<'a>, options: &ProcessOptions) -> Process<'a> {
    process.args = options.args.iter().map(|arg| arg.clone().into()).collect();
    process.terminal = options.tty;
    process.env.extend(options.env.iter().map(|pair| pair.clone().into()));
    if let Some(cwd) = &options.cwd {
        process.cwd = cwd.clone().into();
    }
    if let Some(profile) = &options.apparmor {
        process.apparmor_profile = profile.clone().into();
    }
    if let Some(label) = &options.process_label {
        process.selinux_label = label.clone().into();
    }
    if let Some(no_new_privileges) = options.no_new_privs {
        process.no_new_privileges = no_new_privileges;
    }
    process.user.uid = options.uid.unwrap_or(process.user.uid);
    process.user.gid = options.gid.unwrap_or(process.user.gid);
    process.user.additional_gids.extend(&options.additional_gids);
    if !options.caps.is_empty() {
        let caps = process.capabilities.get_or_insert_default();
        let has_inheritable = !caps.inheritable.is_empty();
        let added = || options.caps.iter().map(|cap| cap.clone().into());
        caps.bounding.extend(added());
        caps.effective.extend(added());
        caps.permitted.extend(added());
        // Never inheritable (CVE-2022-29162); ambient capabilities cannot be without that.
        if has_inheritable {
            caps.ambient.extend(added());
        }
    }
    process
}

fn start(
    args: &args::Exec,
    container: &Container,
    spec: &oci::Spec<'_>,
    process: &Process<'_>,
) -> Result<ExitCode> {
    check(process)?;
    let fds = Fds::claim(args.preserve_fds, &Listen::default())?;
    let mut foreground = (!args.detach).then(Foreground::prepare).transpose()?;
    let console = match (&args.console_socket, &mut foreground) {
        (Some(path), _) => Some(Receiver::ConsoleSocket(connect_console_socket(path)?)),
        (None, Some(foreground)) if process.terminal => Some(foreground.expect_terminal()?),
        (None, _) => None,
    };
    let cgroups = SubCgroups::from_pairs(&args.cgroups);
    let request = Request { fds, console, cgroups: &cgroups };
    let plan = Plan::new(container, spec, process, request)?;
    timings::step(Step::Plan);
    let signals = foreground.as_ref().map(Foreground::signals);
    let mut entered = exec::exec(plan, container, signals)?;
    if let Some(path) = &args.pidfd_socket {
        pidfiles::send_pidfd(path, "setns", entered.init.pidfd())?;
    }
    if let Some(path) = &args.pid_file {
        pidfiles::write(path, entered.init.pid)?;
    }
    // It runs from here on: a signal comes before this, and then there is no process, or after it.
    interrupt::hold()?;
    timings::step(Step::PidFiles);
    entered.link.done()?;
    let agent = Agent::of_exec(entered.listener.as_ref(), container);
    serve::until_executed(&entered.init, &entered.link, &agent)?;
    timings::step(Step::Executed);
    timings::save()?;
    entered.init.detach();
    match foreground {
        None => Ok(ExitCode::SUCCESS),
        Some(foreground) => {
            let status = foreground.run(entered.init.pid, entered.init.pidfd(), None);
            timings::step(Step::Life);
            status.map(code)
        }
    }
}

fn check(process: &Process<'_>) -> Result<()> {
    if process.args.is_empty() {
        return Err(Error::text("process.args: must not be empty"));
    }
    if process.cwd.is_empty() {
        return Err(Error::text("process.cwd: must be set"));
    }
    Ok(())
}
