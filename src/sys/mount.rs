// SPDX-License-Identifier: Apache-2.0
//! The descriptor-based mount calls: open_tree(2), move_mount(2), mount_setattr(2), fsopen(2),
//! fsconfig(2), fsmount(2). All of Linux 5.2, but mount_setattr (5.12).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// `MOUNT_ATTR_*`: attributes of a mount, as fsmount and mount_setattr take them.
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
    pub(crate) const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
    pub(crate) const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
    pub(crate) const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
    /// The mask of the access-time modes; zero in it is relatime.
    pub(crate) const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
    pub(crate) const RELATIME: u64 = libc::MOUNT_ATTR_RELATIME;
    pub(crate) const NOATIME: u64 = libc::MOUNT_ATTR_NOATIME;
    pub(crate) const STRICTATIME: u64 = libc::MOUNT_ATTR_STRICTATIME;
    pub(crate) const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
    pub(crate) const IDMAP: u64 = libc::MOUNT_ATTR_IDMAP;
    pub(crate) const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;
}

/// Whether a call works on one mount or on the whole tree below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    One,
    Tree,
}

impl Depth {
    fn at_flag(self) -> libc::c_uint {
        match self {
            Self::One => 0,
            Self::Tree => libc::AT_RECURSIVE.cast_unsigned(),
        }
    }
}

/// A detached copy of the mount (or tree) at `path`, as a bind mount makes it.
/// <https://man7.org/linux/man-pages/man2/open_tree.2.html>
pub(crate) fn open_tree(path: &CStr, depth: Depth, follow: bool) -> Result<OwnedFd, Errno> {
    let nofollow = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW.cast_unsigned() };
    open_tree_at(libc::AT_FDCWD, path, depth.at_flag() | nofollow)
}

/// As [`open_tree`], of a path that begins at the directory `dir`.
pub(crate) fn open_tree_in(
    dir: BorrowedFd<'_>,
    path: &CStr,
    depth: Depth,
    follow: bool,
) -> Result<OwnedFd, Errno> {
    let nofollow = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW.cast_unsigned() };
    open_tree_at(dir.as_raw_fd(), path, depth.at_flag() | nofollow)
}

/// As [`open_tree`], of what `fd` (O_PATH is enough) stands for.
pub(crate) fn open_tree_fd(fd: BorrowedFd<'_>, depth: Depth) -> Result<OwnedFd, Errno> {
    open_tree_at(fd.as_raw_fd(), c"", depth.at_flag() | libc::AT_EMPTY_PATH.cast_unsigned())
}

fn open_tree_at(dir: RawFd, path: &CStr, flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    let flags = flags | libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: `path` is a terminated string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) })
}

/// Attaches the mount `from` on top of what `to` stands for. Neither is looked up by name.
/// <https://man7.org/linux/man-pages/man2/move_mount.2.html>
pub(crate) fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount_at(from, to.as_raw_fd(), c"", libc::MOVE_MOUNT_T_EMPTY_PATH)
}

/// As [`move_mount`], to a path of the host's; a link at its end is not followed.
pub(crate) fn move_mount_to(from: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    move_mount_at(from, libc::AT_FDCWD, path, 0)
}

/// As [`move_mount`], to a name in the directory `dir`; a link is not followed.
pub(crate) fn move_mount_in(
    from: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    name: &CStr,
) -> Result<(), Errno> {
    move_mount_at(from, dir.as_raw_fd(), name, 0)
}

fn move_mount_at(
    from: BorrowedFd<'_>,
    dir: RawFd,
    path: &CStr,
    flags: libc::c_uint,
) -> Result<(), Errno> {
    let flags = flags | libc::MOVE_MOUNT_F_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: both strings are terminated and outlive the call.
    let r = unsafe {
        libc::syscall(libc::SYS_move_mount, from.as_raw_fd(), empty, dir, path.as_ptr(), flags)
    };
    Errno::result(r).map(drop)
}

/// What mount_setattr changes: bits to clear, then bits to set, and a propagation type (or 0).
#[derive(Debug, Default)]
pub(crate) struct Setattr<'a> {
    pub set: u64,
    pub clear: u64,
    /// One of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE.
    pub propagation: u64,
    /// The user namespace whose id maps the mount takes on; goes with `attr::IDMAP` in `set`.
    pub userns: Option<BorrowedFd<'a>>,
}

