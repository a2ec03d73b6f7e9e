// SPDX-License-Identifier: Apache-2.0
//! What masks a path was the image's /dev/null, whatever it was: a file, another device, a directory.

use std::fs;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::arena::{Arena, delete, remove};
use super::case::{Case, Outcome};
use super::common::json;
use super::cve_2026_41579::without_dev;
use super::mask;

pub(crate) const CASE: Case = Case {
    id: "CVE-2025-62161",
    who: "youki",
    attack: "/dev/null of the image is a file, another device, a fifo, a directory",
    run,
    weaken: mask::weaken,
};

fn run(_: &Arena) -> Outcome {
    let mut refused = 0;
    let kinds = ["device 1:3", "file", "device 1:5", "fifo", "directory"];
    for kind in kinds {
        let mut bundle = mask::victim();
        without_dev(&mut bundle);
        let null = bundle.rootfs().join("dev/null");
        remove(&null);
        let mode = Mode::from_bits_truncate(0o666);
        let node = |kind, device| mknod(&null, kind, mode, device).expect("mknod");
        match kind {
            "device 1:3" => node(SFlag::S_IFCHR, makedev(1, 3)),
            "device 1:5" => node(SFlag::S_IFCHR, makedev(1, 5)),
            "fifo" => node(SFlag::S_IFIFO, 0),
            "directory" => fs::create_dir(&null).expect("mkdir"),
            _ => fs::write(&null, "the image's").expect("write"),
        }
        bundle.set("/root/readonly", json!(false));
        let run = bundle.create();
        if kind == "device 1:3" {
            run.ok();
            mask::holds(&bundle)?;
        } else if run.code == 0 {
            mask::holds(&bundle)?;
        } else {
            refused += 1;
        }
        delete(&bundle);
    }
    Ok(format!("{refused} of {} refused", kinds.len() - 1))
}
