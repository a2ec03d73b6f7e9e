// SPDX-License-Identifier: Apache-2.0
//! `process.user`: uid, gid, additionalGids, umask.
//! Child side, after the bounding set was dropped and before capset. `apply` keeps the permitted
//! capabilities over the change of user; capset, then execve, end that.

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{Mode, SFlag, fstat, major, minor, umask};
use nix::unistd::{Uid, fchown};

use crate::bail;
use crate::error::{Context, Result};
use crate::namespace::is_in_user_namespace;
use crate::oci;
use crate::sys::{self, Inside, fd, ids};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
    /// None: the caller's are kept. Rootless, as in runc, or because an annotation says so.
    groups: Option<Vec<u32>>,
    umask: Mode,
    /// In a user namespace whose groups may have been fixed (user_namespaces(7), setgroups "deny").
    groups_may_be_denied: bool,
}

/// What runc sets where the config says nothing; images rely on it.
const DEFAULT_UMASK: u32 = 0o022;

/// (uid_t)-1 and (gid_t)-1: setresuid(2) reads them as "leave it", which would keep root.
const NO_ID: u32 = u32::MAX;

impl User {
    /// `keeps_groups`: `run.oci.keep_original_groups`, with which nothing is said to setgroups(2).
    pub(crate) fn plan(
        user: &oci::User<'_>,
        has_user_namespace: bool,
        keeps_groups: bool,
    ) -> Result<Self> {
        if !user.username.is_empty() {
            bail!("process.user.username: {:?}: is for Windows", user.username);
        }
        if user.uid == NO_ID {
            bail!("process.user.uid: {NO_ID} is no user");
        }
        if user.gid == NO_ID {
            bail!("process.user.gid: {NO_ID} is no group");
        }
        if user.additional_gids.contains(&NO_ID) {
            bail!("process.user.additionalGids: {NO_ID} is no group");
        }
        let is_rootless = !Uid::effective().is_root();
        if is_rootless && !user.additional_gids.is_empty() {
            bail!("process.user.additionalGids: cannot be set in a rootless container");
        }
        Ok(Self {
            uid: user.uid,
            gid: user.gid,
            groups: (!is_rootless && !keeps_groups).then(|| user.additional_gids.clone()),
            umask: Mode::from_bits_truncate(user.umask.unwrap_or(DEFAULT_UMASK)),
            groups_may_be_denied: has_user_namespace || is_in_user_namespace(),
        })
    }

    /// The umask; device nodes and mount points are made before.
    pub(crate) fn set_umask(&self, _: &Inside) {
        umask(self.umask);
    }

    /// Standard streams become the user's, so that they can be opened again (a terminal above all).
    pub(crate) fn own_stdio(&self, _: &Inside) -> Result<()> {
        for (stream, name) in fd::stdio().into_iter().zip(["stdin", "stdout", "stderr"]) {
            let about = fstat(stream).context(|| format!("process.user.uid: fstat {name}"))?;
            if about.st_uid == self.uid || is_dev_null(&about) {
                continue;
            }
            match fchown(stream, Some(Uid::from_raw(self.uid)), None) {
                // The present owner is not mapped here, or the filesystem is read-only: the stream
                // works all the same.
                Ok(()) | Err(Errno::EPERM | Errno::EROFS) => {}
                Err(Errno::EINVAL) => return refuse("uid", self.uid, Errno::EINVAL),
                Err(errno) => {
                    return Err(errno).context(|| format!("process.user.uid: chown {name}"));
                }
            }
        }
        Ok(())
    }

    /// Groups, group, user: each would be forbidden after the next.
    pub(crate) fn apply(&self, _: &Inside) -> Result<()> {
        if let Some(groups) = &self.groups {
            match ids::setgroups(groups) {
                // All capabilities are still there, so only a "deny" can be the reason. runc goes
                // on too.
                Err(Errno::EPERM) if self.groups_may_be_denied => {}
                Err(Errno::EINVAL) if self.groups_may_be_denied => bail!(
                    "process.user.additionalGids: cannot setgroups to unmapped gids of {groups:?} \
                     in user namespace"
                ),
                other => other.context(|| "process.user.additionalGids: setgroups")?,
            }
        }
        ids::setgid(self.gid).or_else(|errno| refuse("gid", self.gid, errno))?;
        if self.uid != 0 {
            // Only the change from root to another clears the capabilities.
            sys::prctl(libc::PR_SET_KEEPCAPS, 1)
                .context(|| "process.user.uid: keep capabilities")?;
        }
        ids::setuid(self.uid).or_else(|errno| refuse("uid", self.uid, errno))
    }
}

