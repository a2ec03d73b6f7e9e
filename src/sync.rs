// SPDX-License-Identifier: Apache-2.0
//! The conversation between the parent and the clone, over one SOCK_SEQPACKET pair.
//!
//! ```text
//!   child                    parent
//!   Ask::Map           ──▶   id maps, setgroups, time offsets            (new user namespace)
//!                      ◀──   Done
//!   Ask::Placed        ──▶   the cgroup join is done                    (not born in the cgroup)
//!                      ◀──   Done
//!   Tell::Forked + fd  ──▶   follows the final process                  (second fork only)
//!                      ◀──   Done, to the final process
//!   Ask::Hooks         ──▶   net devices, prestart and createRuntime hooks
//!                      ◀──   Done
//!   Ask::Ready         ──▶   `create`: pid file, returns. Else: the last outside work is done
//!                      ◀──   Done
//!   Ask::Listener(n)   ──▶   takes the seccomp listener, hands it on    (SCMP_ACT_NOTIFY)
//!                      ◀──   Done
//!   Tell::Failed       ──▶   at any time; then EOF
//!   EOF                ──▶   before Ready: the child died; after it: execve happened
//! ```
//! An ask that the plan does not need is not sent. Where Ready would be the only one, and nothing is left
//! to do outside, its Done is there before it and it is not sent either (`Plan::is_answered_ahead`).
//! Nothing of the plan travels: the clone inherits it.
//! In `create`, Ask::Listener is Ready too: what the clone says after it would be the agent's to allow.

use std::cell::RefCell;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

use crate::error::{Context, Error, Kind, Result};
use crate::{interrupt, sys};

/// Requests that the child waits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Map,
    Placed,
    Hooks,
    /// The number that the seccomp listener will have in the child, which loads its filter now.
    Listener(RawFd),
    Ready,
}

/// What the child says without waiting.
#[derive(Debug)]
pub(crate) enum Tell {
    /// The final process, from the stage between.
    Forked {
        pidfd: OwnedFd,
    },
    Failed(Error),
}

/// One message, as the parent receives it.
#[derive(Debug)]
pub(crate) enum Message {
    Ask(Ask),
    Tell(Tell),
    /// The other side is closed: it ended, or executed another program.
    End,
}

const MAP: u8 = 1;
const PLACED: u8 = 2;
const HOOKS: u8 = 3;
const LISTENER: u8 = 4;
const READY: u8 = 5;
const FORKED: u8 = 16;
const FAILED: u8 = 18;
const DONE: [u8; 1] = [0];

/// Longest failure text that is carried; the rest is cut.
const TEXT_MAX: usize = 32 * 1024;

/// The child's end.
#[derive(Debug)]
pub(crate) struct ChildLink(OwnedFd);

/// The parent's end.
#[derive(Debug)]
pub(crate) struct ParentLink {
    socket: OwnedFd,
    /// For one message of any length; of its pages only those are touched that one fills.
    buffer: RefCell<Vec<u8>>,
}

/// A connected pair, close-on-exec.
pub(crate) fn pair() -> Result<(ParentLink, ChildLink), Errno> {
    let (a, b) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let parent = ParentLink { socket: a, buffer: RefCell::new(Vec::new()) };
    Ok((parent, ChildLink(b)))
}

impl ChildLink {
    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The parent is gone, or failed at the request and will report that itself.
    pub(crate) fn ask(&self, ask: Ask) -> Result<()> {
        self.send(ask)?;
        self.wait_done()
    }

    /// Sends without waiting; `wait_done` later collects the answer.
    pub(crate) fn send(&self, ask: Ask) -> Result<()> {
        let [a, b, c, d] = match ask {
            Ask::Listener(number) => number.to_le_bytes(),
            Ask::Map | Ask::Placed | Ask::Hooks | Ask::Ready => [0; 4],
        };
        let message = [tag(ask), a, b, c, d];
        send(self.0.as_fd(), &message, None).context(|| "ask the parent")
    }

    /// By read(2), which every seccomp filter has that lets a program run at all.
    pub(crate) fn wait_done(&self) -> Result<()> {
        let mut byte = [0_u8; 1];
        loop {
            match nix::unistd::read(&self.0, &mut byte) {
                Ok(1) => return Ok(()),
                Ok(_) => return Err(Error::text("the parent is gone")),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(|| "wait for the parent"),
            }
        }
    }

    pub(crate) fn forked(&self, pidfd: BorrowedFd<'_>) -> Result<()> {
        send(self.0.as_fd(), &[FORKED], Some(pidfd)).context(|| "tell the parent of the fork")
    }

