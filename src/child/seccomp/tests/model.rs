// SPDX-License-Identifier: Apache-2.0
//! Properties: for any profile the program equals a naive evaluation of the joined rules, on every
//! architecture, and is one that the kernel accepts.

use proptest::prelude::*;

use super::super::naive::{self, Naive};
use super::super::names::Name;
use super::super::profile::{Condition, Op, Profile};
use super::super::{arch, compile};
use super::*;

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..6_u64,
        any::<u64>(),
        (0..3_u64, 0..3_u64).prop_map(|(high, low)| high << 32 | low),
        Just(u64::MAX),
        Just(0xffff_ffff),
        Just(0x7e02_0000),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let ops = [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Ge, Op::Gt, Op::MaskedEq];
    (0..6_u32, prop::sample::select(ops.to_vec()), value(), value()).prop_map(
        |(arg, op, value, mask)| {
            let mask = if op == Op::MaskedEq { mask } else { u64::MAX };
            Condition { arg, op, mask, value: value & mask }
        },
    )
}

type RawRule = (Vec<usize>, u32, Vec<Vec<Condition>>);

fn rule() -> impl Strategy<Value = RawRule> {
    let actions = vec![0, 0x0003_0000, 0x0005_0001, 0x0005_0026, 0x7fc0_0000, 0x7fff_0000];
    let alternatives = prop_oneof![
        3 => Just(vec![Vec::new()]),
        1 => prop::collection::vec(prop::collection::vec(condition(), 1..4), 1..3),
    ];
    (prop::collection::vec(0..499_usize, 1..40), prop::sample::select(actions), alternatives)
}

fn profile(default: u32, rules: Vec<RawRule>) -> Profile {
    let names: Vec<_> = Name::all().collect();
    let rules = rules.into_iter().enumerate().map(|(at, (picked, action, mut alternatives))| {
        for when in &mut alternatives {
            when.sort_by_key(|c| c.arg);
            when.dedup_by_key(|c| c.arg);
        }
        let names = picked.into_iter().map(|at| names[at]).collect();
        super::super::profile::Rule { at, names, action, alternatives }
    });
    Profile { default, rules: rules.collect(), notifies: false }
}

/// Every number that means something, their neighbours, and the borders of ranges.
fn numbers() -> impl Iterator<Item = u32> {
    (0..520).chain(0x3fff_fffe..0x4000_0000 + 560).chain(0x000f_0000..0x000f_0008).chain([
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX - 1,
        u32::MAX,
    ])
}

fn compare(profile: &Profile, native: Arch, values: &[[u64; 6]]) -> Result<()> {
    let listed = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"].map(oci::Str::from);
    for listed in [&listed[..], &[]] {
        let archs = arch::plan(listed, native)?;
        let naive = Naive::new(profile, &archs)?;
        let program = compile::compile(profile, &archs)?;
        interpreter::check(&program);
        for arch in ARCHES {
            for number in numbers() {
                for &values in values {
                    // The layout of the arguments is that of the machine.
                    let data = naive::data(native, arch.audit(), number, values);
                    let (got, _) = interpreter::run(&program, &data);
                    let wanted = naive.evaluate(arch.audit(), number, values);
                    assert_eq!(got, wanted, "{arch:?} {number:#x} {values:x?} in {profile:?}");
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_program_equals_a_naive_evaluation(
        default in prop::sample::select(vec![0, 0x0005_0001, 0x7fff_0000, 0x7ffc_0000]),
        rules in prop::collection::vec(rule(), 0..24),
        random in prop::array::uniform6(value()),
        native in prop::sample::select(
            vec![Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::S390x, Arch::Ppc64le]),
    ) {
        let mut values = vec![random, [0; 6]];
        for condition in rules.iter().flat_map(|rule| rule.2.iter().flatten()).take(12) {
            let mut near = random;
            near[condition.arg as usize] = condition.value;
            values.push(near);
        }
        // Contradictions are refused; they have their own test.
        if let Err(error) = compare(&profile(default, rules), native, &values) {
            let error = error.to_string();
            prop_assert!(error.contains("another action for the same arguments"), "{error}");
        }
    }
}

#[test]
fn default_profiles_compile_for_every_architecture() {
    for (name, json) in DEFAULTS {
        let profile = Profile::plan(&parse(json)).unwrap();
        for native in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::S390x, Arch::Ppc64le] {
            compare(&profile, native, &[[0; 6], [8; 6], [0x7e02_0000; 6], [u64::MAX; 6]])
                .unwrap_or_else(|error| panic!("{name} on {native:?}: {error}"));
        }
    }
}
