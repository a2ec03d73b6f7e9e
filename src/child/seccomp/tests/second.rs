// SPDX-License-Identifier: Apache-2.0
//! seccompiler (Firecracker's) as another opinion, on what it can say: one architecture, one action
//! besides the default, conditions as 64-bit comparisons.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

use super::super::names::Name;
use super::super::profile::{Condition, Op, Profile};
use super::super::rules::{Named, Section};
use super::differential::{AS_WRITTEN, OPERATORS, Shape, argument_vectors, generate};
use super::*;

const MACHINES: [(Arch, TargetArch); 3] = [
    (Arch::X86_64, TargetArch::x86_64),
    (Arch::Aarch64, TargetArch::aarch64),
    (Arch::Riscv64, TargetArch::riscv64),
];

fn action(value: u32) -> SeccompAction {
    match value & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW => SeccompAction::Allow,
        libc::SECCOMP_RET_ERRNO => SeccompAction::Errno(value & libc::SECCOMP_RET_DATA),
        libc::SECCOMP_RET_KILL_THREAD => SeccompAction::KillThread,
        libc::SECCOMP_RET_LOG => SeccompAction::Log,
        other => panic!("{other:x} is not in these profiles"),
    }
}

fn condition(c: &Condition) -> SeccompCondition {
    let op = match c.op {
        Op::Eq => SeccompCmpOp::Eq,
        Op::Ne => SeccompCmpOp::Ne,
        Op::Lt => SeccompCmpOp::Lt,
        Op::Le => SeccompCmpOp::Le,
        Op::Ge => SeccompCmpOp::Ge,
        Op::Gt => SeccompCmpOp::Gt,
        Op::MaskedEq => SeccompCmpOp::MaskedEq(c.mask),
    };
    let arg = u8::try_from(c.arg).expect("0 to 5");
    SeccompCondition::new(arg, SeccompCmpArgLen::Qword, op, c.value).expect("a valid condition")
}

/// The rules of one action; `None` if it refuses the size of what it gets.
fn theirs(profile: &Profile, arch: Arch, target: TargetArch) -> Option<Vec<sock_filter>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut always = Vec::new();
    let is_other = |rule: &&super::super::profile::Rule| rule.action != profile.default;
    let matched = profile.rules.iter().find(is_other)?.action;
    for rule in profile.rules.iter().filter(is_other) {
        assert_eq!(rule.action, matched, "one action");
        for number in rule.names.iter().filter_map(|name| name.number(arch)).map(i64::from) {
            let chains = rules.entry(number).or_default();
            for when in &rule.alternatives {
                let when: Vec<_> = when.iter().filter(|c| c.mask != 0).map(condition).collect();
                match when.is_empty() {
                    true => always.push(number),
                    false => chains.push(SeccompRule::new(when).expect("not empty")),
                }
            }
        }
    }
    // To it, no rule at all is a match.
    always.into_iter().for_each(|number| rules.entry(number).or_default().clear());
    let filter = SeccompFilter::new(rules, action(profile.default), action(matched), target);
    let program = BpfProgram::try_from(filter.expect("two actions")).ok()?;
    Some(
        program
            .iter()
            .map(|one| sock_filter { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
            .collect(),
    )
}

/// The number of equal points.
fn compare(profile: &oci::Seccomp<'_>, vectors: &[[u64; 6]]) -> usize {
    let planned = Profile::plan(profile).unwrap();
    let mut equal = 0;
    for (arch, target) in MACHINES {
        let Some(theirs) = theirs(&planned, arch, target) else { continue };
        let ours = Filter::plan_for(profile, arch, |_| true).unwrap().expect("not empty").program;
        // It knows no calls newer than the profile.
        let end = Section::plan(&Named::new(&planned), arch)
            .unwrap()
            .newest
            .map_or(0, |newest| newest + 1);
        for number in 0..end {
            for values in vectors {
                let data = data(arch, number, *values);
                let (a, b) = (interpreter::run(&ours, &data).0, interpreter::run(&theirs, &data).0);
                assert_eq!(a, b, "{arch:?} {number} {values:x?}: creel {a:x}, seccompiler {b:x}");
                equal += 1;
            }
        }
    }
    equal
}

/// Without the rules that have another action than ALLOW.
#[test]
fn default_profiles_equal_seccompiler() {
    let mut random = Random(0x5851_f42d_4c95_7f2d);
    for (name, json) in DEFAULTS {
        let mut profile = parse(json);
        profile.architectures.clear();
        profile.syscalls.retain(|syscall| syscall.action == *"SCMP_ACT_ALLOW");
        let vectors = argument_vectors(&profile, &mut random, 300);
        let equal = compare(&profile, &vectors);
        println!("{name}: {equal} points equal");
        assert!(equal > 300_000, "{equal}");
    }
}

#[test]
fn generated_profiles_equal_seccompiler() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let all = Shape { max_args: 3, operators: OPERATORS, errnos: &[1] };
    for shape in [AS_WRITTEN, all] {
        let mut equal = 0;
        for _ in 0..150 {
            let mut profile = generate(&mut random, &shape);
            profile.architectures.clear();
            let names: Vec<_> =
                Name::all().take(400).map(|name| oci::Str::from(name.as_str())).collect();
            // Something for every number, so that none of them is newer than the profile.
            if let Some(first) = profile.syscalls.first_mut() {
                first.names.extend(names);
            }
            let vectors = argument_vectors(&profile, &mut random, 4);
            equal += compare(&profile, &vectors);
        }
        println!("{equal} points equal");
        assert!(equal > 100_000, "{equal}");
    }
}
