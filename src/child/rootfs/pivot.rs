// SPDX-License-Identifier: Apache-2.0
//! `root.path` and `linux.rootfsPropagation`: from the host's root to the container's.

use std::cell::RefCell;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use super::Request;
use super::attributes::propagate;
use super::options::{MS_REC, propagation};
use super::root::Root;
use crate::bail;
use crate::error::{Context, Result};
use crate::oci;
use crate::sys::Inside;
use crate::sys::mount::{Depth, move_mount, move_mount_to, open_tree_fd};
use crate::sys::openat2::openat2;

/// `root.path`, looked up once in the parent. The clone must find the same directory there.
#[derive(Debug)]
pub(crate) struct HostRoot {
    /// Absolute, without dots.
    pub path: PathBuf,
    /// Until the plan of the pivot takes it.
    fd: RefCell<Option<OwnedFd>>,
}

#[derive(Debug)]
pub(super) struct Pivot {
    path: CString,
    /// What `path` was when it was checked.
    checked: RefCell<Option<OwnedFd>>,
    /// For the whole mount namespace, before the root is bound; MS_* bits.
    before: u64,
    /// For the mounts on the way to the root: never shared.
    parent: u64,
    /// For the container's root, when it is `/`.
    after: Option<u64>,
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    PivotRoot,
    /// `--no-pivot`, for a root on a ramfs.
    Move,
    /// No mount namespace of its own.
    Chroot,
}

impl HostRoot {
    /// Of a container that has it mounted already: nothing is looked up.
    pub(super) fn mounted(path: &Path) -> Self {
        Self { path: path.to_owned(), fd: RefCell::new(None) }
    }

    /// `root.path` exists, is a directory, and no symbolic link leads to it (runc's rule).
    pub(crate) fn open(spec: &oci::Spec<'_>, bundle: &Path) -> Result<Self> {
        let root = spec.root.as_ref().expect("rules::check wants a root");
        let path = crate::bundle::clean(&bundle.join(root.path.as_str()));
        let named = format!("root.path: {path:?}");
        match open_exact(&path) {
            Err(Errno::ELOOP) if path.is_symlink() => bail!("{named} is a symbolic link"),
            Err(Errno::ELOOP) => bail!("{named} leads through a symbolic link"),
            other => {
                let fd = RefCell::new(Some(other.context(|| named)?));
                Ok(Self { path, fd })
            }
        }
    }
}

/// O_PATH descriptor of a directory of the host's; ELOOP for any symbolic link on the way.
fn open_exact(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match openat2(AT_FDCWD, path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS) {
        // KERNEL(5.6): drop when openat2 can be assumed.
        Err(Errno::ENOSYS) => {
            let text = path.to_str().ok_or(Errno::EILSEQ)?;
            let fd = Root::new(open("/", flags, Mode::empty())?).open_exact(text)?;
            let is_dir = super::root::is_kind(&fstat(&fd)?, nix::sys::stat::SFlag::S_IFDIR);
            if is_dir { Ok(fd) } else { Err(Errno::ENOTDIR) }
        }
        other => other,
    }
}

impl Pivot {
    pub(super) fn plan(spec: &oci::Spec<'_>, request: &Request<'_>) -> Result<Self> {
        let written = spec.linux.as_ref().map_or("", |linux| &linux.rootfs_propagation);
        let wanted = match written {
            "" => 0,
            name => match propagation(name) {
                Some(bits) => bits,
                None => bail!("linux.rootfsPropagation: {name:?} is not supported"),
            },
        };
        let way = match (request.mount_namespace, request.no_pivot) {
            (false, _) => Way::Chroot,
            (true, true) => Way::Move,
            (true, false) => Way::PivotRoot,
        };
        if request.no_pivot && wanted & libc::MS_PRIVATE != 0 {
            bail!("linux.rootfsPropagation: [r]private is not safe without pivot_root");
        }
        let is_quiet = wanted & (libc::MS_PRIVATE | libc::MS_SLAVE) != 0;
        Ok(Self {
            path: crate::sys::cstring(request.root.path.as_os_str().as_encoded_bytes())?,
            checked: RefCell::new(request.root.fd.take()),
            before: if wanted == 0 { libc::MS_SLAVE | MS_REC } else { wanted },
            parent: if wanted & libc::MS_SLAVE == 0 { libc::MS_PRIVATE } else { libc::MS_SLAVE },
            after: (wanted != 0 && !is_quiet).then_some(wanted),
            way,
        })
    }

