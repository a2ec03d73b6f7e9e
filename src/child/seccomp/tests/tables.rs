// SPDX-License-Identifier: Apache-2.0
//! Each word of a profile, by its effect; each refusal, by its whole line.

use super::super::names::Name;
use super::*;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = ERRNO | 38;
const KILL: u32 = 0;

fn native(json: &str, name: &str, values: [u64; 6]) -> u32 {
    let filter = compile(json, Arch::X86_64).unwrap();
    evaluate(&filter.program, Arch::X86_64, number(name, Arch::X86_64), values)
}

fn number(name: &str, arch: Arch) -> u32 {
    Name::find(name).and_then(|name| name.number(arch)).expect(name)
}

#[test]
fn actions() {
    for (action, errno, value) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, 0x0005_0001),
        ("SCMP_ACT_ERRNO", Some(38), 0x0005_0026),
        ("SCMP_ACT_ERRNO", Some(0), 0x0005_0000),
        ("SCMP_ACT_NOTIFY", None, 0x7fc0_0000),
        ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
        ("SCMP_ACT_TRACE", Some(65535), 0x7ff0_ffff),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
        ("SCMP_ACT_ALLOW", None, ALLOW),
    ] {
        let errno = errno.map_or(String::new(), |errno: u32| format!(r#","errnoRet":{errno}"#));
        let default = if value == ALLOW { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" };
        let json = format!(
            r#"{{"defaultAction":"{default}","listenerPath":"/agent",
                "syscalls":[{{"names":["mkdir"],"action":"{action}"{errno}}}]}}"#
        );
        assert_eq!(native(&json, "mkdir", [0; 6]), value, "{json}");
        assert_ne!(native(&json, "rmdir", [0; 6]), value, "{json}");
        if value != 0x7fc0_0000 {
            let errno = errno.replace("errnoRet", "defaultErrnoRet");
            let json = format!(r#"{{"defaultAction":"{action}"{errno}}}"#);
            assert_eq!(native(&json, "mkdir", [0; 6]), value, "{json}");
        }
    }
}

#[test]
fn operators_compare_64_bits() {
    const V: u64 = 0x0000_0005_0000_0007;
    let below = [0, 7, 0x0000_0004_ffff_ffff, V - 1];
    let above = [V + 1, 0x0000_0006_0000_0000, u64::MAX];
    type Holds = fn(u64) -> bool;
    let operators: [(&str, Holds); 6] = [
        ("SCMP_CMP_EQ", |a| a == V),
        ("SCMP_CMP_NE", |a| a != V),
        ("SCMP_CMP_LT", |a| a < V),
        ("SCMP_CMP_LE", |a| a <= V),
        ("SCMP_CMP_GE", |a| a >= V),
        ("SCMP_CMP_GT", |a| a > V),
    ];
    for (op, holds) in operators {
        for arg in 0..6 {
            let json = format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["mmap"],
                    "action":"SCMP_ACT_ERRNO","args":[{{"index":{arg},"value":{V},"op":"{op}"}}]}}]}}"#
            );
            for a in below.into_iter().chain([V]).chain(above) {
                let mut values = [0xdead_beef_dead_beef; 6];
                values[arg] = a;
                let expected = if holds(a) { ERRNO | 1 } else { ALLOW };
                assert_eq!(native(&json, "mmap", values), expected, "{op} {a:#x} at {arg}");
            }
        }
    }
}

#[test]
fn masked_equality_takes_the_mask_from_value_and_ignores_bits_outside_it() {
    for (mask, wanted) in [
        (0x7e02_0000, 0),
        (0xff00_0000_0000_00f0, 0x1200_0000_0000_0030),
        (u64::MAX, 0x5_0000_0007),
        (0x0f00_0000_0000_0000, 0x0500_0000_0000_0000),
        (0xf0, 0x1_0000_003f),
    ] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["clone"],
                "action":"SCMP_ACT_ERRNO","args":[{{"index":0,"value":{mask},
                "valueTwo":{wanted},"op":"SCMP_CMP_MASKED_EQ"}}]}}]}}"#
        );
        for a in around(wanted, mask).chain([0, u64::MAX]) {
            let expected = if a & mask == wanted & mask { ERRNO | 1 } else { ALLOW };
            assert_eq!(native(&json, "clone", [a, 0, 0, 0, 0, 0]), expected, "{a:#x} {mask:#x}");
        }
    }
    // No bits to compare: always.
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["clone"],
        "action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
    assert_eq!(native(json, "clone", [5; 6]), ERRNO | 1);
}

