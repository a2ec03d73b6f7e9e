// SPDX-License-Identifier: Apache-2.0
//! The head for a change of mounts in a running container: the sequence, nothing else. No program is
//! executed at its end.

use std::convert::Infallible;
use std::os::fd::AsFd;

use super::rootfs::Hotplug;
use super::{Voice, die_with_parent, hide, stage};
use crate::error::{Context, Result};
use crate::namespace::{self, PID};
use crate::plan::exec::Way;
use crate::sync::Ask;
use crate::sys::{self, Inside};

/// From the clone to its end.
pub(crate) fn run(
    way: &Way,
    hotplug: &Hotplug,
    owes_pid: bool,
    voice: &mut Voice,
    me: &Inside,
) -> Result<Infallible> {
    die_with_parent(me)?;
    // The container's processes see this one from here on.
    hide(me)?;
    let join = way.join | if owes_pid { PID.flag } else { 0 };
    sys::ns::setns(way.init.as_fd(), join, me).context(|| "join the container's namespaces")?;
    if let Some((uid, gid)) = way.root_ids {
        namespace::become_root(uid, gid, me)?;
        // The change of user has cleared it.
        die_with_parent(me)?;
    }
    if owes_pid {
        stage::refork(0, voice.link(), me)?;
    }
    hotplug.apply(me)?;
    voice.link().ask(Ask::Ready)?;
    sys::exit(0)
}