    pub(super) fn path(&self) -> &CString {
        &self.path
    }

    /// The root as it was when it was checked, for `check`.
    pub(super) fn look(&self) -> Result<OwnedFd, Errno> {
        match &*self.checked.borrow() {
            Some(fd) => fd.try_clone().map_err(|_| Errno::EMFILE),
            None => Err(Errno::ENOENT),
        }
    }

    /// Binds the root onto itself; the copy is the container's root from here on.
    pub(super) fn bind_root(&self, _: &Inside) -> Result<Root> {
        if self.way != Way::Chroot {
            let none = None::<&str>;
            let bits = MsFlags::from_bits_retain(self.before);
            mount(none, "/", none, bits, none).context(|| "linux.rootfsPropagation")?;
            if !self.is_all_slave_or_private() {
                self.quieten_parent().context(|| "linux.rootfsPropagation: parent of the root")?;
            }
        }
        let doing = || format!("bind root {}", self.path.to_string_lossy());
        let place = self.place().context(doing)?;
        let root = match open_tree_fd(place.as_fd(), Depth::Tree) {
            Err(errno @ Errno::ENOSYS) => {
                let needs = "open_tree and its like: creel needs Linux 5.10, and a host whose seccomp filter lets them through";
                return Err(errno).context(|| needs);
            }
            other => other.context(doing)?,
        };
        move_mount(root.as_fd(), place.as_fd()).context(doing)?;
        propagate(root.as_fd(), self.parent).context(doing)?;
        Ok(Root::new(root))
    }

