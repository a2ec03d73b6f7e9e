// SPDX-License-Identifier: Apache-2.0
//! creel's programs and libseccomp's, interpreted over the same points: every number with arguments
//! around the profile's values.

use std::fmt::Write as _;

use super::super::names::Name;
use super::super::profile::{Condition, Profile};
use super::super::rules::{Named, Section, multiplexed};
use super::oracle::{Answer, Oracle, TOKENS, question};
use super::*;

/// How the two programs compare.
#[derive(Debug, Default)]
struct Tally {
    equal: usize,
    /// Points where libseccomp's program does what no rule says, and ours what one says.
    theirs_wrong: usize,
    /// Points where rules with different actions hold, and the programs choose differently.
    order_differs: usize,
}

/// Compares over `points` per architecture: `(number, arguments)`.
fn compare(
    profile: &oci::Seccomp<'_>,
    answer: &Answer,
    native: Arch,
    tally: &mut Tally,
    points: impl Fn(Arch) -> Vec<(u32, [u64; 6])>,
) {
    let planned = Profile::plan(profile).unwrap();
    let filter = Filter::plan_for(profile, native, |_| true).unwrap().expect("not empty");
    interpreter::check(&filter.program);
    for arch in super::super::arch::plan(&profile.architectures, native).unwrap() {
        let stub = EnosysStub::new(&planned, answer, arch);
        for (number, values) in points(arch) {
            // The low and high halves of x86_64's numbers are two architectures.
            let is_high = number >= 0x4000_0000 && number != u32::MAX;
            if (arch == Arch::X86_64 && is_high) || (arch == Arch::X32 && number < 0x4000_0000) {
                continue;
            }
            let data = data(arch, number, values);
            let theirs = match stub.applies(number) {
                true => 0x0005_0026,
                false => interpreter::run(&answer.program, &data).0,
            };
            let ours = interpreter::run(&filter.program, &data).0;
            if ours == theirs {
                tally.equal += 1;
                continue;
            }
            let said = said(&planned, arch, number, values);
            let point = || format!("{arch:?} {number:#x} {values:x?}\n{}", question(profile));
            assert!(said.contains(&ours), "{ours:x}, libseccomp {theirs:x}: {}", point());
            if said.contains(&theirs) {
                tally.order_differs += 1;
            } else {
                tally.theirs_wrong += 1;
            }
        }
    }
}

/// What runc puts before libseccomp's program.
struct EnosysStub {
    arch: Arch,
    newest: u32,
    is_on: bool,
    /// -1 counts as a call of x32, if that is listed.
    hides_minus_one: bool,
}

impl EnosysStub {
    fn new(planned: &Profile, answer: &Answer, arch: Arch) -> Self {
        let (.., token) = *TOKENS.iter().find(|row| row.0 == arch).expect("a token");
        let ours = Section::plan(&Named::new(planned), arch).unwrap().newest.unwrap_or(0);
        let theirs = answer.newest[&token];
        // runc does not see calls that are multiplexed, too; here, a call that the profile names is
        // never ENOSYS.
        let newest = if arch.has_multiplexers() { ours.max(theirs) } else { theirs };
        assert_eq!(ours, newest, "{arch:?}");
        let passes = matches!(planned.default >> 16, 0x7fff | 0x7ffc | 0x7ff0);
        let hides_minus_one =
            arch != Arch::X86_64 || answer.newest.get(&0x4000_003e).is_some_and(|n| *n != 0);
        Self { arch, newest, is_on: !passes, hides_minus_one }
    }

    fn applies(&self, number: u32) -> bool {
        if number == u32::MAX && self.arch == Arch::X86_64 {
            return self.is_on && self.hides_minus_one;
        }
        // setup(2) on s390x: what the kernel does not know arrives as number 0.
        let is_setup = self.arch == Arch::S390x && number == 0;
        self.is_on && self.newest != 0 && (number > self.newest || is_setup)
    }
}

