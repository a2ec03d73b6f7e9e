// SPDX-License-Identifier: Apache-2.0
//! `linux.intelRdt`: the container's group in resctrl, which shares out cache and memory bandwidth and
//! counts their use. Planned before anything exists; made, limited and joined before the program runs.
//! Only a group that creel has made, and that no `closID` names, is removed again.

mod schema;
mod stats;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, statfs};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci::{IntelRdt, Linux};

pub(crate) use stats::Stats;

/// Where the kernel makes a directory for it, if the machine has any of this.
const USUAL: &str = "/sys/fs/resctrl";
const RDTGROUP_SUPER_MAGIC: FsType = FsType(0x0765_5821);

/// Directories of resctrl itself.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

const PROPERTY: &str = "linux.intelRdt";
const CLOS: &str = "linux.intelRdt.closID";
const L3: &str = "linux.intelRdt.l3CacheSchema";
const MB: &str = "linux.intelRdt.memBwSchema";
const SCHEMATA: &str = "linux.intelRdt.schemata";

/// A line for `schemata` and the property that asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    property: &'static str,
    text: String,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Resctrl {
    group: Group,
    /// `closID` is set: the group may be shared, and is nobody's to remove.
    is_named: bool,
    lines: Vec<Line>,
}

/// The container's group: what state.json keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Where resctrl is mounted.
    root: PathBuf,
    path: PathBuf,
    /// The group of its own that counts the container's use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<PathBuf>,
    /// Made for this container, to be removed with it.
    is_ours: bool,
}

impl Resctrl {
    pub(crate) fn plan(linux: &Linux<'_>, id: &str) -> Result<Option<Self>> {
        let Some(rdt) = &linux.intel_rdt else { return Ok(None) };
        let root = find(Path::new(USUAL), || std::fs::read_to_string("/proc/self/mountinfo"))?;
        Self::plan_at(&root, rdt, id).map(Some)
    }

    fn plan_at(root: &Path, rdt: &IntelRdt<'_>, id: &str) -> Result<Self> {
        let lines = schema::plan(root, rdt)?;
        let is_named = !rdt.clos_id.is_empty();
        let path = match &*rdt.clos_id {
            "/" => root.to_owned(),
            "" => root.join(id),
            name @ ("." | "..") => bail!("{CLOS}: {name:?} is no name of a group"),
            name if name.contains('/') => bail!("{CLOS}: {name:?} must not hold a slash"),
            name => root.join(name),
        };
        if RESERVED.iter().any(|name| path == root.join(name)) {
            bail!(
                "{CLOS}: {:?} is a directory of resctrl itself",
                path.file_name().unwrap_or_default()
            );
        }
        if is_named && lines.is_empty() && !path.is_dir() {
            bail!("{CLOS}: there is no {path:?}, and no schemata to make it with");
        }
        let monitor = rdt.is_monitored().then(|| path.join("mon_groups").join(id));
        let is_ours = !is_named && !path.exists();
        let group = Group { root: root.to_owned(), path, monitor, is_ours };
        Ok(Self { group, is_named, lines })
    }

    /// The facts to keep: known before anything is made.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Makes the group. What was made is gone again after a failure. `self` then knows whose the group
    /// is, should somebody else have made one of that name meanwhile.
    pub(crate) fn create(&mut self) -> Result<()> {
        let group = &mut self.group;
        let fresh =
            make(&group.path).map_err(|e| group.failed(format!("make {:?}", group.path), e));
        let fresh = fresh.context(|| PROPERTY)?;
        group.is_ours &= fresh;
        let outcome = self.fill(fresh);
        if outcome.is_err() && fresh {
            // The first error is the one to report.
            let _ = self.group.take_down(&self.group.path);
        }
        outcome
    }

    fn fill(&self, fresh: bool) -> Result<()> {
        let group = &self.group;
        let mut lines: Vec<&Line> = self.lines.iter().collect();
        if self.is_named && !fresh {
            // Whoever shares the group relies on what is there.
            let present = group.read("schemata")?;
            for line in lines.iter().filter(|line| line.property != SCHEMATA) {
                schema::check_same(&group.root, line, &present)?;
            }
            lines.retain(|line| line.property == SCHEMATA);
        }
        group.write_schemata(&lines)?;
        if let Some(monitor) = &group.monitor {
            make(monitor)
                .map_err(|e| group.failed(format!("make {monitor:?}"), e))
                .context(|| "linux.intelRdt.enableMonitoring")?;
        }
        Ok(())
    }
}

impl Group {
    /// Moves a process, which must have one thread: its children are born where it is.
    pub(crate) fn join(&self, pid: Pid) -> Result<()> {
        for dir in std::iter::once(&self.path).chain(&self.monitor) {
            write(&dir.join("tasks"), &pid.to_string())
                .map_err(|e| self.failed(format!("move {pid} into {dir:?}"), e))
                .context(|| PROPERTY)?;
        }
        Ok(())
    }

