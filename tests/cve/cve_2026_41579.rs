// SPDX-License-Identifier: Apache-2.0
//! /dev of the image was a link: the runtime removed `ptmx` and made its links where that led on the
//! host.

use super::arena::{Arena, control, replace_by_link};
use super::case::{Case, Outcome};
use super::common::{Bundle, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2026-41579",
    who: "runc",
    attack: "/dev of the image is a link to a directory of the host's that has a ptmx",
    run,
    weaken: |weak| {
        if weak.is_entering() {
            let _ = std::fs::remove_file(weak.decoy("ptmx"));
        }
    },
};

fn run(arena: &Arena) -> Outcome {
    let mut notes = Vec::new();
    for what in ["a tmpfs on /dev", "nothing on /dev"] {
        let mut bundle = Bundle::with_args(&["/bin/true"]).patch("/root/readonly", json!(false));
        if what.starts_with("nothing") {
            without_dev(&mut bundle);
        }
        control(&bundle);
        replace_by_link(&bundle.rootfs().join("dev"), arena.decoy(""));
        let run = bundle.run();
        notes.push(format!("{what}: {}", if run.code == 0 { "ran" } else { "refused" }));
        arena.untouched()?;
    }
    Ok(notes.join("; "))
}

/// Takes away what is mounted at and below /dev.
pub(crate) fn without_dev(bundle: &mut Bundle) {
    let mounts = bundle.config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| !mount["destination"].as_str().expect("a path").starts_with("/dev"));
}
