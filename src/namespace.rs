// SPDX-License-Identifier: Apache-2.0
//! `linux.namespaces`. `KINDS` has a row for each type; `Entry` is how a container's init gets into
//! its namespaces, decided before the clone; the child follows it with `enter`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sched::CloneFlags;

use crate::bail;
use crate::error::{Context, Result};
use crate::oci;
use crate::sync::{Ask, ChildLink};
use crate::sys::{self, Inside};

/// One type of namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// In config.json.
    pub oci: &'static str,
    /// In /proc/PID/ns.
    pub proc: &'static str,
    pub flag: u64,
    pub enter: Enter,
}

/// When a namespace of this kind can be entered.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Enter {
    /// New by clone3, joined by setns.
    AtClone,
    /// After the process is in its cgroup: that becomes the namespace's root.
    AfterPlacement,
    /// Takes effect on children only; the parent enters around the clone.
    BeforeClone,
}

const fn flag(flag: CloneFlags) -> u64 {
    flag.bits().cast_unsigned() as u64
}

pub(crate) const USER: Kind = Kind {
    oci: "user",
    proc: "user",
    flag: flag(CloneFlags::CLONE_NEWUSER),
    enter: Enter::AtClone,
};
pub(crate) const IPC: Kind =
    Kind { oci: "ipc", proc: "ipc", flag: flag(CloneFlags::CLONE_NEWIPC), enter: Enter::AtClone };
pub(crate) const UTS: Kind =
    Kind { oci: "uts", proc: "uts", flag: flag(CloneFlags::CLONE_NEWUTS), enter: Enter::AtClone };
pub(crate) const NETWORK: Kind = Kind {
    oci: "network",
    proc: "net",
    flag: flag(CloneFlags::CLONE_NEWNET),
    enter: Enter::AtClone,
};
pub(crate) const PID: Kind = Kind {
    oci: "pid",
    proc: "pid",
    flag: flag(CloneFlags::CLONE_NEWPID),
    enter: Enter::BeforeClone,
};
pub(crate) const MOUNT: Kind =
    Kind { oci: "mount", proc: "mnt", flag: flag(CloneFlags::CLONE_NEWNS), enter: Enter::AtClone };
pub(crate) const CGROUP: Kind = Kind {
    oci: "cgroup",
    proc: "cgroup",
    flag: flag(CloneFlags::CLONE_NEWCGROUP),
    enter: Enter::AfterPlacement,
};
/// `CLONE_NEWTIME`; clone3 takes it, but offsets must be written before the first process enters.
pub(crate) const TIME: Kind =
    Kind { oci: "time", proc: "time", flag: 0x80, enter: Enter::BeforeClone };

/// Every kind, in the order in which they are joined.
pub(crate) const KINDS: [&Kind; 8] = [&USER, &IPC, &UTS, &NETWORK, &PID, &MOUNT, &CGROUP, &TIME];

/// `linux.namespaces`, validated: for each kind absent, new, or joined by path.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// Flags of new ones.
    pub new: u64,
    /// Joined ones, opened.
    pub joined: Vec<(&'static Kind, OwnedFd)>,
}

