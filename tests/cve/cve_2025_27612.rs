// SPDX-License-Identifier: Apache-2.0
//! A process file without inheritable capabilities got them all the same in a container that was
//! joined.

use std::fs;

use super::arena::Arena;
use super::caps;
use super::case::{Case, Outcome};
use super::common::{Bundle, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2025-27612",
    who: "youki",
    attack: "exec --process with capabilities, none of them inheritable",
    run,
    weaken: |weak| {
        if weak.args[0] == "exec" {
            caps::exec_with_inheritable(weak);
        }
    },
};

fn run(_: &Arena) -> Outcome {
    let bundle = Bundle::with_args(&["/bin/sleep", "100"]);
    bundle.start_detached();
    let some = json!(["CAP_KILL", "CAP_AUDIT_WRITE"]);
    for uid in [0, 1000] {
        let process = json!({
            "args": caps::REPORT, "cwd": "/", "env": ["PATH=/bin"],
            "user": {"uid": uid, "gid": uid},
            "capabilities": {"bounding": some, "effective": some, "permitted": some}
        });
        let file = bundle.dir.join("process.json");
        fs::write(&file, process.to_string()).expect("write");
        let file = file.to_str().expect("UTF-8");
        let run = bundle.runtime(&["exec", "--process", file, bundle.id()]).ok();
        caps::not_inheritable(&format!("uid {uid}"), &run.out)?;
    }
    Ok(String::new())
}
