// SPDX-License-Identifier: Apache-2.0
//! Putting a process into the container's cgroups.
//! v2: it is born there (CLONE_INTO_CGROUP). v1: it writes itself, a single thread, into the `tasks`
//! files that the parent has opened: the one kind of move that takes no lock with an RCU grace period
//! in it (Linux 5.5), which costs 7 ms. Else the parent moves it by `cgroup.procs`, in one burst,
//! since after the first write the others don't wait.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::Cgroup;
use super::dir::{Dir, File};
use super::path::{inside, join, relative};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::sys::Inside;

const PROCS: &str = "cgroup.procs";
const TASKS: &str = "tasks";

/// A new task may refuse to be moved for a moment (EINVAL while it is TASK_NEW).
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(30);

/// One `cgroup.procs` or `tasks`, ready to be written.
#[derive(Debug)]
struct Door {
    path: String,
    file: File,
    /// Not getting in does no harm.
    optional: bool,
}

/// The ways into v1 cgroups, opened before the clone.
#[derive(Debug, Default)]
pub(crate) struct Doors(Vec<Door>);

/// The ways into the container's cgroups, open before its process is cloned.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// The v2 directory to be born in (CLONE_INTO_CGROUP). On a hybrid host it may be missing.
    pub into: Option<OwnedFd>,
    /// For the clone to enter the v1 cgroups.
    pub doors: Doors,
}

impl Doors {
    /// The clone, which must have one thread, moves itself.
    pub(crate) fn enter(&self, _: &Inside) -> Result<()> {
        for door in &self.0 {
            match write_pid(&door.file, "0") {
                Err(_) if door.optional => {}
                outcome => outcome.context(|| format!("enter cgroup {}", door.path))?,
            }
        }
        Ok(())
    }
}

impl Cgroup {
    /// Opens the way into a v1 cgroup.
    pub(super) fn add_door(&self, doors: &mut Doors, dir: &Dir, optional: bool) -> Result<()> {
        let optional = optional || self.lenient;
        self.add(doors, dir.path(), TASKS, dir.file(TASKS, OFlag::O_WRONLY), optional)
    }

    /// Moves a process into every hierarchy: when `Ways` could not serve.
    pub(crate) fn join(&self, pid: Pid) -> Result<()> {
        let mut paths = self.v1_paths();
        // Beside v1 it is only for counting and for `cgroup.kill`.
        let hybrid = !self.v2;
        paths.extend(self.unified.iter().map(|u| (u.path.clone(), hybrid)));
        self.enter(&paths, pid)
    }

    fn v1_paths(&self) -> Vec<(String, bool)> {
        self.v1.iter().map(|d| (d.path.clone(), d.optional || self.lenient)).collect()
    }

    fn open(&self, paths: &[(String, bool)], name: &str) -> Result<Doors> {
        let mut doors = Doors::default();
        for (path, optional) in paths {
            let file = Dir::open(path).and_then(|dir| dir.file(name, OFlag::O_WRONLY));
            self.add(&mut doors, path, name, file, *optional)?;
        }
        Ok(doors)
    }

    fn add(
        &self,
        doors: &mut Doors,
        path: &str,
        name: &str,
        file: Result<File, Errno>,
        optional: bool,
    ) -> Result<()> {
        match file {
            Ok(file) => doors.0.push(Door { path: path.to_owned(), file, optional }),
            Err(_) if optional => {}
            Err(errno) if self.forgives(errno) => {}
            Err(errno) => return Err(errno).context(|| format!("open {path}/{name}")),
        }
        Ok(())
    }

    fn enter(&self, paths: &[(String, bool)], pid: Pid) -> Result<()> {
        let doors = self.open(paths, PROCS)?;
        let pid = pid.to_string();
        for door in &doors.0 {
            match write_pid(&door.file, &pid) {
                Err(_) if door.optional => {}
                Err(errno) if self.forgives(errno) => {}
                outcome => outcome.context(|| format!("move {pid} into cgroup {}", door.path))?,
            }
        }
        Ok(())
    }

