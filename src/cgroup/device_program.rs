// SPDX-License-Identifier: Apache-2.0
//! v2 device rules: a `Filter` as an eBPF program of type CGROUP_DEVICE, and its attaching.
//! The kernel asks it at each open and mknod of a device; 1 allows.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::devices::{ALL, Access, Filter, Kind, Match};
use crate::error::{Context, Result};
use crate::sys::bpf::{self, Insn};

/// Registers. The context is in R1 at the start: access and kind in one word, major, minor.
const R0: u8 = 0;
const R1: u8 = 1;
const WORD: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;
/// Major and minor in one number, so that a device is one comparison.
const DEVICE: u8 = 5;

/// Opcodes: class, size or operation, source.
const LDX_W: u8 = 0x61;
const ALU32_LSH_K: u8 = 0x64;
const ALU32_OR_X: u8 = 0x4c;
const ALU32_MOV_K: u8 = 0xb4;
const ALU32_MOV_X: u8 = 0xbc;
const JA: u8 = 0x05;
const JMP32_JEQ_K: u8 = 0x16;
const JMP32_JSET_K: u8 = 0x46;
const EXIT: u8 = 0x95;

/// BPF_DEVCG_DEV_BLOCK and _CHAR; the kernel's access bits: mknod 1, read 2, write 4.
const DEV_BLOCK: u32 = 1;
const DEV_CHAR: u32 = 2;
const BOTH: u32 = DEV_BLOCK | DEV_CHAR;

/// The kernel's device numbers: 12 bits of major, 20 of minor.
const MAJOR_BITS: u32 = 12;
const MINOR_BITS: u32 = 20;

/// Which numbers an exception is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Any,
    Major(u32),
    Minor(u32),
    Device(u32),
}

/// Exceptions for the same kinds of device and the same access: these are asked once for all.
type Groups = BTreeMap<(u32, Access), Vec<Test>>;

/// The filter as instructions. The exceptions don't contradict each other, so order is free.
/// The verifier's time grows with the paths that it has to walk: the answer of a hit is there from
/// the start and all hits jump to the one exit.
pub(crate) fn compile(filter: &Filter) -> Result<Vec<Insn>, Errno> {
    let groups = group(filter);
    let mut program = vec![Insn::new(ALU32_MOV_K, R0, 0, 0, u32::from(!filter.allow_by_default))];
    load_context(&mut program, &groups);
    let mut hits = Vec::new();
    for (&(kinds, access), tests) in &groups {
        let mut misses = if filter.allow_by_default {
            unless_denied(&mut program, kinds, access)
        } else {
            unless_allowed(&mut program, kinds, access)
        };
        for test in tests {
            hits.push(program.len());
            program.push(match *test {
                Test::Any => Insn::new(JA, 0, 0, 0, 0),
                Test::Major(n) => Insn::new(JMP32_JEQ_K, MAJOR, 0, 0, n),
                Test::Minor(n) => Insn::new(JMP32_JEQ_K, MINOR, 0, 0, n),
                Test::Device(n) => Insn::new(JMP32_JEQ_K, DEVICE, 0, 0, n),
            });
        }
        land(&mut program, &mut misses)?;
    }
    program.push(Insn::new(ALU32_MOV_K, R0, 0, 0, u32::from(filter.allow_by_default)));
    land(&mut program, &mut hits)?;
    program.push(Insn::new(EXIT, 0, 0, 0, 0));
    Ok(program)
}

fn group(filter: &Filter) -> Groups {
    let mut kinds = BTreeMap::<(Test, Access), u32>::new();
    for (devices, access) in filter.exceptions.iter() {
        if let Some(test) = test(devices) {
            *kinds.entry((test, access)).or_default() |= match devices.kind {
                Kind::Block => DEV_BLOCK,
                Kind::Char => DEV_CHAR,
            };
        }
    }
    let mut groups = Groups::new();
    for ((test, access), kinds) in kinds {
        let tests = groups.entry((kinds, access)).or_default();
        // `Any` comes first, and nothing is left for others.
        if tests.first() != Some(&Test::Any) {
            tests.push(test);
        }
    }
    groups
}

