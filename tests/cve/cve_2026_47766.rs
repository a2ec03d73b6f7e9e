// SPDX-License-Identifier: Apache-2.0
//! The same of another runtime: /dev of the image led out by relative links and by chains of them, and
//! directories in it did.

use std::fs;

use super::arena::{Arena, control, replace_by_link};
use super::case::{Case, Outcome};
use super::common::{Bundle, json};
use super::cve_2026_41579::without_dev;

pub(crate) const CASE: Case = Case {
    id: "CVE-2026-47766",
    who: "crun",
    attack: "/dev, /dev/pts, /dev/shm of the image are relative links and chains to the host",
    run,
    weaken: |weak| {
        if weak.is_entering() {
            let _ = std::os::unix::fs::symlink("/proc/self/fd", weak.decoy("fd"));
        }
    },
};

fn run(arena: &Arena) -> Outcome {
    let absolute = arena.decoy("").display().to_string();
    let climb = format!("../../../../../../../..{absolute}");
    let (mut refused, mut tried) = (0, 0);
    for has_tmpfs in [true, false] {
        for (link, target) in [
            ("dev", climb.as_str()),
            ("dev", "hop"),
            ("dev", "tmp/../hop/deep"),
            ("dev/pts", &climb),
            ("dev/shm", &absolute),
            ("dev/mqueue", "/hop"),
        ] {
            let mut bundle =
                Bundle::with_args(&["/bin/true"]).patch("/root/readonly", json!(false));
            if !has_tmpfs {
                without_dev(&mut bundle);
            }
            control(&bundle);
            let root = bundle.rootfs();
            replace_by_link(&root.join("hop"), &climb);
            let _ = fs::remove_dir_all(root.join("dev"));
            let _ = fs::create_dir(root.join("dev"));
            replace_by_link(&root.join(link), target);
            refused += u32::from(bundle.run().code != 0);
            tried += 1;
            arena.untouched()?;
        }
    }
    Ok(format!("{refused} of {tried} refused"))
}
