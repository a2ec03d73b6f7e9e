// SPDX-License-Identifier: Apache-2.0
//! A process that `exec` brought into a container could be traced there before it had become the
//! container's program: its memory written, its descriptors on the host opened.

use std::fs;

use super::arena::{Arena, exec};
use super::case::{Case, Outcome, Stop, vulnerable};
use super::common::{Bundle, json};
use super::racer;

pub(crate) const CASE: Case = Case {
    id: "CVE-2016-9962",
    who: "runc",
    attack: "pid 1 opens memory and descriptors of what exec brings in",
    run,
    // With that capability over the host's processes nothing can keep them from it.
    weaken: |weak| {
        for set in ["bounding", "effective", "permitted"] {
            weak.add_capability(set, "CAP_SYS_PTRACE");
        }
    },
};

fn run(arena: &Arena) -> Outcome {
    let mut race = arena.race();
    let bundle = hunting(arena);
    bundle.start_detached();
    rounds(arena, &bundle, &mut race, 0.5)?;
    // Root of a user namespace may trace whatever belongs to that; the runtime must not yet.
    let mut bundle = hunting(arena);
    bundle.set("/linux/namespaces/-", json!({"type": "user"}));
    for map in ["/linux/uidMappings", "/linux/gidMappings"] {
        bundle.set(map, json!([{"containerID": 0, "hostID": 0, "size": 65536}]));
    }
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}/-"), json!("CAP_SYS_PTRACE"));
    }
    bundle.start_detached();
    rounds(arena, &bundle, &mut race, 1.0)?;
    Ok(race.told())
}

fn hunting(arena: &Arena) -> Bundle {
    let bundle = Bundle::with_args(&["/own", "inside", "access"]);
    racer::install(&bundle.rootfs());
    let _ = fs::remove_file(arena.volume().join("found"));
    bundle.add_mount(arena.volume_mount("/volume"))
}

fn rounds(
    arena: &Arena,
    bundle: &Bundle,
    race: &mut super::arena::Race,
    share: f64,
) -> Result<(), Stop> {
    let found = || fs::read_to_string(arena.volume().join("found")).unwrap_or_default();
    while found().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    while race.goes_on_for(share) {
        exec(bundle, &[], &["true"]).ok();
        if let Some(line) = found().lines().find(|line| line.starts_with("process")) {
            return vulnerable(line);
        }
    }
    super::arena::delete(bundle);
    Ok(())
}