/// None: no device has such a number.
fn test(devices: &Match) -> Option<Test> {
    let fits = |n: Option<u32>, bits| n.is_none_or(|n| n >> bits == 0);
    if !fits(devices.major, MAJOR_BITS) || !fits(devices.minor, MINOR_BITS) {
        return None;
    }
    Some(match (devices.major, devices.minor) {
        (None, None) => Test::Any,
        (Some(major), None) => Test::Major(major),
        (None, Some(minor)) => Test::Minor(minor),
        (Some(major), Some(minor)) => Test::Device(major << MINOR_BITS | minor),
    })
}

/// The registers that the tests need.
fn load_context(program: &mut Vec<Insn>, groups: &Groups) {
    let needs = |what: fn(&Test) -> bool| groups.values().flatten().any(what);
    if !groups.is_empty() {
        program.push(Insn::new(LDX_W, WORD, R1, 0, 0));
    }
    if needs(|t| matches!(t, Test::Major(_) | Test::Device(_))) {
        program.push(Insn::new(LDX_W, MAJOR, R1, 4, 0));
    }
    if needs(|t| matches!(t, Test::Minor(_) | Test::Device(_))) {
        program.push(Insn::new(LDX_W, MINOR, R1, 8, 0));
    }
    if needs(|t| matches!(t, Test::Device(_))) {
        program.push(Insn::new(ALU32_MOV_X, DEVICE, MAJOR, 0, 0));
        program.push(Insn::new(ALU32_LSH_K, DEVICE, 0, 0, MINOR_BITS));
        program.push(Insn::new(ALU32_OR_X, DEVICE, MINOR, 0, 0));
    }
}

/// An allowed request is of one of the kinds and asks for nothing beyond the access. Returns the
/// jumps for the others.
fn unless_allowed(program: &mut Vec<Insn>, kinds: u32, access: Access) -> Vec<usize> {
    // A request is of one kind: of none of ours when the other's bit is set.
    let foreign = BOTH & !kinds | kernel_bits(ALL & !access) << 16;
    if foreign == 0 {
        return Vec::new();
    }
    program.push(Insn::new(JMP32_JSET_K, WORD, 0, 0, foreign));
    vec![program.len() - 1]
}

/// A denied request is of one of the kinds and asks for any of the access.
fn unless_denied(program: &mut Vec<Insn>, kinds: u32, access: Access) -> Vec<usize> {
    let mut misses = unless_allowed(program, kinds, ALL);
    if access != ALL {
        program.push(Insn::new(JMP32_JSET_K, WORD, 0, 1, kernel_bits(access) << 16));
        misses.push(program.len());
        program.push(Insn::new(JA, 0, 0, 0, 0));
    }
    misses
}

/// Lets the jumps lead to the next instruction. E2BIG: it is out of their reach.
fn land(program: &mut [Insn], jumps: &mut Vec<usize>) -> Result<(), Errno> {
    let here = program.len();
    for jump in jumps.drain(..) {
        program[jump].off = i16::try_from(here - jump - 1).map_err(|_| Errno::E2BIG)?;
    }
    Ok(())
}

fn kernel_bits(access: Access) -> u32 {
    use super::devices::{MKNOD, READ, WRITE};
    [(MKNOD, 1), (READ, 2), (WRITE, 4)]
        .into_iter()
        .filter(|(ours, _)| access & ours != 0)
        .map(|(_, kernels)| kernels)
        .sum()
}

