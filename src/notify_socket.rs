// SPDX-License-Identifier: Apache-2.0
//! NOTIFY_SOCKET: the container gets a socket of its own at /run/notify, and its READY=1 is passed
//! on to the service manager, see sd_notify(3). `create` makes the directory and the mount; `run`
//! or `start` listens.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};
use nix::unistd::{Pid, pipe2, read, write};

use crate::bail;
use crate::error::{Context, Result};
use crate::interrupt;
use crate::log;
use crate::oci;
use crate::sys::{fd, scm};

#[derive(Debug)]
pub(crate) struct NotifySocket {
    /// The service manager's.
    host: OsString,
    dir: PathBuf,
    /// Ours, once `listen` was called.
    socket: Option<OwnedFd>,
}

const DESTINATION: &str = "/run/notify";
const NAME: &str = "notify.sock";
const BARRIER_MILLISECONDS: u16 = 30_000;

impl NotifySocket {
    /// `state_dir` is the container's; `host` the variable's value, if it is there.
    pub(crate) fn plan(state_dir: &Path, host: Option<OsString>) -> Option<Self> {
        let host = host.filter(|host| !host.is_empty())?;
        Some(Self { host, dir: state_dir.join("notify"), socket: None })
    }

    /// Behind the config's mounts.
    pub(crate) fn mount(&self) -> oci::Mount<'static> {
        oci::Mount { source: self.dir.to_string_lossy().into_owned().into(), ..Self::place() }
    }

    /// The mount in a container that has one, whatever its source.
    pub(crate) fn place() -> oci::Mount<'static> {
        oci::Mount {
            destination: DESTINATION.into(),
            options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(Into::into).into(),
            ..Default::default()
        }
    }

    /// Behind `process.env`.
    pub(crate) fn env() -> String {
        format!("NOTIFY_SOCKET={DESTINATION}/{NAME}")
    }

    pub(crate) fn make_dir(&self) -> Result<()> {
        DirBuilder::new()
            .mode(0o755)
            .create(&self.dir)
            .context(|| format!("NOTIFY_SOCKET: make {}", self.dir.display()))
    }

    /// Binds the container's socket.
    pub(crate) fn listen(&mut self) -> Result<()> {
        let path = self.dir.join(NAME);
        let context = || format!("NOTIFY_SOCKET: bind {}", path.display());
        match std::fs::remove_file(&path) {
            // Left behind by a `start` that was killed.
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(context),
        }
        let bound = datagram().context(context)?;
        // An address holds 107 bytes, and managers' state directories are longer.
        let dir = File::open(&self.dir).context(context)?;
        let short = format!("/proc/self/fd/{}/{NAME}", fd::number(dir.as_fd()));
        let address = UnixAddr::new(short.as_str()).context(context)?;
        scm::bind_unix(bound.as_fd(), &address).context(context)?;
        // Whatever user the container runs as.
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).context(context)?;
        self.socket = Some(bound);
        Ok(())
    }

    /// Detached: until the container is ready, and the manager has been told, or it has ended.
    pub(crate) fn wait(&self, pid: Pid, pidfd: BorrowedFd<'_>) -> Result<()> {
        let held = interrupt::Held::if_caught()?;
        loop {
            let mut fds = [self.as_fd(), pidfd].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match ppoll(&mut fds, None, held.as_ref().map(interrupt::Held::mask)) {
                Err(Errno::EINTR) => {
                    // The container runs; only the wait ends.
                    interrupt::check()?;
                    continue;
                }
                other => other.context(|| "NOTIFY_SOCKET: poll")?,
            };
            let [socket, process] = fds.map(|fd| fd.any() == Some(true));
            if socket && let Some(barrier) = self.receive(pid)? {
                return barrier.wait();
            }
            if process && !socket {
                return Ok(());
            }
        }
    }

    /// One message. If it says READY, tells the service manager, with `pid` as the main process.
    pub(crate) fn receive(&self, pid: Pid) -> Result<Option<Barrier>> {
        let mut message = [0; 4096];
        let length = match read(self.as_fd(), &mut message) {
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(None),
            other => other.context(|| "NOTIFY_SOCKET: read")?,
        };
        let mut lines = message[..length].split(|&b| b == b'\n');
        let Some(line) = lines.find(|line| line.starts_with(b"READY=")) else { return Ok(None) };
        let context = || format!("NOTIFY_SOCKET: tell {}", self.host.display());
        let host = datagram().context(context)?;
        let address = match self.host.as_bytes() {
            [b'@', name @ ..] => UnixAddr::new_abstract(name),
            path => UnixAddr::new(path),
        };
        scm::connect_unix(host.as_fd(), &address.context(context)?).context(context)?;
        write(&host, &[line, b"\n"].concat()).context(context)?;
        write(&host, format!("MAINPID={pid}\n").as_bytes()).context(context)?;
        Barrier::send(&host).context(context).map(Some)
    }
}

