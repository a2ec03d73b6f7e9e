// SPDX-License-Identifier: Apache-2.0
//! `exec`: another process into a running container; the parent's half.

use std::os::fd::AsFd;

use super::serve;
use super::spawn::{self, Born, Init, Place};
use crate::child;
use crate::child::seccomp::Listener;
use crate::error::{Error, Result};
use crate::log;
use crate::plan::exec::Plan;
use crate::signals::Signals;
use crate::state::Container;
use crate::sync::{Ask, Message, ParentLink, Tell};
use crate::timings::{self, Step};

/// The process, set up and waiting for its last answer.
#[derive(Debug)]
pub(crate) struct Entered {
    pub init: Init,
    pub link: ParentLink,
    /// The seccomp agent, which waits for its listener.
    pub listener: Option<Listener>,
}

/// Clones, places and serves the process until it is ready.
pub(crate) fn exec(
    mut plan: Plan,
    container: &Container,
    signals: Option<&Signals>,
) -> Result<Entered> {
    let entry = std::mem::take(&mut plan.entry);
    let listener = plan.finish.filter.as_ref().and_then(|filter| filter.listener.clone());
    let into = plan.cgroup.into.take();
    let place = Place { cgroup: into.as_ref().map(AsFd::as_fd), ..Place::default() };
    let (mut init, link) = {
        let plan = &mut plan;
        let body = |link, me: crate::sys::Inside, born: Born| {
            plan.born = born;
            child::main(link, None, &me, |voice, me| {
                signals.map_or(Ok(()), |signals| signals.restore(me))?;
                child::exec::run(plan, voice, me)
            })
        };
        spawn::spawn(&entry, &place, body)?
    };
    timings::step(Step::Clone);
    plan.affinity.apply_initial(init.pid)?;
    if !init.born.is_placed {
        plan.cgroup.join(init.pid)?;
        expect(&init, &link, container, |message| matches!(message, Message::Ask(Ask::Placed)))?;
        link.done()?;
    }
    if init.born.owes_pid {
        follow(&mut init, &link, container)?;
    }
    timings::step(Step::Place);
    log::debug(|| format!("the process is {}", init.pid));
    if let Some(group) = &container.facts.resctrl {
        group.join(init.pid)?;
    }
    plan.affinity.apply_final(init.pid)?;
    plan.finish.limits.apply_oom_score_adj(init.pid)?;
    expect(&init, &link, container, |message| matches!(message, Message::Ask(Ask::Ready)))?;
    timings::step(Step::Wait);
    Ok(Entered { init, link, listener })
}

/// The next message, which must be that one.
pub(super) fn expect(
    init: &Init,
    link: &ParentLink,
    container: &Container,
    is_it: impl Fn(&Message) -> bool,
) -> Result<Message> {
    match link.next()? {
        message if is_it(&message) => Ok(message),
        Message::Tell(Tell::Failed(error)) => Err(error),
        Message::End => Err(serve::died(init, &container.facts.cgroup)),
        Message::Ask(..) | Message::Tell(Tell::Forked { .. }) => {
            Err(Error::text("a message from the process is out of place"))
        }
    }
}

/// The process that was cloned only leads into the pid namespace: the next one is meant.
pub(super) fn follow(init: &mut Init, link: &ParentLink, container: &Container) -> Result<()> {
    let is_it = |message: &Message| matches!(message, Message::Tell(Tell::Forked { .. }));
    if let Message::Tell(Tell::Forked { pidfd }) = expect(init, link, container, is_it)? {
        init.follow(pidfd)?;
    }
    link.done()
}
