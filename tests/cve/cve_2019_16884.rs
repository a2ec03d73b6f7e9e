// SPDX-License-Identifier: Apache-2.0
//! A volume over /proc: the label that should have confined the process was written into an ordinary
//! file of the attacker's, and the process ran without it. Sysctls went the same way.

use std::fs;
use std::path::Path;

use super::arena::{Arena, bind, delete};
use super::case::{Case, Outcome, vulnerable};
use super::common::{Bundle, json};
use super::{label, seen};

pub(crate) const CASE: Case = Case {
    id: "CVE-2019-16884",
    who: "runc, crun",
    attack: "a volume over /proc takes the label's and the sysctls' writes",
    run,
    // The writes get lost, as into the volume.
    weaken: |weak| {
        weak.config["process"]["apparmorProfile"] = json!("");
        weak.config["linux"]["sysctl"] = json!({});
        weak.keep_mounts(|mount| mount["destination"] != "/proc" || mount["type"] == "proc");
    },
};

fn run(arena: &Arena) -> Outcome {
    let fake = arena.path("fake");
    fake_proc(&fake);
    let mut bundle = Bundle::with_args(&["/bin/sleep", "100"]);
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "1111"}));
    bundle.set("/linux/maskedPaths", json!([]));
    bundle.set("/linux/readonlyPaths", json!([]));
    bundle.create().ok();
    seen::is_guarded(&bundle, bundle.pid())?;
    delete(&bundle);

    bundle.set("/mounts/-", bind(&fake, "/proc"));
    if bundle.create().code == 0 {
        let pid = bundle.pid();
        let port = seen::net_sysctl(pid, "ipv4/ip_unprivileged_port_start");
        if port != "1111" {
            return vulnerable(format!("started with sysctl {port}, not 1111"));
        }
        delete(&bundle);
    }
    bundle.set("/linux/sysctl", json!({}));
    label::never_unconfined(bundle)
}

/// Files with the names that a runtime writes to.
pub(crate) fn fake_proc(dir: &Path) {
    for name in ["self/attr/apparmor", "thread-self/attr/apparmor", "sys/net/ipv4", "self/fd"] {
        fs::create_dir_all(dir.join(name)).expect("mkdir");
    }
    for owner in ["self", "thread-self"] {
        for name in ["attr/exec", "attr/apparmor/exec", "attr/current", "attr/keycreate", "status"]
        {
            fs::write(dir.join(owner).join(name), "").expect("write");
        }
    }
    fs::write(dir.join("sys/net/ipv4/ip_unprivileged_port_start"), "").expect("write");
}
