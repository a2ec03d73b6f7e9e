// SPDX-License-Identifier: Apache-2.0
//! A mount's target was a directory when it was checked and a link to the host when it was mounted on:
//! the mount landed on the host's path, and a later one took its source from there.

use std::fs;
use std::os::unix::fs::symlink;

use super::arena::{Arena, bind, delete, marked_tmpfs};
use super::case::{Case, Outcome, vulnerable};
use super::common::Bundle;
use super::racer::Racer;
use super::seen;

pub(crate) const CASE: Case = Case {
    id: "CVE-2021-30465",
    who: "runc",
    attack: "a mount's target in a shared volume is exchanged for a link to the host",
    run,
    weaken: |weak| {
        if weak.args[0] == "create" {
            weak.keep_mounts(|mount| mount["source"] != "cve-mark");
        }
    },
};

const MARK: &str = "cve-mark";
const CHANCES: usize = 8;

fn run(arena: &Arena) -> Outcome {
    let volume = arena.volume();
    fs::create_dir(volume.join("target")).expect("mkdir");
    symlink(arena.decoy(""), volume.join("link")).expect("symlink");
    let own = arena.path("own");
    fs::create_dir(&own).expect("mkdir");
    let bundle = Bundle::with_args(&["/bin/sleep", "100"]).add_mount(arena.volume_mount("/volume"));
    // Many chances in one container.
    let bundle = (0..CHANCES).fold(bundle, |bundle, _| {
        let bundle = bundle.add_mount(marked_tmpfs(MARK, "/volume/target"));
        bundle.add_mount(bind(&own, "/volume/target"))
    });
    let own = own.display().to_string();
    let check = |pid: i32| {
        let mounts = seen::mounts(pid);
        let marked = mounts.iter().filter(|mount| mount.source == MARK).count();
        // The bind mount is known by what it shows.
        let bound = mounts.iter().filter(|m| m.root != "/" && own.ends_with(&m.root)).count();
        if (marked, bound) == (CHANCES, CHANCES) {
            return Ok(());
        }
        let missing = 2 * CHANCES - marked - bound;
        vulnerable(format!("{missing} mounts have landed outside of the container"))
    };
    bundle.create().ok();
    check(bundle.pid())?;
    delete(&bundle);
    let _racer = Racer::start(arena, "target", "link");
    let mut race = arena.race();
    while race.goes_on() {
        match bundle.create().code {
            0 => check(bundle.pid())?,
            _ => race.lost += 1,
        }
        delete(&bundle);
        arena.untouched()?;
    }
    Ok(race.told())
}
