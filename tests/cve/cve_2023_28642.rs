// SPDX-License-Identifier: Apache-2.0
//! /proc of the image was a link, so that the AppArmor profile was written elsewhere: the process ran
//! unconfined.

use super::arena::{Arena, replace_by_link};
use super::case::{Case, Outcome};
use super::common::json;
use super::{label, links};

pub(crate) const CASE: Case = Case {
    id: "CVE-2023-28642",
    who: "runc",
    attack: "/proc of the image is a link, with an AppArmor profile",
    run,
    weaken: |weak| {
        weak.config["process"]["apparmorProfile"] = json!("");
        let proc = weak.bundle.join("rootfs/proc");
        super::arena::remove(&proc);
        std::fs::create_dir(proc).expect("mkdir");
    },
};

fn run(arena: &Arena) -> Outcome {
    let bundle = links::victim(arena).patch("/linux/sysctl", json!({}));
    links::control(&bundle)?;
    replace_by_link(&bundle.rootfs().join("proc"), "/evil");
    label::never_unconfined(bundle)
}
