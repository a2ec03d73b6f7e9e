// SPDX-License-Identifier: Apache-2.0
//! The missing directories of a mount's target were made by their path: a directory exchanged for a
//! link on the way made the runtime create empty directories and files on the host.

use std::fs;
use std::os::unix::fs::symlink;

use super::arena::{Arena, bind, delete, marked_tmpfs};
use super::case::{Case, Outcome};
use super::common::{Bundle, json};
use super::racer::Racer;

pub(crate) const CASE: Case = Case {
    id: "CVE-2024-45310",
    who: "runc",
    attack: "a directory on the way to a missing target is exchanged for a link to the host",
    run,
    weaken: |weak| {
        if weak.args[0] == "create" {
            let _ = fs::create_dir(weak.decoy("made"));
        }
    },
};

fn run(arena: &Arena) -> Outcome {
    let volume = arena.volume();
    fs::create_dir(volume.join("way")).expect("mkdir");
    symlink(arena.decoy(""), volume.join("link")).expect("symlink");
    let file = arena.path("file");
    fs::write(&file, "bound").expect("write");
    let mut bundle = Bundle::with_args(&["/bin/sleep", "100"]);
    let plain = bundle.config["mounts"].clone();
    // Other names each time: nothing has to be removed while names are exchanged.
    let mounts = |n: u64| {
        let mut mounts = plain.clone();
        let list = mounts.as_array_mut().expect("mounts");
        list.push(arena.volume_mount("/volume"));
        for chance in 0..8 {
            let name = |kind: &str| format!("/volume/way/{kind}{n}-{chance}");
            list.push(marked_tmpfs("cve-mark", &format!("{}/deep/er", name("dir"))));
            list.push(bind(&file, &format!("{}/file", name("for"))));
            list.push(bind(&file, &name("file")));
        }
        mounts
    };
    bundle.set("/mounts", mounts(0));
    bundle.create().ok();
    delete(&bundle);
    let _racer = Racer::start(arena, "way", "link");
    let (mut race, mut n) = (arena.race(), 0);
    while race.goes_on() {
        n += 1;
        bundle.set("/mounts", json!(mounts(n)));
        race.lost += u64::from(bundle.create().code != 0);
        delete(&bundle);
        arena.untouched()?;
    }
    Ok(race.told())
}
