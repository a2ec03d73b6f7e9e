// SPDX-License-Identifier: Apache-2.0
//! `tmpcopyup`: what the destination holds is copied into the tmpfs before that covers it. From
//! descriptor to descriptor, following no link; the tmpfs is detached, so nobody else sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::error::{Context, Result};
use crate::sys::Inside;

/// Deeper trees than this are refused, so that descriptors do not run out.
const MAX_DEPTH: usize = 128;

/// Copies everything in `from` (O_PATH is enough) into the directory `to`.
pub(super) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>, _: &Inside) -> Result<()> {
    copy_dir(from, to, 0)
}

fn copy_dir(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(from, ".", flags, Mode::empty())?;
    let source = openat(from, ".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let copy = Copy { from: source.as_fd(), to, name };
        copy.entry(depth).context(|| format!("copy {}", name.to_string_lossy()))?;
    }
    Ok(())
}

struct Copy<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    name: &'a std::ffi::CStr,
}

impl Copy<'_> {
    fn entry(&self, depth: usize) -> Result<()> {
        let stat = fstatat(self.from, self.name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
        match kind {
            SFlag::S_IFDIR => {
                mkdirat(self.to, self.name, Mode::S_IRWXU)?;
                let (from, to) = (self.open_dir(self.from)?, self.open_dir(self.to)?);
                copy_dir(from.as_fd(), to.as_fd(), depth + 1)?;
            }
            SFlag::S_IFREG => self.file()?,
            SFlag::S_IFLNK => {
                let target = readlinkat(self.from, self.name)?;
                symlinkat(target.as_os_str(), self.to, self.name)?;
            }
            _ => mknodat(self.to, self.name, kind, mode, stat.st_rdev)?,
        }
        self.attributes(&stat, kind, mode)?;
        Ok(())
    }

    fn open_dir(&self, parent: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        openat(parent, self.name, flags, Mode::empty())
    }

    fn file(&self) -> Result<()> {
        let read = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mut from = std::fs::File::from(openat(self.from, self.name, read, Mode::empty())?);
        let mut to = std::fs::File::from(openat(self.to, self.name, write, Mode::S_IRUSR)?);
        std::io::copy(&mut from, &mut to)?;
        Ok(())
    }

    /// Owner first: chown drops set-id bits.
    fn attributes(&self, stat: &FileStat, kind: SFlag, mode: Mode) -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        fchownat(self.to, self.name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if kind != SFlag::S_IFLNK {
            // Nobody else reaches the detached tmpfs, so the name is still what was just made.
            fchmodat(self.to, self.name, mode, FchmodatFlags::FollowSymlink)?;
        }
        let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
        let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
        let nofollow = UtimensatFlags::NoFollowSymlink;
        utimensat(self.to, self.name, &accessed, &modified, nofollow)
    }
}