    fn forgives(&self, errno: Errno) -> bool {
        self.lenient && matches!(errno, Errno::EPERM | Errno::EACCES | Errno::EROFS | Errno::ENOENT)
    }

    /// Where `exec` puts its process. `init` is the container's init: on v2 it may have moved on
    /// (its own cgroup then has children and takes no process, EBUSY, or is gone).
    pub(crate) fn for_exec(&self, init: Option<Pid>, subs: &SubCgroups) -> Result<ExecCgroup> {
        let mut exec = ExecCgroup {
            cgroup: self.clone(),
            into: None,
            doors: Doors::default(),
            paths: Vec::new(),
            fallback: None,
        };
        if !self.is_unified() {
            let v1 = self.exec_v1(subs)?;
            exec.doors = subs.named(self.open(&v1, TASKS))?;
            exec.paths = v1;
            if let Some(path) = self.exec_hybrid(subs)? {
                exec.into = open_fd(&path).ok();
                exec.paths.push((path, true));
            }
            return Ok(exec);
        }
        let base = self.path("").unwrap_or_default();
        let sub = subs.everywhere().unwrap_or_default();
        if let Some(controller) = subs.0.keys().find(|c| !c.is_empty()) {
            bail!("--cgroup: unknown controller {controller:?} (cgroup v2 takes a path alone)");
        }
        let Some(path) = inside(base, sub) else { bail!("--cgroup: bad sub cgroup path: {sub}") };
        if sub.is_empty() {
            exec.fallback = init.and_then(|pid| self.cgroup_of(pid)).filter(|own| *own != path);
        }
        exec.into = match (subs.named(open_fd(&path)), &exec.fallback) {
            (Ok(fd), _) => Some(fd),
            (Err(_), Some(own)) => Some(open_fd(own)?),
            (Err(_), None) if self.rootless => None,
            (Err(error), None) => return Err(error),
        };
        exec.paths.push((path, false));
        Ok(exec)
    }

    /// A path for all hierarchies, or one for each named controller and no change for the rest.
    fn exec_v1(&self, subs: &SubCgroups) -> Result<Vec<(String, bool)>> {
        let mut places: Vec<(String, bool)> = Vec::new();
        for dir in &self.v1 {
            let own = dir.controllers.iter().find_map(|c| {
                let short = c.strip_prefix("name=").unwrap_or(c);
                subs.0.get(c.as_str()).or_else(|| subs.0.get(short))
            });
            let sub = own.map(String::as_str).or(subs.everywhere()).unwrap_or_default();
            let Some(path) = inside(&dir.path, sub) else {
                bail!("--cgroup: bad sub cgroup path: {sub}")
            };
            places.push((path, dir.optional && sub.is_empty()));
        }
        let known = |c: &str| self.v1.iter().any(|d| d.has(c) || d.has(&format!("name={c}")));
        match subs.0.keys().find(|c| !c.is_empty() && !known(c)) {
            Some(controller) => bail!("--cgroup: unknown controller {controller:?}"),
            None => Ok(places),
        }
    }

    /// Beside v1: the v2 cgroup, or the one below it that a path for all hierarchies names.
    fn exec_hybrid(&self, subs: &SubCgroups) -> Result<Option<String>> {
        let Some(unified) = &self.unified else { return Ok(None) };
        let sub = subs.everywhere().unwrap_or_default();
        match inside(&unified.path, sub) {
            Some(path) => Ok(Some(path)),
            None => bail!("--cgroup: bad sub cgroup path: {sub}"),
        }
    }

    /// v2: the cgroup that a process is in now, as a path of the host.
    fn cgroup_of(&self, pid: Pid) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(join(&self.unified.as_ref()?.mount, own))
    }
}

