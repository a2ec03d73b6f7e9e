// SPDX-License-Identifier: Apache-2.0
//! `Writes`: what to write to the files of a cgroup, in order, each with the property of
//! config.json that asked for it. The part of a file's name before the dot is its controller.

use std::borrow::Cow;
use std::fmt::Display;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::dir::Dir;
use crate::error::{Context, Error, Result};

/// One write, and what to do where the kernel refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// As the user knows it: `linux.resources.memory.limit`.
    pub property: Cow<'static, str>,
    pub file: Cow<'static, str>,
    pub value: String,
    /// Two files limit each other (quota and period): on EINVAL try once more after the rest.
    pub again: bool,
    /// The file may be absent.
    pub optional: bool,
    /// Where the file is absent: this file and value.
    pub or: Option<(&'static str, String)>,
    /// For files with a line per device: the value that removes the line, for undoing.
    pub clear: Option<String>,
}

impl Write {
    pub(crate) fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }

    pub(crate) fn optional(&mut self) -> &mut Self {
        self.optional = true;
        self
    }

    pub(crate) fn or(&mut self, file: &'static str, value: impl Display) -> &mut Self {
        self.or = Some((file, value.to_string()));
        self
    }

    pub(crate) fn clear(&mut self, value: String) -> &mut Self {
        self.clear = Some(value);
        self
    }
}

/// An ordered list of writes, and the properties that this kind of hierarchy has no file for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Writes {
    pub list: Vec<Write>,
    /// Accepted and without effect, as runc does it; said in the log.
    pub ignored: Vec<&'static str>,
}

impl Writes {
    pub(crate) fn push(
        &mut self,
        property: impl Into<Cow<'static, str>>,
        file: impl Into<Cow<'static, str>>,
        value: impl Display,
    ) -> &mut Write {
        self.list.push(Write {
            property: property.into(),
            file: file.into(),
            value: value.to_string(),
            again: false,
            optional: false,
            or: None,
            clear: None,
        });
        self.list.last_mut().expect("a write was just pushed")
    }

    /// What was in files.
    pub(crate) fn of_files(files: Vec<(String, String)>) -> Self {
        let mut writes = Self::default();
        for (file, value) in files {
            writes.push("", file, value);
        }
        writes
    }

    /// Notes a property that has no effect here, if it was asked for.
    pub(crate) fn ignore(&mut self, property: &'static str, asked: bool) {
        if asked {
            self.ignored.push(property);
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
        self.ignored.extend(other.ignored);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// For tests: `(file, value)` pairs.
    #[cfg(test)]
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        self.list.iter().map(|w| (&*w.file, &*w.value)).collect()
    }
}

/// Writes a controller's values into its directory. `undo` gets what was there before.
pub(crate) fn apply<'a>(
    dir: &Dir,
    writes: impl Iterator<Item = &'a Write>,
    mut undo: Option<&mut Vec<(String, String)>>,
) -> Result<()> {
    let mut again = Vec::new();
    for write in writes {
        if let Some(undo) = undo.as_deref_mut() {
            remember(dir, write, undo);
        }
        match put(dir, write) {
            Err(Errno::EINVAL) if write.again => again.push(write),
            outcome => outcome.map_err(|e| refused(dir, write, e))?,
        }
    }
    for write in again {
        put(dir, write).map_err(|e| refused(dir, write, e))?;
    }
    Ok(())
}

/// Writes old values back, newest first. Failures are left: the first error is the one to report.
pub(crate) fn restore(dir: &Dir, old: &[(String, String)]) {
    // Twice, because files that limit each other may refuse in the first order.
    for _ in 0..2 {
        for (file, value) in old.iter().rev() {
            for line in value.lines().filter(|l| !l.is_empty()) {
                let _ = dir.write(file, line);
            }
            if value.is_empty() {
                let _ = dir.write(file, "");
            }
        }
    }
}

