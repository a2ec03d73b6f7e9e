// SPDX-License-Identifier: Apache-2.0
//! The `criu` of PATH as a worker (`criu swrk FD`): started, asked by messages, answered at the points
//! where it notifies. When dropped it is never killed at work: with the socket closed it takes back
//! what it has begun, which for a dump means that the container runs on.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, send, shutdown, socketpair,
};
use nix::sys::stat::Mode;
use nix::sys::wait::WaitStatus;

use super::rpc::{self, Feature, Kind, Notify, Response, request};
use super::wire::Message;
use crate::bail;
use crate::child::{self, Voice};
use crate::error::{Context, Error, Result};
use crate::interrupt;
use crate::log;
use crate::namespace::Entry;
use crate::parent::spawn::{self, Init, Place};
use crate::signals::Signals;
use crate::sync::{self, ParentLink, Tell};
use crate::sys::{self, Inside, fd, scm};

/// Where programs are looked for without a PATH, which some managers don't pass.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a worker whose socket has closed may take to undo what it has begun.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first version that tells its version; before it nothing is known of a CRIU.
const OLDEST: u32 = 3_00_00;

/// A running worker.
#[derive(Debug)]
pub(super) struct Worker {
    socket: OwnedFd,
    process: Init,
    /// As 4.1.1 is 40101.
    version: u32,
}

/// What a worker is started with.
#[derive(Debug, Default)]
pub(super) struct Start<'a> {
    /// The namespaces that are made for it.
    pub entry: Entry,
    pub place: Place<'a>,
    /// Descriptors that it inherits, under the numbers that they have.
    pub inherit: Vec<BorrowedFd<'a>>,
    /// Its standard streams are ours; else /dev/null.
    pub has_stdio: bool,
    pub signals: Option<&'a Signals>,
}

/// A point at which CRIU waits: what it says, and the descriptor that came with it.
#[derive(Debug)]
pub(super) struct Event {
    pub notify: Notify,
    pub fd: Option<OwnedFd>,
}

/// The program's path, which is not executed yet.
///
/// # Errors
/// `criu: not found in PATH (…)`.
pub(super) fn find() -> Result<CString> {
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    let found = std::env::split_paths(&path).map(|dir| dir.join("criu")).find(is_program);
    let Some(found) = found else {
        bail!("criu: not found in PATH ({})", path.to_string_lossy());
    };
    Ok(sys::cstring(found.into_os_string().into_vec())?)
}

