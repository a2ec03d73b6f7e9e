// SPDX-License-Identifier: Apache-2.0
//! Capabilities in the inheritable set, which nobody had asked for: a program with file capabilities
//! gave them to a user who had none.

use super::arena::{Arena, control};
use super::caps;
use super::case::{Case, Outcome};
use super::common::{Bundle, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2022-24769",
    who: "moby, containerd, podman",
    attack: "the default config's capabilities, as root and as a user",
    run,
    weaken: |weak| weak.add_capability("inheritable", "CAP_KILL"),
};

fn run(_: &Arena) -> Outcome {
    let mut bundle = Bundle::with_args(&caps::REPORT);
    bundle.runtime(&["spec"]).ok();
    let path = bundle.dir.join("config.json");
    let text = std::fs::read_to_string(&path).expect("what `spec` writes");
    let spec: super::common::Value = serde_json::from_str(&text).expect("JSON");
    bundle.set("/process/capabilities", spec["process"]["capabilities"].clone());
    for uid in [0, 1000] {
        bundle.set("/process/user", json!({"uid": uid, "gid": uid}));
        control(&bundle);
        caps::not_inheritable(&format!("run as {uid}"), &bundle.run().ok().out)?;
    }
    Ok("the config of `spec`, as root and as uid 1000".to_owned())
}
