// SPDX-License-Identifier: Apache-2.0
//! `start` and `kill`.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::load;
use crate::ExitCode;
use crate::cli::args::{Globals, Which};
use crate::error::{Context, Error, Kind, Result};
use crate::hooks::{DefaultEnv, Hooks, Point};
use crate::notify_socket::NotifySocket;
use crate::state::{Container, FIFO, Op, Status};
use crate::timings::{self, Step};
use crate::{interrupt, oci, sys};

/// What init waits for.
const START: &[u8] = b"0";

pub(crate) fn start(globals: &Globals, id: &str) -> Result<ExitCode> {
    let container = load(globals, id)?;
    // Of two starts, the second then sees a running container.
    container.lock()?;
    container.status()?.allows(Op::Start, id)?;
    timings::step(Step::Load);
    let notify = listen(&container)?;
    if container.facts.has_poststart {
        interrupt::catch()?;
    }
    release_init(&container).inspect_err(|error| {
        if error.kind() == Kind::Interrupted {
            // As after a poststart hook that failed; a failure here is of one that has ended by itself.
            let _ = super::delete::end(&container);
        }
    })?;
    timings::step(Step::Release);
    if container.facts.has_poststart {
        poststart(&container)?;
        timings::step(Step::Poststart);
    }
    if let Some(notify) = notify {
        let pid = nix::unistd::Pid::from_raw(container.facts.pid);
        notify.wait(pid, container.init_pidfd()?.as_fd())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The service manager that runs `start` waits for the container's readiness, if `create` was told of
/// one too.
fn listen(container: &Container) -> Result<Option<NotifySocket>> {
    let host = std::env::var_os("NOTIFY_SOCKET");
    let Some(mut notify) = NotifySocket::plan(container.path(), host) else { return Ok(None) };
    if !container.path().join("notify").is_dir() {
        return Ok(None);
    }
    notify.listen()?;
    Ok(Some(notify))
}

/// Writes the byte that init waits for and stays until it has executed the program: its end of the
/// fifo closes then. What is in the fifo after that is why it could not.
fn release_init(container: &Container) -> Result<()> {
    let dir = container.dir();
    let open = |access: OFlag| {
        openat(dir, FIFO, access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
    };
    let to_init = match open(OFlag::O_WRONLY) {
        Ok(fifo) => fifo,
        // No reader: init died since the status was observed.
        Err(Errno::ENXIO) => return Err(Error::text("cannot start a container that has stopped")),
        Err(errno) => return Err(errno).context(|| "open exec.fifo"),
    };
    let from_init = open(OFlag::O_RDONLY).context(|| "open exec.fifo")?;
    // Whatever ends this command from here on: a container that was told to start is none that waits.
    let before = interrupt::hold()?;
    interrupt::check()?;
    match unlinkat(dir, FIFO, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno).context(|| "remove exec.fifo"),
    }
    nix::unistd::write(&to_init, START).context(|| "write exec.fifo")?;
    drop(to_init);
    wait_no_writer(&from_init, before)?;
    let mut said = vec![0; 64 * 1024];
    let length = nix::unistd::read(&from_init, &mut said).context(|| "read exec.fifo")?;
    match &said[..length] {
        [] => Ok(()),
        START => Err(Error::text("container init ended before it could be started")),
        text => Err(Error::text(String::from_utf8_lossy(text))),
    }
}

/// Until init has closed the fifo; readable data alone, the byte it has yet to take, does not count.
fn wait_no_writer(fifo: &OwnedFd, signals: SigSet) -> Result<()> {
    let mut fds = [PollFd::new(fifo.as_fd(), PollFlags::empty())];
    loop {
        match ppoll(&mut fds, None, Some(signals)) {
            Err(Errno::EINTR) => interrupt::check()?,
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno).context(|| "wait for init to execute the program"),
        }
    }
}

/// A failure kills the container (runtime.md#lifecycle).
fn poststart(container: &Container) -> Result<()> {
    let text = container.config()?;
    let spec: oci::Spec<'_> = oci::parse(&text)?;
    let mut hooks = Hooks::plan(spec.hooks.as_ref())?;
    hooks.write_to(&container.facts.bundle, |name| container.annotation(name))?;
    run_poststart(container, &hooks)
}

pub(super) fn run_poststart(container: &Container, hooks: &Hooks) -> Result<()> {
    let state = container.oci_state(Status::Running, container.facts.pid);
    hooks.run(Point::Poststart, &state, &DefaultEnv::Own).inspect_err(|_| {
        // A failure here is of a container that has ended by itself.
        let _ = super::delete::end(container);
    })
}

pub(crate) fn kill(globals: &Globals, which: &Which, number: i32, all: bool) -> Result<ExitCode> {
    let is_lenient = all || matches!(which, Which::Matching(_));
    super::each(globals, which, "kill", |id| match signal(&load(globals, id)?, number, all) {
        // As runc: what is not running has nothing left to kill.
        Err(error) if is_lenient && error.kind() == Kind::NotRunning => Ok(()),
        other => other,
    })
}

/// To init through its pidfd; to every process when init's end would not be theirs.
pub(crate) fn signal(container: &Container, number: i32, all: bool) -> Result<()> {
    let not_running = || Error::text("container not running").with_kind(Kind::NotRunning);
    let everybody = all || (!container.facts.own_pid_namespace && number == libc::SIGKILL);
    // Rootless without a cgroup, nobody but init is known.
    if everybody && !container.facts.cgroup.is_none() {
        if container.facts.cgroup.pids(true)?.is_empty() {
            return Err(not_running());
        }
        // Frozen meanwhile, on v1.
        interrupt::hold()?;
        return container.facts.cgroup.kill(number);
    }
    let init = container.init_pidfd()?;
    match sys::pidfd::pidfd_send_signal(init.as_fd(), number) {
        Err(Errno::ESRCH) => Err(not_running()),
        other => other.context(|| format!("send signal {number} to init")),
    }
}
