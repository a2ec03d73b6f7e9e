// SPDX-License-Identifier: Apache-2.0
//! Freezing and thawing all processes of the container: `cgroup.freeze` on v2, the freezer
//! controller on v1.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Cgroup;
use super::dir::{Dir, File, Mounts, wait_event};
use crate::bail;
use crate::error::{Context, Result};

const LIMIT: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Returns when all are frozen; when that does not come about, all are thawed again.
    pub(crate) fn freeze(&self) -> Result<()> {
        let Some(path) = self.freezer_path() else {
            bail!("cannot toggle freezer: cgroups not configured for container");
        };
        let dir = Dir::open(path).context(|| format!("open cgroup {path}"))?;
        let outcome =
            if self.v1_of("freezer").is_some() { freeze_v1(&dir) } else { freeze_v2(&dir) };
        if outcome.is_err() {
            // Left half frozen it would hang; the first error is the one to report.
            let _ = set(&dir, false);
        }
        outcome.context(|| format!("freeze cgroup {path}"))
    }

    pub(crate) fn thaw(&self) -> Result<()> {
        let Some(path) = self.freezer_path() else {
            bail!("cannot toggle freezer: cgroups not configured for container");
        };
        let dir = Dir::open(path).context(|| format!("open cgroup {path}"))?;
        set(&dir, false).context(|| format!("thaw cgroup {path}"))
    }

    /// As `thaw`, where there is a freezer and the cgroup still exists.
    pub(super) fn thaw_if_any(&self) -> Result<()> {
        let Some(path) = self.freezer_path() else { return Ok(()) };
        let Ok(dir) = Dir::open(path) else { return Ok(()) };
        match set(&dir, false) {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
            outcome => outcome.context(|| format!("thaw cgroup {path}")),
        }
    }

    /// As `thaw_if_any`, and whatever was frozen below: on v1 a frozen process does not even die.
    pub(super) fn thaw_tree(&self) -> Result<()> {
        self.thaw_if_any()?;
        let Some(Ok(dir)) = self.freezer_path().map(Dir::open) else { return Ok(()) };
        thaw_below(&dir).context(|| format!("thaw cgroups below {}", dir.path()))
    }

    /// Whether this very cgroup was frozen; a frozen ancestor does not count. Gone: false.
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        let Some(path) = self.freezer_path() else { return Ok(false) };
        let (name, thawed) = self.freezer_file();
        let file = File::open(&[path, "/", name].concat());
        if file.is_ok_and(|file| says(&file, thawed)) {
            return Ok(false);
        }
        match Dir::open(path) {
            Ok(dir) => is_frozen(&dir),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno).context(|| format!("open cgroup {path}")),
        }
    }

    /// As `is_frozen`, for one of many.
    pub(crate) fn is_frozen_below(&self, mounts: &mut Mounts) -> Result<bool> {
        let (name, thawed) = self.freezer_file();
        let file = self.freezer_place().and_then(|(mount, path)| {
            let below = path.strip_prefix(mount)?.strip_prefix('/')?;
            mounts.file(mount, &[below, "/", name].concat())
        });
        if file.is_some_and(|file| says(&file, thawed)) {
            return Ok(false);
        }
        self.is_frozen()
    }

    /// The file that nearly always says that it is thawed, and how: then that is the answer.
    fn freezer_file(&self) -> (&'static str, &'static str) {
        if self.is_unified() { ("cgroup.freeze", "0\n") } else { ("freezer.state", "THAWED\n") }
    }

    /// On a hybrid host v2 can freeze those that have joined it; only alone that is everybody.
    pub(crate) fn freezer_path(&self) -> Option<&str> {
        self.freezer_place().map(|(_, path)| path)
    }

    /// The mount, and the path of the directory below it.
    fn freezer_place(&self) -> Option<(&str, &str)> {
        if self.is_unified() {
            self.unified.as_ref().map(|dir| (&*dir.mount, &*dir.path))
        } else {
            self.v1_of("freezer").map(|dir| (&*dir.mount, &*dir.path))
        }
    }
}

fn says(file: &File, value: &str) -> bool {
    let mut buffer = [0; 16];
    file.read_into(&mut buffer).is_ok_and(|text| text == value.as_bytes())
}

/// For a directory of either kind.
pub(super) fn is_frozen(dir: &Dir) -> Result<bool> {
    if let Some(text) = dir.read_if_any("cgroup.freeze")? {
        if text.trim() != "1" {
            return Ok(false);
        }
        return match wait_event(dir, "frozen", 1, LIMIT) {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
            outcome => outcome.context(|| format!("read {}/cgroup.events", dir.path())),
        };
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let state = dir.read_if_any("freezer.state")?.unwrap_or_default();
        match state.trim() {
            "FROZEN" => {
                let own = dir.read_if_any("freezer.self_freezing")?;
                return Ok(own.is_none_or(|text| text.trim() == "1"));
            }
            "FREEZING" if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            "FREEZING" => return Ok(false),
            _ => return Ok(false),
        }
    }
}

fn set(dir: &Dir, frozen: bool) -> Result<(), Errno> {
    match dir.write("cgroup.freeze", if frozen { "1" } else { "0" }) {
        Err(Errno::ENOENT) => dir.write("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
        outcome => outcome,
    }
}

fn thaw_below(dir: &Dir) -> Result<(), Errno> {
    let gone = |errno: &Errno| matches!(errno, Errno::ENOENT | Errno::ENODEV);
    let children = match dir.children() {
        Err(errno) if gone(&errno) => return Ok(()),
        outcome => outcome?,
    };
    for name in children {
        let outcome = dir.below(&name).and_then(|child| {
            set(&child, false)?;
            thaw_below(&child)
        });
        match outcome {
            Err(errno) if !gone(&errno) => return Err(errno),
            _ => {}
        }
    }
    Ok(())
}

fn freeze_v2(dir: &Dir) -> Result<()> {
    match dir.write("cgroup.freeze", "1") {
        Err(Errno::ENOENT) => bail!("freezer not supported"),
        outcome => outcome?,
    }
    if !wait_event(dir, "frozen", 1, LIMIT)? {
        bail!("timeout of {LIMIT:?} reached waiting for the cgroup to freeze");
    }
    Ok(())
}

/// The kernel leaves FREEZING only when asked again, and while new processes turn up it may take a
/// thaw and another start.
fn freeze_v1(dir: &Dir) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    for round in 1_u32.. {
        dir.write("freezer.state", "FROZEN")?;
        let state = dir.read("freezer.state")?;
        match state.trim() {
            "FROZEN" => return Ok(()),
            "FREEZING" if Instant::now() > deadline => break,
            "FREEZING" if round.is_multiple_of(50) => {
                dir.write("freezer.state", "THAWED")?;
                std::thread::sleep(Duration::from_millis(10));
            }
            "FREEZING" if round.is_multiple_of(10) => {
                std::thread::sleep(Duration::from_micros(100))
            }
            "FREEZING" => {}
            other => bail!("unexpected state {other} while freezing"),
        }
    }
    bail!("unable to freeze")
}
