// SPDX-License-Identifier: Apache-2.0
//! /dev/console of the image was a link: the file that the terminal is bound to was made where it led
//! on the host.

use super::arena::{Arena, delete, replace_by_link};
use super::case::{Case, Outcome};
use super::common::{Bundle, json};
use super::console;
use super::cve_2026_41579::without_dev;

pub(crate) const CASE: Case = Case {
    id: "CVE-2026-88264",
    who: "crun",
    attack: "/dev/console of the image is a link to the host; nothing is mounted on /dev",
    run,
    weaken: |weak| weak.breach("console-made"),
};

fn run(arena: &Arena) -> Outcome {
    let mut refused = 0;
    let climb = format!("../../../../../../../..{}", arena.decoy("created").display());
    let targets = [
        arena.decoy("created").display().to_string(),
        arena.decoy("console").display().to_string(),
        arena.decoy("deep").display().to_string(),
        climb,
    ];
    for target in &targets {
        let mut bundle = Bundle::with_args(&["/bin/sleep", "100"]);
        bundle.set("/root/readonly", json!(false));
        without_dev(&mut bundle);
        bundle.set(
            "/mounts/-",
            json!({"destination": "/dev/pts", "type": "devpts",
            "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666"]}),
        );
        console::create(&mut bundle).0.ok();
        delete(&bundle);
        replace_by_link(&bundle.rootfs().join("dev/console"), target);
        refused += u32::from(console::create(&mut bundle).0.code != 0);
        delete(&bundle);
        arena.untouched()?;
    }
    Ok(format!("{refused} of {} refused", targets.len()))
}
