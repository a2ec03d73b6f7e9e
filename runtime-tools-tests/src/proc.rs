//! /proc/PID/{mountinfo,status,ns} as data.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::io;

/// One line of /proc/PID/mountinfo.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    pub id: u64,
    pub parent: u64,
    pub root: String,
    pub point: String,
    pub options: Vec<String>,
    pub tags: Vec<String>,
    pub fstype: String,
    pub source: String,
    pub super_options: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let mut right = right.splitn(3, ' ');
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        Some(Mount {
            id: left.first()?.parse().ok()?,
            parent: left.get(1)?.parse().ok()?,
            root: unescape(left.get(3)?),
            point: unescape(left.get(4)?),
            options: list(left.get(5)?),
            tags: left[6..].iter().map(|tag| (*tag).to_owned()).collect(),
            fstype: right.next()?.to_owned(),
            source: unescape(right.next()?),
            super_options: list(right.next()?),
        })
    }

    pub fn has(&self, option: &str) -> bool {
        self.options.iter().chain(&self.super_options).any(|have| have == option)
    }

    /// The per-mount flags only: a bind mount may be read-only over a writable filesystem.
    pub fn has_flag(&self, option: &str) -> bool {
        self.options.iter().any(|have| have == option)
    }

    pub fn is_tagged(&self, prefix: &str) -> bool {
        self.tags.iter().any(|tag| tag.starts_with(prefix))
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

pub fn parse_mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(Mount::parse).collect()
}

/// The mount table of a process; `pid` may be "self".
pub fn mounts(pid: &str) -> io::Result<Vec<Mount>> {
    Ok(parse_mounts(&fs::read_to_string(format!("/proc/{pid}/mountinfo"))?))
}

/// The mount that a path lookup of `point` ends on: the one that no other covers.
pub fn top<'a>(mounts: &'a [Mount], point: &str) -> Option<&'a Mount> {
    let here: Vec<&Mount> = mounts.iter().filter(|mount| mount.point == point).collect();
    let covered = |mount: &Mount| here.iter().any(|other| other.parent == mount.id);
    here.iter().find(|mount| !covered(mount)).copied()
}

/// A field of /proc/PID/status.
pub fn status(pid: &str, field: &str) -> io::Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned())
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no {field}")))
}

/// What /proc/PID/ns/FILE points to, like `pid:[4026531836]`.
pub fn namespace(pid: &str, file: &str) -> io::Result<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{file}"))?;
    Ok(link.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw\n\
        2 1 0:20 /a\\040b /mnt ro,nosuid master:7 unbindable - tmpfs none rw,size=4k\n\
        3 2 0:21 / /mnt rw - tmpfs over rw\n";

    #[test]
    fn a_line_is_split_at_the_dash() {
        let mounts = parse_mounts(TEXT);
        assert_eq!(mounts[1].root, "/a b");
        assert_eq!(mounts[1].tags, ["master:7", "unbindable"]);
        assert!(mounts[1].has("size=4k") && !mounts[1].has_flag("size=4k"));
        assert!(mounts[0].is_tagged("shared:"));
    }

    #[test]
    fn the_top_mount_is_the_uncovered_one() {
        assert_eq!(top(&parse_mounts(TEXT), "/mnt").map(|mount| mount.id), Some(3));
        assert_eq!(top(&parse_mounts(TEXT), "/none"), None);
    }
}
