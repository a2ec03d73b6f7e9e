// SPDX-License-Identifier: Apache-2.0
//! The handler for virtual machines wrote its settings to a file of that name in the image, which was
//! a link to one of the host's.

use super::arena::{Arena, control, delete, replace_by_link};
use super::case::{Case, Outcome};
use super::common::{Bundle, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2025-24965",
    who: "crun",
    attack: "the image's /.krun_config.json is a link to a file of the host's",
    run,
    weaken: |weak| weak.breach(".krun_config.json"),
};

fn run(arena: &Arena) -> Outcome {
    let mut bundle = Bundle::with_args(&["/bin/true"]).patch("/root/readonly", json!(false));
    control(&bundle);
    let file = bundle.rootfs().join(".krun_config.json");
    let (mut refused, mut tried) = (0, 0);
    for handler in [None, Some("krun"), Some("/krun")] {
        for target in [".krun_config.json", "created"] {
            replace_by_link(&file, arena.decoy(target));
            bundle.set(
                "/annotations",
                match handler {
                    Some(handler) => json!({"run.oci.handler": handler}),
                    None => json!({}),
                },
            );
            refused += u32::from(bundle.run().code != 0);
            tried += 1;
            delete(&bundle);
            arena.untouched()?;
        }
    }
    Ok(format!("{refused} of {tried} refused"))
}