/// The actions of all rules that hold, or the default if none does.
fn said(planned: &Profile, arch: Arch, number: u32, values: [u64; 6]) -> Vec<u32> {
    let mut actions = Vec::new();
    let meets = |c: &Condition| naive::holds(c, values, arch);
    for rule in planned.rules.iter().filter(|rule| rule.action != planned.default) {
        let holds = rule.names.iter().any(|&name| {
            let is_direct = name.number(arch) == Some(number)
                && rule.alternatives.iter().any(|when| when.iter().all(meets));
            // The multiplexer's own argument takes the place of the first one.
            let call = multiplexed(name, arch).filter(|to| to.0 == number).map(|to| to.1);
            let is_called = call == Some(values[0] as u32)
                && rule.alternatives.iter().any(|when| when.iter().all(|c| c.arg == 0 || meets(c)));
            is_direct || is_called
        });
        if holds {
            actions.push(rule.action);
        }
    }
    if actions.is_empty() {
        actions.push(planned.default);
    }
    actions
}

/// For each argument all the values near those that the profile compares with, and others random.
pub(super) fn argument_vectors(
    profile: &oci::Seccomp<'_>,
    random: &mut Random,
    count: usize,
) -> Vec<[u64; 6]> {
    let mut near: [Vec<u64>; 6] =
        std::array::from_fn(|_| vec![0, 1, u64::MAX, 0xffff_ffff, 1 << 32]);
    for arg in profile.syscalls.iter().flat_map(|syscall| &syscall.args) {
        let (mask, value) = match &*arg.op {
            "SCMP_CMP_MASKED_EQ" => (arg.value, arg.value_two),
            _ => (u64::MAX, arg.value),
        };
        near[arg.index as usize].extend(around(value, mask));
    }
    (0..count)
        .map(|_| {
            std::array::from_fn(|at| match random.below(4) {
                0 => random.next(),
                _ => random.pick(&near[at]),
            })
        })
        .collect()
}

#[test]
fn names_have_libseccomps_numbers() {
    let Some(oracle) = Oracle::build() else { return };
    let mut questions = String::new();
    let rows: Vec<_> =
        Name::all().flat_map(|name| TOKENS.map(|(arch, _, token)| (name, arch, token))).collect();
    for (name, _, token) in &rows {
        writeln!(questions, "resolve {token:x} {}", name.as_str()).expect("a String");
    }
    let answers = oracle.lines(&questions);
    let mut known = 0;
    for ((name, arch, _), line) in rows.iter().zip(answers.lines()) {
        let theirs: i32 = line.parse().expect(line);
        let Some(ours) = name.number(*arch) else {
            assert!(theirs < 0, "{arch:?} {} is {theirs}", name.as_str());
            continue;
        };
        // Negative: unknown to that version of libseccomp, or multiplexed.
        if theirs >= 0 {
            known += 1;
            assert_eq!(ours, theirs as u32, "{arch:?} {}", name.as_str());
        }
    }
    println!("{known} numbers compared");
    assert!(known > 2000, "{known}");
}

#[test]
fn default_profiles_equal_libseccomp() {
    let Some(oracle) = Oracle::build() else { return };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (name, json) in DEFAULTS {
        let mut profile = parse(json);
        for native in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::Ppc64le, Arch::S390x] {
            if native == Arch::X86_64 {
                profile.architectures = parse(json).architectures;
            } else {
                let of_native = |row: &&(Arch, &'static str, u32)| {
                    row.0 == native || (native == Arch::Aarch64 && row.0 == Arch::Arm)
                };
                profile.architectures =
                    TOKENS.iter().filter(of_native).map(|row| oci::Str::from(row.1)).collect();
            }
            let answer = oracle.ask(&question(&profile)).pop().expect("an answer");
            assert_eq!(answer.error, None);
            let vectors = argument_vectors(&profile, &mut random, 600);
            let mut tally = Tally::default();
            compare(&profile, &answer, native, &mut tally, |arch| {
                let bits = arch.number_bits();
                let all = (bits..bits + 600).chain([0x000f_0001, 0x000f_0005, 1 << 31, u32::MAX]);
                all.flat_map(|number| vectors.iter().map(move |values| (number, *values))).collect()
            });
            println!("{name} on {native:?}: {tally:?}");
            assert_eq!((tally.theirs_wrong, tally.order_differs), (0, 0));
            assert!(native != Arch::X86_64 || tally.equal > 1_000_000, "{tally:?}");
        }
    }
}

/// Calls that all three x86 ABIs have.
const COMMON: [&str; 16] = [
    "read",
    "write",
    "mkdir",
    "clone",
    "personality",
    "mmap",
    "ioctl",
    "fcntl",
    "prctl",
    "openat2",
    "faccessat2",
    "execve",
    "preadv",
    "ptrace",
    "unshare",
    "close_range",
];

