// SPDX-License-Identifier: Apache-2.0
//! The end of the way, for a new container and for `exec` alike: privileges go, the program comes.
//! The order is the contract; each step says what it makes impossible.

use std::convert::Infallible;

use nix::errno::Errno;

use super::process::Process;
use super::rootfs::{Entered, Proc, Rootfs};
use super::{Voice, forget_parent};
use crate::child::{self, seccomp::Filter};
use crate::error::{Context, Error, Result};
use crate::hooks::{DefaultEnv, Hooks, Point};
use crate::limits::Limits;
use crate::state::{Facts, Status, oci_state};
use crate::sync::Ask;
use crate::sys::{self, Inside};
use crate::timings::{self, Step};
use crate::{log, signals};

/// What is left to do when the process has its place: all decided in the parent.
#[derive(Debug)]
pub(crate) struct Finish {
    pub filter: Option<Filter>,
    pub limits: Limits,
    /// startContainer hooks run just before the program, with this container's facts.
    pub hooks: Option<(Hooks, Facts)>,
    /// Of the host, or of the user namespace that creel runs in.
    pub parent_is_root: bool,
}

impl Finish {
    /// In the parent.
    pub(crate) fn new(
        filter: Option<Filter>,
        limits: Limits,
        hooks: Option<(Hooks, Facts)>,
    ) -> Self {
        Self { filter, limits, hooks, parent_is_root: nix::unistd::geteuid().is_root() }
    }

    /// Whether there is a seccomp agent to hand a listener to.
    pub(crate) fn notifies(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.listener.is_some())
    }
}

pub(crate) fn run(
    process: &mut Process,
    finish: &Finish,
    voice: &mut Voice,
    me: &Inside,
) -> Result<Infallible> {
    process.sched.apply(me)?;
    if let Some(numa) = &process.numa {
        numa.apply(me)?;
    }
    if let Some(personality) = process.personality {
        personality.apply(me)?;
    }
    finish.limits.apply_to_self(me)?;
    process.command.complete_env(me);
    process.user.own_stdio(me)?;
    timings::step(Step::Limits);
    // Before the change of user, who may not be allowed to traverse the way there.
    let chdir = process.command.chdir(me)?;
    process.caps.apply_no_new_privileges(me)?;
    process.caps.drop_bounding(me)?;
    process.user.apply(me)?;
    timings::step(Step::User);
    if needs_admin(process, finish) {
        process.caps.apply_keeping_sys_admin(me)?;
    } else {
        process.caps.apply(me)?;
    }
    process.command.chdir_as_user(chdir, me)?;
    process.user.set_umask(me);
    timings::step(Step::Capabilities);
    // Here, so that a missing program fails `create` and not `start`.
    let program = process.command.find(me)?;
    process.fds.apply(me)?;
    forget_parent(me)?;
    if finish.hooks.is_none() {
        signals::default_sigpipe(me)?;
    }
    timings::step(Step::Program);
    wait_for_start(process, finish, voice, me)?;
    timings::step(Step::Seccomp);
    // ── only what the filter allows below this line
    if let Some((hooks, facts)) = &finish.hooks {
        let state = oci_state(facts, Status::Created, sys::getpid());
        hooks.run(Point::StartContainer, &state, &DefaultEnv::Given(process.command.env()))?;
        timings::step(Step::StartHooks);
        // Not before: a hook need not read its input.
        signals::default_sigpipe(me)?;
    }
    process.command.execve(&program, me)
}

/// A terminal of the container's own as standard streams, and as /dev/console in a new container.
pub(crate) fn terminal(
    process: &Process,
    rootfs: Option<(&Rootfs, &Entered)>,
    me: &Inside,
) -> Result<()> {
    let Some(terminal) = &process.terminal else { return Ok(()) };
    log::leave_stderr(me);
    let pty = terminal.open(me)?;
    if let Some((rootfs, entered)) = rootfs {
        rootfs.bind_console(entered, pty.slave(), me)?;
    }
    terminal.take(pty, me)
}

/// Makes or joins the session keyring, which takes on the label of the process.
pub(crate) fn keyring(
    process: &Process,
    me: &Inside,
    enter: impl FnOnce() -> Result<()>,
) -> Result<()> {
    if !process.label.has_selinux() {
        return enter();
    }
    let proc = Proc::open(me)?;
    process.label.set_key_label(&proc, me)?;
    enter()?;
    process.label.reset_key_label(&proc, me)
}

