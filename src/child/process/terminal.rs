// SPDX-License-Identifier: Apache-2.0
//! `process.terminal`, `process.consoleSize`, `--console-socket`: a pseudo terminal from the
//! container's own devpts becomes standard input, output and error; its other end goes out.
//! Child side, in the container's root, as leader of a new session.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci;
use crate::sys::tty::{self, Size};
use crate::sys::{Inside, fd, scm};

#[derive(Debug)]
pub(crate) struct Terminal {
    size: Option<Size>,
    receiver: OwnedFd,
    /// Whether a line feed becomes a carriage return and a line feed, as terminals start out.
    has_carriage_returns: bool,
}

/// Who gets the master.
#[derive(Debug)]
pub(crate) enum Receiver {
    /// The peer of `--console-socket`, connected.
    ConsoleSocket(OwnedFd),
    /// creel itself, which is on a terminal of this size.
    Foreground { socket: OwnedFd, size: Option<Size> },
}

/// Both ends, while /dev/console is still to be bound to one.
#[derive(Debug)]
pub(crate) struct Pty {
    master: OwnedFd,
    slave: OwnedFd,
}

/// What goes out with the master; receivers show it at most.
const NAME: &str = "/dev/pts/ptmx";

/// `--console-socket PATH`, connected before anything else exists.
pub(crate) fn connect_console_socket(path: &Path) -> Result<OwnedFd> {
    connect(path).context(|| format!("--console-socket: connect to {}", path.display()))
}

pub(crate) fn connect(path: &Path) -> Result<OwnedFd> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    crate::sys::scm::connect_unix(stream.as_fd(), &address)?;
    Ok(stream)
}

impl Terminal {
    /// `receiver`: given if and only if somebody is to get the terminal.
    pub(crate) fn plan(
        process: &oci::Process<'_>,
        receiver: Option<Receiver>,
    ) -> Result<Option<Self>> {
        let receiver = match (process.terminal, receiver) {
            (true, Some(receiver)) => receiver,
            (false, None) => return Ok(None),
            (true, None) => {
                let text =
                    "cannot allocate tty if creel will detach without setting console socket";
                bail!("process.terminal: {text}")
            }
            (false, Some(_)) => {
                let text = "cannot use console socket if creel will not detach or allocate tty";
                bail!("process.terminal: {text}")
            }
        };
        let size = process.console_size.map(plan_size).transpose()?.flatten();
        Ok(Some(match receiver {
            Receiver::ConsoleSocket(receiver) => {
                Self { size, receiver, has_carriage_returns: true }
            }
            // The relay's own terminal adds them; a file or pipe is better off without.
            Receiver::Foreground { socket, size: ours } => {
                Self { size: ours.or(size), receiver: socket, has_carriage_returns: false }
            }
        }))
    }

    /// Makes the pair, by descriptors only: /dev belongs to the container (CVE-2025-52565).
    pub(crate) fn open(&self, _: &Inside) -> Result<Pty> {
        let master = open_master()?;
        let context = || "process.terminal: open the pseudo terminal".to_owned();
        tty::unlock(master.as_fd()).context(context)?;
        let slave = tty::peer(master.as_fd()).context(context)?;
        if !self.has_carriage_returns {
            let mut settings = tcgetattr(&slave).context(context)?;
            settings.output_flags.remove(OutputFlags::ONLCR);
            tcsetattr(&slave, SetArg::TCSANOW, &settings).context(context)?;
        }
        if let Some(size) = self.size {
            tty::set_size(master.as_fd(), size).context(|| "process.consoleSize")?;
        }
        Ok(Pty { master, slave })
    }

    /// For a restore, where the master comes from CRIU: sends it out.
    pub(crate) fn hand_over(&self, master: BorrowedFd<'_>) -> Result<()> {
        if let Some(size) = self.size {
            tty::set_size(master, size).context(|| "process.consoleSize")?;
        }
        self.send(master)
    }

    fn send(&self, master: BorrowedFd<'_>) -> Result<()> {
        scm::send_fd(self.receiver.as_fd(), NAME.as_bytes(), master)
            .context(|| "process.terminal: send it to the console socket")
    }

    /// Sends the master out and takes the other end as standard streams and controlling terminal.
    pub(crate) fn take(&self, pty: Pty, _: &Inside) -> Result<()> {
        self.send(pty.master.as_fd())?;
        for stream in 0..3 {
            fd::dup_to(pty.slave.as_fd(), stream)
                .context(|| "process.terminal: make it the standard streams")?;
        }
        tty::set_controlling(fd::stdio()[0])
            .context(|| "process.terminal: make it the controlling terminal")
    }
}

impl Pty {
    /// For /dev/console.
    pub(crate) fn slave(&self) -> BorrowedFd<'_> {
        self.slave.as_fd()
    }
}

fn plan_size(size: oci::ConsoleSize) -> Result<Option<Size>> {
    let cells = |property: &str, n: u64| {
        u16::try_from(n)
            .map_err(|_| Error::text(format!("process.consoleSize.{property}: {n} is too large")))
    };
    let size = Size { rows: cells("height", size.height)?, columns: cells("width", size.width)? };
    Ok((size.rows != 0 && size.columns != 0).then_some(size))
}

