//! The host's cgroup hierarchies: where a container's files are, and how to remove what was left.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use conformance::proc;

/// A mounted hierarchy.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    pub(crate) is_v2: bool,
    pub(crate) controllers: Vec<String>,
    pub(crate) mount: PathBuf,
}

pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    let mounts = proc::mounts("self").unwrap_or_default();
    let visible =
        |mount: &proc::Mount| mount.root == "/" && proc::top(&mounts, &mount.point) == Some(mount);
    let mounts = mounts.iter().filter(|mount| visible(mount));
    let found = mounts.filter_map(|mount| match mount.fstype.as_str() {
        "cgroup" => Some(Hierarchy {
            is_v2: false,
            controllers: mount.super_options.iter().filter(|name| *name != "rw").cloned().collect(),
            mount: PathBuf::from(&mount.point),
        }),
        "cgroup2" => {
            let list = fs::read_to_string(Path::new(&mount.point).join("cgroup.controllers"));
            let list = list.unwrap_or_default();
            let controllers = list.split_whitespace().map(str::to_owned).collect();
            Some(Hierarchy { is_v2: true, controllers, mount: PathBuf::from(&mount.point) })
        }
        _ => None,
    });
    found.collect()
}

/// The hierarchy of a controller and whether it is of version 2.
pub(crate) fn of(controller: &str) -> Option<Hierarchy> {
    hierarchies().into_iter().find(|one| one.controllers.iter().any(|name| name == controller))
}

/// Every directory called `name` at the top of a hierarchy.
pub(crate) fn left(name: &str) -> Vec<PathBuf> {
    let dirs = hierarchies().into_iter().map(|one| one.mount.join(name));
    dirs.filter(|dir| dir.is_dir()).collect()
}

/// Directories below and including `dir`, deepest first.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut list: Vec<PathBuf> = below.flat_map(|entry| tree(&entry.path())).collect();
    list.push(dir.to_owned());
    list
}

pub(crate) fn pids(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Kills what is in a tree that this program named, and removes it.
pub(crate) fn remove(dir: &Path) {
    for round in 0..100 {
        let tree = tree(dir);
        for dir in &tree {
            for pid in pids(dir) {
                // It may be gone by now; the next round sees whether it is not.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = fs::write(dir.join("freezer.state"), "THAWED");
            let _ = fs::remove_dir(dir);
        }
        if !dir.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(10 + round));
    }
}
