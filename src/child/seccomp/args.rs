// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp.syscalls[].args` as tests of the two halves of each argument. Pure.

use super::arch::Arch;
use super::bpf::{Assembler, Label, Test};
use super::profile::{Condition, Op};
use super::rules::Branch;

/// The whole list: the first branch that holds, else the default action.
pub(super) fn branches(
    asm: &mut Assembler,
    branches: &[Branch],
    default: u32,
    arch: Arch,
) -> Label {
    let mut next = asm.ret(default);
    for run in branches.chunk_by(|a, b| is_set(a, b, arch)).rev() {
        next = match run {
            [branch] => conjunction(asm, branch, next, arch),
            values => one_of(asm, values, next, arch),
        };
    }
    next
}

fn conjunction(asm: &mut Assembler, branch: &Branch, no: Label, arch: Arch) -> Label {
    let mut next = asm.ret(branch.action);
    for condition in branch.when.iter().rev() {
        next = match arch.is_wide() {
            true => wide(asm, condition, next, no, arch),
            false => narrow(asm, condition, next, no, arch),
        };
    }
    next
}

/// Neighbours that compare one argument with values that differ in the low half only: the halves
/// are loaded once, and the high one is tested once.
fn is_set(a: &Branch, b: &Branch, arch: Arch) -> bool {
    match (a.when.as_slice(), b.when.as_slice()) {
        ([a], [b]) => {
            let is_plain = a.op == Op::Eq && b.op == Op::Eq && a.arg == b.arg;
            is_plain && (!arch.is_wide() || high(a.value) == high(b.value))
        }
        _ => false,
    }
}

fn one_of(asm: &mut Assembler, values: &[Branch], no: Label, arch: Arch) -> Label {
    let mut next = no;
    for Branch { when, action } in values.iter().rev() {
        let yes = asm.ret(*action);
        next = asm.branch(Test::Eq, low(when[0].value), yes, next);
    }
    let Condition { arg, value, .. } = values[0].when[0];
    next = asm.load(low_offset(arg, arch), next);
    if arch.is_wide() {
        next = asm.branch(Test::Eq, high(value), next, no);
        next = asm.load(high_offset(arg, arch), next);
    }
    next
}

/// A comparison of the low half alone.
fn narrow(asm: &mut Assembler, c: &Condition, yes: Label, no: Label, arch: Arch) -> Label {
    let value = low(c.value);
    let test = match c.op {
        Op::Eq => asm.branch(Test::Eq, value, yes, no),
        Op::Ne => asm.branch(Test::Eq, value, no, yes),
        Op::Gt => asm.branch(Test::Gt, value, yes, no),
        Op::Le => asm.branch(Test::Gt, value, no, yes),
        Op::Ge => asm.branch(Test::Ge, value, yes, no),
        Op::Lt => asm.branch(Test::Ge, value, no, yes),
        Op::MaskedEq => masked(asm, low(c.mask), value, yes, no),
    };
    asm.load(low_offset(c.arg, arch), test)
}

/// Written from its end: the low half first.
fn wide(asm: &mut Assembler, c: &Condition, yes: Label, no: Label, arch: Arch) -> Label {
    if c.op == Op::MaskedEq {
        return wide_masked(asm, c, yes, no, arch);
    }
    let equal = narrow(asm, c, yes, no, arch);
    let value = high(c.value);
    let test = match c.op {
        Op::Eq | Op::MaskedEq => asm.branch(Test::Eq, value, equal, no),
        Op::Ne => asm.branch(Test::Eq, value, equal, yes),
        Op::Gt | Op::Ge => above(asm, value, yes, equal, no),
        Op::Lt | Op::Le => above(asm, value, no, equal, yes),
    };
    asm.load(high_offset(c.arg, arch), test)
}

/// Where the accumulator stands to `value`.
fn above(asm: &mut Assembler, value: u32, above: Label, equal: Label, below: Label) -> Label {
    // Nothing is below zero.
    let rest = if value == 0 { equal } else { asm.branch(Test::Eq, value, equal, below) };
    asm.branch(Test::Gt, value, above, rest)
}

/// A half without bits in the mask needs no test.
fn wide_masked(asm: &mut Assembler, c: &Condition, yes: Label, no: Label, arch: Arch) -> Label {
    let mut next = yes;
    if low(c.mask) != 0 {
        next = masked(asm, low(c.mask), low(c.value), next, no);
        next = asm.load(low_offset(c.arg, arch), next);
    }
    if high(c.mask) != 0 {
        next = masked(asm, high(c.mask), high(c.value), next, no);
        next = asm.load(high_offset(c.arg, arch), next);
    }
    next
}

fn masked(asm: &mut Assembler, mask: u32, value: u32, yes: Label, no: Label) -> Label {
    let test = asm.branch(Test::Eq, value, yes, no);
    if mask == u32::MAX { test } else { asm.and(mask, test) }
}

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// `seccomp_data.args[arg]`, its low half.
pub(super) fn low_offset(arg: u32, arch: Arch) -> u32 {
    16 + 8 * arg + if arch.is_big_endian() { 4 } else { 0 }
}

pub(super) fn high_offset(arg: u32, arch: Arch) -> u32 {
    16 + 8 * arg + if arch.is_big_endian() { 0 } else { 4 }
}