fn refuse(property: &str, id: u32, errno: Errno) -> Result<()> {
    if errno == Errno::EINVAL {
        bail!(
            "process.user.{property}: cannot set{property} to unmapped {property} {id} in user namespace"
        );
    }
    Err(errno).context(|| format!("process.user.{property}: set{property} {id}"))
}

/// 1:3, by the descriptor: the container chooses its paths.
fn is_dev_null(about: &nix::sys::stat::FileStat) -> bool {
    about.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits()
        && (major(about.st_rdev), minor(about.st_rdev)) == (1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::inside;

    fn plan(user: &oci::User<'_>) -> Result<User> {
        User::plan(user, false, false)
    }

    #[test]
    fn minus_one_is_refused_everywhere() {
        let refusal = |user: &oci::User<'_>| plan(user).unwrap_err().to_string();
        let uid = oci::User { uid: NO_ID, ..Default::default() };
        assert_eq!(refusal(&uid), "process.user.uid: 4294967295 is no user");
        let gid = oci::User { gid: NO_ID, ..Default::default() };
        assert_eq!(refusal(&gid), "process.user.gid: 4294967295 is no group");
        let gids = oci::User { additional_gids: vec![5, NO_ID], ..Default::default() };
        assert_eq!(refusal(&gids), "process.user.additionalGids: 4294967295 is no group");
        let name = oci::User { username: "joe".into(), ..Default::default() };
        assert_eq!(refusal(&name), "process.user.username: \"joe\": is for Windows");
    }

    #[test]
    fn an_absent_umask_is_0022_and_zero_is_zero() {
        let umask = |umask| plan(&oci::User { umask, ..Default::default() }).unwrap().umask.bits();
        assert_eq!((umask(None), umask(Some(0)), umask(Some(0o77))), (0o022, 0, 0o077));
    }

    #[test]
    fn ids_groups_and_umask_are_taken_on() {
        if !Uid::effective().is_root() {
            println!("SKIP: needs root, to become another user");
            return;
        }
        let additional_gids = vec![30, 31];
        let user = oci::User {
            uid: 1000,
            gid: 100,
            umask: Some(0o27),
            additional_gids,
            ..Default::default()
        };
        let user = plan(&user).unwrap();
        inside(|me| {
            user.set_umask(me);
            user.apply(me)?;
            let status = std::fs::read_to_string("/proc/self/status")?;
            for line in ["Uid:\t1000\t1000\t1000\t1000", "Gid:\t100\t100\t100\t100", "Umask:\t0027"]
            {
                assert!(status.contains(line), "{line}: {status}");
            }
            assert!(status.contains("Groups:\t30 31"), "{status}");
            let kept = sys::capset::capget()?;
            assert_eq!(kept.effective, 0);
            assert_ne!(kept.permitted, 0);
            Ok(())
        });
    }

    #[test]
    fn an_unmapped_id_and_denied_groups_in_a_user_namespace() {
        inside(|me| {
            let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)?;
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
            let user = oci::User { uid: 5, ..Default::default() };
            let error = User::plan(&user, true, false)?.apply(me).unwrap_err();
            let text = "process.user.uid: cannot setuid to unmapped uid 5 in user namespace";
            assert_eq!(error.to_string(), text);
            User::plan(&oci::User::default(), true, false)?.apply(me)
        });
    }

    #[test]
    fn stdio_is_given_to_the_user_but_not_dev_null() {
        if !Uid::effective().is_root() {
            println!("SKIP: needs root, to give a file away");
            return;
        }
        let user = plan(&oci::User { uid: 1000, ..Default::default() }).unwrap();
        inside(|me| {
            let none = None::<&str>;
            let flags = nix::mount::MsFlags::empty();
            nix::mount::mount(Some("t"), "/mnt", Some("tmpfs"), flags, none)?;
            std::fs::write("/mnt/out", "")?;
            let out = std::fs::File::open("/mnt/out")?;
            let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
            use std::os::fd::AsFd;
            use std::os::unix::fs::MetadataExt;
            let owner = null.metadata()?.uid();
            fd::dup_to(null.as_fd(), 0)?;
            fd::dup_to(out.as_fd(), 1)?;
            user.own_stdio(me)?;
            assert_eq!(out.metadata()?.uid(), 1000);
            assert_eq!(null.metadata()?.uid(), owner);
            Ok(())
        });
    }
}