/// Where the process of an `exec` goes.
#[derive(Debug)]
pub(crate) struct ExecCgroup {
    cgroup: Cgroup,
    /// For CLONE_INTO_CGROUP; when clone3 refuses it (EBUSY, EOPNOTSUPP, …) call `join` after.
    pub into: Option<OwnedFd>,
    /// v1: for the clone to enter.
    pub doors: Doors,
    paths: Vec<(String, bool)>,
    fallback: Option<String>,
}

impl ExecCgroup {
    /// Moves the process; where v2 refuses its place, to where init is.
    pub(crate) fn join(&self, pid: Pid) -> Result<()> {
        let outcome = self.cgroup.enter(&self.paths, pid);
        let outcome = match outcome {
            Err(error) if self.cgroup.is_users_unit() => self.attach(pid, error),
            outcome => outcome,
        };
        let outcome = match (&self.fallback, outcome) {
            (Some(own), Err(_)) => self.cgroup.enter(&[(own.clone(), false)], pid),
            (_, outcome) => outcome,
        };
        if self.cgroup.rootless && !self.cgroup.is_users_unit() { Ok(()) } else { outcome }
    }
}

impl ExecCgroup {
    /// From outside the user's part of the tree only the manager may move a process into it.
    fn attach(&self, pid: Pid, error: Error) -> Result<()> {
        let (Some(unit), Some((path, _))) = (&self.cgroup.unit, self.paths.first()) else {
            return Err(error);
        };
        let base = self.cgroup.unified.as_ref().map_or("", |unified| unified.unit_path());
        let below = relative(base, path).unwrap_or_default();
        unit.attach(&format!("/{below}"), pid)
    }
}

/// `exec --cgroup`, one or more times: `path`, or on v1 `controller[,controller]:path`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SubCgroups(BTreeMap<String, String>);

impl SubCgroups {
    /// What the command line has checked: no controller twice.
    pub(crate) fn from_pairs(pairs: &[(String, String)]) -> Self {
        Self(pairs.iter().cloned().collect())
    }

    #[cfg(test)]
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self> {
        let values: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Ok(Self::from_pairs(&crate::cli::values::sub_cgroups(&values)?))
    }

    /// The flag, if it was given, in front of what went wrong; in words that runc's users look for.
    fn named<T>(&self, outcome: Result<T>) -> Result<T> {
        if self.0.is_empty() {
            outcome
        } else {
            outcome.context(|| "--cgroup: adding pid to a sub-cgroup")
        }
    }

    fn everywhere(&self) -> Option<&str> {
        self.0.get("").map(String::as_str)
    }
}

fn open_fd(path: &str) -> Result<OwnedFd> {
    Dir::open(path).map(Dir::into_fd).context(|| format!("open cgroup {path}"))
}

fn write_pid(file: &File, pid: &str) -> Result<(), Errno> {
    for _ in 1..TRIES {
        match file.write(pid) {
            Err(Errno::EINVAL) => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
    file.write(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<SubCgroups> {
        SubCgroups::parse(arguments)
    }

    #[test]
    fn sub_cgroups_in_their_forms() {
        let subs = parse(&["cpu,memory:/a", "pids:b"]).unwrap();
        let want = [("cpu", "/a"), ("memory", "/a"), ("pids", "b")];
        assert_eq!(subs.0, want.map(|(c, p)| (c.into(), p.into())).into());
        assert_eq!(parse(&["x"]).unwrap().everywhere(), Some("x"));
        assert_eq!(parse(&[]).unwrap(), SubCgroups::default());
    }

    #[test]
    fn sub_cgroups_refused() {
        let error = |a: &[&str]| parse(a).unwrap_err().to_string();
        assert_eq!(
            error(&["x", "cpu:y"]),
            "invalid --cgroup argument: x (missing <controller>: prefix)"
        );
        assert_eq!(
            error(&[",cpu:y"]),
            "invalid --cgroup argument: ,cpu:y (empty <controller> prefix)"
        );
        assert_eq!(
            error(&["cpu:y", "cpu:z"]),
            "invalid --cgroup argument(s): controller cpu specified multiple times"
        );
    }
}
