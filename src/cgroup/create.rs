// SPDX-License-Identifier: Apache-2.0
//! Making the container's cgroups, before its process exists: directories, controllers handed down
//! (v2), cpusets filled (v1), limits and device rules. All of it is undone when any of it fails.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::device_program;
use super::devices::Filter;
use super::dir::{Dir, keyed};
use super::join::{Doors, Ways};
use super::path::{join, relative};
use super::plan::CgroupPlan;
use super::writes::{self, Write};
use super::{Cgroup, UnifiedDir, V1Dir, cpuset, owner};
use crate::bail;
use crate::error::{Context, Result};
use crate::log;
use crate::namespace::is_in_user_namespace;

/// A cgroup directory that is there now.
#[derive(Debug)]
struct Made {
    dir: Dir,
    /// It was not there before.
    fresh: bool,
}

/// The directories that were made, outermost first, as (mount point, path below it).
type Undo = Vec<(String, String)>;

/// Removes again what was made since `mark`.
fn undo_from(undo: &mut Undo, mark: usize) {
    for (mount, path) in undo.drain(mark..).rev() {
        // What can't be removed now has been taken over by somebody else.
        let _ = std::fs::remove_dir(join(&mount, &path));
    }
}

/// Whether the kernel said "you may not" in one of its ways.
fn is_permission(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::EPERM | Errno::EACCES | Errno::EROFS))
}

impl Cgroup {
    /// Makes and limits the cgroups. Without permission over cgroups, and with nothing asked of
    /// them, those that can't be made are left out of `self`: save it again afterwards.
    pub(crate) fn create(&mut self, plan: &CgroupPlan) -> Result<Ways> {
        for property in plan.ignored() {
            log::warn(&format!("{property} has no effect on this host's cgroups"));
        }
        let mut undo = Undo::new();
        let outcome = self.create_all(plan, &mut undo);
        undone(outcome, undo)
    }

    /// With systemd: starts the unit with the process in it, and does there what `create` does.
    pub(crate) fn start(&mut self, plan: &mut CgroupPlan, pid: Pid) -> Result<()> {
        for property in plan.ignored() {
            log::warn(&format!("{property} has no effect on this host's cgroups"));
        }
        let unit = self.unit.as_mut().zip(plan.unit.as_mut());
        let (unit, unit_plan) = unit.expect("only with systemd");
        unit.start(unit_plan, pid)?;
        if !unit.is_slice() {
            self.check_moved(pid)?;
        }
        self.enter_subgroup(plan, pid)?;
        self.lift_late(plan)?;
        let mut undo = Undo::new();
        let outcome = self.create_all(plan, &mut undo).and_then(|_| self.join(pid));
        undone(outcome, undo)
    }

    /// What systemd has set already and would be in the way until `apply_late`.
    fn lift_late(&self, plan: &CgroupPlan) -> Result<()> {
        let lifted = |write: &Write| {
            let value = match &*write.file {
                "cpu.max" | "pids.max" => "max",
                "cpu.cfs_quota_us" => "-1",
                _ => return None,
            };
            // Where systemd has made no such file there is nothing to lift.
            Some(Write { value: value.to_owned(), optional: true, ..write.clone() })
        };
        let list: Vec<Write> = plan.late.iter().filter_map(lifted).collect();
        self.each_directory(&list, |dir, writes| writes::apply(dir, writes, None))
    }

