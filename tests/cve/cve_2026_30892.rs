// SPDX-License-Identifier: Apache-2.0
//! `exec --user` read a user that it could not parse as 0: the process ran as root.

use super::arena::{Arena, exec};
use super::case::{Case, Outcome, vulnerable};
use super::common::{Bundle, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2026-30892",
    who: "crun",
    attack: "exec --user with odd, negative and too large numbers",
    run,
    weaken: |weak| {
        if weak.args[0] == "exec" {
            let at = weak.args.iter().position(|arg| arg == "--user").expect("--user") + 1;
            weak.args[at] = "0".into();
        }
    },
};

/// And who may come of them.
const USERS: [(&str, &[&str]); 24] = [
    ("1", &["1"]),
    ("1:1", &["1"]),
    ("1000:0", &["1000"]),
    ("01", &["1"]),
    ("0x1", &["1"]),
    ("0b1", &["1"]),
    ("0o1", &["1"]),
    ("1_0", &["10"]),
    (" 1", &["1"]),
    ("1 ", &["1"]),
    ("+1", &["1"]),
    ("1e0", &["1"]),
    ("-1", &[]),
    (":1", &[]),
    ("1:", &["1"]),
    ("", &["2000"]),
    ("root", &[]),
    ("me", &["1000"]),
    ("4294967294", &["4294967294"]),
    ("4294967295", &[]),
    ("4294967296", &[]),
    ("4294967297", &[]),
    ("18446744073709551616", &[]),
    ("18446744073709551617:1", &[]),
];

fn run(_: &Arena) -> Outcome {
    let bundle = Bundle::with_args(&["/bin/sleep", "100"]);
    let bundle = bundle.patch("/process/user", json!({"uid": 2000, "gid": 2000}));
    bundle.start_detached();
    let mut refused = 0;
    for (user, allowed) in USERS {
        let run = exec(&bundle, &["--user", user], &["grep", "^Uid", "/proc/self/status"]);
        if run.code != 0 {
            refused += 1;
            continue;
        }
        let ids: Vec<&str> = run.out.split_whitespace().skip(1).collect();
        if !ids.iter().all(|id| allowed.contains(id)) {
            return vulnerable(format!("--user {user:?} runs as {ids:?}"));
        }
    }
    Ok(format!("{refused} of {} refused", USERS.len()))
}
