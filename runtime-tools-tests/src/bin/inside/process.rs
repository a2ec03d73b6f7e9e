//! `process`: arguments, environment, directory, limits, scheduling, descriptors, terminal.
// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use nix::sys::resource::getrlimit;
use serde_json::Value;

use conformance::names::{IO_CLASSES, POLICIES, RLIMITS, SCHED_FLAGS, lookup};
use conformance::sys;

use crate::Facts;
use crate::report::Report;

fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn split_nul(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.split_terminator('\0').map(str::to_owned).collect()
}

pub(crate) fn args(facts: &Facts, report: &mut Report) {
    let Some(have) = report.value("cmdline", fs::read("/proc/self/cmdline")) else { return };
    report.equal("process.args", strings(&facts.config["process"]["args"]), split_nul(&have));
}

pub(crate) fn env(facts: &Facts, report: &mut Report) {
    let Some(have) = report.value("environ", fs::read("/proc/self/environ")) else { return };
    let have: BTreeSet<String> = split_nul(&have).into_iter().collect();
    let want: BTreeSet<String> = strings(&facts.config["process"]["env"]).into_iter().collect();
    let missing: Vec<_> = want.difference(&have).collect();
    report.is(missing.is_empty(), "process.env is there", || format!("missing {missing:?}"));
    // HOME is derived from the container's passwd file by runtimes that follow runc.
    let extra: Vec<_> =
        have.difference(&want).filter(|entry| !entry.starts_with("HOME=")).collect();
    report.is(extra.is_empty(), "process.env has nothing else", || format!("extra {extra:?}"));
}

pub(crate) fn cwd(facts: &Facts, report: &mut Report) {
    let Some(have) = report.value("cwd", std::env::current_dir()) else { return };
    let want = facts.config["process"]["cwd"].as_str().unwrap_or("").to_owned();
    report.equal("process.cwd", want, have.to_string_lossy().into_owned());
}

pub(crate) fn rlimits(facts: &Facts, report: &mut Report) {
    for limit in facts.config["process"]["rlimits"].as_array().into_iter().flatten() {
        let name = limit["type"].as_str().unwrap_or("");
        let Some(resource) = lookup(&RLIMITS, name) else { continue };
        let Some(have) = report.value(name, getrlimit(resource)) else { continue };
        let want = (limit["soft"].as_u64(), limit["hard"].as_u64());
        report.equal(&format!("process.rlimits {name}"), want, (Some(have.0), Some(have.1)));
    }
}

pub(crate) fn oom_score_adj(facts: &Facts, report: &mut Report) {
    let read = fs::read_to_string("/proc/self/oom_score_adj");
    let Some(have) = report.value("oom_score_adj", read) else { return };
    let set = facts.config["process"]["oomScoreAdj"].as_i64();
    let want = set.or_else(|| facts.host["oomScoreAdj"].as_i64()).unwrap_or(0);
    report.equal("process.oomScoreAdj", Some(want), have.trim().parse().ok());
}

pub(crate) fn scheduler(facts: &Facts, report: &mut Report) {
    let want = &facts.config["process"]["scheduler"];
    if want.is_null() {
        return;
    }
    let Some(have) = report.value("sched_getattr", sys::sched_getattr()) else { return };
    let policy = want["policy"].as_str().and_then(|name| lookup(&POLICIES, name));
    report.equal("process.scheduler.policy", policy, Some(have.policy));
    let number = |key: &str| want[key].as_u64().unwrap_or(0);
    // The kernel keeps a nice value only for the policies that use it.
    if matches!(have.policy, 0 | 3) {
        let nice = want["nice"].as_i64().unwrap_or(0);
        report.equal("process.scheduler.nice", nice, i64::from(have.nice));
    }
    report.equal("process.scheduler.priority", number("priority"), u64::from(have.priority));
    if have.policy == 6 {
        report.equal("process.scheduler.runtime", number("runtime"), have.runtime);
        report.equal("process.scheduler.deadline", number("deadline"), have.deadline);
        report.equal("process.scheduler.period", number("period"), have.period);
    }
    for flag in strings(&want["flags"]) {
        let bit = lookup(&SCHED_FLAGS, &flag).unwrap_or(0);
        // KEEP_* act on the call only and are never reported back.
        let is_kept = bit != 0 && bit & 0x18 == 0;
        let held = !is_kept || have.flags & bit != 0;
        report.is(held, &format!("process.scheduler.flags {flag}"), || {
            format!("have {:#x}", have.flags)
        });
    }
}

pub(crate) fn io_priority(facts: &Facts, report: &mut Report) {
    let want = &facts.config["process"]["ioPriority"];
    if want.is_null() {
        return;
    }
    let Some((class, level)) = report.value("ioprio_get", sys::ioprio_get()) else { return };
    let wanted_class = want["class"].as_str().and_then(|name| lookup(&IO_CLASSES, name));
    report.equal("process.ioPriority.class", wanted_class, Some(class));
    report.equal("process.ioPriority.priority", want["priority"].as_u64(), Some(level.into()));
}

/// runtime-linux.md: by default only the standard streams are open.
pub(crate) fn descriptors(_: &Facts, report: &mut Report) {
    let Some(entries) = report.value("/proc/self/fd", fs::read_dir("/proc/self/fd")) else {
        return;
    };
    let listed: Vec<i32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The descriptor of the listing itself is closed by now.
    let is_open = |fd: &i32| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
    let numbers: BTreeSet<i32> = listed.into_iter().filter(is_open).collect();
    report.equal("only descriptors 0, 1 and 2 are open", BTreeSet::from([0, 1, 2]), numbers);
}

pub(crate) fn terminal(facts: &Facts, report: &mut Report) {
    let process = &facts.config["process"];
    let want = process["terminal"].as_bool().unwrap_or(false);
    let have = [
        std::io::stdin().is_terminal(),
        std::io::stdout().is_terminal(),
        std::io::stderr().is_terminal(),
    ];
    report.equal("process.terminal: the standard streams", [want; 3], have);
    if !want {
        return;
    }
    let console = fs::metadata("/dev/console").map(|meta| meta.rdev());
    let stream = fs::metadata("/proc/self/fd/0").map(|meta| meta.rdev());
    report.is(
        console.as_ref().ok() == stream.as_ref().ok() && console.is_ok(),
        "/dev/console is the terminal",
        || format!("console {console:?}, stdin {stream:?}"),
    );
    let size = &process["consoleSize"];
    if let (Some(height), Some(width)) = (size["height"].as_u64(), size["width"].as_u64())
        && let Some((rows, cols)) = report.value("TIOCGWINSZ", sys::window_size(0))
    {
        report.equal("process.consoleSize", (height, width), (rows.into(), cols.into()));
    }
}
