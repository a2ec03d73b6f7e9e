// SPDX-License-Identifier: Apache-2.0
//! A mount's target was exchanged for a link into /proc: the mount landed over files that the runtime
//! then wrote a label or a sysctl to, which went to the attacker's file or where that linked to.

use std::fs;
use std::os::unix::fs::symlink;

use super::arena::{Arena, bind, delete};
use super::case::{Case, Outcome, Stop, vulnerable};
use super::common::{Bundle, json};
use super::racer::Racer;
use super::{label, seen};

pub(crate) const CASE: Case = Case {
    id: "CVE-2025-52881",
    who: "runc",
    attack: "a mount's target is exchanged for a link into /proc; sysctls and labels",
    run,
    weaken: |weak| weak.config["linux"]["sysctl"] = json!({}),
};

const PLACES: [&str; 2] = ["/proc/sys/net/ipv4", "/proc/self/attr"];

fn run(arena: &Arena) -> Outcome {
    let volume = arena.volume();
    let fake = arena.path("fake");
    super::cve_2019_16884::fake_proc(&fake);
    for dir in ["sys/net/ipv4/apparmor", "self/attr/apparmor"] {
        fs::create_dir_all(fake.join(dir)).expect("mkdir");
    }
    let mut race = arena.race();
    let mut notes = Vec::new();
    for (place, part) in PLACES.into_iter().zip([0.5, 1.0]) {
        let source = fake.join(place.trim_start_matches("/proc/"));
        let [target, link] = ["target", "link"].map(|name| format!("{name}{}", notes.len()));
        fs::create_dir(volume.join(&target)).expect("mkdir");
        symlink(place, volume.join(&link)).expect("symlink");
        let bundle = Bundle::with_args(&["/bin/sleep", "100"])
            .add_mount(arena.volume_mount("/volume"))
            .add_mount(bind(&source, &format!("/volume/{target}")))
            .patch("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "1111"}));
        bundle.create().ok();
        is_sound(&bundle, &source)?;
        delete(&bundle);
        {
            let _racer = Racer::start(arena, &target, &link);
            while race.goes_on_for(part) {
                match bundle.create().code {
                    0 => is_sound(&bundle, &source)?,
                    _ => race.lost += 1,
                }
                delete(&bundle);
                arena.untouched()?;
            }
        }
        // And as it stays.
        let hostile = bundle.patch("/linux/sysctl", json!({}));
        fs::remove_file(arena.volume().join("racing")).expect("remove");
        super::arena::remove(&volume.join(&target));
        super::arena::remove(&volume.join(&link));
        symlink(place, volume.join(&target)).expect("symlink");
        notes.push(label::never_unconfined(hostile)?);
    }
    Ok(format!("{}; labels: {}", race.told(), notes[1]))
}

/// The sysctl went to the kernel, wherever the mount has landed, and nothing to the volume's file.
fn is_sound(bundle: &Bundle, fake: &std::path::Path) -> Result<(), Stop> {
    seen::is_guarded(bundle, bundle.pid())?;
    let file = fake.join("ip_unprivileged_port_start");
    match fs::read_to_string(file).unwrap_or_default().as_str() {
        "" => Ok(()),
        written => vulnerable(format!("{written:?} was written to the volume's file")),
    }
}
