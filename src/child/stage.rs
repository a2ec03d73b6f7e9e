// SPDX-License-Identifier: Apache-2.0
//! The second clone, when namespaces of an entered user namespace take effect on children only.

use std::os::fd::AsFd;

use crate::error::{Context, Result};
use crate::namespace::Entry;
use crate::sync::ChildLink;
use crate::sys::clone::{CloneFlagsBits, CloneRequest, Fork, clone3};
use crate::sys::{self, Inside};

/// Returns in the final process only; usually does nothing.
pub(crate) fn refork(entry: &Entry, link: &ChildLink, _: &Inside) -> Result<()> {
    if !entry.refork {
        return Ok(());
    }
    let flags = CloneFlagsBits(entry.late | libc::CLONE_PARENT as u64);
    match clone3(&CloneRequest { flags, cgroup: None })
        .context(|| "clone3 in the user namespace")?
    {
        Fork::Child(_) => Ok(()),
        Fork::Parent { pidfd, .. } => {
            link.forked(pidfd.as_fd())?;
            sys::exit(0)
        }
    }
}
