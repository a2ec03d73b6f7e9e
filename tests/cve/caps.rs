// SPDX-License-Identifier: Apache-2.0
//! What a process says of its inheritable and ambient capabilities.

use super::case::{Stop, vulnerable};
use super::common::json;
use super::weak::Weak;

pub(crate) const REPORT: [&str; 4] = ["grep", "-E", "^Cap(Inh|Amb)", "/proc/self/status"];

pub(crate) fn not_inheritable(what: &str, out: &str) -> Result<(), Stop> {
    let empty = |name: &str| {
        let line = out.lines().find_map(|line| line.strip_prefix(name)).expect("a line of status");
        line.trim_start_matches(':').trim().bytes().all(|byte| byte == b'0')
    };
    match empty("CapInh") && empty("CapAmb") {
        true => Ok(()),
        false => vulnerable(format!("{what}: {}", out.trim())),
    }
}

/// The weakened `exec`: the same command from a process file that makes capabilities inheritable.
pub(crate) fn exec_with_inheritable(weak: &mut Weak) {
    let process = json!({
        "args": REPORT, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
                         "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"]}
    });
    let file = weak.arena.join("process.json");
    std::fs::write(&file, process.to_string()).expect("write");
    let id = weak.args.iter().find(|arg| arg.starts_with("creel-test-")).expect("an id").clone();
    weak.args = vec!["exec".into(), "--process".into(), file.display().to_string(), id];
}
