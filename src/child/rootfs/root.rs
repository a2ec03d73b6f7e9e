// SPDX-License-Identifier: Apache-2.0
//! `Root`: the container's root directory as a descriptor. Every path below it is resolved by
//! `openat2` with RESOLVE_IN_ROOT or one component at a time from descriptor to descriptor, so that
//! neither a symbolic link nor a rename race leads out of it (CVE-2024-45310, CVE-2021-30465).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};

use crate::sys::openat2::openat2;

/// As the kernel's own limit on a chain of links.
const MAX_LINKS: usize = 40;

/// Retries of one component that another process creates or removes at the same time.
const MAX_RACES: usize = 64;

/// What becomes of components that don't exist. Parents are always made as directories (0755).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Refuse,
    MakeDir,
    /// The last one becomes an empty file.
    MakeFile,
}

/// Which symbolic links are followed (always inside the root).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    /// All but the last component.
    KeepLast,
    /// None: ELOOP.
    Refuse,
}

/// A resolved place below the root.
#[derive(Debug)]
pub(super) struct Place {
    pub fd: OwnedFd,
    /// Where it is, free of links and dots, relative to the root.
    pub path: String,
    /// Whether it was there before.
    pub existed: bool,
}

#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// O_PATH descriptor of an existing `path`, links followed inside the root.
    pub(super) fn open(&self, path: &str) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        match openat2(self.fd(), or_dot(path), OFlag::O_PATH, resolve) {
            // Refused by a seccomp filter of the host's.
            Err(Errno::ENOSYS) => Ok(self.walk(path, Missing::Refuse, Links::Follow, || None)?.fd),
            other => other,
        }
    }

    /// O_PATH descriptor of an existing `path` that has no link in it (ELOOP).
    pub(super) fn open_exact(&self, path: &str) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS;
        match openat2(self.fd(), or_dot(path), OFlag::O_PATH, resolve) {
            Err(Errno::ENOSYS) => Ok(self.walk(path, Missing::Refuse, Links::Refuse, || None)?.fd),
            other => other,
        }
    }

    /// Finds or makes `path`, which has no dots. `missing` is asked only when something has to be
    /// made, as answering may cost a system call.
    pub(super) fn place(
        &self,
        path: &str,
        links: Links,
        missing: impl FnOnce() -> Missing,
    ) -> Result<Place, Errno> {
        match self.open_exact(path) {
            Ok(fd) => Ok(Place { fd, path: path.to_owned(), existed: true }),
            Err(Errno::ENOENT | Errno::ELOOP) => {
                let mut missing = Some(missing);
                self.walk(path, Missing::MakeDir, links, || missing.take().map(|ask| ask()))
            }
            Err(errno) => Err(errno),
        }
    }

    /// An existing `path`, which has no dots, and where it really is.
    pub(super) fn find(&self, path: &str, links: Links) -> Result<Place, Errno> {
        self.walk(path, Missing::Refuse, links, || None)
    }

    /// The directory that `path` is in, made if need be, and the last component.
    pub(super) fn parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), Errno> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(Errno::EINVAL);
        }
        Ok((self.place(dir, Links::Follow, || Missing::MakeDir)?.fd, name))
    }

    /// One component at a time. `last` overrides `missing` for the last component.
    fn walk(
        &self,
        path: &str,
        missing: Missing,
        links: Links,
        mut last: impl FnMut() -> Option<Missing>,
    ) -> Result<Place, Errno> {
        let mut walk = Walk { root: self.fd(), stack: Vec::new(), todo: components(path) };
        let (mut existed, mut followed, mut races) = (true, 0, 0);
        let mut leaf = None;
        while let Some(name) = walk.todo.pop() {
            if name == ".." {
                // Never above the root, and never by asking the kernel for "..".
                walk.stack.pop();
                continue;
            }
            let is_last = walk.todo.is_empty();
            let fd = match open_component(walk.here(), &name) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) if missing != Missing::Refuse && races < MAX_RACES => {
                    races += 1;
                    let kind = if is_last {
                        *leaf.get_or_insert_with(|| last().unwrap_or(missing))
                    } else {
                        Missing::MakeDir
                    };
                    existed = !make_component(walk.here(), &name, kind)? && existed;
                    walk.todo.push(name);
                    continue;
                }
                Err(errno) => return Err(errno),
            };
            if !is_kind(&fstat(&fd)?, SFlag::S_IFLNK) || (is_last && links == Links::KeepLast) {
                walk.stack.push((fd, name));
                continue;
            }
            followed += 1;
            if followed > MAX_LINKS || links == Links::Refuse {
                return Err(Errno::ELOOP);
            }
            walk.follow(&fd)?;
        }
        walk.finish(existed)
    }
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directories on the way here, below the root.
    stack: Vec<(OwnedFd, String)>,
    /// What is left, last component first.
    todo: Vec<String>,
}

impl Walk<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.stack.last().map_or(self.root, |(fd, _)| fd.as_fd())
    }

    /// Puts the target of the link in its place. A magic link of procfs is taken by its text.
    fn follow(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        let target = readlinkat(link, "")?;
        let target = target.to_str().ok_or(Errno::EILSEQ)?;
        if target.starts_with('/') {
            self.stack.clear();
        }
        self.todo.append(&mut components(target));
        Ok(())
    }

    fn finish(mut self, existed: bool) -> Result<Place, Errno> {
        let path = self.stack.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join("/");
        let fd = match self.stack.pop() {
            Some((fd, _)) => fd,
            None => self.root.try_clone_to_owned().map_err(|_| Errno::EMFILE)?,
        };
        Ok(Place { fd, path, existed })
    }
}

fn components(path: &str) -> Vec<String> {
    path.split('/').rev().filter(|c| !matches!(*c, "" | ".")).map(str::to_owned).collect()
}

fn or_dot(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

/// O_PATH of one component, a link itself if it is one.
pub(super) fn open_component(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    openat(dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// Whether this call made it; false when another process was faster.
pub(super) fn make_component(
    dir: BorrowedFd<'_>,
    name: &str,
    kind: Missing,
) -> Result<bool, Errno> {
    let made = match kind {
        Missing::Refuse => Err(Errno::ENOENT),
        Missing::MakeDir => mkdirat(dir, name, Mode::from_bits_truncate(0o755)),
        Missing::MakeFile => create_file(dir, name, 0o644).map(drop),
    };
    match made {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A new empty file; EEXIST if there is anything, a link included.
pub(super) fn create_file(dir: BorrowedFd<'_>, name: &str, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::from_bits_truncate(mode))
}

pub(super) fn is_kind(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == kind
}

/// `path` without `.`, `..` and double slashes, relative to the root: what a lexical reading makes
/// of a destination, as runc does before it looks at the disk.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
