// SPDX-License-Identifier: Apache-2.0
//! `delete`: what a container holds is given back, whatever state it died in.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::ExitCode;
use crate::bail;
use crate::cli::args::{Globals, Which};
use crate::error::{Context, Error, Kind, Result};
use crate::hooks::Hooks;
use crate::state::remove::remove;
use crate::state::{self, Container, Op, Orphan, Status};
use crate::timings::{self, Step};
use crate::{interrupt, log, oci, sys};

/// How long a killed init may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn delete(globals: &Globals, which: &Which, force: bool) -> Result<ExitCode> {
    super::each(globals, which, "delete", |id| delete_one(globals, id, force))
}

/// How often a `create` that has just begun is looked for again, a millisecond apart.
const LOOKS: u32 = 2000;

/// The container; None where only remains without a state.json were there, which are gone now.
fn load(globals: &Globals, id: &str, force: bool) -> Result<Option<Container>> {
    let mut has_ended = false;
    for look in 0.. {
        let error = match Container::load(&globals.root, id) {
            Err(error) if error.kind() == Kind::NoSuchContainer => error,
            // Its process would come after everybody in the cgroup was killed, and be waited for in vain.
            Ok(container) if force && container.facts.pid == 0 && look < LOOKS && !has_ended => {
                // Once more after its end: it may have written the pid since.
                has_ended = !container.is_begun();
                if !has_ended {
                    std::thread::sleep(Duration::from_millis(1));
                }
                continue;
            }
            loaded => return loaded.map(Some),
        };
        let path = globals.root.join(id);
        let orphan = state::orphan(&path)?;
        match &orphan {
            Orphan::None => {}
            Orphan::Ours { config: Some(config), dir } if force => {
                clear_by_config(globals, id, config, &error)?;
                remove(dir, &path)?;
            }
            Orphan::Ours { config: Some(_), .. } => {}
            // A create that was killed before it wrote anything.
            Orphan::Ours { dir, .. } => remove(dir, &path)?,
            // One that has begun: what it makes must be known before it can be cleared.
            Orphan::Busy if force && look < LOOKS => {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Orphan::Busy => return Err(error),
        }
        return if force { Ok(None) } else { Err(error) };
    }
    unreachable!("the last look returns")
}

fn delete_one(globals: &Globals, id: &str, force: bool) -> Result<()> {
    state::check_id(id)?;
    let container = match load(globals, id, force) {
        Ok(Some(container)) => container,
        Ok(None) => return Ok(()),
        Err(error) if force && error.kind() == Kind::Damaged => {
            let config = state::orphaned_config(&globals.root, id).unwrap_or_default();
            interrupt::hold()?;
            clear_by_config(globals, id, &config, &error)?;
            return state::remove_directory(&globals.root.join(id));
        }
        Err(error) => return Err(error),
    };
    let mut status = container.status()?;
    if !force && status == Status::Created {
        // A start that is at it is waited for, and what it has started is not to be killed.
        container.lock()?;
        status = container.status()?;
    }
    if !force {
        status.allows(Op::Delete, id)?;
    }
    // Half of it would be left.
    interrupt::hold()?;
    timings::step(Step::Load);
    // Even a stopped container may have processes left, without a pid namespace of its own.
    let is_begun = container.is_begun();
    if force || status == Status::Created {
        end(&container)?;
        timings::step(Step::Kill);
    }
    match destroy(&container) {
        // Another `delete` was faster; who is in the cgroup is of the next container of that id.
        Err(_) if !container.is_there() => return Ok(()),
        outcome => outcome?,
    }
    if is_begun {
        // A create that is at it may have cloned meanwhile; without the directory it can't go on.
        container.facts.cgroup.kill(libc::SIGKILL)?;
        container.facts.cgroup.destroy().context(|| "remove the container's cgroup")?;
    }
    Ok(())
}

/// Without a readable state.json: what the saved config.json says of the cgroup.
fn clear_by_config(globals: &Globals, id: &str, config: &str, why: &Error) -> Result<()> {
    match crate::plan::cgroup_of_config(config, id, globals.cgroup_manager) {
        Ok(cgroup) => {
            log::warn(&format!("{why}: cleared by the saved config.json"));
            cgroup.kill(libc::SIGKILL)?;
            cgroup.destroy().context(|| "remove the container's cgroup")?;
        }
        Err(error) => log::warn(&format!(
            "{why}; config.json: {error}: only the state directory is removed, processes may be left"
        )),
    }
    Ok(())
}

/// Kills everything in the container and waits for init's end.
pub(super) fn end(container: &Container) -> Result<()> {
    let init = match container.init_pidfd() {
        Ok(init) => Some(init),
        Err(error) if error.kind() == Kind::NotRunning => None,
        Err(error) => return Err(error),
    };
    if let Some(init) = &init {
        // ESRCH: it has just ended.
        let _ = sys::pidfd::pidfd_send_signal(init.as_fd(), libc::SIGKILL);
    }
    // A frozen process of v1 dies only when thawed; a shared pid namespace keeps what init started.
    container.facts.cgroup.kill(libc::SIGKILL)?;
    let Some(init) = init else { return Ok(()) };
    if !sys::pidfd::wait_exit(init.as_fd(), Some(PATIENCE)).context(|| "wait for init")? {
        let pid = container.facts.pid;
        let state = crate::procstat::state_letter(nix::unistd::Pid::from_raw(pid)).unwrap_or('?');
        bail!("container init still running: process {pid} ({state}) was killed {PATIENCE:?} ago");
    }
    Ok(())
}

/// Cgroup, directory, poststop hooks. Repeating it is harmless.
pub(crate) fn destroy(container: &Container) -> Result<()> {
    let hooks = match container.facts.has_poststop {
        true => poststop(container)?,
        false => None,
    };
    release(container)?;
    timings::step(Step::RemoveState);
    if let Some(hooks) = hooks {
        // A hook that hangs can be ended; the others still run.
        interrupt::catch()?;
        hooks.run_poststop(&container.oci_state(Status::Stopped, 0));
        timings::step(Step::Poststop);
    }
    Ok(())
}

fn poststop(container: &Container) -> Result<Option<Hooks>> {
    let Ok(text) = container.config() else { return Ok(None) };
    let spec: oci::Spec<'_> = oci::parse(&text)?;
    let mut hooks = Hooks::plan(spec.hooks.as_ref())?;
    // Nothing keeps a container from being deleted that its hooks could do without.
    if let Err(error) = hooks.write_to(&container.facts.bundle, |name| container.annotation(name)) {
        log::warn(&error.to_string());
    }
    Ok(Some(hooks))
}

/// Cgroup, resctrl group and directory.
pub(crate) fn release(container: &Container) -> Result<()> {
    let cgroup = &container.facts.cgroup;
    if !container.facts.own_pid_namespace {
        cgroup.kill(libc::SIGKILL)?;
    }
    cgroup.destroy().context(|| "remove the container's cgroup")?;
    timings::step(Step::DestroyCgroup);
    if let Some(group) = &container.facts.resctrl {
        group.remove()?;
    }
    container.remove()
}
