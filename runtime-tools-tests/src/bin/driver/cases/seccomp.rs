//! config-linux.md: seccomp, by what happens to calls.
// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};

use crate::case::{Case, Outcome, ensure};
use crate::stage::Stage;

const CLAUSE: &str = "config-linux.md#seccomp: matched calls meet their action";
const VALID: &str = "config.md#valid-values: MUST error when an invalid value is encountered";

/// What a runtime and the checker may call once the filter is in force; getsid is probed.
const NEEDED: [&str; 74] = [
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fchdir",
    "fcntl",
    "fork",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getgid",
    "getpid",
    "getrandom",
    "getrlimit",
    "getsid",
    "gettid",
    "getuid",
    "ioctl",
    "kill",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setuid",
    "sigaltstack",
    "stat",
    "statx",
    "tgkill",
    "umask",
    "vfork",
    "wait4",
    "write",
];

pub(crate) const CASES: &[Case] = &[
    Case::run("seccomp-errno", CLAUSE, |stage| {
        let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_ERRNO"}))]);
        calls(stage, rules, &[("getpriority", "errno 1"), ("getsid", "ok")])
    }),
    Case::run(
        "seccomp-errno-value",
        "config-linux.md#seccomp: errnoRet is what is returned",
        |stage| {
            let rules = json!([
                rule(&["getpriority"], json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 38})),
                rule(&["setfsuid"], json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 5}))
            ]);
            calls(
                stage,
                rules,
                &[("getpriority", "errno 38"), ("setfsuid", "errno 5"), ("getsid", "ok")],
            )
        },
    ),
    Case::run("seccomp-kill", CLAUSE, |stage| {
        let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_KILL"}))]);
        calls(stage, rules, &[("getpriority", "signal SIGSYS"), ("getsid", "ok")])
    }),
    Case::run("seccomp-kill-process", CLAUSE, |stage| {
        let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_KILL_PROCESS"}))]);
        calls(stage, rules, &[("getpriority", "signal SIGSYS"), ("getsid", "ok")])
    }),
    Case::run("seccomp-kill-thread", CLAUSE, |stage| {
        let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_KILL_THREAD"}))]);
        calls(stage, rules, &[("getpriority", "signal SIGSYS"), ("getsid", "ok")])
    }),
    Case::run("seccomp-trap", CLAUSE, |stage| {
        let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_TRAP"}))]);
        calls(stage, rules, &[("getpriority", "signal SIGSYS"), ("getsid", "ok")])
    }),
    Case::run(
        "seccomp-trace",
        "config-linux.md#seccomp: without a tracer TRACE answers ENOSYS",
        |stage| {
            let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_TRACE"}))]);
            calls(stage, rules, &[("getpriority", "errno 38"), ("getsid", "ok")])
        },
    ),
    Case::run("seccomp-log", "config-linux.md#seccomp: LOG lets the call pass", |stage| {
        let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_LOG"}))]);
        calls(stage, rules, &[("getpriority", "ok")])
    }),
    Case::run(
        "seccomp-default-action",
        "config-linux.md#seccomp: defaultAction is for the rest",
        |stage| {
            let patch = json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO"}}});
            let rules = json!([rule(&NEEDED, json!({"action": "SCMP_ACT_ALLOW"}))]);
            calls_with(stage, patch, rules, &[("getpriority", "errno 1"), ("getsid", "ok")])
        },
    ),
    Case::run(
        "seccomp-default-errno",
        "config-linux.md#seccomp: defaultErrnoRet is what is returned",
        |stage| {
            let patch = json!({"linux": {"seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 55
            }}});
            let rules = json!([rule(&NEEDED, json!({"action": "SCMP_ACT_ALLOW"}))]);
            calls_with(stage, patch, rules, &[("getpriority", "errno 55"), ("getsid", "ok")])
        },
    ),
    Case::run("seccomp-several-names", CLAUSE, |stage| {
        let rules = json!([rule(
            &["getpriority", "getpgid", "getsid"],
            json!({"action": "SCMP_ACT_ERRNO"})
        )]);
        let want = [
            ("getpriority", "errno 1"),
            ("getpgid", "errno 1"),
            ("getsid", "errno 1"),
            ("setfsuid", "ok"),
        ];
        calls(stage, rules, &want)
    }),
    Case::run(
        "seccomp-unknown-name",
        "config-linux.md#seccomp: names that no kernel has harm nothing",
        |stage| {
            let rules =
                json!([rule(&["unheard_of", "getpriority"], json!({"action": "SCMP_ACT_ERRNO"}))]);
            calls(stage, rules, &[("getpriority", "errno 1")])
        },
    ),
    Case::run("seccomp-op-eq", CLAUSE, |stage| {
        operator(stage, "SCMP_CMP_EQ", &[(5, true), (4, false), (6, false)])
    }),
    Case::run("seccomp-op-ne", CLAUSE, |stage| {
        operator(stage, "SCMP_CMP_NE", &[(5, false), (4, true), (6, true)])
    }),
    Case::run("seccomp-op-lt", CLAUSE, |stage| {
        operator(stage, "SCMP_CMP_LT", &[(5, false), (4, true), (6, false)])
    }),
    Case::run("seccomp-op-le", CLAUSE, |stage| {
        operator(stage, "SCMP_CMP_LE", &[(5, true), (4, true), (6, false)])
    }),
    Case::run("seccomp-op-ge", CLAUSE, |stage| {
        operator(stage, "SCMP_CMP_GE", &[(5, true), (4, false), (6, true)])
    }),
    Case::run("seccomp-op-gt", CLAUSE, |stage| {
        operator(stage, "SCMP_CMP_GT", &[(5, false), (4, false), (6, true)])
    }),
    Case::run(
        "seccomp-op-masked-eq",
        "config-linux.md#seccomp: valueTwo is compared under the mask value",
        |stage| {
            let args =
                json!([{"index": 0, "value": 0xf0, "valueTwo": 0x10, "op": "SCMP_CMP_MASKED_EQ"}]);
            let rules = json!([rule(
                &["setfsuid"],
                json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args})
            )]);
            calls(
                stage,
                rules,
                &[("setfsuid,31", "errno 77"), ("setfsuid,16", "errno 77"), ("setfsuid,0", "ok")],
            )
        },
    ),
    Case::run("seccomp-64-bit-values", CLAUSE, |stage| {
        let big = 1_u64 << 40;
        let args = json!([{"index": 1, "value": big, "op": "SCMP_CMP_GE"}]);
        let rules = json!([rule(
            &["setfsuid"],
            json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args})
        )]);
        let (over, under) = (format!("setfsuid,0,{}", big + 1), format!("setfsuid,0,{}", big - 1));
        calls(stage, rules, &[(&over, "errno 77"), (&under, "ok")])
    }),
    Case::run(
        "seccomp-two-arguments",
        "config-linux.md#seccomp: all of args must match",
        |stage| {
            let args = json!([
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}
            ]);
            let rules = json!([rule(
                &["setfsuid"],
                json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args})
            )]);
            calls(
                stage,
                rules,
                &[("setfsuid,1,2", "errno 77"), ("setfsuid,1,3", "ok"), ("setfsuid,0,2", "ok")],
            )
        },
    ),
    Case::run(
        "seccomp-with-new-privileges",
        "config-linux.md#seccomp: applied without noNewPrivileges too",
        |stage| {
            let patch = json!({"process": {"noNewPrivileges": false}});
            let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_ERRNO"}))]);
            calls_with(stage, patch, rules, &[("getpriority", "errno 1"), ("getsid", "ok")])
        },
    ),
    Case::run(
        "seccomp-flags",
        "config-linux.md#seccomp: flags of the list are accepted",
        |stage| {
            let patch = json!({"linux": {"seccomp": {
                "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
            }}});
            let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_ERRNO"}))]);
            calls_with(stage, patch, rules, &[("getpriority", "errno 1")])
        },
    ),
    Case::run(
        "seccomp-architectures",
        "config-linux.md#seccomp: architectures of the list are accepted",
        |stage| {
            let patch = json!({"linux": {"seccomp": {
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
            }}});
            let rules = json!([rule(&["getpriority"], json!({"action": "SCMP_ACT_ERRNO"}))]);
            calls_with(stage, patch, rules, &[("getpriority", "errno 1"), ("getsid", "ok")])
        },
    ),
    Case::refused("seccomp-action-unknown", VALID, || {
        seccomp(json!({"defaultAction": "SCMP_ACT_UNHEARD"}))
    }),
    Case::refused("seccomp-rule-action-unknown", VALID, || {
        seccomp(json!({"defaultAction": "SCMP_ACT_ALLOW",
               "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_UNHEARD"}]}))
    }),
    Case::refused("seccomp-architecture-unknown", VALID, || {
        seccomp(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_UNHEARD"],
               "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]}))
    }),
    Case::refused("seccomp-operator-unknown", VALID, || {
        seccomp(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
            "names": ["getpriority"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_UNHEARD"}]
        }]}))
    }),
    Case::refused("seccomp-flag-unknown", VALID, || {
        seccomp(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_UNHEARD"],
               "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]}))
    }),
    Case::refused(
        "seccomp-names-empty",
        "config-linux.md#seccomp: names MUST contain at least one entry",
        || {
            json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}}})
        },
    ),
    Case::refused(
        "seccomp-errno-with-allow",
        "config-linux.md#seccomp: errnoRet with an action that has none MUST fail",
        || {
            json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_KILL", "errnoRet": 5}]}}})
        },
    ),
    Case::refused(
        "seccomp-default-errno-with-allow",
        "config-linux.md#seccomp: defaultErrnoRet with an action that has none MUST fail",
        || {
            json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5,
                "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]}}})
        },
    ),
    Case::refused(
        "seccomp-metadata-without-path",
        "config-linux.md#seccomp: listenerMetadata MUST NOT be set without listenerPath",
        || {
            json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x",
                "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]}}})
        },
    ),
];