fn open_master() -> Result<OwnedFd> {
    const DEVPTS_SUPER_MAGIC: FsType = FsType(0x1cd1);
    let context = || "process.terminal: open /dev/pts/ptmx".to_owned();
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = open("/", flags, Mode::empty()).context(context)?;
    let dir = openat(&root, "dev/pts", flags, Mode::empty()).context(context)?;
    if fstatfs(&dir).context(context)?.filesystem_type() != DEVPTS_SUPER_MAGIC {
        bail!("process.terminal: /dev/pts is not a devpts");
    }
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    match openat2(&dir, "ptmx", OpenHow::new().flags(flags).resolve(resolve)) {
        // KERNEL(5.6): drop when openat2 can be assumed. Something could be mounted over the file.
        Err(Errno::ENOSYS) => {
            let master = openat(&dir, "ptmx", flags, Mode::empty()).context(context)?;
            if fstatfs(&master).context(context)?.filesystem_type() != DEVPTS_SUPER_MAGIC {
                bail!("process.terminal: /dev/pts/ptmx is not of a devpts");
            }
            Ok(master)
        }
        other => other.context(context),
    }
}

#[cfg(test)]
mod tests {
    use nix::mount::{MsFlags, mount};
    use nix::unistd::setsid;

    use super::*;
    use crate::testing::inside;

    fn pair() -> (OwnedFd, Receiver) {
        use nix::sys::socket::{SockProtocol, socketpair};
        let (kind, flags) = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, kind, None::<SockProtocol>, flags).unwrap();
        (ours, Receiver::ConsoleSocket(theirs))
    }

    fn process(terminal: bool, height: u64, width: u64) -> oci::Process<'static> {
        let console_size = Some(oci::ConsoleSize { height, width });
        oci::Process { terminal, console_size, ..Default::default() }
    }

    #[test]
    fn a_terminal_and_a_receiver_go_together() {
        assert!(Terminal::plan(&process(false, 1, 1), None).unwrap().is_none());
        let error = Terminal::plan(&process(true, 1, 1), None).unwrap_err();
        let text = "process.terminal: cannot allocate tty if creel will detach without setting console socket";
        assert_eq!(error.to_string(), text);
        let error = Terminal::plan(&process(false, 1, 1), Some(pair().1)).unwrap_err();
        let text =
            "process.terminal: cannot use console socket if creel will not detach or allocate tty";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_size_must_fit_and_zero_is_none() {
        let size =
            |h, w| Terminal::plan(&process(true, h, w), Some(pair().1)).map(|t| t.unwrap().size);
        assert_eq!(size(24, 80).unwrap(), Some(Size { rows: 24, columns: 80 }));
        assert_eq!(size(0, 80).unwrap(), None);
        let text = "process.consoleSize.width: 65536 is too large";
        assert_eq!(size(24, 65536).unwrap_err().to_string(), text);
    }

    fn fresh_devpts() -> Result<()> {
        let data = Some("newinstance,ptmxmode=0666,mode=0620");
        Ok(mount(Some("devpts"), "/dev/pts", Some("devpts"), MsFlags::empty(), data)?)
    }

    #[test]
    fn standard_streams_are_the_terminal_and_the_master_goes_out() {
        let (ours, theirs) = pair();
        let terminal = Terminal::plan(&process(true, 10, 110), Some(theirs)).unwrap().unwrap();
        inside(|me| {
            fresh_devpts()?;
            setsid()?;
            let pty = terminal.open(me)?;
            terminal.take(pty, me)?;
            let (master, name) = scm::recv_fd(ours.as_fd())?;
            assert_eq!(name, NAME.as_bytes());
            assert_eq!(tty::size(fd::stdio()[2])?, Size { rows: 10, columns: 110 });
            nix::unistd::write(fd::stdio()[1], b"hello")?;
            let mut buffer = [0; 16];
            let n = nix::unistd::read(&master, &mut buffer)?;
            assert_eq!(&buffer[..n], b"hello");
            std::fs::File::open("/dev/tty")?;
            assert_eq!(std::fs::read_link("/proc/self/fd/0")?, Path::new("/dev/pts/0"));
            // Closed, it would hang up on this very session.
            fd::leak(master);
            Ok(())
        });
    }

    #[test]
    fn a_dev_pts_that_is_no_devpts_is_refused() {
        let terminal = Terminal::plan(&process(true, 0, 0), Some(pair().1)).unwrap().unwrap();
        inside(|me| {
            mount(Some("t"), "/dev/pts", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            let error = terminal.open(me).unwrap_err();
            assert_eq!(error.to_string(), "process.terminal: /dev/pts is not a devpts");
            Ok(())
        });
    }

    #[test]
    fn a_ptmx_that_is_mounted_over_is_refused() {
        let terminal = Terminal::plan(&process(true, 0, 0), Some(pair().1)).unwrap().unwrap();
        inside(|me| {
            fresh_devpts()?;
            let none = None::<&str>;
            mount(Some("/dev/null"), "/dev/pts/ptmx", none, MsFlags::MS_BIND, none)?;
            let error = terminal.open(me).unwrap_err();
            // By openat2, or without it by a look at what was opened.
            let texts = [
                "open /dev/pts/ptmx: EXDEV: cross-device link",
                "/dev/pts/ptmx is not of a devpts",
            ];
            let texts = texts.map(|text| format!("process.terminal: {text}"));
            assert!(texts.contains(&error.to_string()), "{error}");
            Ok(())
        });
    }
}