    /// The whole chain of the failure, as one message. A parent that is gone has no use for it.
    pub(crate) fn fail(&self, error: &Error) {
        let mut message = vec![FAILED, error.kind() as u8];
        message.extend_from_slice(&error.errno().map_or(0, |e| e as i32).to_le_bytes());
        let text = error.to_string();
        message.extend_from_slice(&text.as_bytes()[..text.len().min(TEXT_MAX)]);
        let _ = send(self.0.as_fd(), &message, None);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ParentLink {
    /// The next message.
    pub(crate) fn next(&self) -> Result<Message> {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            *buffer = vec![0_u8; TEXT_MAX + 16];
        }
        let received = receive(self.socket.as_fd(), &mut buffer);
        // The handler has shut the socket down: that is no word of the child's.
        interrupt::check()?;
        let (n, fd) = match received {
            Ok(received) => received,
            Err(errno) => return Err(errno).context(|| "read from the container's init"),
        };
        if n == 0 {
            return Ok(Message::End);
        }
        decode(&buffer[..n], fd)
    }

    /// Answers the last request.
    pub(crate) fn done(&self) -> Result<()> {
        match send(self.socket.as_fd(), &DONE, None) {
            // The child died meanwhile: `next` will say so, with the reason.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(errno).context(|| "answer the container's init"),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn tag(ask: Ask) -> u8 {
    match ask {
        Ask::Map => MAP,
        Ask::Placed => PLACED,
        Ask::Hooks => HOOKS,
        Ask::Listener(_) => LISTENER,
        Ask::Ready => READY,
    }
}

pub(crate) fn decode(message: &[u8], fd: Option<OwnedFd>) -> Result<Message> {
    let garbled = || Error::text("a message from the container's init is garbled");
    Ok(match (message[0], fd) {
        (MAP, None) => Message::Ask(Ask::Map),
        (PLACED, None) => Message::Ask(Ask::Placed),
        (HOOKS, None) => Message::Ask(Ask::Hooks),
        (LISTENER, None) => {
            let number = message.get(1..5).ok_or_else(garbled)?;
            let number = RawFd::from_le_bytes(number.try_into().expect("four bytes"));
            Message::Ask(Ask::Listener(number))
        }
        (READY, None) => Message::Ask(Ask::Ready),
        (FORKED, Some(pidfd)) => Message::Tell(Tell::Forked { pidfd }),
        (FAILED, _) => {
            let kind = Kind::from_u8(*message.get(1).ok_or_else(garbled)?);
            let errno = message.get(2..6).ok_or_else(garbled)?;
            let errno = i32::from_le_bytes(errno.try_into().expect("four bytes"));
            let text = String::from_utf8_lossy(&message[6..]);
            Message::Tell(Tell::Failed(Error::reported(text, errno).with_kind(kind)))
        }
        _ => return Err(garbled()),
    })
}

/// Sends one datagram; EINTR is retried, a closed peer is EPIPE without a signal.
fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let iov = [IoSlice::new(bytes)];
    let raw = fd.map(|fd| [fd.as_raw_fd()]);
    let rights = raw.as_ref().map(|raw| [ControlMessage::ScmRights(raw)]);
    let control: &[ControlMessage<'_>] = rights.as_ref().map_or(&[], |r| r);
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) if !sys::sigaction::has_caught() => {}
            other => return other.map(drop),
        }
    }
}

/// ECONNRESET says, once and before what is still to be read, that the other side has ended with an
/// answer unread (unix_release_sock, net/unix/af_unix.c): its last words are behind it.
fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut iov = [IoSliceMut::new(buffer)];
    let received = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut space), flags) {
            Err(Errno::ECONNRESET) => {}
            Err(Errno::EINTR) if !sys::sigaction::has_caught() => {}
            other => break other?,
        }
    };
    let mut fd = None;
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = message {
            fd = fds.first().copied();
        }
    }
    let fd = fd.map(sys::fd::inherited).transpose()?;
    Ok((received.bytes, fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_crosses_whole() {
        let (parent, child) = pair().unwrap();
        let error: Error = Errno::EINVAL.into();
        let error = Err::<(), _>(error).context(|| "mount tmpfs at /data").unwrap_err();
        child.fail(&error.with_kind(Kind::NoExec));
        let Message::Tell(Tell::Failed(got)) = parent.next().unwrap() else { panic!("no failure") };
        assert_eq!(got.to_string(), "mount tmpfs at /data: EINVAL: invalid argument");
        assert_eq!((got.kind(), got.errno()), (Kind::NoExec, Some(Errno::EINVAL)));
    }

    /// A failure was lost, and "ended before it executed the program" said in its place, when the
    /// parent had answered ahead and was slower to read than the child was to end.
    #[test]
    fn a_failure_is_read_behind_an_answer_that_was_not() {
        let (parent, child) = pair().unwrap();
        parent.done().unwrap();
        child.fail(&Error::text("no such program"));
        drop(child);
        let Message::Tell(Tell::Failed(got)) = parent.next().unwrap() else { panic!("no failure") };
        assert_eq!(got.to_string(), "no such program");
        assert!(matches!(parent.next().unwrap(), Message::End));
    }

    #[test]
    fn killed_with_an_answer_unread_is_an_end() {
        let (parent, child) = pair().unwrap();
        parent.done().unwrap();
        drop(child);
        assert!(matches!(parent.next().unwrap(), Message::End));
    }

    #[test]
    fn the_whole_conversation_replays() {
        let (parent, child) = pair().unwrap();
        for ask in [Ask::Map, Ask::Placed, Ask::Hooks, Ask::Ready, Ask::Listener(7)] {
            child.send(ask).unwrap();
            assert!(matches!(parent.next().unwrap(), Message::Ask(got) if got == ask));
            parent.done().unwrap();
            child.wait_done().unwrap();
        }
        child.forked(child.fd()).unwrap();
        assert!(matches!(parent.next().unwrap(), Message::Tell(Tell::Forked { .. })));
        drop(child);
        assert!(matches!(parent.next().unwrap(), Message::End));
    }

    #[test]
    fn a_dead_parent_is_an_error_not_a_signal() {
        let (parent, child) = pair().unwrap();
        drop(parent);
        assert!(child.ask(Ask::Ready).is_err());
    }
}
