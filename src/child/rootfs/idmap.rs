// SPDX-License-Identifier: Apache-2.0
//! `mounts[].uidMappings`, `mounts[].gidMappings`, and the options `idmap` and `ridmap`.
//! Parent side: the maps live in a user namespace of their own, which exists for its descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pause};

use super::options::Idmap;
use crate::bail;
use crate::error::{Context, Result};
use crate::oci::{self, IdMapping};
use crate::sys::clone::{CloneRequest, Fork, clone3};
use crate::sys::mount::{Depth, Setattr, attr, mount_setattr};
use crate::sys::pidfd::pidfd_send_signal;

/// The id maps that a mount takes on.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    userns: Rc<OwnedFd>,
    depth: Depth,
}

impl Mapped {
    /// Maps a detached mount.
    pub(super) fn set(&self, mount: BorrowedFd<'_>) -> Result<()> {
        let userns = Some(self.userns.as_fd());
        let change = Setattr { set: attr::IDMAP, userns, ..Setattr::default() };
        match mount_setattr(mount, self.depth, &change) {
            Err(errno @ Errno::ENOSYS) => Err(errno).context(|| "map ids by mount_setattr"),
            // Or the mount has id maps already, which is no better.
            Err(errno @ Errno::EINVAL) => Err(errno)
                .context(|| "uidMappings, gidMappings: its filesystem allows no id-mapped mounts"),
            other => other.context(|| "map ids"),
        }
    }
}

/// The container's own maps, which a mount takes on that names none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    pub uids: &'a [IdMapping],
    pub gids: &'a [IdMapping],
    /// A user namespace joined by path has maps that the config does not know.
    pub joined: Option<BorrowedFd<'a>>,
}

/// The user namespaces used so far, one for each pair of maps.
#[derive(Debug, Default)]
pub(super) struct Maps {
    joined: Option<Rc<OwnedFd>>,
    made: Vec<(Vec<IdMapping>, Vec<IdMapping>, Rc<OwnedFd>)>,
}

impl Maps {
    /// None: the mount is not mapped.
    pub(super) fn plan(
        &mut self,
        mount: &oci::Mount<'_>,
        option: Option<&Idmap>,
        container: Container<'_>,
    ) -> Result<Option<Mapped>> {
        let explicit = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
        if !explicit && option.is_none() {
            return Ok(None);
        }
        let depth = if option.is_some_and(|o| o.recursive) { Depth::Tree } else { Depth::One };
        let (uids, gids) = match option.and_then(|o| o.maps.as_deref()) {
            Some(_) if explicit => bail!(".options: idmap= beside uidMappings or gidMappings"),
            Some(maps) => custom(maps, (container.uids, container.gids))
                .context(|| format!(".options: idmap={maps}"))?,
            None if explicit => (mount.uid_mappings.clone(), mount.gid_mappings.clone()),
            None => match container.joined {
                Some(joined) => return Ok(Some(Mapped { userns: self.joined(joined)?, depth })),
                None => (container.uids.to_vec(), container.gids.to_vec()),
            },
        };
        if uids.is_empty() || gids.is_empty() {
            let missing = if uids.is_empty() { "uid" } else { "gid" };
            bail!(
                ".{missing}Mappings: id-mapped mounts must have both uid and gid mappings specified"
            );
        }
        Ok(Some(Mapped { userns: self.userns(uids, gids)?, depth }))
    }

    fn joined(&mut self, joined: BorrowedFd<'_>) -> Result<Rc<OwnedFd>> {
        let fd = match &self.joined {
            Some(fd) => Rc::clone(fd),
            None => Rc::new(joined.try_clone_to_owned()?),
        };
        Ok(Rc::clone(self.joined.insert(fd)))
    }

    fn userns(&mut self, uids: Vec<IdMapping>, gids: Vec<IdMapping>) -> Result<Rc<OwnedFd>> {
        if let Some((_, _, fd)) = self.made.iter().find(|(u, g, _)| *u == uids && *g == gids) {
            return Ok(Rc::clone(fd));
        }
        let fd = Rc::new(new_userns(&uids, &gids).context(|| "user namespace for the id maps")?);
        self.made.push((uids, gids, Rc::clone(&fd)));
        Ok(fd)
    }
}

