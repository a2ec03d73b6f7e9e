// SPDX-License-Identifier: Apache-2.0
//! /dev/null was exchanged for a link between its making and its use: paths to be masked showed what
//! the link led to, and could be written.

use std::os::unix::fs::symlink;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::arena::{Arena, delete, replace_by_link};
use super::case::{Case, Outcome};
use super::common::json;
use super::cve_2026_41579::without_dev;
use super::mask;
use super::racer::Racer;

pub(crate) const CASE: Case = Case {
    id: "CVE-2025-31133",
    who: "runc",
    attack: "/dev/null is a link, in the image and by a race on a shared /dev",
    run,
    weaken: mask::weaken,
};

fn run(arena: &Arena) -> Outcome {
    // In the image.
    for target in ["/secret", "/proc/sys/kernel/domainname", arena.decoy("null").to_str().unwrap()]
    {
        let mut bundle = mask::victim();
        without_dev(&mut bundle);
        bundle.set("/root/readonly", json!(false));
        std::fs::write(bundle.rootfs().join("secret"), "the image's").expect("write");
        replace_by_link(&bundle.rootfs().join("dev/null"), target);
        if bundle.create().code == 0 {
            mask::holds(&bundle)?;
        }
        delete(&bundle);
        arena.untouched()?;
    }
    race(arena)
}

/// /dev is a volume of the attacker's container.
fn race(arena: &Arena) -> Outcome {
    let volume = arena.volume();
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&volume.join("null"), SFlag::S_IFCHR, mode, makedev(1, 3)).expect("mknod");
    symlink("/secret", volume.join("link")).expect("symlink");
    let mut bundle = mask::victim();
    without_dev(&mut bundle);
    std::fs::write(bundle.rootfs().join("secret"), "the image's").expect("write");
    bundle.set("/mounts/-", arena.volume_mount("/dev"));
    bundle.create().ok();
    mask::holds(&bundle)?;
    delete(&bundle);
    let _racer = Racer::start(arena, "null", "link");
    let mut race = arena.race();
    while race.goes_on() {
        if bundle.create().code == 0 {
            mask::holds(&bundle)?;
        } else {
            race.lost += 1;
        }
        delete(&bundle);
        arena.untouched()?;
    }
    Ok(race.told())
}
