// SPDX-License-Identifier: Apache-2.0
//! What the host has: v2 alone, v1 hierarchies, or both (hybrid). Told by the filesystems at the
//! usual places; mountinfo is read only where those don't answer.

use std::io::BufReader;
use std::path::Path;

use nix::sys::stat::stat;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};
use procfs_core::FromBufRead;
use procfs_core::process::MountInfos;

use super::path::{Inner, join, relative};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::file;

const ROOT: &str = "/sys/fs/cgroup";
const HYBRID: &str = "/sys/fs/cgroup/unified";

/// The cgroup namespace that the machine started with (PROC_CGROUP_INIT_INO).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFB;

/// Controllers whose cgroup may be impossible to make or join without harm: nothing is limited there.
const UNLIMITED: [&str; 2] = ["name=systemd", "misc"];

/// The hierarchies that a container gets a cgroup in; others (named by whoever made them) are not
/// ours to fill.
const KNOWN: [&str; 15] = [
    "cpuset",
    "devices",
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "freezer",
    "rdma",
    "name=systemd",
    "misc",
];

/// The cgroup hierarchies of this host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hierarchies {
    pub v1: Vec<V1>,
    pub unified: Option<Unified>,
}

/// One v1 hierarchy.
#[derive(Debug, Clone, Default)]
pub(crate) struct V1 {
    /// `cpu`, `cpuacct`; or `name=systemd`.
    pub controllers: Vec<String>,
    pub mount: String,
    /// The caller's own cgroup, from /proc/self/cgroup.
    own: String,
    /// What of the hierarchy the mount shows, when mountinfo has been asked.
    root: Option<String>,
}

/// The v2 hierarchy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unified {
    pub mount: String,
    /// What its top has to give.
    pub controllers: Vec<String>,
    /// The caller's own cgroup, where it is known already.
    own: Option<String>,
}

impl Hierarchies {
    pub(crate) fn detect() -> Result<Self> {
        if is(ROOT, CGROUP2_SUPER_MAGIC) {
            return Ok(Self { v1: Vec::new(), unified: Some(Unified::at(ROOT, None)?) });
        }
        let own = file::read_kernel("/proc/self/cgroup").context(|| "read /proc/self/cgroup")?;
        let mut found = Self { v1: v1_at_usual_places(&own), unified: None };
        if found.v1.iter().any(|h| h.mount.is_empty()) {
            ask_mountinfo(&mut found.v1)?;
            found.v1.retain(|h| !h.mount.is_empty());
        }
        if is(HYBRID, CGROUP2_SUPER_MAGIC) {
            found.unified = Some(Unified::at(HYBRID, own_unified(&own))?);
        }
        Ok(found)
    }

    /// From what is known of a container's cgroups.
    pub(crate) fn of<'a>(
        v1: impl Iterator<Item = (&'a str, &'a [String])>,
        unified: Option<&str>,
    ) -> Result<Self> {
        let one = |(mount, controllers): (&str, &[String])| V1 {
            controllers: controllers.to_vec(),
            mount: mount.to_owned(),
            ..V1::default()
        };
        let unified = unified.map(|mount| Unified::at(mount, None)).transpose()?;
        Ok(Self { v1: v1.map(one).collect(), unified })
    }

    /// An error where there are no cgroups at all.
    pub(super) fn check_any(&self) -> Result<()> {
        if self.v1.is_empty() && self.unified.is_none() {
            bail!("no cgroup filesystem is mounted at {ROOT}");
        }
        Ok(())
    }

    /// v2 alone.
    pub(crate) fn is_unified(&self) -> bool {
        self.v1.is_empty() && self.unified.is_some()
    }

    pub(crate) fn has_unified(&self, controller: &str) -> bool {
        self.unified.as_ref().is_some_and(|u| u.controllers.iter().any(|c| c == controller))
    }

    pub(crate) fn v1_of(&self, controller: &str) -> Option<&V1> {
        self.v1.iter().find(|h| h.controllers.iter().any(|c| c == controller))
    }
}