/// crun's notation: `uids=0-1-10#10-11-10;gids=…`, inside-outside-size; with `@` the second number
/// counts from the container's own map.
fn custom(
    text: &str,
    container: (&[IdMapping], &[IdMapping]),
) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("uids", ranges)) => uids = custom_ranges(ranges, container.0)?,
            Some(("gids", ranges)) => gids = custom_ranges(ranges, container.1)?,
            _ => bail!("want uids= or gids=, not {part:?}"),
        }
    }
    Ok((uids, gids))
}

fn custom_ranges(text: &str, container: &[IdMapping]) -> Result<Vec<IdMapping>> {
    let mut ranges = Vec::new();
    for range in text.split('#').filter(|range| !range.is_empty()) {
        let (relative, numbers) = match range.strip_prefix('@') {
            Some(numbers) => (true, numbers),
            None => (false, range),
        };
        let numbers: Vec<u32> = numbers.split('-').map_while(|n| n.parse().ok()).collect();
        let [inside, outside, size] = numbers[..] else {
            bail!("want three numbers joined by '-', not {range:?}");
        };
        let host_id = if relative { shifted(inside, outside, container)? } else { outside };
        ranges.push(IdMapping { container_id: inside, host_id, size });
    }
    Ok(ranges)
}

fn shifted(inside: u32, outside: u32, container: &[IdMapping]) -> Result<u32> {
    let covers = |m: &&IdMapping| inside.checked_sub(m.container_id).is_some_and(|d| d < m.size);
    let Some(map) = container.iter().find(covers) else {
        bail!("id {inside} is not in the container's map");
    };
    let host = i64::from(outside) + i64::from(map.host_id) - i64::from(map.container_id);
    u32::try_from(host).map_err(|_| Errno::ERANGE.into())
}

/// A descriptor of a new user namespace with these maps.
fn new_userns(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    let flags = CloneFlags::CLONE_NEWUSER.into();
    match clone3(&CloneRequest { flags, cgroup: None })? {
        Fork::Child(_) => {
            // The parent may die at any time. EINVAL is impossible, and a failure costs a process.
            let _ = crate::sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
            loop {
                pause();
            }
        }
        Fork::Parent { child, pidfd } => {
            let opened = write_maps(child, uids, gids).and_then(|()| {
                Ok(OwnedFd::from(std::fs::File::open(format!("/proc/{child}/ns/user"))?))
            });
            pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL)?;
            waitpid(child, None)?;
            opened
        }
    }
}

fn write_maps(child: Pid, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    for (name, maps) in [("uid_map", uids), ("gid_map", gids)] {
        let text: String =
            maps.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect();
        let path = format!("/proc/{child}/{name}");
        std::fs::write(&path, &text).context(|| format!("{name} {:?}", text.trim_end()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn a_joined_user_namespace_is_the_map() {
        let fd = std::fs::File::open("/proc/self/ns/user").unwrap();
        let mount = oci::Mount::default();
        let option = Idmap { recursive: true, maps: None };
        let mut maps = Maps::default();
        let mut plan = |joined| {
            let container = Container { uids: &[], gids: &[], joined };
            maps.plan(&mount, Some(&option), container)
        };
        let first = plan(Some(fd.as_fd())).expect("valid").expect("mapped");
        let second = plan(Some(fd.as_fd())).expect("valid").expect("mapped");
        assert!(Rc::ptr_eq(&first.userns, &second.userns) && first.depth == Depth::Tree);
        assert_eq!(
            plan(None).unwrap_err().to_string(),
            ".uidMappings: id-mapped mounts must have both uid and gid mappings specified"
        );
    }

    #[test]
    fn crun_notation() {
        let container = [map(0, 0, 1), map(1, 2, 1000)];
        let both = (&container[..], &container[..]);
        let (uids, gids) = custom("uids=0-1-10#10-11-10;gids=0-100-10", both).expect("valid");
        assert_eq!(uids, [map(0, 1, 10), map(10, 11, 10)]);
        assert_eq!(gids, [map(0, 100, 10)]);
        assert_eq!(custom("uids=@1-3-10", both).expect("valid").0, [map(1, 4, 10)]);
    }

    #[test]
    fn crun_notation_refuses_what_it_cannot_read() {
        let text = |t: &str| custom(t, (&[], &[])).unwrap_err().to_string();
        assert_eq!(text("users=1-2-3"), "want uids= or gids=, not \"users=1-2-3\"");
        assert_eq!(text("uids=1-2"), "want three numbers joined by '-', not \"1-2\"");
        assert_eq!(text("uids=@5-1-1"), "id 5 is not in the container's map");
    }
}