/// The label of the program to come, and a private procfs for it and whatever else needs one.
pub(crate) fn labels(process: &Process, needs_proc: bool, me: &Inside) -> Result<Option<Proc>> {
    if !needs_proc && !process.label.is_set() {
        return Ok(None);
    }
    let proc = Proc::open(me)?;
    if process.label.is_set() {
        process.label.apply_apparmor(&proc, me)?;
        process.label.apply_selinux(&proc, me)?;
    }
    Ok(Some(proc))
}

/// Without no_new_privs a filter takes CAP_SYS_ADMIN to load; loading it late needs fewer calls to be
/// allowed by it.
fn needs_admin(process: &Process, finish: &Finish) -> bool {
    finish.filter.is_some() && !process.caps.no_new_privileges()
}

/// `run`, `exec`: the parent's last answer. `create`: a byte in exec.fifo, from `start`. The filter is
/// loaded as late as can be, behind the wait. But a seccomp agent gets its listener while `create`
/// runs, as from runc, and with it come the errors.
fn wait_for_start(
    process: &Process,
    finish: &Finish,
    voice: &mut Voice,
    me: &Inside,
) -> Result<()> {
    if voice.fifo().is_none() {
        voice.be_answered()?;
        timings::step(Step::Ready);
        if finish.notifies() {
            close_before_wait(process, finish, voice, me)?;
        }
        return load(process, finish, voice, me);
    }
    // `kill` ends a created container too.
    signals::end_on_termination(me)?;
    log::debug(|| "init: ready, waiting for start".to_owned());
    if finish.notifies() {
        close_before_wait(process, finish, voice, me)?;
        load(process, finish, voice, me)?;
        return wait_for_byte(voice);
    }
    if !finish.parent_is_root {
        // Else its owner could not `exec` into it while it waits. Nothing of the host is open any more.
        close_before_wait(process, finish, voice, me)?;
        child::show(me)?;
    }
    voice.link().send(Ask::Ready)?;
    voice.hang_up();
    close_before_wait(process, finish, voice, me)?;
    wait_for_byte(voice)?;
    load(process, finish, voice, me)
}

/// Nothing of the host stays open for as long as nobody starts the container.
fn close_before_wait(process: &Process, finish: &Finish, voice: &Voice, me: &Inside) -> Result<()> {
    let [link, fifo] = voice.numbers();
    // What startContainer hooks write to.
    let [stdout, stderr] = finish.hooks.as_ref().map_or([-1; 2], |(h, _)| h.output_numbers());
    let mut keep = [link, fifo, log::outlive_create(me), stdout, stderr];
    match sys::fd::close_except(process.fds.end(), &mut keep) {
        // KERNEL(5.9): close_range; execve closes them all.
        Ok(()) | Err(Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno).context(|| "close_range"),
    }
}

fn wait_for_byte(voice: &Voice) -> Result<()> {
    let fifo = voice.fifo().expect("only `create` waits");
    // Its own end for writing keeps it from seeing an end of file.
    loop {
        match sys::memory::read_leanly(fifo) {
            Ok(1) => return Ok(()),
            Err(Errno::EINTR) => {}
            Ok(_) => return Err(Error::text("exec.fifo: closed without a start")),
            Err(errno) => return Err(errno).context(|| "read exec.fifo"),
        }
    }
}

/// The filter, and the capability that it took goes.
fn load(process: &Process, finish: &Finish, voice: &mut Voice, me: &Inside) -> Result<()> {
    let Some(filter) = &finish.filter else { return Ok(()) };
    if filter.listener.is_none() {
        drop(filter.load(me)?);
    } else {
        if !finish.parent_is_root {
            // Else it may not take the listener. Nothing of the host is open any more.
            child::show(me)?;
        }
        load_and_hand_over(filter, voice, me)?;
    }
    if needs_admin(process, finish) {
        process.caps.apply(me)?;
    }
    Ok(())
}

/// The parent takes the listener out of this process by its number, told beforehand: a filter that
/// notifies of sendmsg would stop us from sending it. A call that it notifies of just waits until the
/// agent, which has got the listener meanwhile, answers it.
fn load_and_hand_over(filter: &Filter, voice: &mut Voice, me: &Inside) -> Result<()> {
    // Nothing is opened between this and the load.
    let number = sys::fd::next_number().context(|| "linux.seccomp: the listener's number")?;
    voice.link().send(Ask::Listener(number))?;
    let listener = filter.load(me)?;
    voice.link().wait_done()?;
    if voice.fifo().is_some() {
        voice.hang_up_open();
    }
    // Only the agent's is left: its end is the end of waiting for it.
    drop(listener);
    Ok(())
}