    /// The directory that was checked, as it is found in the clone's mount namespace.
    fn place(&self) -> Result<OwnedFd> {
        let path = Path::new(self.path.to_str().map_err(|_| Errno::EILSEQ)?);
        let place = open_exact(path)?;
        let checked = self.checked.take().expect("a clone binds its root once");
        let (here, there) = (fstat(&place)?, fstat(&checked)?);
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino) {
            bail!("another directory has taken its place");
        }
        Ok(place)
    }

    fn is_all_slave_or_private(&self) -> bool {
        self.before & MS_REC != 0 && self.before & (libc::MS_SLAVE | libc::MS_PRIVATE) != 0
    }

    /// pivot_root refuses a shared parent, and the bind would appear on the host. Walks up to the
    /// mount that the root is on.
    fn quieten_parent(&self) -> Result<(), Errno> {
        let path = Path::new(self.path.to_str().map_err(|_| Errno::EILSEQ)?);
        for path in path.ancestors() {
            let bits = MsFlags::from_bits_retain(self.parent);
            match mount(None::<&str>, path, None::<&str>, bits, None::<&str>) {
                // Not a mount point.
                Err(Errno::EINVAL) => {}
                other => return other,
            }
        }
        Err(Errno::EINVAL)
    }

    /// Makes `root` the root of the process, and lets go of the host's files.
    pub(super) fn enter(&self, root: BorrowedFd<'_>, _: &Inside) -> Result<()> {
        match self.way {
            Way::PivotRoot => self.pivot().context(|| "pivot_root")?,
            Way::Move => {
                self.cover_procfs_and_sysfs().context(|| "--no-pivot")?;
                move_mount_to(root, c"/").context(|| "--no-pivot: move root")?;
                enter_chroot(root).context(|| "--no-pivot: chroot")?;
            }
            Way::Chroot => enter_chroot(root).context(|| "chroot")?,
        }
        match self.after {
            Some(bits) if bits & libc::MS_UNBINDABLE == 0 => Self::propagate(root, bits),
            _ => Ok(()),
        }
    }

    /// What would have been in the way of read-only and masked paths, which are bind mounts.
    pub(super) fn finish(&self, root: BorrowedFd<'_>, _: &Inside) -> Result<()> {
        match self.after {
            Some(bits) if bits & libc::MS_UNBINDABLE != 0 => Self::propagate(root, bits),
            _ => Ok(()),
        }
    }

    fn propagate(root: BorrowedFd<'_>, bits: u64) -> Result<()> {
        propagate(root, bits).context(|| "linux.rootfsPropagation")
    }

    /// pivot_root(2)'s way without a directory for the old root: it ends up on top of the new one,
    /// which is the working directory.
    fn pivot(&self) -> Result<(), Errno> {
        let old = if self.is_all_slave_or_private() {
            None
        } else {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            Some(open("/", flags, Mode::empty())?)
        };
        pivot_root(".", ".")?;
        if let Some(old) = old {
            // Unmounting must not reach the host. Slave, not private: a private copy would keep
            // busy what the host unmounts meanwhile.
            propagate(old.as_fd(), libc::MS_SLAVE | MS_REC)?;
            fchdir(&old)?;
        }
        umount2(".", MntFlags::MNT_DETACH)?;
        chdir("/")
    }

    /// With chroot the host's mounts stay reachable in the namespace, and a full procfs or sysfs
    /// among them would allow a user namespace in the container to mount an unmasked one.
    fn cover_procfs_and_sysfs(&self) -> Result<()> {
        let own = self.path.to_string_lossy();
        let none = None::<&str>;
        for at in full_procfs_and_sysfs(&std::fs::read_to_string("/proc/self/mountinfo")?, &own) {
            let at = at.as_str();
            match mount(none, at, none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none) {
                // It was below one that is gone.
                Err(Errno::ENOENT) => continue,
                other => other.context(|| at.to_owned())?,
            }
            match umount2(at, MntFlags::MNT_DETACH) {
                Err(Errno::EINVAL | Errno::EPERM) => {
                    let tmpfs = Some("tmpfs");
                    mount(tmpfs, at, tmpfs, MsFlags::empty(), none).context(|| at.to_owned())?;
                }
                other => other.context(|| at.to_owned())?,
            }
        }
        Ok(())
    }
}

fn enter_chroot(root: BorrowedFd<'_>) -> Result<(), Errno> {
    fchdir(root)?;
    chroot(".")?;
    chdir("/")
}

/// The mount points outside `own` of whole procfs and sysfs filesystems.
fn full_procfs_and_sysfs(mountinfo: &str, own: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
        let mut fields = mount.split(' ').skip(3);
        let (Some(root), Some(at)) = (fields.next(), fields.next()) else { continue };
        let kind = filesystem.split(' ').next().unwrap_or_default();
        let at = unescape(at);
        if root == "/" && matches!(kind, "proc" | "sysfs") && !at.starts_with(own) {
            found.push(at);
        }
    }
    found
}

/// mountinfo writes blanks and backslashes as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => plain.push_str(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_mounts_outside_the_root() {
        let text = "22 27 0:21 / /proc rw - proc proc rw\n\
                    23 27 0:22 / /a\\040b rw shared:1 - sysfs sysfs rw\n\
                    24 27 0:21 /sys /c rw - proc proc rw\n\
                    25 27 0:21 / /root/proc rw - proc proc rw\n\
                    26 27 0:6 / /dev rw - devtmpfs devtmpfs rw\n";
        assert_eq!(full_procfs_and_sysfs(text, "/root"), ["/proc", "/a b"]);
    }
}
