// SPDX-License-Identifier: Apache-2.0
//! A seccomp agent: takes listeners over a Unix socket and answers what they notify of.
#![allow(unsafe_code)]
// two ioctls, and a descriptor that was sent

// The agent of these tests answers while the test waits for the runtime.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use serde_json::Value;

nix::ioctl_readwrite!(notif_recv, b'!', 0, libc::seccomp_notif);
nix::ioctl_readwrite!(notif_send, b'!', 1, libc::seccomp_notif_resp);

/// What becomes of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// The kernel makes it.
    Continue,
    Errno(i32),
}

/// How calls are answered, by their number.
pub(crate) type Rule = fn(i64) -> Answer;

#[derive(Debug)]
pub(crate) struct Agent {
    shared: Arc<Shared>,
    path: Option<PathBuf>,
    main: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    rule: Rule,
    ends: AtomicBool,
    /// The container process states that came, in order.
    states: Mutex<Vec<Value>>,
    /// The calls that were notified of.
    calls: Mutex<Vec<i64>>,
}

impl Agent {
    pub(crate) fn at(path: &Path, rule: Rule) -> Self {
        let mut agent = Self::serve(UnixListener::bind(path).expect("bind"), rule);
        agent.path = Some(path.to_owned());
        agent
    }

    pub(crate) fn at_abstract(name: &str, rule: Rule) -> Self {
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        Self::serve(UnixListener::bind_addr(&address).expect("bind"), rule)
    }

    fn serve(socket: UnixListener, rule: Rule) -> Self {
        let shared = Arc::new(Shared {
            rule,
            ends: AtomicBool::new(false),
            states: Mutex::default(),
            calls: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        let main = std::thread::spawn(move || for_thread.accept(&socket));
        Self { shared, path: None, main: Some(main) }
    }

    pub(crate) fn states(&self) -> Vec<Value> {
        self.shared.states.lock().expect("no panic").clone()
    }

    pub(crate) fn calls(&self) -> Vec<i64> {
        self.shared.calls.lock().expect("no panic").clone()
    }

    /// All of its descriptors are closed when this returns, as if it had been killed.
    pub(crate) fn end(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        if let Some(main) = self.main.take() {
            main.join().expect("the agent did not panic");
        }
        if let Some(path) = self.path.take() {
            fs::remove_file(path).expect("its socket");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, socket: &UnixListener) {
        let mut threads = Vec::new();
        while let Some(true) = self.wait(socket.as_fd()) {
            let (stream, _) = socket.accept().expect("accept");
            let shared = Arc::clone(self);
            threads.push(std::thread::spawn(move || shared.answer(&stream)));
        }
        for thread in threads {
            thread.join().expect("no panic");
        }
    }

    /// None when the agent is to end; whether there is something to read, else it was closed.
    fn wait(&self, fd: std::os::fd::BorrowedFd<'_>) -> Option<bool> {
        while !self.ends.load(Ordering::SeqCst) {
            let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(10_u8)).expect("poll") > 0 {
                return Some(fds[0].revents().is_some_and(|r| r.contains(PollFlags::POLLIN)));
            }
        }
        None
    }

    fn answer(&self, stream: &UnixStream) {
        if self.wait(stream.as_fd()) != Some(true) {
            return;
        }
        let (state, listener) = receive(stream);
        self.states.lock().expect("no panic").push(state);
        while let Some(true) = self.wait(listener.as_fd()) {
            // SAFETY: plain data; the kernel wants it zeroed.
            let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the kernel writes one such struct, which outlives the call.
            match unsafe { notif_recv(listener.as_raw_fd(), &raw mut call) } {
                Ok(_) => {}
                // Killed meanwhile.
                Err(Errno::ENOENT | Errno::EINTR) => continue,
                Err(errno) => panic!("SECCOMP_IOCTL_NOTIF_RECV: {errno}"),
            }
            let number = i64::from(call.data.nr);
            self.calls.lock().expect("no panic").push(number);
            let mut response = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags: 0 };
            match (self.rule)(number) {
                Answer::Continue => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
                Answer::Errno(errno) => response.error = -errno,
            }
            // SAFETY: the kernel reads one such struct, which outlives the call.
            match unsafe { notif_send(listener.as_raw_fd(), &raw mut response) } {
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(errno) => panic!("SECCOMP_IOCTL_NOTIF_SEND: {errno}"),
            }
        }
    }
}

/// One message with one descriptor, then the end, as runc sends it.
fn receive(stream: &UnixStream) -> (Value, OwnedFd) {
    let mut buffer = [0_u8; 65536];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let mut into = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut into, Some(&mut space), flags).expect("recvmsg");
    let mut fds = Vec::new();
    for control in message.cmsgs().expect("whole control data") {
        let ControlMessageOwned::ScmRights(rights) = control else { panic!("{control:?}") };
        fds.extend(rights);
    }
    let [fd] = fds[..] else { panic!("{} descriptors", fds.len()) };
    // SAFETY: the kernel has just made it for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let length = message.bytes;
    let state = serde_json::from_slice(&buffer[..length]).expect("the whole state at once");
    (state, fd)
}
