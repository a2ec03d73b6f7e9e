//! config.md: process.
// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};

use crate::case::{Case, How, Outcome, ensure, skip};
use crate::stage::Stage;

pub(crate) const CASES: &[Case] = &[
    Case::inside(
        "process-args",
        "config.md#process: args are the program's argv",
        "args",
        || json!({"process": {"args": ["/inside", "check", "args", "", "two words", "ünïcode"]}}),
    ),
    Case::inside(
        "process-args-in-path",
        "config.md#process: args[0] is looked up as execvp's file",
        "args",
        || {
            json!({"process": {
                "args": ["inside", "check", "args"],
                "env": ["PATH=/nowhere:/"]
            }})
        },
    ),
    Case::inside(
        "process-env",
        "config.md#process: env is the program's environ",
        "env",
        || json!({"process": {"env": ["PATH=/", "A=1", "B=x=y", "EMPTY=", "HOME=/home/x"]}}),
    ),
    Case::inside(
        "process-env-absent",
        "config.md#process: env is OPTIONAL",
        "env",
        || json!({"process": {"env": null}}),
    ),
    Case::inside(
        "process-cwd",
        "config.md#process: cwd is the working directory",
        "cwd",
        || json!({"process": {"cwd": "/tmp"}}),
    ),
    Case::inside(
        "process-user",
        "config.md#user: uid and gid are the process's",
        "user",
        || json!({"process": {"user": {"uid": 1234, "gid": 2345}}}),
    ),
    Case::inside(
        "process-additional-gids",
        "config.md#user: additionalGids are added to the process",
        "user,groups",
        || json!({"process": {"user": {"uid": 7, "gid": 8, "additionalGids": [10, 20, 65533]}}}),
    ),
    Case::inside(
        "process-no-groups",
        "config.md#user: no other groups are inherited",
        "groups",
        || json!({}),
    ),
    Case::inside(
        "process-umask",
        "config.md#user: umask is the process's",
        "umask",
        || json!({"process": {"user": {"umask": 0o77}}}),
    ),
    Case::inside(
        "process-umask-zero",
        "config.md#user: umask 0 is a umask",
        "umask",
        || json!({"process": {"user": {"umask": 0}}}),
    ),
    Case::inside(
        "process-umask-absent",
        "config.md#user: without umask the caller's should not be changed",
        "umask",
        || json!({}),
    ),
    Case::inside(
        "process-capabilities",
        "config.md#linux-process: each of the five sets holds what is listed",
        "capabilities",
        || {
            json!({"process": {"capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"],
                "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
                "effective": ["CAP_CHOWN", "CAP_KILL"],
                "inheritable": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
                "ambient": ["CAP_KILL"]
            }}})
        },
    ),
    Case::inside(
        "process-capabilities-user",
        "config.md#linux-process: ambient capabilities reach a program of another user",
        "capabilities,user",
        || {
            let some = ["CAP_NET_BIND_SERVICE"];
            json!({"process": {
                "user": {"uid": 1000, "gid": 1000},
                "capabilities": {"bounding": some, "permitted": some, "effective": some,
                                 "inheritable": some, "ambient": some}
            }})
        },
    ),
    Case::inside(
        "process-capabilities-none",
        "config.md#linux-process: empty sets leave no capability",
        "capabilities",
        || {
            json!({"process": {"capabilities": {"bounding": [], "permitted": [], "effective": [],
                                                "inheritable": [], "ambient": []}}})
        },
    ),
    Case::inside(
        "process-capabilities-unknown",
        "config.md#linux-process: a value that cannot be mapped MUST be a warning, not an error",
        "capabilities",
        || json!({"process": {"capabilities": {"+bounding": ["CAP_UNHEARD_OF"]}}}),
    ),
    Case::run(
        "process-capabilities-ungrantable",
        "config.md#linux-process: a capability that cannot be granted SHOULD NOT fail the container",
        ungrantable,
    ),
    Case::inside(
        "process-nnp",
        "config.md#linux-process: noNewPrivileges true",
        "nonewprivs",
        || json!({"process": {"noNewPrivileges": true}}),
    ),
    Case::inside(
        "process-nnp-false",
        "config.md#linux-process: noNewPrivileges false changes nothing",
        "nonewprivs",
        || json!({"process": {"noNewPrivileges": false}}),
    ),
    Case::inside(
        "process-nnp-absent",
        "config.md#linux-process: noNewPrivileges absent",
        "nonewprivs",
        || json!({"process": {"noNewPrivileges": null}}),
    ),
    Case::inside(
        "process-oom-score",
        "config.md#linux-process: oom_score_adj MUST be set to the given value",
        "oom",
        || json!({"process": {"oomScoreAdj": 500}}),
    ),
    Case::inside(
        "process-oom-score-absent",
        "config.md#linux-process: if not set, oom_score_adj MUST NOT be changed",
        "oom",
        || json!({}),
    ),
    Case::inside(
        "process-rlimits",
        "config.md#posix-process: soft and hard MUST match for every type",
        "rlimits",
        rlimits,
    ),
    Case::inside(
        "process-rlimits-infinity",
        "config.md#posix-process: the largest uint64 is no limit",
        "rlimits",
        || {
            json!({"process": {"rlimits": [
                {"type": "RLIMIT_CPU", "soft": u64::MAX, "hard": u64::MAX}
            ]}})
        },
    ),
    Case::inside(
        "process-scheduler-batch",
        "config.md#linux-process: scheduler policy and nice",
        "scheduler",
        || json!({"process": {"scheduler": {"policy": "SCHED_BATCH", "nice": 5}}}),
    ),
    Case::run(
        "process-scheduler-fifo",
        "config.md#linux-process: scheduler priority and flags",
        scheduler_fifo,
    ),
    Case::inside(
        "process-scheduler-flags",
        "config.md#linux-process: scheduler flags",
        "scheduler",
        || {
            json!({"process": {"scheduler": {
                "policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]
            }}})
        },
    ),
    Case::inside(
        "process-scheduler-other",
        "config.md#linux-process: nice with the usual policy",
        "scheduler",
        || json!({"process": {"scheduler": {"policy": "SCHED_OTHER", "nice": 7}}}),
    ),
    Case::inside(
        "process-scheduler-idle",
        "config.md#linux-process: every policy of the list",
        "scheduler",
        || json!({"process": {"scheduler": {"policy": "SCHED_IDLE"}}}),
    ),
    Case::inside(
        "process-io-priority",
        "config.md#linux-process: ioPriority class and priority",
        "iopriority",
        || json!({"process": {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}}}),
    ),
    Case::inside(
        "process-io-priority-idle",
        "config.md#linux-process: ioPriority class idle",
        "iopriority",
        || json!({"process": {"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 7}}}),
    ),
    Case::inside(
        "process-descriptors",
        "runtime-linux.md#file-descriptors: only the standard streams are kept open",
        "descriptors,terminal",
        || json!({}),
    ),
    Case::inside(
        "process-console-size-ignored",
        "config.md#process: consoleSize MUST be ignored without a terminal",
        "terminal",
        || json!({"process": {"consoleSize": {"height": 10, "width": 20}}}),
    ),
    Case::run(
        "process-signals-are-default",
        "config.md#process: the program starts as execvp leaves it: no signal blocked or ignored",
        signals_default,
    ),
    Case::refused(
        "process-cwd-relative",
        "config.md#process: cwd MUST be an absolute path",
        || json!({"process": {"cwd": "tmp"}}),
    ),
    Case::refused(
        "process-cwd-absent",
        "config.md#process: cwd is REQUIRED",
        || json!({"process": {"cwd": null}}),
    ),
    by_start(
        "process-args-empty",
        "config.md#process: args REQUIRES at least one entry",
        || json!({"process": {"args": []}}),
    ),
    by_start(
        "process-args-missing-program",
        "runtime.md#start: MUST run the program or error",
        || json!({"process": {"args": ["/absent"]}}),
    ),
    by_start(
        "process-args-not-executable",
        "runtime.md#start: MUST run the program or error",
        || json!({"process": {"args": ["/.conformance/config.json"]}}),
    ),
    Case::refused(
        "process-rlimit-unknown",
        "config.md#posix-process: MUST error for a type that cannot be mapped",
        || json!({"process": {"rlimits": [{"type": "RLIMIT_UNHEARD", "soft": 1, "hard": 1}]}}),
    ),
    Case::refused(
        "process-rlimit-twice",
        "config.md#posix-process: MUST error if a type is duplicated",
        || {
            let limit = json!({"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64});
            json!({"process": {"rlimits": [limit, limit]}})
        },
    ),
    Case::refused(
        "process-rlimit-soft-above-hard",
        "runtime.md#create: MUST error if a property cannot be applied",
        || json!({"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 65, "hard": 64}]}}),
    ),
    Case::refused(
        "process-oom-score-out-of-range",
        "runtime.md#create: MUST error if a property cannot be applied",
        || json!({"process": {"oomScoreAdj": 5000}}),
    ),
    Case::refused(
        "process-scheduler-unknown",
        "config.md#valid-values: MUST error when an invalid value is encountered",
        || json!({"process": {"scheduler": {"policy": "SCHED_UNHEARD"}}}),
    ),
    Case::refused(
        "process-scheduler-flag-unknown",
        "config.md#valid-values: MUST error when an invalid value is encountered",
        || json!({"process": {"scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UNHEARD"]}}}),
    ),
    Case::refused(
        "process-io-priority-unknown",
        "config.md#valid-values: MUST error when an invalid value is encountered",
        || json!({"process": {"ioPriority": {"class": "IOPRIO_CLASS_UNHEARD", "priority": 1}}}),
    ),
];

const fn by_start(name: &'static str, clause: &'static str, patch: fn() -> Value) -> Case {
    Case { name, clause, how: How::RefusedByStart(patch) }
}

/// Lowered limits of every type that can be lowered without starving the checker.
fn rlimits() -> Value {
    let rows: [(&str, u64, u64); 14] = [
        ("RLIMIT_CORE", 0, 4096),
        ("RLIMIT_CPU", 100, 200),
        ("RLIMIT_DATA", 1 << 30, 1 << 31),
        ("RLIMIT_FSIZE", 1 << 20, 1 << 21),
        ("RLIMIT_LOCKS", 10, 20),
        ("RLIMIT_MEMLOCK", 4096, 8192),
        ("RLIMIT_MSGQUEUE", 1000, 2000),
        ("RLIMIT_NICE", 0, 0),
        ("RLIMIT_NOFILE", 100, 200),
        ("RLIMIT_RSS", 1 << 30, 1 << 31),
        ("RLIMIT_RTPRIO", 0, 0),
        ("RLIMIT_RTTIME", 1_000_000, 2_000_000),
        ("RLIMIT_SIGPENDING", 100, 200),
        ("RLIMIT_STACK", 1 << 22, 1 << 23),
    ];
    let list: Vec<Value> = rows
        .iter()
        .map(|(name, soft, hard)| json!({"type": name, "soft": soft, "hard": hard}))
        .collect();
    json!({"process": {"rlimits": list}})
}

fn scheduler_fifo(stage: &mut Stage) -> Outcome {
    let cpu = crate::cgroupfs::of("cpu").filter(|one| !one.is_v2);
    if cpu.is_some_and(|one| one.mount.join("cpu.rt_runtime_us").exists()) {
        return skip("each cgroup here needs a realtime budget of its own first");
    }
    let scheduler = json!({
        "policy": "SCHED_FIFO", "priority": 9, "flags": ["SCHED_FLAG_RESET_ON_FORK"]
    });
    stage.check_inside("scheduler", json!({"process": {"scheduler": scheduler}}))
}

fn ungrantable(stage: &mut Stage) -> Outcome {
    let own = conformance::proc::status("self", "CapBnd")?;
    let own = u64::from_str_radix(&own, 16).unwrap_or(u64::MAX);
    let lacking = conformance::names::CAPABILITIES.iter().enumerate();
    let lacking = lacking.filter(|(bit, _)| own & 1 << bit == 0).map(|(_, name)| *name).next();
    let Some(name) = lacking else {
        return skip("this machine grants every capability");
    };
    let patch = json!({"process": {"capabilities": {
        "+bounding": [name], "+permitted": [name], "+effective": [name]
    }}});
    stage.check_inside("capabilities", patch)
}

fn signals_default(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "signals"]}}))?;
    let output = stage.run_to_end(&bundle, "one")?;
    for field in ["SigBlk", "SigIgn"] {
        let line = output.lines().find_map(|line| line.strip_prefix(field));
        let mask = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
        // Rust's start-up code ignores SIGPIPE (bit 12) before the checker looks. The rest of the
        // standard signals must be as the driver, which ignores and blocks none, handed them on.
        ensure(mask.is_some_and(|mask| mask & 0x7fff_ffff & !(1 << 12) == 0), || output.clone())?;
    }
    Ok(())
}