impl Namespaces {
    /// Reads the list and opens the paths.
    ///
    /// # Errors
    /// An unknown type, a type named twice, a path that is not a namespace of its type.
    pub(crate) fn plan(list: &[oci::Namespace<'_>]) -> Result<Self> {
        let mut planned = Self::default();
        for (i, entry) in list.iter().enumerate() {
            let Some(kind) = KINDS.into_iter().find(|k| k.oci == &*entry.kind) else {
                bail!("linux.namespaces[{i}].type: unknown namespace {:?}", &*entry.kind);
            };
            if planned.has(kind) {
                bail!("malformed spec file: duplicated ns {:?} (linux.namespaces[{i}])", kind.oci);
            }
            if entry.path.is_empty() {
                planned.new |= kind.flag;
                continue;
            }
            if !entry.path.starts_with('/') {
                bail!("linux.namespaces[{i}].path: {:?} is not absolute", &*entry.path);
            }
            let fd = open(&entry.path, kind)
                .context(|| format!("linux.namespaces[{i}].path: open {:?}", &*entry.path))?;
            planned.joined.push((kind, fd));
        }
        planned.joined.sort_by_key(|(kind, _)| KINDS.iter().position(|k| k == kind));
        Ok(planned)
    }

    /// New or joined.
    pub(crate) fn has(&self, kind: &Kind) -> bool {
        self.is_new(kind) || self.joins(kind)
    }

    pub(crate) fn is_new(&self, kind: &Kind) -> bool {
        self.new & kind.flag != 0
    }

    pub(crate) fn joins(&self, kind: &Kind) -> bool {
        self.joined_fd(kind).is_some()
    }

    pub(crate) fn joined_fd(&self, kind: &Kind) -> Option<BorrowedFd<'_>> {
        self.joined.iter().find(|(k, _)| *k == kind).map(|(_, fd)| fd.as_fd())
    }

    /// How to get in.
    pub(crate) fn entry(self) -> Entry {
        Entry::compute(self, is_in_user_namespace())
    }
}

/// A namespace file, checked to be of its kind (`ioctl_ns(2)`).
fn open(path: &str, kind: &Kind) -> Result<OwnedFd> {
    let fd = nix::fcntl::open(
        path,
        nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )?;
    match sys::ns::kind(fd.as_fd()) {
        Ok(flag) if flag == kind.flag => Ok(fd),
        Ok(_) => bail!("not a {} namespace", kind.oci),
        Err(_) => bail!("not a namespace"),
    }
}

/// Whether this process is in another user namespace than the machine's first, which has a fixed
/// number (PROC_USER_INIT_INO): its root is not that of the machine. Parent side; asked once.
pub(crate) fn is_in_user_namespace() -> bool {
    const FIRST: &str = "user:[4026531837]";
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        std::fs::read_link("/proc/self/ns/user").is_ok_and(|name| name.as_os_str() != FIRST)
    })
}

/// How init gets into its namespaces.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// What clone3 makes.
    pub clone: u64,
    /// The parent enters this pid namespace around the clone; where it may not, because only the
    /// joined user namespace gives the right to, the child does and clones once more.
    pub pid: Option<OwnedFd>,
    /// The parent makes a new time namespace, with offsets, around the clone.
    pub new_time: bool,
    /// The child joins these, in order; the user namespace last, and after it what was refused before.
    pub join: Vec<(&'static Kind, OwnedFd)>,
    /// A user namespace is among those.
    pub joins_user: bool,
    /// The parent is in a user namespace, which may not own the pid and time namespaces that it would
    /// have to come back to: it enters nothing around the clone.
    pub is_nested: bool,
    /// The child makes a user namespace after joining, and asks for its maps.
    pub late_user: bool,
    /// The child makes these after that.
    pub late: u64,
    /// The child makes a time namespace, before it asks for its maps (and time offsets).
    pub child_time: bool,
    /// The child asks for its id maps and time offsets.
    pub needs_map: bool,
    /// A new cgroup namespace, after placement.
    pub cgroup: bool,
    /// The late ones hold a pid or time namespace: a second clone enters them.
    pub refork: bool,
}

