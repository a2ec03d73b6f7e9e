// SPDX-License-Identifier: Apache-2.0
//! The head for a process that joins a running container: the sequence, nothing else.

use std::convert::Infallible;
use std::os::fd::AsFd;

use super::{Voice, die_with_parent, hide, stage, tail};
use crate::error::{Context, Result};
use crate::namespace::{self, PID};
use crate::plan::exec::Plan;
use crate::sync::Ask;
use crate::sys::{self, Inside};
use crate::timings::{self, Step};

/// From the clone to execve.
pub(crate) fn run(plan: &mut Plan, voice: &mut Voice, me: &Inside) -> Result<Infallible> {
    die_with_parent(me)?;
    plan.cgroup.doors.enter(me)?;
    if !plan.born.is_placed {
        // While it is still of the caller's user: another's may not be moved.
        voice.link().ask(Ask::Placed)?;
    }
    plan.finish.limits.apply_before_user_namespace(me)?;
    // The container's processes see this one already.
    hide(me)?;
    if plan.root_ids.is_some() {
        plan.finish.limits.raise_own(me)?;
    }
    // All at once: the rights to each are those from before, which no order would add to.
    let join = plan.join | if plan.born.owes_pid { PID.flag } else { 0 };
    if join != 0 {
        sys::ns::setns(plan.init.as_fd(), join, me)
            .context(|| "join the container's namespaces")?;
    }
    if let Some(root) = &plan.root {
        nix::unistd::fchdir(root).context(|| "enter the container's root")?;
        nix::unistd::chroot(".").context(|| "chroot to the container's root")?;
    }
    if let Some((uid, gid)) = plan.root_ids {
        namespace::become_root(uid, gid, me)?;
        // The change of user has cleared it.
        die_with_parent(me)?;
    }
    timings::step(Step::Namespaces);
    if plan.born.owes_pid {
        stage::refork(0, voice.link(), me)?;
    }
    sys::setsid(me)?;
    if let Some(keyring) = &plan.keyring {
        tail::keyring(&plan.process, me, || keyring.join(me).map(drop))?;
    }
    timings::step(Step::Session);
    // ── the host's files are out of reach below this line
    tail::terminal(&plan.process, None, me)?;
    tail::labels(&plan.process, false, me)?;
    timings::step(Step::Names);
    tail::run(&mut plan.process, &plan.finish, voice, me)
}
