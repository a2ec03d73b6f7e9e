// SPDX-License-Identifier: Apache-2.0
//! Handing a v2 cgroup over: where the container has a user and a cgroup namespace of its own and a
//! writable view of its cgroup, whoever runs in it may make cgroups below (cgroups(7), delegation).

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Uid, fchownat};

use super::dir::Dir;
use crate::error::{Context, Result};
use crate::log;
use crate::oci::{Linux, Mount, Spec};

/// The kernel's list of files that belong to whoever a cgroup is delegated to.
const DELEGATE: &str = "/sys/kernel/cgroup/delegate";
/// KERNEL(4.15): what is in it at least; drop when 4.15 can be assumed.
const AT_LEAST: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";

const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// The host's id of the container's user, if it is to own the cgroup.
pub(crate) fn plan(spec: &Spec<'_>, linux: &Linux<'_>) -> Option<u32> {
    let has_new =
        |kind: &str| linux.namespaces.iter().any(|ns| ns.kind == kind && ns.path.is_empty());
    if !has_new("cgroup") || !spec.mounts.iter().any(is_writable_view) {
        return None;
    }
    let uid = spec.process.as_ref()?.user.uid;
    linux.uid_mappings.iter().find_map(|map| {
        let offset = uid.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
        map.host_id.checked_add(offset)
    })
}

fn is_writable_view(mount: &Mount<'_>) -> bool {
    let access = mount.options.iter().rev().find(|o| ["ro", "rro", "rw"].contains(&o.as_str()));
    ["cgroup", "cgroup2"].contains(&mount.kind.as_str())
        && mount.destination == MOUNT_POINT
        && access.is_none_or(|option| *option == "rw")
}

/// Gives the directory and the files of the kernel's list to `owner`. An ordinary user can give them
/// to nobody else, and is not asked to.
pub(super) fn hand_over(dir: &Dir, owner: u32, rootless: bool) -> Result<()> {
    let list = std::fs::read_to_string(DELEGATE).unwrap_or_else(|_| AT_LEAST.to_owned());
    let owner = Some(Uid::from_raw(owner));
    for file in std::iter::once("").chain(list.lines()) {
        match fchownat(
            dir,
            file,
            owner,
            None,
            AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW,
        ) {
            // The controller is not enabled here.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EPERM) if rootless => {
                log::debug(|| format!("{}/{file} keeps its owner", dir.path()));
            }
            Err(errno) => {
                return Err(errno).context(|| format!("change the owner of {}/{file}", dir.path()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci;

    fn owner(uid: u32, options: &str, namespaces: &str) -> Option<u32> {
        let text = format!(
            r#"{{"process": {{"user": {{"uid": {uid}}}}},
                "mounts": [{{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": {options}}}],
                "linux": {{"namespaces": [{namespaces}],
                    "uidMappings": [{{"containerID": 0, "hostID": 100000, "size": 10}},
                                    {{"containerID": 100, "hostID": 500, "size": 10}}]}}}}"#
        );
        let spec: Spec<'_> = oci::parse(&text).expect("a test's JSON");
        plan(&spec, spec.linux.as_ref().expect("linux"))
    }

    #[test]
    fn only_a_writable_view_in_namespaces_of_its_own_is_handed_over() {
        let both = r#"{"type": "user"}, {"type": "cgroup"}"#;
        assert_eq!(owner(0, r#"["nosuid"]"#, both), Some(100_000));
        assert_eq!(owner(0, r#"["ro", "rw"]"#, both), Some(100_000));
        assert_eq!(owner(105, "[]", both), Some(505));
        assert_eq!(owner(0, r#"["ro"]"#, both), None);
        assert_eq!(owner(0, "[]", r#"{"type": "user"}"#), None);
        let joined = r#"{"type": "user"}, {"type": "cgroup", "path": "/proc/1/ns/cgroup"}"#;
        assert_eq!(owner(0, "[]", joined), None);
        assert_eq!(owner(50, "[]", both), None);
    }
}