fn put(dir: &Dir, write: &Write) -> Result<(), Errno> {
    match put_lines(dir, &write.file, &write.value) {
        Err(Errno::ENOENT) => match &write.or {
            Some((file, value)) => put_lines(dir, file, value),
            None if write.optional => Ok(()),
            None => Err(Errno::ENOENT),
        },
        outcome => outcome,
    }
}

/// Each line of the value is a write of its own, as the kernel wants it.
fn put_lines(dir: &Dir, file: &str, value: &str) -> Result<(), Errno> {
    let open = dir.file(file, OFlag::O_WRONLY)?;
    if !value.contains('\n') {
        return open.write(value);
    }
    value.lines().filter(|l| !l.is_empty()).try_for_each(|line| open.write(line))
}

fn remember(dir: &Dir, write: &Write, undo: &mut Vec<(String, String)>) {
    let mut file: &str = &write.file;
    let mut text = dir.read(file);
    if let (Err(Errno::ENOENT), Some((other, _))) = (&text, &write.or) {
        file = other;
        text = dir.read(file);
    }
    let Ok(text) = text else { return };
    let old = match (&write.clear, write.value.split_once(' ')) {
        (Some(clear), Some((device, _))) => text
            .lines()
            .find(|line| line.split(' ').next() == Some(device))
            .map_or_else(|| clear.clone(), str::to_owned),
        _ => text.trim_end().to_owned(),
    };
    undo.push((file.to_owned(), old));
}

/// Names the property, and the controller where that is what is missing.
fn refused(dir: &Dir, write: &Write, errno: Errno) -> Error {
    let (property, file, value) = (&write.property, &write.file, &write.value);
    let absent = matches!(errno, Errno::ENOENT | Errno::EPERM | Errno::EACCES)
        && dir.read(file) == Err(Errno::ENOENT);
    if absent {
        let controller = write.controller();
        // v1 has no such list: there the directory is the controller's.
        let known = dir
            .read("cgroup.controllers")
            .map_or(true, |list| list.split_ascii_whitespace().any(|c| c == controller));
        return Error::text(if known || controller == "cgroup" {
            format!("{property}: {file}: this kernel has no such file")
        } else {
            format!("{property}: the {controller} controller is not available in {}", dir.path())
        });
    }
    if &**file == "memory.limit_in_bytes" && errno == Errno::EBUSY {
        let now = |f: &str| dir.read(f).map_or_else(|_| "?".into(), |t| t.trim().to_owned());
        return Error::text(format!(
            "{property}: unable to set memory limit to {value} (current usage: {}, peak usage: {})",
            now("memory.usage_in_bytes"),
            now("memory.max_usage_in_bytes"),
        ));
    }
    let above = above(dir, file, errno).unwrap_or_default();
    let outcome: Result<()> =
        Err(errno).context(|| format!("{property}: write {value:?} to {file}{above}"));
    outcome.expect_err("it was just made an error")
}

/// What the cgroup above has, in brackets, where a value must not exceed that.
fn above(dir: &Dir, file: &str, errno: Errno) -> Option<String> {
    let period = match (file, errno) {
        ("cpu.cfs_quota_us" | "cpu.cfs_period_us", Errno::EINVAL) => Some("cpu.cfs_period_us"),
        ("cpuset.cpus" | "cpuset.mems", Errno::EACCES) => None,
        _ => return None,
    };
    let parent = Dir::open(dir.path().rsplit_once('/')?.0).ok()?;
    let file = if period.is_some() { "cpu.cfs_quota_us" } else { file };
    let mut has = parent.read(file).ok()?.trim().to_owned();
    if has == "-1" || has.is_empty() {
        return None;
    }
    if let Some(period) = period {
        has = format!("{has} of {}", parent.read(period).ok()?.trim());
    }
    Some(format!(" (the cgroup above has {has})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_is_the_files_prefix() {
        let mut writes = Writes::default();
        writes.push("linux.resources.memory.limit", "memory.limit_in_bytes", 5);
        assert_eq!(writes.list[0].controller(), "memory");
        assert_eq!(writes.pairs(), [("memory.limit_in_bytes", "5")]);
    }
}