    /// Before anything is made: a cgroup that is somebody else's is refused, and nothing of it is
    /// touched. `create` looks again at those that it finds there.
    pub(crate) fn check_unused(&self) -> Result<()> {
        for (controller, check) in [("devices", check_free as Check), ("freezer", check_thawed)] {
            if let Some(path) = self.v1_of(controller).map(|d| &d.path)
                && let Ok(dir) = Dir::open(path)
            {
                check(&dir)?;
            }
        }
        match self.path("") {
            Some(path) if self.is_unified() => match Dir::open(path) {
                Ok(dir) => check_free(&dir).and_then(|()| check_thawed(&dir)),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn create_all(&mut self, plan: &CgroupPlan, undo: &mut Undo) -> Result<Ways> {
        let doors = self.create_v1(plan, undo)?;
        let into = self.create_unified(plan, undo)?;
        for write in plan.writes().filter(|w| !w.optional) {
            if self.path_of_controller(write.controller()).is_none() {
                bail!(
                    "{}: cannot set {} limit: container could not join or create cgroup",
                    write.property,
                    write.controller()
                );
            }
        }
        Ok(Ways { into, doors })
    }

    /// What has to wait until the container is assembled: CPU bandwidth and the limit of processes.
    pub(crate) fn apply_late(&self, plan: &CgroupPlan) -> Result<()> {
        if plan.late.is_empty() {
            return Ok(());
        }
        self.each_directory(&plan.late, |dir, writes| writes::apply(dir, writes, None))
    }

    /// Calls `body` for each directory that some of the writes go to.
    pub(super) fn each_directory<'a>(
        &self,
        list: &'a [Write],
        mut body: impl FnMut(&Dir, &mut dyn Iterator<Item = &'a Write>) -> Result<()>,
    ) -> Result<()> {
        let mut paths: Vec<&str> = Vec::new();
        for write in list {
            match self.path_of_controller(write.controller()) {
                Some(path) if !paths.contains(&path) => paths.push(path),
                Some(_) => {}
                None if write.optional => {}
                None => {
                    bail!("{}: the container has no {} cgroup", write.property, write.controller())
                }
            }
        }
        for path in paths {
            let dir = Dir::open(path).context(|| format!("open cgroup {path}"))?;
            let mut here =
                list.iter().filter(|w| self.path_of_controller(w.controller()) == Some(path));
            body(&dir, &mut here)?;
        }
        Ok(())
    }

    fn create_v1(&mut self, plan: &CgroupPlan, undo: &mut Undo) -> Result<Doors> {
        let (mut kept, mut doors) = (Vec::new(), Doors::default());
        for place in std::mem::take(&mut self.v1) {
            let mark = undo.len();
            match create_one_v1(&place, plan, self.is_units(), undo) {
                Ok(made) => {
                    if place.has("devices") {
                        self.apply_v1_devices(&made, &plan.devices)?;
                    }
                    if place.has("freezer") {
                        check_parents_thawed(&made.dir, "freezer.parent_freezing", |s| s == "1\n")?;
                    }
                    self.add_door(&mut doors, &made.dir, place.optional)?;
                    kept.push(place);
                }
                Err(_) if place.optional => undo_from(undo, mark),
                Err(error) if self.lenient && is_permission(error.errno()) => {
                    undo_from(undo, mark);
                }
                Err(error) => return Err(error),
            }
        }
        self.v1 = kept;
        Ok(doors)
    }

    fn apply_v1_devices(&self, made: &Made, target: &Filter) -> Result<()> {
        match write_v1_devices(made, target) {
            // In a user namespace nobody may; the nodes of the host are out of reach there.
            Err(error)
                if self.rootless || is_permission(error.errno()) && is_in_user_namespace() =>
            {
                log::debug(|| format!("device rules are left out: {error}"));
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// The directory, if there is one.
    fn create_unified(&mut self, plan: &CgroupPlan, undo: &mut Undo) -> Result<Option<OwnedFd>> {
        let Some(place) = self.unified.take() else { return Ok(None) };
        let hybrid = !self.v2;
        let mine: Vec<&Write> =
            plan.early.iter().filter(|w| self.path(w.controller()).is_none()).collect();
        let mark = undo.len();
        let outcome = make_v2(&place, plan, undo)
            .context(|| format!("make cgroup {}", place.path))
            .and_then(|made| {
                check_domain(&made, &place, plan)?;
                Ok(made)
            });
        let made = match outcome {
            Ok(made) => made,
            // As on runc: beside v1 it is only for counting, unless it has a limit to keep.
            Err(_) if hybrid && mine.is_empty() => {
                undo_from(undo, mark);
                return Ok(None);
            }
            Err(error) if self.lenient && is_permission(error.errno()) => {
                if plan.writes().next().is_none() {
                    return Ok(None);
                }
                let outcome: Result<Option<OwnedFd>> = Err(error);
                return outcome.context(|| {
                    "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"
                });
            }
            Err(error) => return Err(error),
        };
        self.unified = Some(place);
        if !hybrid && !made.fresh && !self.is_units() {
            check_free(&made.dir)?;
        }
        check_parents_thawed(&made.dir, "cgroup.events", |s| keyed(s, "frozen") == Some(1))?;
        writes::apply(&made.dir, mine.into_iter(), None)?;
        if !hybrid {
            self.attach_devices(&made, &plan.devices)?;
            if let Some(owner) = plan.owner {
                owner::hand_over(&made.dir, owner, self.rootless)?;
            }
        }
        Ok(Some(made.dir.into_fd()))
    }

    fn attach_devices(&self, made: &Made, filter: &Filter) -> Result<()> {
        match device_program::attach(&made.dir, filter, made.fresh) {
            Err(error)
                if self.rootless || is_permission(error.errno()) && is_in_user_namespace() =>
            {
                log::debug(|| format!("device rules are left out: {error}"));
                Ok(())
            }
            outcome => outcome.context(|| "linux.resources.devices"),
        }
    }
}

fn undone<T>(outcome: Result<T>, mut undo: Undo) -> Result<T> {
    if outcome.is_err() {
        undo_from(&mut undo, 0);
    }
    outcome
}

fn create_one_v1(
    place: &V1Dir,
    plan: &CgroupPlan,
    is_units: bool,
    undo: &mut Undo,
) -> Result<Made> {
    let doing = || format!("make cgroup {}", place.path);
    let top = Dir::open(&place.mount).context(doing)?;
    let made = make(&top, &place.path, Dir::below, undo).context(doing)?;
    if !made.fresh && !is_units {
        if place.has("devices") {
            check_free(&made.dir)?;
        } else if place.has("freezer") {
            check_thawed(&made.dir)?;
        }
    }
    let here = plan.early.iter().filter(|w| place.has(w.controller()));
    if place.has("cpuset") {
        let parents = cpuset::fill_parent(&top, &place.path)?;
        writes::apply(&made.dir, here.clone(), None)?;
        // After the limits: what they leave open comes from the parent.
        let is_empty = |file: &str| made.fresh && here.clone().all(|write| write.file != file);
        cpuset::fill(&made.dir, &parents, is_empty)?;
    } else {
        writes::apply(&made.dir, here, None)?;
    }
    Ok(made)
}

/// Makes the directory, and where the parents are missing these first.
fn make(
    top: &Dir,
    path: &str,
    open: fn(&Dir, &str) -> Result<Dir, Errno>,
    undo: &mut Undo,
) -> Result<Made, Errno> {
    let below = relative(top.path(), path).filter(|p| !p.is_empty()).ok_or(Errno::EINVAL)?;
    let fresh = match make_part(top, below, undo) {
        Err(Errno::ENOENT) => {
            let parents = below.match_indices('/').map(|(end, _)| &below[..end]);
            parents.chain([below]).try_fold(false, |_, part| make_part(top, part, undo))?
        }
        outcome => outcome?,
    };
    Ok(Made { dir: open(top, below)?, fresh })
}

fn make_part(top: &Dir, below: &str, undo: &mut Undo) -> Result<bool, Errno> {
    let fresh = top.mkdir(below)?;
    if fresh {
        undo.push((top.path().to_owned(), below.to_owned()));
    }
    Ok(fresh)
}

/// v2: every ancestor hands all controllers down, as far as it may.
fn make_v2(place: &UnifiedDir, plan: &CgroupPlan, undo: &mut Undo) -> Result<Made, Errno> {
    let UnifiedDir { mount, path, .. } = place;
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let open = Dir::open(parent);
    let ready = open.as_ref().map_err(|errno| *errno);
    let ready = ready.and_then(|parent| parent.read("cgroup.subtree_control"));
    let has_all = |list: &str| {
        plan.controllers.iter().all(|c| list.split_ascii_whitespace().any(|has| has == c))
    };
    match ready {
        Ok(list) if has_all(&list) => {
            let parent = open?;
            let fresh = make_part(&parent, name, undo)?;
            return Ok(Made { dir: parent.readable_below(name)?, fresh });
        }
        // Down from the top, making what is missing.
        Ok(_) | Err(Errno::ENOENT) => hand_down(mount, parent, &plan.controllers, undo)?,
        Err(errno) => return Err(errno),
    }
    make(&Dir::open(mount)?, path, Dir::readable_below, undo)
}

fn hand_down(
    mount: &str,
    parent: &str,
    controllers: &[String],
    undo: &mut Undo,
) -> Result<(), Errno> {
    let top = Dir::open(mount)?;
    enable(&top, controllers);
    let below = relative(mount, parent).ok_or(Errno::EINVAL)?;
    let ends = below.match_indices('/').map(|(end, _)| end).chain([below.len()]);
    for part in ends.map(|end| &below[..end]).filter(|p| !p.is_empty()) {
        make_part(&top, part, undo)?;
        enable(&top.below(part)?, controllers);
    }
    Ok(())
}

/// A cgroup with processes inside, or one delegated to us, may refuse; a limit that then has no file
/// says so by its property.
pub(super) fn enable(dir: &Dir, controllers: &[String]) {
    let all: Vec<String> = controllers.iter().map(|c| format!("+{c}")).collect();
    if all.is_empty() || dir.write("cgroup.subtree_control", &all.join(" ")).is_ok() {
        return;
    }
    for one in &all {
        // Refused ones are missing below; see above.
        let _ = dir.write("cgroup.subtree_control", one);
    }
}

/// A threaded subtree takes no controller that is not threaded.
fn check_domain(made: &Made, place: &UnifiedDir, plan: &CgroupPlan) -> Result<()> {
    let kind = made.dir.read("cgroup.type").unwrap_or_default();
    let kind = kind.trim();
    if kind == "domain" || kind.is_empty() {
        return Ok(());
    }
    let domain = ["memory", "io", "cpu", "hugetlb"];
    if plan.writes().any(|w| domain.contains(&w.controller())) {
        let state = if kind == "domain invalid" { "an invalid state" } else { kind };
        bail!("cannot enter cgroup {} with domain controllers: it is in {state}", place.path);
    }
    if kind == "domain invalid" {
        made.dir
            .write("cgroup.type", "threaded")
            .context(|| format!("make cgroup {} threaded", place.path))?;
    }
    Ok(())
}

type Check = fn(&Dir) -> Result<()>;

/// A cgroup that was there may be used again when it is empty and not frozen.
fn check_free(dir: &Dir) -> Result<()> {
    let mut pids = Vec::new();
    super::processes::collect(dir, true, &mut pids)?;
    if !pids.is_empty() {
        let (n, path) = (pids.len(), dir.path());
        bail!(
            "linux.cgroupsPath: container's cgroup is not empty: {n} process(es) found in {path}"
        );
    }
    check_thawed(dir)
}

fn check_thawed(dir: &Dir) -> Result<()> {
    if super::freezer::is_frozen(dir)? {
        bail!("linux.cgroupsPath: container's cgroup unexpectedly frozen: {}", dir.path());
    }
    Ok(())
}

/// Below a frozen cgroup the container's process would stop before its first step, and creel would
/// wait for it without end.
fn check_parents_thawed(dir: &Dir, file: &str, is_frozen: fn(&str) -> bool) -> Result<()> {
    if dir.read_if_any(file)?.is_some_and(|text| is_frozen(&text)) {
        bail!("linux.cgroupsPath: container's cgroup is below a frozen one: {}", dir.path());
    }
    Ok(())
}

/// v1: a new cgroup is a copy of its parent and so is closed first; one that was there is led over
/// by the fewest rules.
fn write_v1_devices(made: &Made, target: &Filter) -> Result<()> {
    let property = || "linux.resources.devices";
    let current = if made.fresh {
        Filter { allow_by_default: true, ..Filter::default() }
    } else {
        Filter::from_list(&made.dir.read_named("devices.list")?).context(property)?
    };
    let rules = Filter::transition(&current, target);
    for run in rules.chunk_by(|a, b| a.allow == b.allow) {
        let name = run[0].v1_file();
        let file = made.dir.file(name, OFlag::O_WRONLY).context(|| format!("open {name}"));
        let file = file.context(property)?;
        for rule in run.iter().map(ToString::to_string) {
            file.write(&rule).context(|| format!("write {rule:?} to {name}")).context(property)?;
        }
    }
    Ok(())
}
