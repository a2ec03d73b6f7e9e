// SPDX-License-Identifier: Apache-2.0
//! `exec --cap` put the capability into the inheritable set as well.

use super::arena::{Arena, exec};
use super::caps;
use super::case::{Case, Outcome};
use super::common::Bundle;

pub(crate) const CASE: Case = Case {
    id: "CVE-2022-29162",
    who: "runc",
    attack: "exec --cap",
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
    for flags in [
        &["--cap", "CAP_NET_RAW"][..],
        &["--cap", "CAP_NET_RAW", "--cap", "CAP_SYS_TIME"],
        &["--cap", "CAP_NET_RAW", "--user", "1000:1000"],
    ] {
        let run = exec(&bundle, flags, &caps::REPORT).ok();
        caps::not_inheritable(&format!("exec {}", flags.join(" ")), &run.out)?;
    }
    Ok(String::new())
}
