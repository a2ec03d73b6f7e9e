// SPDX-License-Identifier: Apache-2.0
//! crun's annotations that add cgroups of v2: `run.oci.systemd.subgroup`, one below the unit's that is
//! the container's in all respects; `run.oci.delegate-cgroup`, one below the container's, without
//! limits, for its process.

use nix::unistd::Pid;

use super::create::enable;
use super::dir::Dir;
use super::path::{clean, inside, join};
use super::{Cgroup, CgroupPlan, owner};
use crate::annotations::{DELEGATE_CGROUP, SYSTEMD_SUBGROUP};
use crate::bail;
use crate::error::{Context, Result};
use crate::oci::Map;

impl CgroupPlan {
    pub(super) fn annotate_as_crun(&mut self, annotations: &Map<'_>) -> Result<()> {
        let named = |name| annotations.get(name).map(|value| &**value).filter(|v| !v.is_empty());
        // Without systemd there is nothing that it could be below.
        if let Some(sub) = named(SYSTEMD_SUBGROUP).filter(|_| self.unit.is_some()) {
            let path = below(SYSTEMD_SUBGROUP, sub, self.place.v2)?;
            let Some(unified) = &mut self.place.unified else { return Ok(()) };
            unified.path = join(&unified.path, &path);
            unified.subgroup = path;
        }
        if let Some(delegate) = named(DELEGATE_CGROUP) {
            self.delegate = below(DELEGATE_CGROUP, delegate, self.place.v2)?;
        }
        Ok(())
    }
}

fn below(name: &str, path: &str, is_v2: bool) -> Result<String> {
    if !is_v2 {
        bail!("annotations[{name}]: {path:?}: needs a host with cgroup v2 alone");
    }
    if path.contains('\0') || inside("", path).is_none() || clean(path).is_empty() {
        bail!("annotations[{name}]: {path:?} does not name a cgroup below the container's");
    }
    Ok(clean(path))
}

impl Cgroup {
    /// Out of the unit's own cgroup, which then can hand its controllers down.
    pub(super) fn enter_subgroup(&self, plan: &CgroupPlan, pid: Pid) -> Result<()> {
        match &self.unified {
            Some(unified) if !unified.subgroup.is_empty() => {
                let top = unified.unit_path().to_owned();
                move_down(&top, &unified.subgroup, plan, pid)
                    .context(|| format!("annotations[{SYSTEMD_SUBGROUP}]"))
            }
            _ => Ok(()),
        }
    }

    /// When the container has made its cgroup namespace, whose root is the cgroup above.
    pub(crate) fn delegate(&self, plan: &CgroupPlan, pid: Pid) -> Result<()> {
        let Some(top) = self.path("").filter(|_| !plan.delegate.is_empty()) else {
            return Ok(());
        };
        let dir = move_down(top, &plan.delegate, plan, pid)
            .and_then(|()| Ok(Dir::open(&join(top, &plan.delegate))?))
            .context(|| format!("annotations[{DELEGATE_CGROUP}]"))?;
        plan.owner.map_or(Ok(()), |owner| owner::hand_over(&dir, owner, self.rootless))
    }
}

/// Makes each part, moves the process into the last and hands the controllers down to it.
fn move_down(top: &str, below: &str, plan: &CgroupPlan, pid: Pid) -> Result<()> {
    let top = Dir::open(top).context(|| format!("open cgroup {top}"))?;
    let ends: Vec<usize> =
        below.match_indices('/').map(|(end, _)| end).chain([below.len()]).collect();
    for end in &ends {
        top.mkdir(&below[..*end]).context(|| format!("make cgroup {}", &below[..*end]))?;
    }
    let last = top.below(below)?;
    last.write("cgroup.procs", &pid.to_string())
        .context(|| format!("move {pid} into cgroup {}", last.path()))?;
    enable(&top, &plan.controllers);
    for end in &ends[..ends.len() - 1] {
        enable(&top.below(&below[..*end])?, &plan.controllers);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subgroup_is_below_and_on_v2() {
        assert_eq!(below("a", "/x//y/", true).unwrap(), "x/y");
        let refusal = |path, v2| below("run.oci.x", path, v2).unwrap_err().to_string();
        for path in ["../x", "x/../..", "/", "."] {
            let want = format!(
                "annotations[run.oci.x]: {path:?} does not name a cgroup below the container's"
            );
            assert_eq!(refusal(path, true), want);
        }
        assert_eq!(
            refusal("x", false),
            "annotations[run.oci.x]: \"x\": needs a host with cgroup v2 alone"
        );
    }
}