/// Multiplexed calls and such that one ABI only has. Never with x32: libseccomp 2.5.4 forgets to load
/// the number where calls that x86_64 lacks come first.
const ODD: [&str; 10] = [
    "socketcall",
    "ipc",
    "socket",
    "accept",
    "connect",
    "shmget",
    "semop",
    "chown32",
    "stat64",
    "clock_gettime64",
];

/// What a generated profile may have.
pub(super) struct Shape {
    pub(super) max_args: usize,
    pub(super) operators: &'static [&'static str],
    pub(super) errnos: &'static [u32],
}

/// How profiles are written: one comparison for equality, masked or not, and one action.
pub(super) const AS_WRITTEN: Shape =
    Shape { max_args: 1, operators: &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"], errnos: &[1] };

pub(super) const OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// A profile whose rules often meet on a call.
pub(super) fn generate(random: &mut Random, shape: &Shape) -> oci::Seccomp<'static> {
    let defaults = ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG"];
    let lists: [&[&str]; 4] =
        [&[], &["SCMP_ARCH_X86"], &["SCMP_ARCH_X32"], &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]];
    let list = random.pick(&lists);
    let odd: &[&str] = if list.contains(&"SCMP_ARCH_X32") { &[] } else { &ODD };
    let names = [&COMMON[..], odd].concat();
    let mut profile = oci::Seccomp {
        default_action: random.pick(&defaults).into(),
        architectures: list.iter().map(|name| (*name).into()).collect(),
        ..Default::default()
    };
    for _ in 0..random.below(40) {
        let mut syscall = oci::Syscall {
            names: (0..=random.below(3)).map(|_| random.pick(&names).into()).collect(),
            action: "SCMP_ACT_ERRNO".into(),
            errno_ret: Some(random.pick(shape.errnos)),
            ..Default::default()
        };
        for _ in 0..random.below(shape.max_args + 1) {
            let high = random.pick(&[0, 0, 0, 1, 2, 0xffff_ffff_u64]);
            let low = random.pick(&[0, 1, 2, 3, 8, 0xffff_ffff_u64]);
            syscall.args.push(oci::Arg {
                index: random.below(3) as u32,
                value: high << 32 | low,
                value_two: random.below(9) as u64,
                op: random.pick(shape.operators).into(),
            });
        }
        profile.syscalls.push(syscall);
    }
    profile
}

/// Of `None` and profiles that libseccomp gave up on nothing is said.
fn compare_generated(count: usize, shape: &Shape) -> Option<Tally> {
    let mut tally = Tally::default();
    let oracle = Oracle::build()?;
    let mut random = Random(0x0123_4567_89ab_cdef);
    let profiles: Vec<_> = (0..count).map(|_| generate(&mut random, shape)).collect();
    let questions: String = profiles.iter().map(question).collect();
    let (mut refused, mut only_theirs, mut gave_up) = (0, 0, 0);
    for (profile, answer) in profiles.iter().zip(oracle.ask(&questions)) {
        let ours = Filter::plan_for(profile, Arch::X86_64, |_| true);
        if answer.gave_up {
            gave_up += 1;
            continue;
        }
        if let Err(error) = ours {
            assert!(answer.error.is_some(), "{error}\n{}", question(profile));
            refused += 1;
            continue;
        }
        if answer.error.is_some() {
            only_theirs += 1;
            continue;
        }
        let vectors = argument_vectors(profile, &mut random, 20);
        compare(profile, &answer, Arch::X86_64, &mut tally, |arch| {
            let named = COMMON.iter().chain(&ODD).filter_map(|name| Name::find(name)?.number(arch));
            let near = named.flat_map(|number| [number.wrapping_sub(1), number, number + 1]);
            near.chain([u32::MAX])
                .flat_map(|number| vectors.iter().map(move |values| (number, *values)))
                .collect()
        });
    }
    println!(
        "{count} profiles: {tally:?}; {refused} refused by both, {only_theirs} by libseccomp, it \
         gave up on {gave_up}"
    );
    assert!(tally.equal > 100_000 && refused + gave_up < count, "{tally:?} {refused}");
    Some(tally)
}

