// SPDX-License-Identifier: Apache-2.0
//! /proc and /sys of the image were links to a volume: what the runtime then wrote to and masked in
//! /proc was the attacker's, and the real one lay unguarded elsewhere.

use super::arena::{Arena, replace_by_link};
use super::case::{Case, Outcome};
use super::links;

pub(crate) const CASE: Case = Case {
    id: "CVE-2023-27561",
    who: "runc",
    attack: "/proc or /sys of the image is an absolute link into a volume",
    run,
    weaken: links::weaken,
};

fn run(arena: &Arena) -> Outcome {
    let mut refused = 0;
    for name in ["proc", "sys"] {
        let bundle = links::victim(arena);
        links::control(&bundle)?;
        replace_by_link(&bundle.rootfs().join(name), "/evil");
        refused += links::is_guarded_or_refused(&bundle)?;
    }
    Ok(format!("{refused} of 2 refused"))
}
