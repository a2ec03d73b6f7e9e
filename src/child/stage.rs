// SPDX-License-Identifier: Apache-2.0
//! The second clone: pid and time namespaces, which take effect on children only, of a user namespace
//! that this process had to enter first.

use std::os::fd::AsFd;

use crate::error::{Context, Error, Result};
use crate::sync::ChildLink;
use crate::sys::clone::{CloneFlagsBits, CloneRequest, Fork, clone3};
use crate::sys::{self, Inside};

/// Returns in the final process only, which is in the new namespaces of `flags`, and dies with creel.
pub(crate) fn refork(flags: u64, link: &ChildLink, me: &Inside) -> Result<()> {
    let flags = CloneFlagsBits(flags | libc::CLONE_PARENT as u64);
    match clone3(&CloneRequest { flags, cgroup: None })
        .map_err(Error::of_clone3)
        .context(|| "in the user namespace")?
    {
        Fork::Child(_) => {
            // A new process: its parent is still creel, its death signal is not.
            super::die_with_parent(me)?;
            // Not before the parent knows of it: it could be the first to speak.
            link.wait_done()
        }
        Fork::Parent { pidfd, .. } => {
            link.forked(pidfd.as_fd())?;
            sys::exit(0)
        }
    }
}
