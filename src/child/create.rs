// SPDX-License-Identifier: Apache-2.0
//! The head for a new container: the sequence, nothing else. The order is the contract.

use std::convert::Infallible;

use crate::child::rootfs::Assembled;
use crate::child::{self, Voice, loopback, stage, tail};
use crate::error::{Context, Result};
use crate::hooks::{DefaultEnv, Point};
use crate::log;
use crate::namespace;
use crate::plan::Plan;
use crate::sync::Ask;
use crate::sys::{self, Inside};
use crate::timings::{self, Step};

/// From the clone to execve; the end of the way is shared with `exec`.
pub(crate) fn run(plan: &mut Plan, voice: &mut Voice, me: &Inside) -> Result<Infallible> {
    let link = voice.link();
    child::die_with_parent(me)?;
    plan.ways.doors.enter(me)?;
    plan.finish.limits.apply_before_user_namespace(me)?;
    if plan.root_ids.is_some() && plan.entry.clone & namespace::USER.flag == 0 {
        plan.finish.limits.raise_own(me)?;
    }
    if plan.entry.joins_user && plan.finish.parent_is_root {
        // Root of that user namespace is there already, and may trace whatever comes in.
        child::hide(me)?;
    }
    // Host mounts visible, ids perhaps not mapped.
    let owes_pid = plan.born.owes_pid;
    namespace::enter(&plan.entry, owes_pid, plan.root_ids, link, me)?;
    timings::step(Step::Namespaces);
    if !plan.born.is_placed {
        // What is cloned and made from here on has its place by it.
        link.ask(Ask::Placed)?;
    }
    child::hide(me)?;
    if plan.entry.refork || owes_pid {
        stage::refork(if plan.entry.refork { plan.entry.late } else { 0 }, link, me)?;
    } else if plan.root_ids.is_some() {
        // The change of user has cleared it.
        child::die_with_parent(me)?;
    }
    timings::step(Step::Placed);
    session(plan, me)?;
    timings::step(Step::Session);
    let root = plan.rootfs.assemble(me)?;
    timings::step(Step::Devices);
    log::debug(|| "init: root filesystem assembled".to_owned());
    if plan.needs_parent_hooks {
        link.ask(Ask::Hooks)?;
        timings::step(Step::AskedHooks);
    }
    if plan.hooks.has(Point::CreateContainer) {
        container_hooks(plan, &root, me)?;
    }
    // ── the host's files are out of reach below this line
    let entered = plan.rootfs.enter(root, me)?;
    timings::step(Step::Pivot);
    entered.make_cwd(plan.process.command.cwd(), me)?;
    tail::terminal(&plan.process, Some((&plan.rootfs, &entered)), me)?;
    plan.uts.apply(me)?;
    // Before /proc is masked: a user namespace gets a procfs of its own only while one is in full sight.
    let proc = tail::labels(&plan.process, false, me)?;
    if !plan.sysctl.is_empty() {
        let proc = proc.map_or_else(|| entered.proc(me), Ok)?;
        plan.sysctl.apply(&proc, me)?;
    }
    timings::step(Step::Names);
    // ── no more mounts below this line
    plan.rootfs.lock_down(&entered, me)?;
    drop(entered);
    timings::step(Step::LockDown);
    tail::run(&mut plan.process, &plan.finish, voice, me)
}

/// They find the host's files, and the container's root as their working directory.
fn container_hooks(plan: &Plan, root: &Assembled, me: &Inside) -> Result<()> {
    root.stand_in(me)?;
    let state = plan.hook_state(crate::state::Status::Created, sys::getpid());
    plan.hooks.run(Point::CreateContainer, &state, &DefaultEnv::Own)?;
    timings::step(Step::ChildHooks);
    Ok(())
}

/// What is the process's own from here on: its session, the root of its cgroup namespace, its keyring,
/// its network.
fn session(plan: &Plan, me: &Inside) -> Result<()> {
    sys::setsid(me)?;
    if plan.entry.cgroup {
        // The cgroup that it is in now becomes the namespace's root.
        sys::ns::unshare(namespace::CGROUP.flag, me).context(|| "make a cgroup namespace")?;
    }
    if let Some(keyring) = &plan.keyring {
        tail::keyring(&plan.process, me, || keyring.make(me))?;
    }
    if plan.new_network {
        loopback::up(me)?;
    }
    log::debug(|| "init: in its namespaces".to_owned());
    Ok(())
}