impl V1 {
    /// The full path of the container's cgroup.
    pub(crate) fn place(&self, inner: &Inner) -> Result<String> {
        Ok(match inner {
            Inner::Absolute(path) => join(&self.mount, path),
            Inner::Relative(path) => join(&self.own_directory()?, path),
        })
    }

    /// The caller's own cgroup as a directory. Inside a container without a cgroup namespace the
    /// mount shows only a part of what /proc/self/cgroup names.
    fn own_directory(&self) -> Result<String> {
        if self.own == "/" {
            return Ok(self.mount.clone());
        }
        let shown_whole = || {
            stat("/proc/self/ns/cgroup").is_ok_and(|s| s.st_ino == FIRST_NAMESPACE)
                && stat(self.mount.as_str()).is_ok_and(|s| s.st_ino == 1)
        };
        let root = match &self.root {
            Some(root) => root.clone(),
            None if shown_whole() => "/".to_owned(),
            None => {
                let mut one = [self.clone()];
                ask_mountinfo(&mut one)?;
                one[0].root.clone().unwrap_or_else(|| "/".to_owned())
            }
        };
        let Some(below) = relative(&root, &self.own) else {
            bail!(
                "the caller's cgroup {} is not below {root}, which {} shows",
                self.own,
                self.mount
            );
        };
        Ok(join(&self.mount, below))
    }

    pub(crate) fn is_known(&self) -> bool {
        self.controllers.iter().any(|c| KNOWN.contains(&c.as_str()))
    }

    /// Whether failing to make or join it is left unsaid, as runc does.
    pub(crate) fn is_optional(&self) -> bool {
        self.controllers.iter().all(|c| UNLIMITED.contains(&c.as_str()))
    }
}

impl Unified {
    fn at(mount: &str, own: Option<String>) -> Result<Self> {
        let path = join(mount, "cgroup.controllers");
        let text = file::read_kernel(&path).context(|| format!("read {path}"))?;
        let controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
        Ok(Self { mount: mount.to_owned(), controllers, own })
    }

    /// The full path of the container's cgroup. A relative one is beside the caller's cgroup, not
    /// below: a cgroup with processes in it can't give controllers to its children.
    pub(crate) fn place(&self, inner: &Inner, hybrid: bool) -> Result<String> {
        let path = match inner {
            Inner::Absolute(path) => return Ok(join(&self.mount, path)),
            Inner::Relative(path) if hybrid => return Ok(join(&self.mount, path)),
            Inner::Relative(path) => path,
        };
        let own = match &self.own {
            Some(own) => own.clone(),
            None => file::read_kernel("/proc/self/cgroup")
                .context(|| "read /proc/self/cgroup")?
                .lines()
                .find_map(|line| line.strip_prefix("0::"))
                .ok_or_else(|| Error::text("/proc/self/cgroup names no v2 cgroup"))?
                .to_owned(),
        };
        let parent = own.rsplit_once('/').map_or("", |(parent, _)| parent);
        Ok(join(&join(&self.mount, parent), path))
    }
}

fn is(path: &str, magic: FsType) -> bool {
    statfs(path).is_ok_and(|s| s.filesystem_type() == magic)
}

/// One entry per line of /proc/self/cgroup; an empty mount where the usual place has none.
fn v1_at_usual_places(own: &str) -> Vec<V1> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            continue;
        }
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        let usual = join(ROOT, name);
        let mount = if is(&usual, CGROUP_SUPER_MAGIC) { usual } else { String::new() };
        found.push(V1 {
            controllers: controllers.split(',').map(str::to_owned).collect(),
            mount,
            own: own.to_owned(),
            root: None,
        });
    }
    found
}

/// Fills in mount points and roots; hierarchies that are mounted nowhere fall away in `detect`.
fn ask_mountinfo(hierarchies: &mut [V1]) -> Result<()> {
    let file =
        std::fs::File::open("/proc/self/mountinfo").context(|| "open /proc/self/mountinfo")?;
    let mounts = MountInfos::from_buf_read(BufReader::new(file))
        .map_err(|e| Error::text(e.to_string()))
        .context(|| "read /proc/self/mountinfo")?;
    fill(hierarchies, &mounts);
    Ok(())
}