#[test]
fn generated_profiles_without_arguments_equal_libseccomp() {
    let shape = Shape { max_args: 0, operators: &[], errnos: &[1, 2, 3] };
    let Some(tally) = compare_generated(1000, &shape) else { return };
    assert_eq!((tally.theirs_wrong, tally.order_differs), (0, 0));
}

#[test]
fn generated_profiles_as_they_are_written_equal_libseccomp() {
    let Some(tally) = compare_generated(1000, &AS_WRITTEN) else { return };
    assert_eq!((tally.theirs_wrong, tally.order_differs), (0, 0));
}

/// Elsewhere libseccomp errs now and then (the next test); there our program has to do what a rule
/// says (`compare` sees to that). With one action there is no order in which it could differ.
#[test]
fn generated_profiles_with_arguments_equal_libseccomp_where_that_is_right() {
    for (max_args, errnos) in [(1, &[1][..]), (1, &[1, 2]), (2, &[1]), (3, &[1, 2, 3])] {
        let shape = Shape { max_args, operators: OPERATORS, errnos };
        let Some(tally) = compare_generated(500, &shape) else { return };
        assert!(tally.theirs_wrong * 500 <= tally.equal, "{tally:?}");
        assert!(tally.order_differs * 4000 <= tally.equal, "{tally:?}");
        assert!(errnos.len() > 1 || tally.order_differs == 0, "{tally:?}");
    }
}

type Rules = &'static [(u32, &'static [(u32, &'static str, u64)])];

/// A profile of rules for one call, each an errno and its conditions; LOG for what none matches.
fn rules_for_prctl(rules: Rules) -> String {
    let rules = rules.iter().map(|(errno, conditions)| {
        let args = conditions.iter().map(|(index, op, value)| {
            format!(r#"{{"index":{index},"op":"SCMP_CMP_{op}","value":{value}}}"#)
        });
        let args = args.collect::<Vec<_>>().join(",");
        format!(
            r#"{{"names":["prctl"],"action":"SCMP_ACT_ERRNO","errnoRet":{errno},"args":[{args}]}}"#
        )
    });
    let rules = rules.collect::<Vec<_>>().join(",");
    format!(r#"{{"defaultAction":"SCMP_ACT_LOG","syscalls":[{rules}]}}"#)
}

/// The three ways in which the programs of libseccomp 2.5.4 to 2.6.1 differ, at their smallest:
/// (rules as errno and conditions, arguments, our errno, theirs). docs/compat.md tells them.
#[test]
fn where_libseccomp_decides_otherwise() {
    const HIGH: u64 = 1 << 32;
    let cases: [(&str, Rules, [u64; 3], u32, u32); 4] = [
        (
            "after the first rule has failed at the low word, the second one's test of the high word \
             is made on that low word",
            &[(2, &[(0, "LT", 8)]), (3, &[(0, "LE", HIGH)])],
            [0xffff_ffff, 0, 0],
            3,
            0,
        ),
        (
            "the same between two arguments",
            &[(2, &[(0, "LE", 2), (1, "LE", 8)]), (3, &[(0, "LE", 3 * HIGH)])],
            [1, 4 * HIGH, 0],
            3,
            0,
        ),
        (
            "both begin with the test of one high word, which can lead to the errno or to the other \
             argument, but not to both",
            &[(2, &[(0, "GT", 0xffff_ffff)]), (1, &[(0, "GT", 0), (2, "LE", 0xffff_ffff)])],
            [3, 0, 2],
            1,
            0,
        ),
        (
            "both rules hold; they share the test of the high word, whose errno is that of the rule \
             which came first",
            &[(2, &[(0, "NE", 0)]), (3, &[(0, "NE", 2)])],
            [HIGH, 0, 0],
            3,
            2,
        ),
    ];
    let oracle = Oracle::build();
    for (why, rules, [a, b, c], ours, theirs) in cases {
        let json = rules_for_prctl(rules);
        let data = data(Arch::X86_64, libc::SYS_prctl as u32, [a, b, c, 0, 0, 0]);
        let errno = |program: &[sock_filter]| match interpreter::run(program, &data).0 {
            0x7ffc_0000 => 0,
            action => action & 0xffff,
        };
        assert_eq!(errno(&compile(&json, Arch::X86_64).unwrap().program), ours, "{why}: {json}");
        let Some(oracle) = &oracle else { continue };
        let answer = oracle.ask(&question(&parse(&json))).pop().expect("an answer");
        let seen = errno(&answer.program);
        // A later libseccomp may have mended it.
        assert!(seen == theirs || seen == ours, "{why}: {seen} {json}");
        println!("{why}: creel {ours}, libseccomp {seen}");
    }
}

/// Rules on one call with different actions: the more specific one is tested first, equality before
/// below before above, the higher argument before the lower, wherever the profile has them.
#[test]
fn overlapping_rules_are_tested_in_libseccomps_order() {
    let oracle = Oracle::build();
    let rule = |(arg, op, value, errno): (u32, &str, u64, u32)| {
        format!(
            r#"{{"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":{errno},
                "args":[{{"index":{arg},"op":"SCMP_CMP_{op}","value":{value}}}]}}"#
        )
    };
    const HIGH: u64 = 1 << 32;
    for (a, b, values, errno) in [
        ((0, "LT", 10, 1), (0, "LT", 100, 2), [5, 0], 1),
        ((0, "LT", 10, 1), (0, "LT", 100, 2), [50, 0], 2),
        ((0, "LE", HIGH, 1), (0, "LE", 3 * HIGH, 2), [HIGH, 0], 1),
        ((0, "LE", HIGH, 1), (0, "LE", 3 * HIGH, 2), [2 * HIGH, 0], 2),
        ((0, "GT", 10, 1), (0, "GT", 100, 2), [200, 0], 2),
        ((0, "GT", 10, 1), (0, "GT", 100, 2), [50, 0], 1),
        ((0, "GE", HIGH, 1), (0, "GE", 2 * HIGH, 2), [5 * HIGH, 0], 2),
        ((0, "GT", 10, 1), (0, "LT", 100, 2), [50, 0], 2),
        ((0, "LT", 100, 1), (0, "EQ", 7, 2), [7, 0], 2),
        ((0, "EQ", 1, 1), (1, "EQ", 2, 2), [1, 2], 2),
    ] {
        for rules in [[rule(a), rule(b)], [rule(b), rule(a)]] {
            let rules = rules.join(",");
            let json = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rules}]}}"#);
            let data = data(Arch::X86_64, 41, [values[0], values[1], 0, 0, 0, 0]);
            let program = compile(&json, Arch::X86_64).unwrap().program;
            assert_eq!(interpreter::run(&program, &data).0, 0x0005_0000 | errno, "{json}");
            let Some(oracle) = &oracle else { continue };
            let answer = oracle.ask(&question(&parse(&json))).pop().expect("an answer");
            assert_eq!(interpreter::run(&answer.program, &data).0, 0x0005_0000 | errno, "{json}");
        }
    }
}