/// Attaches the filter to a cgroup directory, which must be open for reading. Programs that are there
/// already (on a cgroup that somebody else made) are replaced: one by an atomic swap, more than one by
/// detaching them after.
pub(crate) fn attach(cgroup: impl AsFd, filter: &Filter, fresh: bool) -> Result<()> {
    let cgroup = cgroup.as_fd();
    if fresh && filter.allows_all() {
        return Ok(());
    }
    let old = if fresh {
        Vec::new()
    } else {
        bpf::attached(cgroup).context(|| "list the cgroup's device programs")?
    };
    let program = load(filter).context(|| "load the device program")?;
    let replaces = if let [one] = old.as_slice() { Some(one.as_fd()) } else { None };
    bpf::attach(cgroup, program.as_fd(), replaces).context(|| "attach the device program")?;
    if replaces.is_none() {
        for program in &old {
            bpf::detach(cgroup, program.as_fd()).context(|| "detach the old device program")?;
        }
    }
    Ok(())
}

fn load(filter: &Filter) -> Result<OwnedFd, Errno> {
    let program = compile(filter)?;
    match bpf::load_cgroup_device(&program) {
        // KERNEL(5.11): programs were charged to RLIMIT_MEMLOCK; drop when 5.11 can be assumed.
        Err(Errno::EPERM) => {
            let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
            if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_err() {
                return Err(Errno::EPERM);
            }
            let outcome = bpf::load_cgroup_device(&program);
            // The container must not inherit it.
            setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
            outcome
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{MKNOD, READ, WRITE};
    use super::*;
    use crate::oci::DeviceRule;

    /// Runs the program as the kernel would; our own instructions only.
    fn run(program: &[Insn], kind: u32, access: u32, major: u32, minor: u32) -> u32 {
        let context = [kind | access << 16, major, minor];
        let mut r = [0_u32; 6];
        let mut pc = 0;
        loop {
            let i = program[pc];
            let (dst, src) = (usize::from(i.regs & 15), usize::from(i.regs >> 4));
            let mut jump = false;
            match i.code {
                LDX_W => r[dst] = context[usize::try_from(i.off).unwrap() / 4],
                ALU32_LSH_K => r[dst] <<= i.imm,
                ALU32_OR_X => r[dst] |= r[src],
                ALU32_MOV_K => r[dst] = i.imm,
                ALU32_MOV_X => r[dst] = r[src],
                JA => jump = true,
                JMP32_JEQ_K => jump = r[dst] == i.imm,
                JMP32_JSET_K => jump = r[dst] & i.imm != 0,
                EXIT => return r[0],
                other => panic!("unknown instruction {other:#x}"),
            }
            pc += 1;
            if jump {
                pc += usize::try_from(i.off).unwrap();
            }
        }
    }

    fn asks(filter: &Filter, kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        let kind = if kind == Kind::Block { DEV_BLOCK } else { DEV_CHAR };
        run(&compile(filter).unwrap(), kind, kernel_bits(access), major, minor) == 1
    }

    fn plan(json: &str) -> Filter {
        let rules: Vec<DeviceRule<'_>> = serde_json::from_str(json).unwrap();
        Filter::plan(&rules, &[]).unwrap()
    }

    #[test]
    fn the_default_rules() {
        let filter = plan(r#"[{"allow": false, "access": "rwm"}]"#);
        assert!(asks(&filter, Kind::Char, READ | WRITE, 1, 3));
        assert!(asks(&filter, Kind::Char, ALL, 136, 77));
        assert!(asks(&filter, Kind::Block, MKNOD, 8, 1));
        assert!(!asks(&filter, Kind::Block, MKNOD | READ, 8, 1));
        assert!(!asks(&filter, Kind::Char, READ, 1, 1));
    }

    #[test]
    fn any_denied_bit_denies_the_request() {
        let filter = plan(
            r#"[{"allow": true, "access": "rwm"},
                {"allow": false, "type": "b", "major": 8, "access": "w"}]"#,
        );
        assert!(asks(&filter, Kind::Block, READ, 8, 0));
        assert!(!asks(&filter, Kind::Block, READ | WRITE, 8, 0));
        assert!(!asks(&filter, Kind::Block, WRITE, 8, 0));
        assert!(asks(&filter, Kind::Char, WRITE, 8, 0));
    }

    /// The v1 kernel's words: an allowed request needs one exception that covers all it asks for, a
    /// denied one has any bit in any exception that matches.
    fn v1_allows(filter: &Filter, kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        let hit = filter.exceptions.iter().any(|(m, bits)| {
            m.kind == kind
                && m.major.is_none_or(|n| n == major)
                && m.minor.is_none_or(|n| n == minor)
                && if filter.allow_by_default { bits & access != 0 } else { !bits & access == 0 }
        });
        hit != filter.allow_by_default
    }

    use proptest::prelude::*;

    fn rule() -> impl Strategy<Value = DeviceRule<'static>> {
        let number = || prop_oneof![Just(None), (0_i64..4).prop_map(Some)];
        let kind = prop::sample::select(vec!["a", "b", "c", "b", "c", "c"]);
        let access = prop::sample::select(vec!["r", "w", "m", "rw", "rm", "wm", "rwm"]);
        (any::<bool>(), kind, number(), number(), access).prop_map(
            |(allow, kind, major, minor, access)| DeviceRule {
                allow,
                kind: kind.into(),
                major,
                minor,
                access: access.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn both_versions_allow_the_same(rules in prop::collection::vec(rule(), 0..8)) {
            // Rules that v1 could not keep are refused, for both alike.
            let Ok(filter) = Filter::plan(&rules, &[]) else { return Ok(()) };
            for kind in [Kind::Block, Kind::Char] {
                for access in 1..=ALL {
                    for (major, minor) in (0..5).flat_map(|a| (0..5).map(move |b| (a, b))) {
                        prop_assert_eq!(
                            asks(&filter, kind, access, major, minor),
                            v1_allows(&filter, kind, access, major, minor),
                            "{:?} {} {}:{}", kind, access, major, minor
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn allow_all_is_two_answers_and_an_exit() {
        let filter = plan(r#"[{"allow": true, "access": "rwm"}]"#);
        assert_eq!(compile(&filter).unwrap().len(), 3);
        assert!(asks(&filter, Kind::Block, ALL, 8, 0));
    }

    #[test]
    fn numbers_that_no_device_has_match_no_other_device() {
        let filter = plan(
            r#"[{"allow": false, "access": "rwm"},
                {"allow": true, "type": "b", "major": 0, "minor": 8388609, "access": "rwm"},
                {"allow": true, "type": "b", "major": 4104, "minor": 2, "access": "rwm"}]"#,
        );
        assert!(!asks(&filter, Kind::Block, READ, 8, 1));
        assert!(!asks(&filter, Kind::Block, READ, 8, 2));
    }

    #[test]
    fn more_devices_than_a_jump_can_pass_are_refused() {
        let list = |n: u32| (0..n).map(|i| format!("b 8:{i} r\n")).collect::<String>();
        let compile = |n| compile(&Filter::from_list(&list(n)).unwrap());
        assert!(compile(3000).is_ok());
        assert_eq!(compile(33000), Err(Errno::E2BIG));
    }

    /// What docker adds to the defaults.
    const DOCKER: &str = r#"[{"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
        {"allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
        {"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
        {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]"#;

    #[test]
    fn dockers_list_is_one_comparison_per_device() {
        let program = compile(&plan(DOCKER)).unwrap();
        let tests = program.iter().filter(|i| i.code == JMP32_JEQ_K).count();
        assert_eq!((program.len(), tests), (22, 10));
    }

    /// Prints how long the kernel takes for it, and for a program that does nothing.
    #[test]
    #[ignore = "a measurement; needs CAP_BPF"]
    fn load_time() {
        let median = |filter: &Filter| {
            let mut times: Vec<_> = (0..2000)
                .map(|_| {
                    let start = std::time::Instant::now();
                    let program = load(filter).unwrap();
                    let time = start.elapsed();
                    drop(program);
                    time
                })
                .collect();
            times.sort();
            times[times.len() / 2]
        };
        let nothing = plan(r#"[{"allow": true, "access": "rwm"}]"#);
        for _ in 0..3 {
            println!("docker {:?}, nothing {:?}", median(&plan(DOCKER)), median(&nothing));
        }
    }
}
