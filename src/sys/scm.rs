// SPDX-License-Identifier: Apache-2.0
//! SCM_RIGHTS: descriptors over Unix sockets, see unix(7).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, bind, connect, recvmsg, sendmsg,
};

/// Sends `data` (at least one byte, or the descriptor is lost on a stream) with one descriptor.
pub(crate) fn send_fd(
    socket: BorrowedFd<'_>,
    data: &[u8],
    fd: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    loop {
        let data = [IoSlice::new(data)];
        match sendmsg::<()>(socket.as_raw_fd(), &data, &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) if !super::sigaction::has_caught() => {}
            other => return other.map(drop),
        }
    }
}

/// Receives one descriptor, close-on-exec, with its data. ENODATA: the other end has closed.
/// EBADMSG: there was no descriptor, or more than one.
pub(crate) fn recv_fd(socket: BorrowedFd<'_>) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let (data, fds) = recv(socket, 4096)?;
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next()) {
        (Some(fd), None) => Ok((fd, data)),
        (None, _) if data.is_empty() => Err(Errno::ENODATA),
        _ => Err(Errno::EBADMSG),
    }
}

/// Receives one message of a SOCK_SEQPACKET socket, with the descriptor that may come with it; empty
/// when the other end has closed. EMSGSIZE: longer than 64 KiB.
pub(crate) fn recv_packet(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Option<OwnedFd>), Errno> {
    let (data, fds) = recv(socket, 64 * 1024)?;
    Ok((data, fds.into_iter().next()))
}

fn recv(socket: BorrowedFd<'_>, length: usize) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut data = vec![0; length];
    let mut space = cmsg_space!([RawFd; 8]);
    let (length, flags, fds) = loop {
        let mut into = [IoSliceMut::new(&mut data)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut space), flags) {
            Err(Errno::EINTR) if !super::sigaction::has_caught() => {}
            Err(errno) => return Err(errno),
            Ok(message) => break (message.bytes, message.flags, owned(message.cmsgs()?)),
        }
    };
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    data.truncate(length);
    Ok((data, fds))
}

fn owned(messages: impl Iterator<Item = ControlMessageOwned>) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    for message in messages {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel has just installed these descriptors and nobody else knows them.
            fds.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    fds
}

/// Connects a socket to a path or abstract name.
pub(crate) fn connect_unix(socket: BorrowedFd<'_>, address: &UnixAddr) -> Result<(), Errno> {
    connect(socket.as_raw_fd(), address)
}

/// Binds a socket to a path.
pub(crate) fn bind_unix(socket: BorrowedFd<'_>, address: &UnixAddr) -> Result<(), Errno> {
    bind(socket.as_raw_fd(), address)
}