/// Changes the mount `fd`. ENOSYS before Linux 5.12; EPERM: a locked flag would be cleared.
/// <https://man7.org/linux/man-pages/man2/mount_setattr.2.html>
pub(crate) fn mount_setattr(
    fd: BorrowedFd<'_>,
    depth: Depth,
    change: &Setattr<'_>,
) -> Result<(), Errno> {
    let attr = libc::mount_attr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: change.userns.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    let flags = depth.at_flag() | libc::AT_EMPTY_PATH.cast_unsigned();
    // SAFETY: `attr` outlives the call, and the kernel reads `size` bytes of it.
    let r = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    Errno::result(r).map(drop)
}

/// A context for a new filesystem of type `kind`. ENODEV: the kernel knows no such type.
pub(crate) fn fsopen(kind: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: `kind` is a terminated string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) })
}

/// `key=value`; the kernel takes values of up to 255 bytes.
pub(crate) fn fsconfig_set_string(
    fs: BorrowedFd<'_>,
    key: &CStr,
    value: &CStr,
) -> Result<(), Errno> {
    fsconfig(fs, libc::FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr())
}

/// An option without a value.
pub(crate) fn fsconfig_set_flag(fs: BorrowedFd<'_>, key: &CStr) -> Result<(), Errno> {
    fsconfig(fs, libc::FSCONFIG_SET_FLAG, key.as_ptr(), std::ptr::null())
}

/// Makes the filesystem (or finds the existing one that the options name).
pub(crate) fn fsconfig_create(fs: BorrowedFd<'_>) -> Result<(), Errno> {
    fsconfig(fs, libc::FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())
}

fn fsconfig(
    fs: BorrowedFd<'_>,
    command: libc::fsconfig_command,
    key: *const libc::c_char,
    value: *const libc::c_char,
) -> Result<(), Errno> {
    // SAFETY: key and value are null or terminated strings of the callers above, which outlive the
    // call.
    let r = unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key, value, 0) };
    Errno::result(r).map(drop)
}

/// The made filesystem as a detached mount with these `attr` bits.
pub(crate) fn fsmount(fs: BorrowedFd<'_>, attr: u64) -> Result<OwnedFd, Errno> {
    let cloexec = libc::FSMOUNT_CLOEXEC;
    // SAFETY: no memory is passed.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), cloexec, attr) })
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(fd)?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The `ST_*` flags of the mount that `fd` lies on, as the kernel gives them (statfs(2), `f_flags`).
pub(crate) fn mount_flags(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: all-zero is a valid statvfs.
    let mut about: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: one statvfs is written, which outlives the call.
    Errno::result(unsafe { libc::fstatvfs(fd.as_raw_fd(), &raw mut about) })?;
    Ok(about.f_flag)
}

/// Whether `fd` is the root of a mount. EOPNOTSUPP: Linux before 5.8.
pub(crate) fn is_mount_root(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let flag = u64::from(libc::STATX_ATTR_MOUNT_ROOT.cast_unsigned());
    // SAFETY: all-zero is a valid statx.
    let mut about: libc::statx = unsafe { std::mem::zeroed() };
    let fd = fd.as_raw_fd();
    // SAFETY: the path is terminated, and one statx is written, which outlives the call.
    Errno::result(unsafe {
        libc::statx(fd, c"".as_ptr(), libc::AT_EMPTY_PATH, 0, &raw mut about)
    })?;
    if about.stx_attributes_mask & flag == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(about.stx_attributes & flag != 0)
}

/// The id of the mount that `fd` lies on. EOPNOTSUPP: Linux before 5.8.
pub(crate) fn mount_id(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: all-zero is a valid statx.
    let mut about: libc::statx = unsafe { std::mem::zeroed() };
    let (flags, mask) = (libc::AT_EMPTY_PATH, libc::STATX_MNT_ID);
    let fd = fd.as_raw_fd();
    // SAFETY: the path is terminated, and one statx is written, which outlives the call.
    Errno::result(unsafe { libc::statx(fd, c"".as_ptr(), flags, mask, &raw mut about) })?;
    if about.stx_mask & mask == 0 { Err(Errno::EOPNOTSUPP) } else { Ok(about.stx_mnt_id) }
}
