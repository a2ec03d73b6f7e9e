// SPDX-License-Identifier: Apache-2.0
//! A user given by number was looked up by name in the image's passwd file. An image with a user named
//! "1000" whose uid is 0 made root of whoever was to be uid 1000.

use std::fs;

use super::arena::{Arena, control, exec};
use super::case::{Case, Outcome, vulnerable};
use super::common::{Bundle, Run, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2016-3697",
    who: "runc",
    attack: "the image's passwd has a user named 1000 with uid 0",
    run,
    weaken: |weak| {
        if weak.args[0] == "run" {
            weak.config["process"]["user"]["uid"] = json!(0);
        }
    },
};

const REPORT: &str = "grep -E '^[UG]id' /proc/self/status";

fn run(_: &Arena) -> Outcome {
    let mut bundle = Bundle::new(REPORT);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    control(&bundle);
    let etc = bundle.rootfs().join("etc");
    fs::write(etc.join("passwd"), "1000:x:0:0::/:/bin/sh\nroot:x:1000:1000::/:/bin/sh\n").unwrap();
    fs::write(etc.join("group"), "1000:x:0:\nroot:x:1000:\n").unwrap();
    is_1000("run", bundle.run())?;
    bundle.set("/process/args", json!(["/bin/sleep", "100"]));
    bundle.start_detached();
    for user in ["1000", "1000:1000"] {
        let run = exec(&bundle, &["--user", user], &["sh", "-c", REPORT]);
        is_1000(&format!("exec --user {user}"), run)?;
    }
    Ok(String::new())
}

fn is_1000(what: &str, run: Run) -> Result<(), super::case::Stop> {
    let run = run.ok();
    let uid = run.out.lines().next().unwrap_or_default();
    if uid.split_whitespace().skip(1).all(|id| id == "1000") && uid.starts_with("Uid") {
        return Ok(());
    }
    vulnerable(format!("{what}: {uid}"))
}
