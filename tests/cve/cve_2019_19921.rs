// SPDX-License-Identifier: Apache-2.0
//! /proc of the image was a link into a volume that two containers share; one of them exchanged
//! directories there, so that procfs was mounted in one place, and masked and written to in another.

use std::fs;

use super::arena::{Arena, replace_by_link};
use super::case::{Case, Outcome};
use super::cve_2019_16884::fake_proc;
use super::links;
use super::racer::Racer;

pub(crate) const CASE: Case = Case {
    id: "CVE-2019-19921",
    who: "runc",
    attack: "/proc leads into a shared volume, where directories are exchanged",
    run,
    weaken: links::weaken,
};

fn run(arena: &Arena) -> Outcome {
    let volume = arena.volume();
    fs::create_dir_all(volume.join("real/proc")).expect("mkdir");
    fake_proc(&volume.join("fake/proc"));
    let mut bundle = links::victim(arena);
    let shared = arena.volume_mount("/shared");
    bundle.config["mounts"].as_array_mut().expect("mounts").insert(0, shared);
    links::control(&bundle)?;
    let _racer = Racer::start(arena, "real", "fake");
    let mut race = arena.race();
    for (part, target) in [(0.5, "/shared/real/proc"), (1.0, "shared/fake/proc")] {
        replace_by_link(&bundle.rootfs().join("proc"), target);
        while race.goes_on_for(part) {
            race.lost += u64::from(links::is_guarded_or_refused(&bundle)?);
            arena.untouched()?;
        }
    }
    Ok(race.told())
}