impl AsFd for NotifySocket {
    /// # Panics
    /// Before `listen`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("listen was called").as_fd()
    }
}

/// The service manager closes its end when it has seen all messages before, see
/// sd_notify_barrier(3).
#[derive(Debug)]
pub(crate) struct Barrier(OwnedFd);

impl Barrier {
    fn send(host: &OwnedFd) -> Result<Self, Errno> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        scm::send_fd(host.as_fd(), b"BARRIER=1", theirs.as_fd())?;
        Ok(Self(ours))
    }

    fn wait(self) -> Result<()> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let found = loop {
            match poll(&mut fds, PollTimeout::from(BARRIER_MILLISECONDS)) {
                Err(Errno::EINTR) => {}
                other => break other.context(|| "NOTIFY_SOCKET: wait for the barrier")?,
            }
        };
        if found == 0 {
            log::warn("Timeout after waiting 30s for barrier. Ignored.");
            return Ok(());
        }
        let mut byte = [0; 1];
        match File::from(self.0).read(&mut byte).context(|| "NOTIFY_SOCKET: barrier")? {
            0 => Ok(()),
            _ => bail!("NOTIFY_SOCKET: unexpected read from synchronization pipe"),
        }
    }
}

fn datagram() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use nix::mount::{MsFlags, mount};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::getpid;

    use super::*;
    use crate::sys;
    use crate::sys::clone::{CloneRequest, Fork, clone3};
    use crate::sys::pidfd::pidfd_open;
    use crate::testing::inside;

    #[test]
    fn without_the_variable_there_is_no_socket() {
        assert!(NotifySocket::plan(Path::new("/x"), None).is_none());
        assert!(NotifySocket::plan(Path::new("/x"), Some("".into())).is_none());
    }

    #[test]
    fn the_mount_and_the_variable_name_one_place() {
        let socket = NotifySocket::plan(Path::new("/run/c1"), Some("@host".into())).unwrap();
        let mount = socket.mount();
        assert_eq!((&*mount.source, &*mount.destination), ("/run/c1/notify", "/run/notify"));
        assert_eq!(NotifySocket::env(), "NOTIFY_SOCKET=/run/notify/notify.sock");
    }

    /// The service manager: what it reads, until it lets the barrier go.
    fn manager(listening: &OwnedFd) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for _ in 0..2 {
            let mut buffer = [0; 64];
            let n = read(listening, &mut buffer)?;
            said.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
        }
        let (_, barrier) = scm::recv_fd(listening.as_fd())?;
        said.push(String::from_utf8_lossy(&barrier).into_owned());
        Ok(said)
    }

    /// A state directory whose path is longer than an address may be.
    fn with_socket(body: impl FnOnce(&NotifySocket, OwnedFd) -> Result<()>) {
        inside(|_| {
            mount(Some("t"), "/mnt", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            let state_dir = Path::new("/mnt").join("x".repeat(120));
            std::fs::create_dir(&state_dir)?;
            let host = datagram()?;
            scm::bind_unix(host.as_fd(), &UnixAddr::new("/mnt/host")?)?;
            let mut socket = NotifySocket::plan(&state_dir, Some("/mnt/host".into())).unwrap();
            socket.make_dir()?;
            socket.listen()?;
            socket.listen()?;
            let about = std::fs::metadata(state_dir.join("notify/notify.sock"))?;
            assert_eq!(about.permissions().mode() & 0o777, 0o777);
            std::env::set_current_dir(state_dir.join("notify"))?;
            body(&socket, host)
        });
    }

    fn say(text: &str) -> Result<()> {
        let container = datagram()?;
        scm::connect_unix(container.as_fd(), &UnixAddr::new("notify.sock")?)?;
        write(&container, text.as_bytes())?;
        Ok(())
    }

    #[test]
    fn readiness_main_pid_and_barrier_reach_the_manager() {
        with_socket(|socket, host| {
            say("STATUS=soon")?;
            say("STATUS=now\nREADY=1\nMAINPID=7")?;
            match clone3(&CloneRequest::default())? {
                Fork::Child(_) => {
                    let said = manager(&host).unwrap_or_default();
                    let main = format!("MAINPID={}\n", nix::unistd::getppid());
                    let good = said == ["READY=1\n", main.as_str(), "BARRIER=1"];
                    sys::exit(if good { 0 } else { 1 })
                }
                Fork::Parent { child, .. } => {
                    drop(host);
                    let me = pidfd_open(getpid())?;
                    socket.wait(getpid(), me.as_fd())?;
                    assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0));
                    Ok(())
                }
            }
        });
    }

    #[test]
    fn a_container_that_ends_without_a_word_ends_the_wait() {
        with_socket(|socket, _| match clone3(&CloneRequest::default())? {
            Fork::Child(_) => sys::exit(0),
            Fork::Parent { child, pidfd } => {
                socket.wait(child, pidfd.as_fd())?;
                waitpid(child, None)?;
                Ok(())
            }
        });
    }
}
