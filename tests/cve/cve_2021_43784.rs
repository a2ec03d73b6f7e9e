// SPDX-License-Identifier: Apache-2.0
//! Lengths of 16 bits in the message to the process that makes the namespaces: what was longer than
//! 64 KiB was cut, and the rest read as further settings. Id maps and namespace paths of such lengths
//! must be refused.

use super::arena::{Arena, control};
use super::case::{Case, Outcome, vulnerable};
use super::common::{Bundle, Value, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2021-43784",
    who: "runc",
    attack: "id maps and namespace paths around 64 KiB and 128 KiB",
    run,
    // What is too long is dropped.
    weaken: |weak| {
        for map in ["uidMappings", "gidMappings"] {
            weak.config["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        }
        if let Some(list) = weak.config["linux"]["namespaces"].as_array_mut() {
            list.iter_mut().for_each(|ns| ns["path"] = json!(""));
        }
    },
};

const LENGTHS: [usize; 8] = [65_520, 65_531, 65_532, 65_536, 65_540, 65_600, 131_072, 131_100];

fn run(_: &Arena) -> Outcome {
    let user =
        || Bundle::with_args(&["/bin/true"]).patch("/linux/namespaces/-", json!({"type": "user"}));
    let one = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let plain = user().patch("/linux/uidMappings", one.clone()).patch("/linux/gidMappings", one);
    control(&plain);
    for length in LENGTHS {
        let mut bundle = user();
        for map in ["/linux/uidMappings", "/linux/gidMappings"] {
            bundle.set(map, mappings(length));
        }
        if bundle.run().code == 0 {
            return vulnerable(format!("id maps of {length} bytes were accepted"));
        }
        let mut bundle = Bundle::with_args(&["/bin/true"]);
        let padding = "/.".repeat((length - "/proc/1/ns/ipc".len()) / 2);
        let path = format!("/proc/1{padding}/ns/ipc");
        for ns in bundle.config["linux"]["namespaces"].as_array_mut().expect("namespaces") {
            if ns["type"] == "ipc" {
                ns["path"] = json!(path);
            }
        }
        if bundle.run().code == 0 {
            return vulnerable(format!("a namespace path of {length} bytes was accepted"));
        }
    }
    Ok(format!("{} lengths", LENGTHS.len()))
}

/// As many as give that many bytes of text, one line each.
fn mappings(length: usize) -> Value {
    let line = "100000 100000 1\n".len();
    let map = |i: usize| json!({"containerID": 100_000 + i, "hostID": 100_000 + i, "size": 1});
    (0..length.div_ceil(line)).map(map).collect()
}