    /// What `update` asks for, and what brings the old values back.
    pub(crate) fn update(&self, l3: Option<&str>, mb: Option<&str>) -> Result<String> {
        let old = self.read("schemata")?;
        let lines = schema::plan(
            &self.root,
            &IntelRdt {
                l3_cache_schema: l3.unwrap_or_default().into(),
                mem_bw_schema: mb.unwrap_or_default().into(),
                ..IntelRdt::default()
            },
        )?;
        self.write_schemata(&lines.iter().collect::<Vec<_>>())?;
        Ok(old)
    }

    /// Writes back what `update` returned.
    pub(crate) fn restore(&self, schemata: &str) -> Result<()> {
        write(&self.path.join("schemata"), schemata)
            .map_err(|e| self.failed(format!("restore {:?}", self.path.join("schemata")), e))
    }

    /// Succeeds also when there is nothing (any more).
    pub(crate) fn remove(&self) -> Result<()> {
        let monitor = self.monitor.as_ref().filter(|_| !self.is_ours);
        // The group's own removal takes those for counting along.
        for dir in self.is_ours.then_some(&self.path).into_iter().chain(monitor) {
            self.take_down(dir).context(|| PROPERTY)?;
        }
        Ok(())
    }

    fn take_down(&self, dir: &Path) -> Result<()> {
        match kernel::rmdir(dir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.failed(format!("remove {dir:?}"), errno)),
        }
    }

    /// All lines in one write: the kernel takes all of them or none.
    fn write_schemata(&self, lines: &[&Line]) -> Result<()> {
        let text: String = lines.iter().flat_map(|line| [&*line.text, "\n"]).collect();
        let property = match lines {
            [] => return Ok(()),
            [line] => line.property,
            _ => PROPERTY,
        };
        let file = self.path.join("schemata");
        write(&file, &text)
            .map_err(|e| self.failed(format!("write {:?} to {file:?}", text.trim_end()), e))
            .context(|| property)
    }

    fn read(&self, file: &str) -> Result<String> {
        read(&self.path.join(file))
    }

    /// With what the kernel has to say of its last refusal.
    fn failed(&self, doing: String, errno: Errno) -> Error {
        let said = std::fs::read_to_string(self.root.join("info/last_cmd_status"));
        let doing = match said.as_deref().map(str::trim) {
            Ok(said) if !said.is_empty() && said != "ok" => {
                format!("{doing} (last_cmd_status: {said})")
            }
            _ => doing,
        };
        Err::<(), _>(errno).context(|| doing).expect_err("it was just made an error")
    }
}

/// Where resctrl is mounted: at the usual place, else wherever mountinfo has it.
fn find(usual: &Path, mountinfo: impl FnOnce() -> std::io::Result<String>) -> Result<PathBuf> {
    match statfs(usual) {
        Ok(fs) if fs.filesystem_type() == RDTGROUP_SUPER_MAGIC => return Ok(usual.to_owned()),
        // The kernel makes the directory: without it there is nothing to look for.
        Err(Errno::ENOENT) => bail!("{PROPERTY}: this machine has no resctrl"),
        _ => {}
    }
    let mounts = mountinfo().context(|| "read /proc/self/mountinfo")?;
    let line = mounts
        .lines()
        .find(|line| line.split_once(" - ").is_some_and(|(_, rest)| rest.starts_with("resctrl ")));
    match line.and_then(|line| line.split(' ').nth(4)) {
        Some(place) => Ok(unescape(place).into()),
        None => bail!("{PROPERTY}: resctrl is not mounted"),
    }
}

/// mountinfo writes blanks and backslashes in octal.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// Whether there is this kind of control: `L3`, `MB`; or of counting: `L3_MON`.
fn has(root: &Path, what: &str) -> bool {
    root.join("info").join(what).is_dir()
}

/// False: it was there before.
fn make(dir: &Path) -> Result<bool, Errno> {
    match kernel::mkdir(dir) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).context(|| format!("read {file:?}"))
}

/// One write(2), of a file that must be there.
fn write(file: &Path, text: &str) -> Result<(), Errno> {
    let file = open(file, OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::write(&file, text.as_bytes()).map(drop)
}

/// A directory made in resctrl has its files at once, and goes with them.
#[cfg(not(test))]
mod kernel {
    use super::{Errno, Mode, Path};

    pub(super) fn mkdir(dir: &Path) -> Result<(), Errno> {
        nix::unistd::mkdir(dir, Mode::from_bits_truncate(0o755))
    }

    pub(super) fn rmdir(dir: &Path) -> Result<(), Errno> {
        nix::sys::stat::lstat(dir)?;
        std::fs::remove_dir(dir).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
    }
}

/// The tests' tree is of plain files, for lack of a machine with the real one.
#[cfg(test)]
use tests::kernel;
