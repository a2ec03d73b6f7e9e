// SPDX-License-Identifier: Apache-2.0
//! What tests and the fuzz target hold the compiler to: a profile's joined rules, evaluated one after
//! the other with no tree, no halves of arguments, no ranges. Nothing of it is in the binary.

use super::arch::{Arch, X32_BIT};
use super::profile::{Condition, Op, Profile};
use super::rules::{Named, Outcome, Section};
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Naive {
    default: u32,
    pub(super) sections: Vec<(Arch, Section)>,
}

impl Naive {
    pub(super) fn new(profile: &Profile, archs: &[Arch]) -> Result<Self> {
        let named = Named::new(profile);
        let sections = archs
            .iter()
            .map(|&arch| Ok((arch, Section::plan(&named, arch)?)))
            .collect::<Result<_>>()?;
        Ok(Self { default: profile.default, sections })
    }

    pub(super) fn evaluate(&self, audit: u32, number: u32, values: [u64; 6]) -> u32 {
        let is_x32 = audit == Arch::X32.audit() && number >= X32_BIT;
        let of_call = |arch: Arch| arch.audit() == audit && (arch == Arch::X32) == is_x32;
        let native = self.sections[0].0;
        let Some((arch, section)) = self.sections.iter().find(|(arch, _)| of_call(*arch)) else {
            // With x32 left out, -1 is not a call of x32.
            let is_skip = is_x32 && native == Arch::X86_64 && number == u32::MAX;
            return if is_skip { self.default } else { 0 };
        };
        let passes = matches!(self.default & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000);
        if let Some(newest) = section.newest
            && !passes
            && (number > newest || (*arch == Arch::S390x && number == 0))
        {
            return 0x0005_0026;
        }
        match section.outcomes.iter().find(|(range, _)| range.contains(&number)) {
            None => self.default,
            Some((_, Outcome::Action(action))) => *action,
            Some((_, Outcome::Branches(branches))) => branches
                .iter()
                .find(|branch| branch.when.iter().all(|c| holds(c, values, *arch)))
                .map_or(self.default, |branch| branch.action),
        }
    }
}

pub(super) fn holds(c: &Condition, values: [u64; 6], arch: Arch) -> bool {
    let is_narrow = matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm);
    let width = if is_narrow { 0xffff_ffff } else { u64::MAX };
    let (a, value) = (values[c.arg as usize] & width, c.value & width);
    match c.op {
        Op::Eq => a == value,
        Op::Ne => a != value,
        Op::Lt => a < value,
        Op::Le => a <= value,
        Op::Ge => a >= value,
        Op::Gt => a > value,
        Op::MaskedEq => a & c.mask & width == value,
    }
}

/// `seccomp_data` (linux/seccomp.h) as the kernel of `machine` lays it out, in words: the number, the
/// architecture of the call, the instruction pointer, then each argument as one 64-bit number.
pub(super) fn data(machine: Arch, audit: u32, number: u32, values: [u64; 6]) -> [u32; 16] {
    let mut data = [0; 16];
    data[0] = number;
    data[1] = audit;
    for (words, value) in data[4..].chunks_exact_mut(2).zip(values) {
        let (high, low) = ((value >> 32) as u32, value as u32);
        // Only s390x is big-endian: the first word in memory is the high one.
        words.copy_from_slice(&if machine == Arch::S390x { [high, low] } else { [low, high] });
    }
    data
}

/// The values around which a comparison with `value` under `mask` can go wrong.
pub(super) fn around(value: u64, mask: u64) -> impl Iterator<Item = u64> {
    let high = 1 << 32;
    [
        value,
        value.wrapping_sub(1),
        value.wrapping_add(1),
        value.wrapping_sub(high),
        value.wrapping_add(high),
        value ^ high.wrapping_shl(31),
        value | !mask,
        value & 0xffff_ffff,
        value ^ (mask & mask.wrapping_neg()),
    ]
    .into_iter()
}
