// SPDX-License-Identifier: Apache-2.0
//! A container as the host sees it: nothing that its processes could forge.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, fstat, major, minor};

use super::case::{Stop, vulnerable};
use super::common::Bundle;

#[derive(Debug)]
pub(crate) struct Mount {
    /// What part of its file system.
    pub(crate) root: String,
    pub(crate) point: String,
    pub(crate) kind: String,
    pub(crate) source: String,
}

/// The mounts of that process, in the order in which they were made.
pub(crate) fn mounts(pid: i32) -> Vec<Mount> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mountinfo");
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ").expect("a separator");
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let owned = |text: &str| text.replace("\\040", " ");
        Mount {
            root: owned(left[3]),
            point: owned(left[4]),
            kind: owned(right[0]),
            source: owned(right[1]),
        }
    };
    text.lines().map(parse).collect()
}

/// A path as the container's processes would resolve it. O_PATH.
pub(crate) fn open(pid: i32, path: &str) -> nix::Result<OwnedFd> {
    let root = File::open(format!("/proc/{pid}/root")).expect("the container's root");
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
    openat2(root, path.trim_start_matches('/'), how.resolve(ResolveFlag::RESOLVE_IN_ROOT))
}

pub(crate) fn stat(pid: i32, path: &str) -> nix::Result<FileStat> {
    fstat(open(pid, path)?)
}

pub(crate) fn device(stat: &FileStat) -> (u64, u64) {
    (major(stat.st_rdev), minor(stat.st_rdev))
}

/// A sysctl of the network namespace of a process.
pub(crate) fn net_sysctl(pid: i32, path: &str) -> String {
    let target = pid.to_string();
    let file = format!("/proc/sys/net/{path}");
    let args = ["--target", &target, "--net", "cat", &file];
    let run = std::process::Command::new("nsenter").args(args).output().expect("nsenter");
    assert!(run.status.success(), "{run:?}");
    String::from_utf8_lossy(&run.stdout).trim().to_owned()
}

/// What the config has asked for is in effect, wherever the image's links have led: every procfs in
/// sight has its masked and read-only paths, /proc and /sys are what they claim to be, sysctls are set.
pub(crate) fn is_guarded(bundle: &Bundle, pid: i32) -> Result<(), Stop> {
    let mounts = mounts(pid);
    let wants = |kind: &str| {
        let all = bundle.config["mounts"].as_array().expect("mounts");
        all.iter().any(|mount| mount["type"] == kind)
    };
    for (path, kind, magic) in [("/proc", "proc", 0x9fa0), ("/sys", "sysfs", 0x6265_6572)] {
        if !wants(kind) {
            continue;
        }
        let Ok(fd) = open(pid, path) else {
            return vulnerable(format!("{path} cannot be opened in the container"));
        };
        let about = nix::sys::statfs::fstatfs(&fd).expect("statfs");
        if about.filesystem_type().0 != magic {
            return vulnerable(format!("the container's {path} is not a {kind}"));
        }
    }
    for (i, procfs) in mounts.iter().enumerate() {
        let is_covered = mounts[i + 1..].iter().any(|later| later.point == procfs.point);
        if procfs.kind != "proc" || procfs.root != "/" || is_covered {
            continue;
        }
        for (name, what) in [("maskedPaths", "masked"), ("readonlyPaths", "read-only")] {
            for path in bundle.config["linux"][name].as_array().expect("paths") {
                let path = path.as_str().expect("a string");
                let Some(rest) = path.strip_prefix("/proc/") else { continue };
                let point = format!("{}/{rest}", procfs.point);
                let is_there = fs::symlink_metadata(path).is_ok();
                if is_there && !mounts.iter().any(|mount| mount.point == point) {
                    return vulnerable(format!("{point} is not {what}"));
                }
            }
        }
    }
    if let Some(sysctl) = bundle.config["linux"]["sysctl"].as_object() {
        for (name, value) in sysctl {
            let path = name.strip_prefix("net.").expect("a network sysctl").replace('.', "/");
            let got = net_sysctl(pid, &path);
            if value.as_str() != Some(got.as_str()) {
                return vulnerable(format!("sysctl {name} is {got}, not {value}"));
            }
        }
    }
    Ok(())
}

/// A mount of that source is somewhere in the container, and so not elsewhere.
pub(crate) fn landed_inside(pid: i32, source: &str) -> Result<String, Stop> {
    match mounts(pid).into_iter().find(|mount| mount.source == source) {
        Some(mount) => Ok(mount.point),
        None => vulnerable(format!("the mount of {source} has landed outside of the container")),
    }
}