impl Entry {
    /// Existing namespaces are joined with the caller's rights, so before a user namespace is entered
    /// (an ordinary user has none, and joins them after it); new ones are made after it, so that it
    /// owns them.
    fn compute(namespaces: Namespaces, is_nested: bool) -> Self {
        let new_user = namespaces.is_new(&USER);
        let joins_user = namespaces.joins(&USER);
        let cgroup = namespaces.is_new(&CGROUP);
        let others = namespaces.new & !CGROUP.flag & !USER.flag;
        let mut entry =
            Self { cgroup, needs_map: new_user, joins_user, is_nested, ..Self::default() };
        for (kind, fd) in namespaces.joined {
            if *kind == PID {
                entry.pid = Some(fd);
            } else {
                entry.join.push((kind, fd));
            }
        }
        entry.join.sort_by_key(|(kind, _)| **kind == USER);
        let joins_any = !entry.join.is_empty() || entry.pid.is_some();
        let time = others & TIME.flag != 0;
        if joins_user || (new_user && joins_any) {
            entry.late_user = new_user;
            entry.late = others & !TIME.flag;
            entry.child_time = time;
        } else if (new_user || is_nested) && time {
            // The time namespace must belong to the new user namespace, and the final process must
            // be the first of its pid namespace: both come with the second clone.
            entry.clone = (others & !(TIME.flag | PID.flag)) | (namespaces.new & USER.flag);
            entry.late = others & PID.flag;
            entry.child_time = true;
        } else {
            entry.clone = (others & !TIME.flag) | (namespaces.new & USER.flag);
            entry.new_time = time;
        }
        entry.refork = entry.child_time || entry.late & PID.flag != 0;
        entry.needs_map |= entry.child_time;
        entry
    }
}

/// Follows the entry as far as one process can: joins, the new user namespace with its maps, and
/// what is made late without a second clone. The cgroup namespace waits for the placement.
/// `owes_pid`: the parent was not allowed to enter the pid namespace.
pub(crate) fn enter(
    entry: &Entry,
    owes_pid: bool,
    root: Option<(u32, u32)>,
    link: &ChildLink,
    me: &Inside,
) -> Result<()> {
    join(entry, owes_pid, me)?;
    if entry.late_user {
        sys::ns::unshare(USER.flag, me).context(|| "make a user namespace")?;
    }
    if entry.child_time {
        sys::ns::unshare(TIME.flag, me).context(|| "make a time namespace")?;
    }
    if entry.needs_map {
        link.ask(Ask::Map)?;
    }
    if let Some((uid, gid)) = root {
        become_root(uid, gid, me)?;
    }
    if entry.late != 0 && !entry.refork {
        sys::ns::unshare(entry.late, me).context(|| "make namespaces")?;
    }
    Ok(())
}

/// What the user namespace owns, its owner may join from inside only; what a privileged caller brings
/// from elsewhere, from outside only. The kernel tells which is which.
fn join(entry: &Entry, owes_pid: bool, me: &Inside) -> Result<()> {
    let one = |kind: &Kind, fd: &OwnedFd| sys::ns::setns(fd.as_fd(), kind.flag, me);
    let doing = |kind: &Kind| format!("join the {} namespace", kind.oci);
    let mut refused = Vec::new();
    let pid = entry.pid.as_ref().filter(|_| owes_pid).map(|fd| (&PID, fd));
    for (kind, fd) in pid.into_iter().chain(entry.join.iter().map(|(kind, fd)| (*kind, fd))) {
        match one(kind, fd) {
            Err(Errno::EPERM) if entry.joins_user && *kind != USER => refused.push((kind, fd)),
            outcome => outcome.context(|| doing(kind))?,
        }
    }
    for (kind, fd) in refused {
        one(kind, fd).context(|| doing(kind))?;
    }
    Ok(())
}

/// In a user namespace this process is nobody until it takes an id that is mapped.
pub(crate) fn become_root(uid: u32, gid: u32, _: &Inside) -> Result<()> {
    let (uid, gid) = (nix::unistd::Uid::from_raw(uid), nix::unistd::Gid::from_raw(gid));
    nix::unistd::setresgid(gid, gid, gid)
        .context(|| format!("setresgid {gid} in the user namespace"))?;
    nix::unistd::setresuid(uid, uid, uid)
        .context(|| format!("setresuid {uid} in the user namespace"))?;
    Ok(())
}

