// SPDX-License-Identifier: Apache-2.0
//! Answers what the clone asks for; notices when it dies and says why.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::wait::WaitStatus;

use super::affinity;
use super::seccomp_agent::Agent;
use super::spawn::Init;
use crate::cgroup::Cgroup;
use crate::child;
use crate::error::{Context, Error, Result};
use crate::hooks::{DefaultEnv, Point};
use crate::interrupt;
use crate::plan::Plan;
use crate::state::{Container, Status};
use crate::sync::{Ask, Message, ParentLink, Tell};
use crate::timings::{self, Step};

/// Answers until the clone is ready. Its last request, if `Ask::Ready`, is left to the caller, unless it is
/// answered ahead.
pub(crate) fn until_ready(
    plan: &mut Plan,
    container: &mut Container,
    init: &mut Init,
    link: &ParentLink,
) -> Result<()> {
    // The maps first where the clone can't do anything before; everything else waits for its place.
    let maps_first = plan.entry.needs_map && !plan.entry.refork && !plan.entry.late_user;
    if !maps_first {
        place(plan, container, init)?;
        timings::step(Step::Place);
    }
    if plan.is_answered_ahead(init.born) {
        interrupt::check()?;
        return link.done();
    }
    let mut is_placed = !maps_first;
    let mut is_limited = false;
    loop {
        let message = link.next()?;
        timings::step(Step::Wait);
        match message {
            Message::Ask(Ask::Map) => {
                map(plan, init)?;
                link.done()?;
                timings::step(Step::Maps);
                if !is_placed {
                    place(plan, container, init)?;
                    timings::step(Step::Place);
                    is_placed = true;
                }
            }
            Message::Ask(Ask::Placed) => link.done()?,
            Message::Tell(Tell::Forked { pidfd }) => {
                init.follow(pidfd)?;
                plan.finish.limits.apply_oom_score_adj(init.pid)?;
                container.record_init(init.pid)?;
                join_resctrl(container, init)?;
                link.done()?;
            }
            Message::Ask(Ask::Hooks) => {
                late_limits(plan, init, &mut is_limited)?;
                hooks(plan, container, init)?;
                link.done()?;
                timings::step(Step::ParentHooks);
            }
            Message::Ask(Ask::Ready) => return late_limits(plan, init, &mut is_limited),
            Message::Ask(Ask::Listener(number)) => {
                late_limits(plan, init, &mut is_limited)?;
                return Agent::of_init(plan, container).hand_over(init, link, number);
            }
            Message::Tell(Tell::Failed(error)) => return Err(error),
            Message::End => return Err(died(init, &container.facts.cgroup)),
        }
    }
}

/// After the last answer: execve, or why not.
pub(crate) fn until_executed(init: &Init, link: &ParentLink, agent: &Agent<'_>) -> Result<()> {
    loop {
        match link.next()? {
            Message::Ask(Ask::Listener(number)) => agent.hand_over(init, link, number)?,
            Message::Tell(Tell::Failed(error)) => return Err(error),
            Message::End if is_killed_before_exec(init) => {
                return Err(died(init, &agent.facts.cgroup));
            }
            Message::End => return Ok(()),
            Message::Ask(Ask::Map | Ask::Placed | Ask::Hooks | Ask::Ready)
            | Message::Tell(Tell::Forked { .. }) => {
                return Err(Error::text("a message from the container's init is out of place"));
            }
        }
    }
}

/// Whether the clone was killed on the way to execve, without a word. Its descriptors close before it
/// counts as ended, and at execve before it has its new name.
fn is_killed_before_exec(init: &Init) -> bool {
    let proc = format!("/proc/{}", init.pid);
    loop {
        let comm = crate::file::read_kernel(format!("{proc}/comm")).unwrap_or_default();
        if !comm.starts_with(child::NAME) {
            return false;
        }
        match (std::fs::metadata(format!("{proc}/exe")), std::fs::metadata("/proc/self/exe")) {
            (Ok(its), Ok(ours)) if (its.dev(), its.ino()) != (ours.dev(), ours.ino()) => {
                return false;
            }
            _ => {}
        }
        if init.has_ended_within(Duration::from_millis(10)) {
            return true;
        }
    }
}

/// Limits that would have hindered the assembling; before hooks see the container.
fn late_limits(plan: &Plan, init: &Init, is_limited: &mut bool) -> Result<()> {
    if !std::mem::replace(is_limited, true) {
        plan.cgroup_place.apply_late(&plan.cgroup)?;
        plan.cgroup_place.delegate(&plan.cgroup, init.pid)?;
        timings::step(Step::LateLimits);
    }
    Ok(())
}

/// Of a process that is not waiting yet, a child may have been born outside the group: each is moved.
pub(crate) fn join_resctrl(container: &Container, init: &Init) -> Result<()> {
    container.facts.resctrl.as_ref().map_or(Ok(()), |group| group.join(init.pid))
}

/// In its cgroup, with what it does not inherit from it.
pub(crate) fn place(plan: &mut Plan, container: &mut Container, init: &Init) -> Result<()> {
    if plan.cgroup_place.is_units() {
        let outcome = plan.cgroup_place.start(&mut plan.cgroup, init.pid);
        // Also of a unit that failed: it is to be cleared.
        container.facts.cgroup = plan.cgroup_place.clone();
        outcome?;
        container.save()?;
    } else if !init.born.is_placed {
        plan.cgroup_place.join(init.pid)?;
    }
    // The mask of whoever runs creel is not the container's.
    affinity::reset(init.pid);
    plan.finish.limits.apply_oom_score_adj(init.pid)
}

fn map(plan: &Plan, init: &Init) -> Result<()> {
    plan.finish.limits.raise(init.pid)?;
    if let Some(maps) = &plan.maps {
        maps.apply(init.pid)?;
    }
    if plan.entry.child_time {
        plan.time_offsets.apply(init.pid)?;
    }
    Ok(())
}

fn hooks(plan: &Plan, container: &Container, init: &Init) -> Result<()> {
    plan.net_devices.apply(init.pid)?;
    let state = container.oci_state(Status::Created, init.pid.as_raw());
    plan.hooks.run(Point::Prestart, &state, &DefaultEnv::Own)?;
    plan.hooks.run(Point::CreateRuntime, &state, &DefaultEnv::Own)
}

/// Why a clone ended without a word.
pub(crate) fn died(init: &Init, cgroup: &Cgroup) -> Error {
    let how = match init.reap() {
        Ok(WaitStatus::Exited(_, status)) => format!("exit status {status}"),
        Ok(WaitStatus::Signaled(_, signal, _)) => format!("signal: {signal}"),
        Ok(other) => format!("{other:?}"),
        Err(errno) => return Err::<(), _>(errno).context(|| "wait for init").unwrap_err(),
    };
    match cgroup.oom_kill_count() {
        Some(n) if n > 0 => Error::text(format!(
            "container init was OOM-killed (linux.resources.memory.limit is too low?): {how}"
        )),
        _ => Error::text(format!("container init ended before it executed the program: {how}")),
    }
}
