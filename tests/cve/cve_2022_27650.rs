// SPDX-License-Identifier: Apache-2.0
//! Plain `exec` filled the inheritable set from the config's other sets.

use super::arena::{Arena, exec};
use super::caps;
use super::case::{Case, Outcome};
use super::common::Bundle;

pub(crate) const CASE: Case = Case {
    id: "CVE-2022-27650",
    who: "crun",
    attack: "exec without a word about capabilities",
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
    for flags in [&[][..], &["--user", "1000:1000"], &["--cwd", "/tmp"]] {
        let run = exec(&bundle, flags, &caps::REPORT).ok();
        caps::not_inheritable(&format!("exec {}", flags.join(" ")), &run.out)?;
    }
    Ok(String::new())
}
