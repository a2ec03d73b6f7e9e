// SPDX-License-Identifier: Apache-2.0
//! A route netlink socket that asks and gets answers, see rtnetlink(7). Messages are built and read
//! as bytes in the host's order.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

const HEADER: usize = 16;

/// One request: nlmsghdr, then the family's own header, then attributes.
#[derive(Debug)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// `body` is the family's header, such as ifinfomsg.
    pub(crate) fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).expect("16 bits");
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        let mut request = Self(bytes);
        request.align();
        request
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("an attribute is short");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.align();
        self
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// One answer, without its nlmsghdr.
#[derive(Debug)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    /// The family's header, of `length` bytes.
    pub(crate) fn body(&self, length: usize) -> Result<&[u8], Errno> {
        self.0.get(..length).ok_or(Errno::EBADMSG)
    }

    /// The attributes behind a header of `length` bytes.
    pub(crate) fn attributes(&self, length: usize) -> Attributes<'_> {
        Attributes(self.0.get(length.next_multiple_of(4)..).unwrap_or_default())
    }
}

/// (type, value) pairs.
#[derive(Debug)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)?;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// A socket in the network namespace that was current when it was made.
#[derive(Debug)]
pub(crate) struct Route(OwnedFd);

impl Route {
    pub(crate) fn new() -> Result<Self, Errno> {
        let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
        socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute).map(Self)
    }

    /// Sends the request and returns its answers: none for one that only changes something, which
    /// needs NLM_F_ACK. The error is the kernel's for the request.
    pub(crate) fn ask(&self, mut request: Request) -> Result<Vec<Answer>, Errno> {
        let length = u32::try_from(request.0.len()).expect("a request is short");
        request.0[..4].copy_from_slice(&length.to_ne_bytes());
        send(self.0.as_raw_fd(), &request.0, MsgFlags::empty())?;
        let is_dump = u16_at(&request.0, 6).is_some_and(|f| i32::from(f) & DUMP == DUMP);
        let wants_ack = u16_at(&request.0, 6).is_some_and(|f| i32::from(f) & libc::NLM_F_ACK != 0);
        let mut answers = Vec::new();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let length = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            if read(&buffer[..length], &mut answers)? || !is_dump && !wants_ack {
                return Ok(answers);
            }
        }
    }
}

const DUMP: i32 = libc::NLM_F_ROOT | libc::NLM_F_MATCH;

/// Collects the messages of one datagram; true when it held the last.
fn read(mut bytes: &[u8], answers: &mut Vec<Answer>) -> Result<bool, Errno> {
    while bytes.len() >= HEADER {
        let length =
            u32_at(bytes, 0).and_then(|n| usize::try_from(n).ok()).ok_or(Errno::EBADMSG)?;
        let kind = u16_at(bytes, 4).ok_or(Errno::EBADMSG)?;
        let payload = bytes.get(HEADER..length).ok_or(Errno::EBADMSG)?;
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let number = u32_at(payload, 0).ok_or(Errno::EBADMSG)?.cast_signed();
                return if number == 0 { Ok(true) } else { Err(Errno::from_raw(-number)) };
            }
            libc::NLMSG_NOOP => {}
            _ => answers.push(Answer(payload.to_vec())),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// `SIOCSIFFLAGS`: replaces an interface's flags; any socket of its namespace will do.
pub(crate) fn set_interface_flags(
    socket: &OwnedFd,
    name: &std::ffi::CStr,
    flags: i32,
) -> Result<(), Errno> {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()).take(libc::IFNAMSIZ - 1) {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel reads one ifreq, whose name ends in a zero.
    let r = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    Errno::result(r).map(drop)
}
