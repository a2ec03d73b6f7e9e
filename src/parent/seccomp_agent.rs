// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp.listenerPath` and `listenerMetadata`: hands the listener of a filter with
//! SCMP_ACT_NOTIFY to the agent, with the container process state (config-linux.md#seccomp).
//! Parent side, between the load of the filter and execve; the child asks by `Ask::Listener`.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};
use nix::sys::time::TimeSpec;
use serde::Serialize;

use super::serve;
use super::spawn::Init;
use crate::child::seccomp::Listener;
use crate::error::{Context, Error, Result};
use crate::interrupt;
use crate::oci;
use crate::plan::Plan;
use crate::state::{Container, Facts, OciState, Status, oci_state_of};
use crate::sync::{Message, ParentLink, Tell};
use crate::sys;

/// Who gets the listener, if anybody, and what is said of the container.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    listener: Option<&'a Listener>,
    pub facts: &'a Facts,
    status: Status,
    /// The container's init, if that is another process than the one with the filter.
    init: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: OciState<'a>,
}

/// The first look comes too early; a filter takes the kernel about 0.1 ms.
const FIRST_WAIT: Duration = Duration::from_micros(100);
const LONGEST_WAIT: Duration = Duration::from_millis(10);

impl<'a> Agent<'a> {
    /// For a container that is not known to be created yet.
    pub(crate) fn of_init(plan: &'a Plan, container: &'a Container) -> Self {
        let listener = plan.finish.filter.as_ref().and_then(|filter| filter.listener.as_ref());
        Self { listener, facts: &container.facts, status: Status::Creating, init: None }
    }

    /// For a process that joins the container.
    pub(crate) fn of_exec(listener: Option<&'a Listener>, container: &'a Container) -> Self {
        let facts = &container.facts;
        Self { listener, facts, status: Status::Running, init: Some(facts.pid) }
    }

    /// Takes the listener, which will be `number` in the child, passes it on and lets the child go.
    pub(crate) fn hand_over(&self, init: &Init, link: &ParentLink, number: RawFd) -> Result<()> {
        let Some(agent) = self.listener else {
            return Err(Error::text("linux.seccomp.listenerPath: not asked for"));
        };
        let listener = self.take(init, link, number)?;
        let socket = connect(&agent.path)?;
        let state = self.process_state(&agent.metadata, init.pid.as_raw());
        sys::scm::send_fd(socket.as_fd(), state.as_bytes(), listener.as_fd())
            .context(|| format!("linux.seccomp.listenerPath: send to {:?}", agent.path))?;
        link.done()
    }

    /// The child is in seccomp(2), or will be at once; after it, it waits for us or the agent.
    fn take(&self, init: &Init, link: &ParentLink, number: RawFd) -> Result<OwnedFd> {
        let get = || match sys::pidfd::pidfd_getfd(init.pidfd(), number) {
            Ok(fd) => Ok(Some(fd)),
            // Not loaded yet; or it failed, and the link says so.
            Err(Errno::EBADF | Errno::ESRCH) => Ok(None),
            Err(errno) => Err(errno).context(|| "linux.seccomp: pidfd_getfd of the listener"),
        };
        let mut wait = FIRST_WAIT;
        loop {
            if let Some(fd) = get()? {
                return Ok(fd);
            }
            interrupt::check()?;
            let mut fds = [PollFd::new(link.fd(), PollFlags::POLLIN)];
            match ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None) {
                Ok(0) | Err(Errno::EINTR) => wait = (wait * 2).min(LONGEST_WAIT),
                // Before the answer the child says nothing but that it failed.
                Ok(_) => return Err(self.why_not(init, link)),
                Err(errno) => return Err(errno).context(|| "wait for the seccomp listener"),
            }
        }
    }

    /// The child has ended, or says why it cannot load the filter.
    fn why_not(&self, init: &Init, link: &ParentLink) -> Error {
        match link.next() {
            Ok(Message::Tell(Tell::Failed(error))) | Err(error) => error,
            Ok(Message::End) => serve::died(init, &self.facts.cgroup),
            Ok(Message::Ask(_) | Message::Tell(Tell::Forked { .. })) => {
                Error::text("a message from the container's init is out of place")
            }
        }
    }

    fn process_state(&self, metadata: &str, pid: i32) -> String {
        let state = ProcessState {
            oci_version: oci::VERSION,
            fds: ["seccompFd"],
            pid,
            metadata,
            state: oci_state_of(self.facts, self.status, self.init.unwrap_or(pid)),
        };
        serde_json::to_string(&state).expect("plain data")
    }
}

/// `@` begins an abstract name, as in Go, whose net.Dial runc uses.
fn connect(path: &str) -> Result<OwnedFd> {
    // The words are runc's.
    let clause = "failed to connect with seccomp agent";
    let context = || format!("linux.seccomp.listenerPath: {clause} {path:?}");
    let address = match path.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes()),
        None => UnixAddr::new(path),
    };
    let address = address.context(context)?;
    let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .context(context)?;
    sys::scm::connect_unix(stream.as_fd(), &address).context(context)?;
    Ok(stream)
}
