//! Runs inside a container (or as a hook) and reports what it finds. Needs nothing but itself.
//!
//! `inside check [GROUP,...]` compares the process and its surroundings with /.conformance/config.json
//! and /.conformance/host.json; the other commands are payloads for the driver's cases.
// SPDX-License-Identifier: Apache-2.0

mod devices;
mod fsview;
mod identity;
mod linux;
mod mounts;
mod payload;
mod process;
mod report;
mod seccomp;

use std::env;
use std::fs;
use std::process::ExitCode;

use serde_json::Value;

use report::Report;

/// The container's configuration and the driver's facts about the host.
#[derive(Debug)]
struct Facts {
    config: Value,
    host: Value,
}

type Check = fn(&Facts, &mut Report);

const CHECKS: [(&str, Check); 27] = [
    ("user", identity::user),
    ("groups", identity::groups),
    ("umask", identity::umask),
    ("capabilities", identity::capabilities),
    ("nonewprivs", identity::no_new_privileges),
    ("args", process::args),
    ("env", process::env),
    ("cwd", process::cwd),
    ("rlimits", process::rlimits),
    ("oom", process::oom_score_adj),
    ("scheduler", process::scheduler),
    ("iopriority", process::io_priority),
    ("descriptors", process::descriptors),
    ("terminal", process::terminal),
    ("namespaces", linux::namespaces),
    ("names", linux::names),
    ("sysctl", linux::sysctl),
    ("netdevices", linux::net_devices),
    ("mappings", linux::mappings),
    ("timeoffsets", linux::time_offsets),
    ("personality", linux::personality),
    ("memorypolicy", linux::memory_policy),
    ("devices", devices::devices),
    ("links", devices::links),
    ("mounts", mounts::mounts),
    ("root", fsview::root),
    ("paths", fsview::paths),
];

fn check(groups: Option<&String>) -> Result<ExitCode, String> {
    let read = |name: &str| -> Result<Value, String> {
        let path = format!("/.conformance/{name}");
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))
    };
    let facts = Facts { config: read("config.json")?, host: read("host.json")? };
    let mut report = Report::default();
    let wanted: Option<Vec<&str>> = groups.map(|list| list.split(',').collect());
    for (name, check) in CHECKS {
        if wanted.as_ref().is_none_or(|wanted| wanted.contains(&name)) {
            report.group = name;
            check(&facts, &mut report);
        }
    }
    Ok(report.close())
}

fn run() -> Result<ExitCode, String> {
    let args: Vec<String> = env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["check", ..] => check(args.get(2)),
        ["sleep", ..] => payload::sleep(),
        ["exit", code] => payload::exit(code),
        ["touch", path, ..] => payload::append(path, "touched"),
        ["trap", signals @ ..] => payload::trap(signals),
        ["signals"] => payload::signals(),
        ["hook", label, log, rest @ ..] => payload::hook(label, log, rest),
        ["slowhook", log] => payload::slow_hook(log),
        ["seccomp", calls @ ..] => seccomp::probe(calls),
        ["open", paths @ ..] => payload::open(paths),
        ["owner", path] => payload::owner(path),
        ["forks", count] => payload::forks(count),
        other => Err(format!("unknown command {other:?}")),
    }
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        println!("not ok inside: {error}");
        ExitCode::from(70)
    })
}