#[test]
fn conditions_on_different_arguments_are_and_and_rules_are_or() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":0,"value":2,"op":"SCMP_CMP_EQ"},{"index":1,"value":1,"op":"SCMP_CMP_EQ"}]},
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":0,"value":10,"op":"SCMP_CMP_EQ"}]}]}"#;
    for (family, kind, expected) in
        [(2, 1, ALLOW), (2, 2, ERRNO | 1), (10, 2, ALLOW), (16, 1, ERRNO | 1)]
    {
        assert_eq!(native(json, "socket", [family, kind, 0, 0, 0, 0]), expected);
    }
}

#[test]
fn conditions_on_the_same_argument_are_or_as_in_runc() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":0,"value":2,"op":"SCMP_CMP_EQ"},{"index":0,"value":10,"op":"SCMP_CMP_EQ"},
            {"index":1,"value":7,"op":"SCMP_CMP_EQ"}]}]}"#;
    for (family, kind, expected) in
        [(2, 1, ALLOW), (10, 1, ALLOW), (16, 7, ALLOW), (16, 1, ERRNO | 1)]
    {
        assert_eq!(native(json, "socket", [family, kind, 0, 0, 0, 0]), expected);
    }
}

#[test]
fn rules_meet_as_in_libseccomp() {
    let profile = |rules: &str| {
        format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":99,"syscalls":[{rules}]}}"#)
    };
    let always = |action: &str| format!(r#"{{"names":["socket"],"action":"{action}"}}"#);
    let when = |value: u32, action: &str| {
        format!(
            r#"{{"names":["socket"],"action":"{action}","args":[
                {{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}]}}"#
        )
    };
    let run = |rules: [String; 2], family| {
        native(&profile(&rules.join(",")), "socket", [family, 0, 0, 0, 0, 0])
    };
    let (allow, trap) = ("SCMP_ACT_ALLOW", "SCMP_ACT_TRAP");
    assert_eq!(run([always(allow), always(trap)], 0), ALLOW, "the first one stands");
    assert_eq!(run([always(allow), when(3, trap)], 3), ALLOW, "the wider one stands");
    assert_eq!(run([when(3, trap), always(allow)], 3), ALLOW, "the wider one replaces");
    let same = r#"{"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":99}"#.to_owned();
    assert_eq!(run([same, always(allow)], 0), ALLOW, "a rule equal to the default is left out");
    let error = compile(&profile(&[when(3, trap), when(3, allow)].join(",")), Arch::X86_64);
    assert_eq!(
        error.unwrap_err().to_string(),
        "linux.seccomp.syscalls[1]: socket has another action for the same arguments in an earlier \
         rule"
    );
}

