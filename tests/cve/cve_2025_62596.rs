// SPDX-License-Identifier: Apache-2.0
//! Writes to /proc were redirected by what was mounted in it: by targets below /proc, and by links of
//! the image that lead there.

use std::fs;

use super::arena::{Arena, SECRET, bind, delete, replace_by_link};
use super::case::{Case, Outcome, vulnerable};
use super::common::{Bundle, json};
use super::seen;

pub(crate) const CASE: Case = Case {
    id: "CVE-2025-62596",
    who: "youki",
    attack: "mounts below /proc, by name and through the image's links, redirect sysctls",
    run,
    weaken: |weak| weak.config["linux"]["sysctl"] = json!({}),
};

const PLACES: [&str; 6] = ["sys/net/ipv4", "sys/net", "sys", "self", "self/attr", "1/attr"];

fn run(arena: &Arena) -> Outcome {
    let fake = arena.path("fake");
    super::cve_2019_16884::fake_proc(&fake);
    fs::create_dir_all(fake.join("1/attr")).expect("mkdir");
    // What is written to the fake reaches a file of the host's.
    let redirected = fake.join("sys/net/ipv4/ip_unprivileged_port_start");
    let victim = arena.path("victim");
    fs::write(&victim, SECRET).expect("write");
    replace_by_link(&redirected, &victim);
    let (mut refused, mut tried) = (0, 0);
    for place in PLACES {
        for through_link in [false, true] {
            let target = if through_link { "/door".to_owned() } else { format!("/proc/{place}") };
            let bundle = Bundle::with_args(&["/bin/sleep", "100"])
                .patch("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "1111"}))
                .patch("/linux/readonlyPaths", json!([]))
                .patch("/linux/maskedPaths", json!([]));
            bundle.create().ok();
            seen::is_guarded(&bundle, bundle.pid())?;
            delete(&bundle);
            replace_by_link(&bundle.rootfs().join("door"), format!("/proc/{place}"));
            let bundle = bundle.add_mount(bind(&fake.join(place), &target));
            match bundle.create().code {
                0 => seen::is_guarded(&bundle, bundle.pid())?,
                _ => refused += 1,
            }
            delete(&bundle);
            tried += 1;
            if fs::read_to_string(&victim).expect("read") != SECRET {
                return vulnerable(format!("a write to /proc/{place} went to the host's file"));
            }
            arena.untouched()?;
        }
    }
    Ok(format!("{refused} of {tried} refused"))
}
