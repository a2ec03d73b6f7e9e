// SPDX-License-Identifier: Apache-2.0
//! `mounts`: a clone enters the container's namespaces, changes mounts there and ends; the parent's half.

use super::exec::{expect, follow};
use super::spawn::{self, Place};
use crate::child;
use crate::child::rootfs::Hotplug;
use crate::error::Result;
use crate::plan::exec::Way;
use crate::state::Container;
use crate::sync::{Ask, Message};

/// Returns when it is done; the clone is gone then.
pub(crate) fn change(way: Way, hotplug: &Hotplug, container: &Container) -> Result<()> {
    let (mut init, link) = spawn::spawn(&way.entry, &Place::default(), |link, me, born| {
        child::main(link, None, &me, |voice, me| {
            child::mounts::run(&way, hotplug, born.owes_pid, voice, me)
        })
    })?;
    if init.born.owes_pid {
        follow(&mut init, &link, container)?;
    }
    expect(&init, &link, container, |message| matches!(message, Message::Ask(Ask::Ready)))?;
    link.done()
}