/// Whether the process is in this process's own namespace of that kind.
pub(crate) fn is_own(pid: i32, kind: &Kind) -> Result<bool> {
    let read = |who: &str| {
        let path = format!("/proc/{who}/ns/{}", kind.proc);
        std::fs::read_link(&path).context(|| format!("read {path}"))
    };
    Ok(read("self")? == read(&pid.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/proc/self/ns/net").unwrap().into()
    }

    fn entry(new: &[&Kind], joined: &[&'static Kind]) -> Entry {
        let new = new.iter().fold(0, |flags, kind| flags | kind.flag);
        Entry::compute(
            Namespaces { new, joined: joined.iter().map(|k| (*k, fd())).collect() },
            false,
        )
    }

    /// (new, joined) → (clone, late, late_user, refork, parent's pid, new_time)
    #[test]
    fn the_truth_table_of_entry() {
        let plain = entry(&[&PID, &MOUNT, &NETWORK, &CGROUP], &[]);
        assert_eq!(plain.clone, PID.flag | MOUNT.flag | NETWORK.flag);
        assert!(plain.cgroup && !plain.refork && plain.late == 0 && !plain.needs_map);

        let user = entry(&[&USER, &PID, &MOUNT], &[]);
        assert_eq!(user.clone, USER.flag | PID.flag | MOUNT.flag);
        assert!(user.needs_map && !user.late_user && !user.refork);

        let pod = entry(&[&PID, &MOUNT], &[&NETWORK, &IPC, &UTS]);
        assert_eq!(pod.clone, PID.flag | MOUNT.flag);
        assert!(pod.join.len() == 3 && !pod.refork);

        let pod_user = entry(&[&USER, &PID, &MOUNT], &[&NETWORK]);
        assert_eq!((pod_user.clone, pod_user.late), (0, PID.flag | MOUNT.flag));
        assert!(pod_user.late_user && pod_user.needs_map && pod_user.refork);

        let pod_user_no_pid = entry(&[&USER, &MOUNT], &[&NETWORK]);
        assert!(pod_user_no_pid.late == MOUNT.flag && !pod_user_no_pid.refork);

        let joined_user = entry(&[&MOUNT], &[&USER, &NETWORK]);
        assert_eq!(joined_user.late, MOUNT.flag);
        assert_eq!(*joined_user.join.last().unwrap().0, USER);
        assert!(!joined_user.needs_map && joined_user.joins_user && !pod_user.joins_user);

        let joined_pid = entry(&[&MOUNT], &[&PID]);
        assert!(joined_pid.pid.is_some() && joined_pid.clone == MOUNT.flag && !joined_pid.refork);

        let time = entry(&[&TIME, &PID], &[]);
        assert!(time.new_time && time.clone == PID.flag && !time.refork);

        let time_user = entry(&[&TIME, &PID, &USER], &[]);
        assert!(!time_user.new_time && time_user.refork);
        assert!(time_user.child_time && time_user.late == PID.flag);

        let new = TIME.flag | PID.flag | MOUNT.flag;
        let nested = Entry::compute(Namespaces { new, joined: Vec::new() }, true);
        assert_eq!((nested.clone, nested.late), (MOUNT.flag, PID.flag));
        assert!(nested.child_time && nested.needs_map && nested.refork && !nested.new_time);
    }

    #[test]
    fn bad_namespaces_are_named() {
        let plan = |json: &str| {
            let list: Vec<oci::Namespace<'_>> = serde_json::from_str(json).unwrap();
            Namespaces::plan(&list).map(drop).unwrap_err().to_string()
        };
        assert_eq!(
            plan(r#"[{"type":"pid"},{"type":"pidd"}]"#),
            "linux.namespaces[1].type: unknown namespace \"pidd\""
        );
        assert_eq!(
            plan(r#"[{"type":"pid"},{"type":"pid"}]"#),
            "malformed spec file: duplicated ns \"pid\" (linux.namespaces[1])"
        );
        assert_eq!(
            plan(r#"[{"type":"ipc","path":"/proc/self/ns/uts"}]"#),
            "linux.namespaces[0].path: open \"/proc/self/ns/uts\": not a ipc namespace"
        );
        assert_eq!(
            plan(r#"[{"type":"ipc","path":"/nope"}]"#),
            "linux.namespaces[0].path: open \"/nope\": ENOENT: no such file or directory"
        );
    }
}
