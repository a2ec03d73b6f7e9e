// SPDX-License-Identifier: Apache-2.0
//! Id maps for mounts that only the child can copy and only the host's root can map: in a user
//! namespace, `idmap` on a source inside the container's own root. A process of the parent's, made
//! before the clone and only for such a mount, maps the one copy that it is sent, and ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, read, write};

use super::idmap::Mapped;
use crate::error::{Context, Result};
use crate::sys;
use crate::sys::Inside;
use crate::sys::clone::{CloneRequest, Fork, clone3};
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::scm::{recv_fd, send_fd};

#[derive(Debug)]
pub(super) struct Mapper {
    socket: OwnedFd,
    /// The process, for its end.
    pid: Pid,
    pidfd: OwnedFd,
}

impl Mapper {
    pub(super) fn start(mapped: &Mapped) -> Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        match clone3(&CloneRequest { flags: CloneFlags::empty().into(), cgroup: None })? {
            Fork::Child(_) => {
                drop(ours);
                // The parent may die at any time; a failure costs a process that waits for ever.
                let _ = sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
                serve(&theirs, mapped);
                sys::exit(0)
            }
            Fork::Parent { child, pidfd } => Ok(Self { socket: ours, pid: child, pidfd }),
        }
    }

    /// Maps a detached mount of the child's.
    pub(super) fn map(&self, mount: BorrowedFd<'_>, _: &Inside) -> Result<()> {
        send_fd(self.socket.as_fd(), b"m", mount).context(|| "map ids: ask the parent")?;
        let mut answer = [0; 4];
        match read(&self.socket, &mut answer).context(|| "map ids: the parent's answer")? {
            4 if answer == [0; 4] => Ok(()),
            4 => Err(Errno::from_raw(i32::from_ne_bytes(answer))).context(|| "map ids"),
            _ => Err(Errno::EPIPE).context(|| "map ids: the parent's answer"),
        }
    }
}

fn serve(socket: &OwnedFd, mapped: &Mapped) {
    let Ok((mount, _)) = recv_fd(socket.as_fd()) else { return };
    let errno = match mapped.set(mount.as_fd()) {
        Ok(()) => 0,
        Err(error) => error.errno().unwrap_or(Errno::EIO) as i32,
    };
    // Without the answer, the child finds the socket closed.
    let _ = write(socket, &errno.to_ne_bytes());
}

impl Drop for Mapper {
    /// In the parent; the child ends without dropping its copy of the plan.
    fn drop(&mut self) {
        // It may have ended, and been reaped by a foreground parent: then there is nothing to do.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}