impl Worker {
    /// Clones, does `before` in the clone, executes the program, and asks for its version.
    pub(super) fn start(
        program: &CString,
        start: &Start<'_>,
        before: impl FnOnce(&Inside) -> Result<()>,
    ) -> Result<Self> {
        let (family, kind, flags) =
            (AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
        let (socket, theirs) = socketpair(family, kind, None, flags).context(|| "socketpair")?;
        let (process, link) = spawn::spawn(&start.entry, &start.place, |link, me, _| {
            child::main(link, None, &me, |voice, me| {
                start.signals.map_or(Ok(()), |signals| signals.restore(me))?;
                before(me)?;
                execute(program, &theirs, start, voice, me)
            })
        })?;
        drop(theirs);
        let mut worker = Self { socket, process, version: 0 };
        until_executed(&link)?;
        worker.version = worker.ask_version().context(|| "ask criu for its version")?;
        log::debug(|| format!("criu is version {}", worker.version));
        worker.needs(OLDEST, "checkpoint and restore")?;
        Ok(worker)
    }

    pub(super) fn process(&self) -> &Init {
        &self.process
    }

    pub(super) fn is_at_least(&self, version: u32) -> bool {
        self.version >= version
    }

    /// # Errors
    /// `--lsm-profile needs CRIU 3.16, this is 3.15`.
    pub(super) fn needs(&self, version: u32, what: &str) -> Result<()> {
        if self.is_at_least(version) {
            return Ok(());
        }
        bail!("{what}: needs CRIU {}, this is {}", dotted(version), dotted(self.version))
    }

    fn ask_version(&mut self) -> Result<u32> {
        let mut message = rpc::request(Kind::Version);
        message.set(request::KEEP_OPEN, true);
        let answer = self.call(&message, &mut no_event)?;
        match answer.version {
            Some(version) => Ok(version.number()),
            None => bail!("it does not say"),
        }
    }

    /// # Errors
    /// This CRIU, or the kernel, lacks the feature.
    pub(super) fn needs_feature(&mut self, feature: Feature, what: &str) -> Result<()> {
        let mut message = rpc::request(Kind::FeatureCheck);
        let wanted = Message::of([(feature.field(), true.into())]);
        message.set(request::KEEP_OPEN, true).set(request::FEATURES, wanted);
        let answer = self.call(&message, &mut no_event).context(|| "ask criu for its features")?;
        if !answer.features.contains(&(feature as u32)) {
            bail!("{what}: criu or the kernel lacks {}", feature.field().1);
        }
        Ok(())
    }

    /// Sends a request and answers what comes, until the request itself is answered. A failing
    /// `event` is told to CRIU, which then fails too; the reason is the event's.
    pub(super) fn call(
        &mut self,
        message: &Message,
        event: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Response> {
        log::debug(|| format!("to criu: {message}"));
        self.send(message)?;
        let mut refusal = None;
        loop {
            let (response, fd) = self.receive()?;
            let Some(notify) = response.notify.clone().filter(|_| response.is(Kind::Notify)) else {
                return match (response.is_success, refusal) {
                    (true, _) => Ok(response),
                    (false, Some(refusal)) => Err(refusal),
                    (false, None) => Err(failure(&response)),
                };
            };
            log::debug(|| format!("criu notifies: {}", notify.script));
            let outcome = event(Event { notify, fd });
            let mut answer = rpc::request(Kind::Notify);
            answer.set(request::NOTIFY_SUCCESS, outcome.is_ok());
            if let Err(error) = outcome {
                refusal.get_or_insert(error);
            }
            self.send(&answer)?;
        }
    }

    fn send(&self, message: &Message) -> Result<()> {
        let socket = fd::number(self.socket.as_fd());
        let bytes = message.encode();
        match send(socket, &bytes, MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.gone()),
            Err(errno) => Err(errno).context(|| "send to criu"),
        }
    }

    fn receive(&self) -> Result<(Response, Option<OwnedFd>)> {
        interrupt::watch(self.socket.as_fd());
        let received = scm::recv_packet(self.socket.as_fd());
        interrupt::check()?;
        match received {
            Ok((bytes, _)) if bytes.is_empty() => Err(self.gone()),
            Ok((bytes, fd)) => Ok((Response::decode(&bytes)?, fd)),
            Err(Errno::ECONNRESET) => Err(self.gone()),
            Err(errno) => Err(errno).context(|| "receive from criu"),
        }
    }

    /// It has closed its end without an answer: how it ended.
    fn gone(&self) -> Error {
        if !self.process.has_ended_within(PATIENCE) {
            return Error::text("criu closed the connection without an answer");
        }
        Error::text(match self.process.reap() {
            Ok(WaitStatus::Exited(_, status)) => format!("criu ended: exit status {status}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("criu ended: signal {signal}"),
            _ => "criu ended".to_owned(),
        })
    }

    /// After the answer: until it has ended. Its exit status.
    pub(super) fn finish(self) -> Result<i32> {
        // Already closed on the other side: it ends by itself then.
        let _ = shutdown(fd::number(self.socket.as_fd()), Shutdown::Write);
        match self.process.reap().context(|| "wait for criu")? {
            WaitStatus::Exited(_, status) => Ok(status),
            WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
            other => bail!("wait for criu: {other:?}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = shutdown(fd::number(self.socket.as_fd()), Shutdown::Both);
        // `Init` kills it only if it does not end by itself.
        self.process.has_ended_within(PATIENCE);
    }
}

fn no_event(event: Event) -> Result<()> {
    bail!("criu notifies out of place: {}", event.notify.script)
}

fn dotted(version: u32) -> String {
    let (major, minor, sublevel) = (version / 10_000, version / 100 % 100, version % 100);
    match sublevel {
        0 => format!("{major}.{minor}"),
        _ => format!("{major}.{minor}.{sublevel}"),
    }
}

/// What CRIU says itself; its log says more.
fn failure(response: &Response) -> Error {
    let message = response.message.trim();
    match (message.is_empty(), response.errno) {
        (false, _) => Error::text(format!("criu: {message}")),
        (true, 0) => Error::text("criu failed"),
        (true, errno) => {
            let errno = Errno::from_raw(i32::try_from(errno).unwrap_or(0));
            Error::text(format!("criu failed: {}", crate::error::describe(errno)))
        }
    }
}

fn until_executed(link: &ParentLink) -> Result<()> {
    match link.next()? {
        sync::Message::End => Ok(()),
        sync::Message::Tell(Tell::Failed(error)) => Err(error),
        sync::Message::Ask(_) | sync::Message::Tell(Tell::Forked { .. }) => {
            Err(Error::text("a message from the clone that becomes criu is out of place"))
        }
    }
}

/// Nothing else than what it is to have stays open in it.
fn execute(
    program: &CString,
    socket: &OwnedFd,
    start: &Start<'_>,
    voice: &Voice,
    me: &Inside,
) -> Result<Infallible> {
    crate::signals::default_sigpipe(me)?;
    if !start.has_stdio {
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = OwnedFd::from(null.context(|| "open /dev/null")?);
        for stream in 0..3 {
            fd::dup_to(null.as_fd(), stream).context(|| "standard streams")?;
        }
    }
    let inherited = || start.inherit.iter().copied().chain([socket.as_fd()]);
    let mut keep: Vec<_> = inherited().map(fd::number).chain(voice.numbers()).collect();
    match fd::close_except(3, &mut keep) {
        // KERNEL(5.9): close_range; all that creel has opened is closed by execve.
        Ok(()) | Err(Errno::ENOSYS) => {}
        Err(errno) => return Err(errno).context(|| "close_range"),
    }
    for fd in inherited() {
        fd::set_cloexec(fd, false).context(|| "keep a descriptor for criu")?;
    }
    let number = sys::cstring(fd::number(socket.as_fd()).to_string())?;
    let Err(errno) = nix::unistd::execve(program, &[c"criu", c"swrk", &number], &environment()?);
    Err(errno).context(|| format!("execute {}", program.to_string_lossy()))
}

/// Ours; CRIU itself runs programs such as iptables and ip.
fn environment() -> Result<Vec<CString>> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    if !variables.iter().any(|(name, _)| name == "PATH") {
        variables.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    let line = |(name, value): &(OsString, OsString)| {
        Ok(sys::cstring([name.as_bytes(), b"=", value.as_bytes()].concat())?)
    };
    variables.iter().map(line).collect()
}

/// A directory for images or logs, open.
pub(super) fn directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_they_are_written() {
        assert_eq!(dotted(4_01_01), "4.1.1");
        assert_eq!(dotted(3_15_00), "3.15");
    }

    #[test]
    fn what_criu_says_of_a_failure() {
        let said = Response { message: "Can't dump\n".into(), errno: 1, ..Response::default() };
        assert_eq!(failure(&said).to_string(), "criu: Can't dump");
        let silent = Response { errno: 3, ..Response::default() };
        assert_eq!(failure(&silent).to_string(), "criu failed: ESRCH: no such process");
    }
}