/// What runc 1.5.0-rc.1 (libseccomp 2.5.4) had loaded for Docker's default profile, read back from a container's process by
/// `PTRACE_SECCOMP_GET_FILTER`: its ENOSYS part included. `CODE JT JF K` a line, in hexadecimal.
const RUNC: &str = include_str!("../../../../tests/data/seccomp-docker-runc.bpf");

#[test]
fn dockers_default_equals_what_runc_loads() {
    let word = |word: &str| u32::from_str_radix(word, 16).expect("hexadecimal");
    let instruction = |line: &str| match line.split(' ').map(word).collect::<Vec<_>>()[..] {
        [code, jt, jf, k] => sock_filter { code: code as u16, jt: jt as u8, jf: jf as u8, k },
        _ => panic!("{line}"),
    };
    let runc: Vec<_> = RUNC.lines().map(instruction).collect();
    let profile = parse(DEFAULTS[0].1);
    let ours = compile(DEFAULTS[0].1, Arch::X86_64).unwrap().program;
    let vectors = argument_vectors(&profile, &mut Random(77), 100);
    let numbers = (0..700).chain(0x4000_0000..0x4000_0300).chain([1 << 31, u32::MAX - 1, u32::MAX]);
    for number in numbers {
        for arch in [Arch::X86_64, Arch::X86, Arch::Aarch64] {
            for values in &vectors {
                let data = data(arch, number, *values);
                let (ours, runc) =
                    (interpreter::run(&ours, &data).0, interpreter::run(&runc, &data).0);
                assert_eq!(ours, runc, "{arch:?} {number:#x} {values:x?}");
            }
        }
    }
}
