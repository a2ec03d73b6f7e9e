// SPDX-License-Identifier: Apache-2.0
//! The relay between our terminal and the container's, for `foreground`. Nothing here waits: the
//! descriptors to poll and what to do when one is ready.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};

use crate::error::{Context, Result};
use crate::sys::fd;
use crate::sys::tty::{self, Size};

/// The terminal that creel was started on; as it was again when dropped.
#[derive(Debug)]
pub(super) struct HostTty {
    tty: OwnedFd,
    original: Termios,
}

#[derive(Debug)]
pub(super) struct Console {
    master: OwnedFd,
    host: HostTty,
    /// Read but not yet written: towards the container, and from it.
    input: Vec<u8>,
    output: Vec<u8>,
    has_input: bool,
    has_output: bool,
    /// Our standard output is gone; the container must not block on that.
    is_deaf: bool,
}

/// At most this much at once: a pipe that is ready takes it without blocking (pipe(7)).
const CHUNK: usize = 4096;

impl HostTty {
    /// Any standard stream may be redirected; /dev/tty is the last resort.
    pub(super) fn find() -> Result<Self> {
        let [stdin, stdout, stderr] = fd::stdio();
        for stream in [stderr, stdout, stdin] {
            if let Ok(original) = tcgetattr(stream) {
                let tty = stream.try_clone_to_owned().context(|| "our terminal")?;
                return Ok(Self { tty, original });
            }
        }
        let tty = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty");
        let tty = OwnedFd::from(tty.context(|| "process.terminal: open /dev/tty")?);
        let original = tcgetattr(&tty).context(|| "process.terminal: /dev/tty")?;
        Ok(Self { tty, original })
    }

    pub(super) fn size(&self) -> Option<Size> {
        tty::size(self.tty.as_fd()).ok()
    }

    /// Every key goes to the container. Output is still processed, so that a line feed, which the
    /// container's terminal leaves alone, still returns the carriage here.
    fn set_raw(&self) -> Result<()> {
        let mut raw = self.original.clone();
        cfmakeraw(&mut raw);
        raw.output_flags |= OutputFlags::OPOST;
        tcsetattr(&self.tty, SetArg::TCSANOW, &raw).context(|| "set our terminal raw")
    }
}

impl Drop for HostTty {
    fn drop(&mut self) {
        // The terminal may have hung up, and then there is nothing to restore.
        let _ = tcsetattr(&self.tty, SetArg::TCSANOW, &self.original);
    }
}

impl Console {
    pub(super) fn new(master: OwnedFd, host: HostTty) -> Result<Self> {
        let context = || "process.terminal: set it up";
        fd::set_nonblocking(master.as_fd()).context(context)?;
        host.set_raw()?;
        let console = Self {
            master,
            host,
            input: Vec::new(),
            output: Vec::new(),
            has_input: true,
            has_output: true,
            is_deaf: false,
        };
        console.resize();
        Ok(console)
    }

    /// The container's terminal gets the size of ours.
    pub(super) fn resize(&self) {
        if let Some(size) = self.host.size() {
            // Either may be gone already: SIGWINCH and SIGHUP come in any order.
            let _ = tty::set_size(self.master.as_fd(), size);
        }
    }

    /// Only what can make progress, so that no hang-up wakes us in vain.
    pub(super) fn interests(&self) -> Vec<PollFd<'_>> {
        let [stdin, stdout, _] = fd::stdio();
        let mut fds = Vec::with_capacity(3);
        let mut master = PollFlags::empty();
        if !self.input.is_empty() {
            master |= PollFlags::POLLOUT;
        } else if self.has_input {
            fds.push(PollFd::new(stdin, PollFlags::POLLIN));
        }
        if !self.output.is_empty() {
            fds.push(PollFd::new(stdout, PollFlags::POLLOUT));
        } else if self.has_output {
            master |= PollFlags::POLLIN;
        }
        if !master.is_empty() {
            fds.push(PollFd::new(self.master.as_fd(), master));
        }
        fds
    }

    /// After a poll of `interests`: which of stdin, stdout and the master are ready.
    pub(super) fn progress(&mut self, ready: Ready) {
        if ready.stdin {
            self.read_input();
        }
        if !self.input.is_empty() {
            self.write_input();
        }
        if ready.stdout {
            self.write_output();
        }
        if ready.master && self.output.is_empty() && self.has_output {
            self.read_output();
        }
    }

    pub(super) fn ready(&self, polled: &[PollFd<'_>]) -> Ready {
        let is_ready = |wanted: BorrowedFd<'_>| {
            polled.iter().any(|polled| {
                fd::number(polled.as_fd()) == fd::number(wanted) && polled.any() == Some(true)
            })
        };
        let [stdin, stdout, _] = fd::stdio();
        Ready {
            stdin: is_ready(stdin),
            stdout: is_ready(stdout),
            master: is_ready(self.master.as_fd()),
        }
    }

    /// The program has ended: what it has written is still in the terminal.
    pub(super) fn drain(&mut self) {
        loop {
            while !self.output.is_empty() {
                let mut stdout = [PollFd::new(fd::stdio()[1], PollFlags::POLLOUT)];
                // Its result says no more than the write that follows.
                let _ = poll(&mut stdout, PollTimeout::NONE);
                self.write_output();
            }
            if !self.has_output {
                return;
            }
            self.read_output();
            if self.output.is_empty() {
                // EAGAIN: somebody else still has the terminal open, but has nothing to say.
                return;
            }
        }
    }

    fn read_input(&mut self) {
        let mut buffer = [0; CHUNK];
        match read(fd::stdio()[0], &mut buffer) {
            Ok(n) if n > 0 => self.input.extend_from_slice(&buffer[..n]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // The end of ours is not the end of the container's: there is no way to say it to one.
            Ok(_) | Err(_) => self.has_input = false,
        }
    }

    fn write_input(&mut self) {
        match write(&self.master, &self.input) {
            Ok(n) => drop(self.input.drain(..n)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.input.clear();
                self.has_input = false;
            }
        }
    }

    fn read_output(&mut self) {
        let mut buffer = [0; CHUNK];
        match read(&self.master, &mut buffer) {
            Ok(n) if n > 0 && self.is_deaf => {}
            Ok(n) if n > 0 => self.output.extend_from_slice(&buffer[..n]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // EIO: nobody has the terminal open any more.
            Ok(_) | Err(_) => self.stop_output(),
        }
    }

    fn stop_output(&mut self) {
        self.has_output = false;
        self.has_input = false;
        self.input.clear();
    }

    fn write_output(&mut self) {
        match write(fd::stdio()[1], &self.output) {
            Ok(n) => drop(self.output.drain(..n)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.output.clear();
                self.is_deaf = true;
            }
        }
    }
}

/// What a poll has found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ready {
    stdin: bool,
    stdout: bool,
    master: bool,
}
