// SPDX-License-Identifier: Apache-2.0
//! Namespaces that the container has joined by path: they are not CRIU's to save, and have to be
//! there again for a restore. Network and pid namespaces are left out of the images under a key and
//! handed in by descriptor; the others CRIU joins.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use super::rpc::{self, opts};
use super::swrk::Worker;
use super::wire::Message;
use crate::bail;
use crate::error::{Context, Result};
use crate::namespace::{CGROUP, Entry, Kind, NETWORK, PID};
use crate::oci;
use crate::sys::fd;

/// A kind that is left out of the images: the key there, as runc and crun have it, and the first
/// version of CRIU that can do it.
struct LeftOut {
    kind: &'static Kind,
    key: &'static str,
    since: u32,
}

const LEFT_OUT: [LeftOut; 2] = [
    LeftOut { kind: &NETWORK, key: "extRootNetNS", since: 3_11_00 },
    LeftOut { kind: &PID, key: "extRootPidNS", since: 3_15_00 },
];

/// For a dump, those that `init` is in.
pub(super) fn tell_dump(
    message: &mut Message,
    linux: &oci::Linux<'_>,
    init: i32,
    criu: &Worker,
) -> Result<()> {
    let is_joined = |kind: &Kind| {
        linux.namespaces.iter().any(|entry| *entry.kind == *kind.oci && !entry.path.is_empty())
    };
    for LeftOut { kind, key, since } in &LEFT_OUT {
        if is_joined(kind) {
            criu.needs(*since, &format!("a {} namespace that is joined", kind.oci))?;
            let path = format!("/proc/{init}/ns/{}", kind.proc);
            let about = std::fs::metadata(&path).context(|| path)?;
            let external = format!("{}[{}]:{key}", kind.proc, about.ino());
            message.set(opts::EXTERNAL, external.as_str());
        }
    }
    Ok(())
}

/// For a restore. The worker has to inherit `inherited`.
pub(super) fn tell_restore(message: &mut Message, entry: &Entry, criu: &Worker) -> Result<()> {
    let me = nix::unistd::getpid();
    for (kind, fd) in joined(entry) {
        let number = fd::number(fd);
        if let Some(LeftOut { key, since, .. }) = LEFT_OUT.iter().find(|out| out.kind == kind) {
            criu.needs(*since, &format!("a {} namespace that is joined", kind.oci))?;
            let inherit = Message::of([(rpc::KEY, (*key).into()), (rpc::FD, number.into())]);
            message.set(opts::INHERIT_FD, inherit);
        } else if *kind == CGROUP {
            bail!("linux.namespaces: CRIU can't restore into a cgroup namespace that is joined");
        } else {
            // The namespace that was checked, whatever its path names by now.
            let file = format!("/proc/{me}/fd/{number}");
            let names = [(rpc::NS, kind.proc.into()), (rpc::NS_FILE, file.as_str().into())];
            message.set(opts::JOIN_NS, Message::of(names));
        }
    }
    Ok(())
}

/// The descriptors that CRIU takes by their number.
pub(super) fn inherited(entry: &Entry) -> Vec<BorrowedFd<'_>> {
    let is_left_out = |kind: &Kind| LEFT_OUT.iter().any(|out| out.kind == kind);
    joined(entry).filter(|(kind, _)| is_left_out(kind)).map(|(_, fd)| fd).collect()
}

fn joined(entry: &Entry) -> impl Iterator<Item = (&'static Kind, BorrowedFd<'_>)> {
    let pid = entry.pid.iter().map(|fd| (&PID, fd.as_fd()));
    pid.chain(entry.join.iter().map(|(kind, fd)| (*kind, fd.as_fd())))
}
