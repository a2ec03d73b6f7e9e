// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.cpu.cpus` and `.mems`; and on v1 the inheritance that makes a new cpuset usable.

use super::dir::Dir;
use super::path::relative;
use super::writes::Writes;
use crate::error::{Context, Result};
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

/// v1: a new cpuset is empty and takes no process. Copies what is empty from the next ancestor that
/// has it, filling those between as well: a cpuset must not exceed its parent's.
pub(crate) fn fill(mount: &str, path: &str) -> Result<()> {
    let top = Dir::open(mount).context(|| format!("open cgroup {mount}"))?;
    let below = relative(mount, path).unwrap_or_default();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        fill_file(&top, below, file)?;
    }
    Ok(())
}

/// As `fill`, for the parent: before limits are set below it.
pub(crate) fn fill_parent(mount: &str, path: &str) -> Result<()> {
    fill(mount, path.rsplit_once('/').map_or(mount, |(parent, _)| parent))
}

fn fill_file(top: &Dir, below: &str, file: &str) -> Result<String> {
    if below.is_empty() {
        return top.read_named(file);
    }
    let dir = top.below(below).context(|| format!("open cgroup {}/{below}", top.path()))?;
    let own = dir.read_named(file)?;
    if !own.trim().is_empty() {
        return Ok(own);
    }
    let value = fill_file(top, below.rsplit_once('/').map_or("", |(parent, _)| parent), file)?;
    dir.write(file, value.trim()).context(|| format!("write {}/{file}", dir.path()))?;
    Ok(value)
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
}
