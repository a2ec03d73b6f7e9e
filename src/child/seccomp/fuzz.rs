// SPDX-License-Identifier: Apache-2.0
//! What the fuzz targets (fuzz/) do with one profile: compile it for every machine, check the program
//! as the kernel would, and compare it with the naive evaluation. Panics where anything is wrong.

use super::arch::{self, Arch};
use super::bpf::interpreter;
use super::naive::{Naive, around, data};
use super::names::Name;
use super::profile::Profile;
use super::rules::{Outcome, Section};
use super::{Filter, compile};
use crate::oci;

const MACHINES: [Arch; 5] =
    [Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::S390x, Arch::Ppc64le];

/// At most this many comparisons of each system call are looked at.
const CONDITIONS: usize = 4;

/// `linux.seccomp` as JSON. Whatever it holds: a filter, no filter, or an error that says where.
pub(crate) fn profile(text: &str) {
    let Ok(profile) = serde_json::from_str::<oci::Seccomp<'_>>(text) else { return };
    for machine in MACHINES {
        match Filter::plan_for(&profile, machine, |_| true) {
            Ok(Some(filter)) => {
                interpreter::check(&filter.program);
                check(&profile, machine);
            }
            Ok(None) => assert!(profile.default_action.is_empty() && profile.syscalls.is_empty()),
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with("linux.seccomp"), "{error}");
            }
        }
    }
}

/// Every name that there is a number for.
pub(crate) fn system_calls() -> Vec<&'static str> {
    Name::all().map(Name::as_str).collect()
}

fn check(profile: &oci::Seccomp<'_>, machine: Arch) {
    let planned = Profile::plan(profile).expect("it was planned before");
    let archs = arch::plan(&profile.architectures, machine).expect("they were planned before");
    let program = compile::compile(&planned, &archs).expect("it was compiled before");
    let naive = Naive::new(&planned, &archs).expect("its rules met before");
    for (arch, section) in &naive.sections {
        for (number, values) in points(section, *arch) {
            let data = data(machine, arch.audit(), number, values);
            let (got, _) = interpreter::run(&program, &data);
            let wanted = naive.evaluate(arch.audit(), number, values);
            assert_eq!(got, wanted, "{arch:?} on {machine:?}: {number:#x} {values:x?}");
        }
    }
}

/// Each number that a rule names and its neighbours; where arguments count, values near those that
/// they are compared with.
fn points(section: &Section, arch: Arch) -> Vec<(u32, [u64; 6])> {
    let bits = arch.number_bits();
    let mut points = vec![(bits, [0; 6]), (bits | 0x3fff_ffff, [0; 6]), (u32::MAX, [0; 6])];
    points.extend(section.newest.map(|newest| (newest + 1, [0; 6])));
    for (range, outcome) in &section.outcomes {
        points.extend(range.clone().map(|n| (n, [u64::MAX; 6])));
        points.extend([range.start.wrapping_sub(1), range.end].map(|n| (n, [u64::MAX; 6])));
        let Outcome::Branches(branches) = outcome else { continue };
        // All that a branch wants at once, then each of its comparisons' surroundings.
        for branch in branches.iter().take(CONDITIONS) {
            let mut values = [0; 6];
            for c in &branch.when {
                values[c.arg as usize] = c.value;
            }
            points.push((range.start, values));
            for c in branch.when.iter().take(CONDITIONS) {
                for near in around(c.value, c.mask) {
                    let mut values = values;
                    values[c.arg as usize] = near;
                    points.push((range.start, values));
                }
            }
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_profiles_that_pass() {
        for seed in [
            include_str!("../../../fuzz/seeds/seccomp_profile/docker.json"),
            include_str!("../../../fuzz/seeds/seccomp_profile/containerd.json"),
            include_str!("../../../fuzz/seeds/seccomp_profile/podman.json"),
            include_str!("../../../fuzz/seeds/seccomp_profile/notify.json"),
            include_str!("../../../fuzz/seeds/seccomp_profile/arguments.json"),
        ] {
            assert!(serde_json::from_str::<oci::Seccomp<'_>>(seed).is_ok(), "{seed}");
            profile(seed);
        }
        profile("no JSON");
        assert!(system_calls().contains(&"mkdirat"));
    }
}
