// SPDX-License-Identifier: Apache-2.0
//! /proc and /sys of the image were relative links, chains of links, links to each other: anything but
//! the ordinary directories that they must be.

use std::fs;

use super::arena::{Arena, replace_by_link};
use super::case::{Case, Outcome};
use super::links;

pub(crate) const CASE: Case = Case {
    id: "CVE-2025-54867",
    who: "youki",
    attack: "/proc or /sys of the image is a relative link, a chain, a file",
    run,
    weaken: links::weaken,
};

fn run(arena: &Arena) -> Outcome {
    let decoy = arena.decoy("");
    let decoy = decoy.to_str().expect("UTF-8");
    let targets = ["evil", "hop", "../evil", "./tmp/../evil", "../../../../../../evil", decoy];
    let (mut refused, mut tried) = (0, 0);
    for name in ["proc", "sys"] {
        for target in targets {
            let bundle = links::victim(arena);
            let root = bundle.rootfs();
            fs::create_dir_all(root.join("evil")).expect("mkdir");
            replace_by_link(&root.join("hop"), "evil");
            replace_by_link(&root.join(name), target);
            refused += links::is_guarded_or_refused(&bundle)?;
            arena.untouched()?;
            tried += 1;
        }
    }
    Ok(format!("{refused} of {tried} refused"))
}