fn seccomp(filter: Value) -> Value {
    json!({"linux": {"seccomp": filter}})
}

fn rule(names: &[&str], more: Value) -> Value {
    let mut rule = json!({"names": names});
    crate::config::merge(&mut rule, more);
    rule
}

fn calls(stage: &mut Stage, rules: Value, want: &[(&str, &str)]) -> Outcome {
    calls_with(stage, json!({}), rules, want)
}

fn calls_with(stage: &mut Stage, patch: Value, rules: Value, want: &[(&str, &str)]) -> Outcome {
    let mut args = vec!["/inside", "seccomp"];
    args.extend(want.iter().map(|(word, _)| *word));
    let whole = json!({
        "process": {"args": args},
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}}
    });
    let bundle = stage.bundle_of([whole, patch])?;
    let output = stage.run_to_end(&bundle, "one")?;
    for (word, answer) in want {
        let line = format!("{word} {answer}");
        ensure(output.lines().any(|have| have == line), || format!("want {line:?}: {output}"))?;
    }
    Ok(())
}

/// setfsuid answers no error to any argument, and no runtime calls it.
fn operator(stage: &mut Stage, op: &str, want: &[(u64, bool)]) -> Outcome {
    let args = json!([{"index": 0, "value": 5, "op": op}]);
    let rules = json!([rule(
        &["setfsuid"],
        json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args})
    )]);
    let words: Vec<String> = want.iter().map(|(value, _)| format!("setfsuid,{value}")).collect();
    let pairs = words.iter().zip(want);
    let want: Vec<(&str, &str)> = pairs
        .map(|(word, (_, hit))| (word.as_str(), if *hit { "errno 77" } else { "ok" }))
        .collect();
    calls(stage, rules, &want)
}
