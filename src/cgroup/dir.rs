// SPDX-License-Identifier: Apache-2.0
//! An open cgroup directory: its files are read and written by name below one descriptor, so that
//! a path is resolved once. A file name never holds a slash (hugetlb page sizes and `unified` keys
//! come from config.json), so nothing outside the directory can be reached.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::dir::{Dir as Listing, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
use nix::sys::uio::pread;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Context, Result};
use crate::file;
use crate::sys::openat2::openat2;

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// A directory of a cgroup filesystem.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: String,
}

impl Dir {
    /// ENOTSUP: the path is not on a cgroup filesystem (something is mounted over it).
    pub(crate) fn open(path: &str) -> Result<Self, Errno> {
        let fd = openat(AT_FDCWD, path, DIRECTORY, Mode::empty())?;
        check_cgroupfs(&fd)?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// A directory below this one; `name` may have several parts.
    pub(crate) fn below(&self, name: &str) -> Result<Self, Errno> {
        self.open_below(name, DIRECTORY)
    }

    /// As `below`, for bpf(2), which O_PATH is not enough for.
    pub(crate) fn readable_below(&self, name: &str) -> Result<Self, Errno> {
        self.open_below(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
    }

    fn open_below(&self, name: &str, flags: OFlag) -> Result<Self, Errno> {
        let fd = openat(&self.fd, name, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
        Ok(Self { fd, path: format!("{}/{name}", self.path) })
    }

    /// Makes a directory; its parent must exist. False: it was there before.
    pub(crate) fn mkdir(&self, name: &str) -> Result<bool, Errno> {
        match mkdirat(&self.fd, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn rmdir(&self, name: &str) -> Result<(), Errno> {
        unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir)
    }

    /// The names of the cgroups directly below.
    pub(crate) fn children(&self) -> Result<Vec<String>, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut names = Vec::new();
        for entry in Listing::openat(&self.fd, ".", flags, Mode::empty())?.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if entry.file_type() != Some(Type::Directory) || name == b"." || name == b".." {
                continue;
            }
            names.push(String::from_utf8_lossy(name).into_owned());
        }
        Ok(names)
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Opens a file of the cgroup; EINVAL if the name is not a plain file name.
    pub(crate) fn file(&self, name: &str, flags: OFlag) -> Result<File, Errno> {
        if name.is_empty() || name.contains('/') {
            return Err(Errno::EINVAL);
        }
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = openat(&self.fd, name, flags, Mode::empty())?;
        Ok(File(fd))
    }

    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), Errno> {
        self.file(file, OFlag::O_WRONLY)?.write(value)
    }

    pub(crate) fn read(&self, file: &str) -> Result<String, Errno> {
        self.file(file, OFlag::O_RDONLY)?.read()
    }

    /// As `read`, with the file named in the error.
    pub(crate) fn read_named(&self, file: &str) -> Result<String> {
        self.read(file).context(|| format!("read {}/{file}", self.path))
    }

    /// The content, or None when the kernel has no such file (or the cgroup has just gone).
    pub(crate) fn read_if_any(&self, file: &str) -> Result<Option<String>> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::ENOENT | Errno::ENODEV | Errno::ENOTSUP) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("read {}/{file}", self.path)),
        }
    }
}

fn check_cgroupfs(fd: &OwnedFd) -> Result<(), Errno> {
    let magic = fstatfs(fd)?.filesystem_type();
    if magic == CGROUP_SUPER_MAGIC || magic == CGROUP2_SUPER_MAGIC {
        Ok(())
    } else {
        Err(Errno::ENOTSUP)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The mounts of cgroup filesystems, each opened and checked once: for files of many cgroups.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<(String, Dir)>);

impl Mounts {
    /// A file below the mount, for reading; None where it cannot be had so.
    pub(super) fn file(&mut self, mount: &str, path: &str) -> Option<File> {
        let at = match self.0.iter().position(|(known, _)| known == mount) {
            Some(at) => at,
            None => {
                self.0.push((mount.to_owned(), Dir::open(mount).ok()?));
                self.0.len() - 1
            }
        };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW;
        let resolve = ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
        openat2(self.0[at].1.as_fd(), path, flags, resolve).ok().map(File)
    }
}

/// An open file of a cgroup. One `write` is one write(2): the kernel takes values whole.
#[derive(Debug)]
pub(crate) struct File(OwnedFd);

impl File {
    /// One file alone, for reading. ENOTSUP as of `Dir::open`.
    pub(crate) fn open(path: &str) -> Result<Self, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = openat(AT_FDCWD, path, flags, Mode::empty())?;
        check_cgroupfs(&fd)?;
        Ok(Self(fd))
    }

    /// A value that is shorter than `buffer` by its nature.
    pub(crate) fn read_into<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        file::read_short(&self.0, buffer)
    }

    pub(crate) fn write(&self, value: &str) -> Result<(), Errno> {
        // An empty write would not reach the kernel's handler; a line end is an empty value.
        let value = if value.is_empty() { "\n" } else { value };
        loop {
            match nix::unistd::write(&self.0, value.as_bytes()) {
                Ok(n) if n == value.len() => return Ok(()),
                Ok(_) => return Err(Errno::EIO),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The whole content as of now.
    pub(crate) fn read(&self) -> Result<String, Errno> {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match pread(&self.0, &mut buffer, i64::try_from(text.len()).unwrap_or(i64::MAX)) {
                Ok(n) => {
                    text.extend_from_slice(&buffer[..n]);
                    if file::was_last(n, buffer.len()) {
                        return String::from_utf8(text).map_err(|_| Errno::EILSEQ);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Sleeps until the kernel says that the content has changed; false when time was up first.
    pub(crate) fn wait_change(&self, deadline: Instant) -> Result<bool, Errno> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut fds, timeout) {
                Ok(n) => return Ok(n > 0),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The number behind `key` in lines of `key value`.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
}

/// Waits by the events file until `key` has `value`; ENOENT and ENODEV when the cgroup is gone.
pub(crate) fn wait_event(dir: &Dir, key: &str, value: u64, limit: Duration) -> Result<bool, Errno> {
    let deadline = Instant::now() + limit;
    let events = dir.file("cgroup.events", OFlag::O_RDONLY)?;
    loop {
        if keyed(&events.read()?, key) == Some(value) {
            return Ok(true);
        }
        if !events.wait_change(deadline)? {
            return Ok(keyed(&events.read()?, key) == Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_finds_the_whole_key_only() {
        let text = "oom 3\noom_kill 2\nmax 7\n";
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "oom_k"), None);
    }

    #[test]
    fn a_directory_off_cgroupfs_is_refused() {
        assert_eq!(Dir::open("/").map(drop), Err(Errno::ENOTSUP));
    }
}
