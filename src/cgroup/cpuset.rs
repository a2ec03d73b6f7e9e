// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.cpu.cpus` and `.mems`; and on v1 the inheritance that makes a new cpuset usable.

use super::dir::Dir;
use super::path::relative;
use super::systemd::{self, Property};
use super::writes::{Write, Writes};
use crate::error::{Context, Result};
use crate::mask::Mask;
use crate::oci::Cpu;

pub(crate) fn v1(cpu: &Cpu<'_>) -> Writes {
    both(cpu)
}

pub(crate) fn v2(cpu: &Cpu<'_>) -> Writes {
    both(cpu)
}

fn both(cpu: &Cpu<'_>) -> Writes {
    let mut w = Writes::default();
    if !cpu.cpus.is_empty() {
        w.push("linux.resources.cpu.cpus", "cpuset.cpus", &cpu.cpus);
    }
    if !cpu.mems.is_empty() {
        w.push("linux.resources.cpu.mems", "cpuset.mems", &cpu.mems);
    }
    w
}

/// Since systemd 244.
pub(crate) fn systemd(list: &[Write]) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    for (file, name) in [("cpuset.cpus", "AllowedCPUs"), ("cpuset.mems", "AllowedMemoryNodes")] {
        let Some(value) = systemd::last(list, file) else { continue };
        if let Some(mask) = Mask::parse(value).context(|| file)? {
            properties.push(systemd::property(name, bytes(&mask)));
        }
    }
    Ok(properties)
}

/// Eight CPUs a byte, the lowest first, no zeros at the end.
fn bytes(mask: &Mask) -> Vec<u8> {
    let mut bytes: Vec<u8> = mask.words().iter().flat_map(|word| word.to_le_bytes()).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// What a v1 cpuset must have before it takes a process; a new one has neither.
const FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// v1: what the cpuset above has, before limits are set below it. Where it is empty itself it takes over
/// what the next ancestor has, and so do those between: a cpuset must not exceed its parent's.
pub(crate) fn fill_parent(top: &Dir, path: &str) -> Result<[String; 2]> {
    let below = relative(top.path(), path).unwrap_or_default();
    filled(top, parent(below))
}

fn parent(below: &str) -> &str {
    below.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn filled(top: &Dir, below: &str) -> Result<[String; 2]> {
    let [cpus, mems] = FILES;
    if below.is_empty() {
        return Ok([top.read_named(cpus)?, top.read_named(mems)?]);
    }
    let dir = top.below(below).context(|| format!("open cgroup {}/{below}", top.path()))?;
    let own = [dir.read_named(cpus)?, dir.read_named(mems)?];
    if own.iter().all(|value| !value.trim().is_empty()) {
        return Ok(own);
    }
    fill(&dir, &filled(top, parent(below))?, |_| false)
}

/// Takes over from the parent what is empty; `is_empty` says of which file that is known. What there is
/// then.
pub(crate) fn fill(
    dir: &Dir,
    above: &[String; 2],
    is_empty: impl Fn(&str) -> bool,
) -> Result<[String; 2]> {
    let mut values = above.clone();
    for (file, value) in FILES.into_iter().zip(&mut values) {
        let own = if is_empty(file) { String::new() } else { dir.read_named(file)? };
        if own.trim().is_empty() {
            dir.write(file, value.trim()).context(|| format!("write {}/{file}", dir.path()))?;
        } else {
            *value = own;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_files_on_both() {
        let cpu = Cpu { cpus: "0-1".into(), mems: "0".into(), ..Cpu::default() };
        let want = [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")];
        assert_eq!(v1(&cpu).pairs(), want);
        assert_eq!(v2(&cpu).pairs(), want);
    }

    #[test]
    fn systemd_takes_bytes() {
        let cpu = Cpu { cpus: "0-2,9".into(), mems: "64".into(), ..Cpu::default() };
        let w = both(&cpu);
        let list = systemd(&w.list).unwrap();
        assert_eq!(list[0], ("AllowedCPUs".into(), vec![7_u8, 2].into()));
        assert_eq!(
            list[1],
            ("AllowedMemoryNodes".into(), vec![0_u8, 0, 0, 0, 0, 0, 0, 0, 1].into())
        );
        let w = both(&Cpu { cpus: "x".into(), ..Cpu::default() });
        let error = systemd(&w.list).unwrap_err().to_string();
        assert_eq!(error, "cpuset.cpus: \"x\" is not a number");
    }

    proptest::proptest! {
        /// The bits are the numbers of the text.
        #[test]
        fn bytes_have_the_cpus(cpus in proptest::collection::btree_set(0..300_usize, 1..20)) {
            let text = cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let bytes = bytes(&Mask::parse(&text).unwrap().unwrap());
            proptest::prop_assert_ne!(bytes.last(), Some(&0));
            let has = |cpu: &usize| bytes.get(cpu / 8).is_some_and(|byte| byte >> (cpu % 8) & 1 == 1);
            let back: std::collections::BTreeSet<_> = (0..bytes.len() * 8).filter(has).collect();
            proptest::prop_assert_eq!(back, cpus);
        }
    }
}