#[test]
fn calls_newer_than_the_profile_are_enosys_on_each_architecture() {
    let json = |default| {
        format!(
            r#"{{"defaultAction":"{default}","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],
                "syscalls":[{{"names":["mkdir","openat2"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        )
    };
    for (default, value) in
        [("SCMP_ACT_ERRNO", ERRNO | 1), ("SCMP_ACT_KILL", KILL), ("SCMP_ACT_TRAP", 0x0003_0000)]
    {
        let program = compile(&json(default), Arch::X86_64).unwrap().program;
        for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
            let newest = number("openat2", arch);
            assert_eq!(evaluate(&program, arch, newest, [0; 6]), ALLOW);
            assert_eq!(evaluate(&program, arch, newest - 1, [0; 6]), value);
            assert_eq!(evaluate(&program, arch, newest + 1, [0; 6]), ENOSYS);
            assert_eq!(evaluate(&program, arch, number("mkdir", arch), [0; 6]), ALLOW);
        }
    }
    for (default, value) in [("SCMP_ACT_LOG", 0x7ffc_0000), ("SCMP_ACT_TRACE", 0x7ff0_0001)] {
        let program = compile(&json(default), Arch::X86_64).unwrap().program;
        assert_eq!(evaluate(&program, Arch::X86_64, 999, [0; 6]), value);
    }
}

#[test]
fn foreign_architectures_are_killed_and_x32_is_one_unless_listed() {
    let without = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["read","openat2"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let program = compile(without, Arch::X86_64).unwrap().program;
    assert_eq!(evaluate(&program, Arch::X86_64, 0, [0; 6]), ALLOW);
    for arch in [Arch::X86, Arch::Aarch64, Arch::S390x] {
        assert_eq!(evaluate(&program, arch, number("read", arch), [0; 6]), KILL);
    }
    assert_eq!(evaluate(&program, Arch::X32, 0x4000_0000, [0; 6]), KILL);
    assert_eq!(evaluate(&program, Arch::X32, 0xffff_fffe, [0; 6]), KILL);
    assert_eq!(evaluate(&program, Arch::X32, 0xffff_ffff, [0; 6]), ERRNO | 1, "a tracer's skip");
}

#[test]
fn socketcall_and_ipc_reach_what_they_multiplex() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["socket","send","shmat","openat2"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let program = compile(json, Arch::X86_64).unwrap().program;
    let call = |name, first| evaluate(&program, Arch::X86, number(name, Arch::X86), [first; 6]);
    assert_eq!(call("socketcall", 1), ALLOW);
    assert_eq!(call("socketcall", 9), ALLOW);
    assert_eq!(call("socketcall", 2), ERRNO | 1);
    assert_eq!(call("ipc", 21), ALLOW);
    assert_eq!(call("ipc", 1), ERRNO | 1);
    assert_eq!(call("socket", 7), ALLOW);
}

#[test]
fn setup_is_enosys_on_s390x() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["exit","openat2"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let program = compile(json, Arch::S390x).unwrap().program;
    assert_eq!(evaluate(&program, Arch::S390x, 0, [0; 6]), ENOSYS);
    assert_eq!(evaluate(&program, Arch::S390x, 1, [0; 6]), ALLOW);
    assert_eq!(evaluate(&program, Arch::S390x, 2, [0; 6]), ERRNO | 1);
}

#[test]
fn an_empty_profile_is_no_filter() {
    assert!(Filter::plan_for(&parse("{}"), Arch::X86_64, |_| true).unwrap().is_none());
    assert!(
        Filter::plan_for(&parse(r#"{"flags":["?"]}"#), Arch::X86_64, |_| true).unwrap().is_none()
    );
}

#[test]
fn flags_and_listener() {
    let flags = |text: &str, supported: fn(u64) -> bool| {
        let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{text}}}"#);
        Filter::plan_for(&parse(&json), Arch::X86_64, supported)
            .map(|filter| filter.unwrap().flags)
            .map_err(|error| error.to_string())
    };
    assert_eq!(flags("", |_| true), Ok(4), "SPEC_ALLOW if the profile says nothing");
    assert_eq!(flags("", |_| false), Ok(0));
    assert_eq!(flags(r#","flags":[]"#, |_| true), Ok(0));
    assert_eq!(flags(r#","flags":null"#, |_| true), Ok(4));
    let all = r#","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
    assert_eq!(flags(all, |_| true), Ok(2 | 4 | 32));
    assert_eq!(
        flags(all, |flag| flag != 4),
        Err("linux.seccomp.flags[2]: this kernel does not support SECCOMP_FILTER_FLAG_SPEC_ALLOW"
            .into())
    );
    let notify = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent",
        "listenerMetadata":"m","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let filter = compile(notify, Arch::X86_64).unwrap();
    assert_eq!(filter.flags, 4 | 8);
    let listener = filter.listener.unwrap();
    assert_eq!((listener.path.as_str(), listener.metadata.as_str()), ("/run/agent", "m"));
}

/// Compiling `json` fails with exactly `line`.
#[track_caller]
fn refuses(json: &str, line: &str) {
    assert_eq!(compile(json, Arch::X86_64).expect_err(json).to_string(), line, "{json}");
}

#[test]
fn refusals_name_the_property() {
    let allow = |text: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{text}}}"#);
    refuses(
        r#"{"defaultAction":"ALLOW"}"#,
        r#"linux.seccomp.defaultAction: unknown action "ALLOW""#,
    );
    refuses(
        r#"{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
        r#"linux.seccomp.defaultAction: unknown action """#,
    );
    refuses(
        r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/a"}"#,
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
    );
    refuses(
        &allow(r#""defaultErrnoRet":1"#),
        "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno",
    );
    refuses(
        &allow(r#""architectures":["SCMP_ARCH_VAX"]"#),
        r#"linux.seccomp.architectures[0]: unknown architecture "SCMP_ARCH_VAX""#,
    );
    refuses(&allow(r#""flags":["LOG"]"#), r#"linux.seccomp.flags[0]: unknown flag "LOG""#);
    refuses(
        &allow(r#""listenerMetadata":"m""#),
        "linux.seccomp.listenerMetadata: set without listenerPath",
    );
}

#[test]
fn refusals_name_the_rule() {
    let rule = |text: &str| {
        format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["read"],{text}}}]}}"#)
    };
    for (text, line) in [
        (r#""action":"SCMP_ACT_X""#, r#"syscalls[0].action: unknown action "SCMP_ACT_X""#),
        (r#""action":"SCMP_ACT_NOTIFY""#, "listenerPath: not set, but a rule has SCMP_ACT_NOTIFY"),
        (
            r#""action":"SCMP_ACT_KILL","errnoRet":3"#,
            "syscalls[0].errnoRet: SCMP_ACT_KILL takes no errno",
        ),
        (
            r#""action":"SCMP_ACT_ERRNO","errnoRet":65536"#,
            "syscalls[0].errnoRet: 65536 is above 65535",
        ),
        (
            r#""action":"SCMP_ACT_KILL","args":[{"index":0,"value":1,"op":"="}]"#,
            r#"syscalls[0].args[0].op: unknown operator "=""#,
        ),
        (
            r#""action":"SCMP_ACT_KILL","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]"#,
            "syscalls[0].args[0].index: 6 is not an argument: a system call has 0 to 5",
        ),
        (
            r#""action":"SCMP_ACT_ALLOW"},{"names":["chmod","write"],"action":"SCMP_ACT_NOTIFY""#,
            "syscalls[1].names[1]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            r#""action":"SCMP_ACT_ALLOW"},{"names":[""],"action":"SCMP_ACT_ALLOW""#,
            "syscalls[1].names[0]: empty string is not a valid syscall",
        ),
    ] {
        refuses(&rule(text), &format!("linux.seccomp.{line}"));
    }
}

#[test]
fn unknown_calls_are_skipped() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["from_the_future","mkdir"],"action":"SCMP_ACT_ALLOW"}]}"#;
    assert_eq!(native(json, "mkdir", [0; 6]), ALLOW);
}

#[test]
fn more_than_4096_instructions_are_refused() {
    let rules: Vec<_> = (0..3000_u32)
        .map(|value| {
            let value = u64::from(value) << 32;
            format!(
                r#"{{"names":["read"],"action":"SCMP_ACT_KILL","args":[
                    {{"index":{},"value":{value},"op":"SCMP_CMP_EQ"}}]}}"#,
                value % 2
            )
        })
        .collect();
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#, rules.join(","));
    let error = compile(&json, Arch::X86_64).unwrap_err().to_string();
    assert!(error.starts_with("linux.seccomp: the filter needs "), "{error}");
    assert!(error.ends_with(" instructions, Linux takes 4096"), "{error}");
}