fn fill(hierarchies: &mut [V1], mounts: &MountInfos) {
    for hierarchy in hierarchies {
        let first = hierarchy.controllers.first().map_or("", String::as_str);
        let shows = |options: &std::collections::HashMap<String, Option<String>>| match first
            .strip_prefix("name=")
        {
            Some(name) => options.get("name").and_then(Option::as_deref) == Some(name),
            None => options.contains_key(first),
        };
        let mount = mounts.iter().find(|m| {
            let at = Path::new(&hierarchy.mount);
            m.fs_type == "cgroup"
                && shows(&m.super_options)
                && (hierarchy.mount.is_empty() || m.mount_point == at)
        });
        if let Some(mount) = mount {
            hierarchy.mount = mount.mount_point.to_string_lossy().into_owned();
            hierarchy.root = Some(mount.root.clone());
        }
    }
}

fn own_unified(own: &str) -> Option<String> {
    own.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

#[cfg(any(test, fuzzing))]
impl Hierarchies {
    /// v2 alone with these controllers, the caller in `/user/session`.
    pub(crate) fn test_v2(controllers: &[&str]) -> Self {
        let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
        let own = Some("/user/session".to_owned());
        Self { v1: Vec::new(), unified: Some(Unified { mount: ROOT.to_owned(), controllers, own }) }
    }

    /// These v1 controllers, each in a hierarchy of its own, the caller in `/`.
    pub(crate) fn test_v1(controllers: &[&str]) -> Self {
        let one = |c: &&str| V1 {
            controllers: vec![(*c).to_owned()],
            mount: join(ROOT, c.trim_start_matches("name=")),
            own: "/".to_owned(),
            root: None,
        };
        Self { v1: controllers.iter().map(one).collect(), unified: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(controllers: &str, mount: &str, own: &str) -> V1 {
        V1 {
            controllers: controllers.split(',').map(str::to_owned).collect(),
            mount: mount.to_owned(),
            own: own.to_owned(),
            root: None,
        }
    }

    #[test]
    fn absolute_and_relative_places() {
        let h = hierarchy("memory", "/sys/fs/cgroup/memory", "/");
        let place = |path| h.place(&Inner::plan(path, "c1")).unwrap();
        assert_eq!(place("/docker/x"), "/sys/fs/cgroup/memory/docker/x");
        assert_eq!(place("pod/x"), "/sys/fs/cgroup/memory/pod/x");
        assert_eq!(place(""), "/sys/fs/cgroup/memory/c1");
    }

    #[test]
    fn relative_in_a_container_whose_mount_shows_a_part() {
        let text = "40 30 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                    41 30 0:32 / /cg/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";
        let mounts = MountInfos::from_buf_read(text.as_bytes()).unwrap();
        let mut list = [
            hierarchy("memory", "/sys/fs/cgroup/memory", "/docker/abc/sub"),
            hierarchy("name=systemd", "", "/init.scope"),
        ];
        fill(&mut list, &mounts);
        let inner = Inner::plan("c1", "");
        assert_eq!(list[0].place(&inner).unwrap(), "/sys/fs/cgroup/memory/sub/c1");
        assert_eq!(list[1].place(&inner).unwrap(), "/cg/systemd/init.scope/c1");
    }

    #[test]
    fn v2_relative_is_beside_the_caller() {
        let h = Hierarchies::test_v2(&["memory"]).unified.unwrap();
        let place = |path, hybrid| h.place(&Inner::plan(path, "c1"), hybrid).unwrap();
        assert_eq!(place("/a/b", false), "/sys/fs/cgroup/a/b");
        assert_eq!(place("", false), "/sys/fs/cgroup/user/c1");
        assert_eq!(place("", true), "/sys/fs/cgroup/c1");
    }

    #[test]
    fn this_host_is_understood() {
        match Hierarchies::detect() {
            Ok(found) => {
                if let Err(error) = found.check_any() {
                    println!("SKIP: {error}");
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}
