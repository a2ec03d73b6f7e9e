// SPDX-License-Identifier: Apache-2.0
//! The hostile root: its making, and the process that keeps changing it. Both work from descriptor to
//! descriptor without following a link, so that what is changed outside was changed by the runtime.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat, openat2, renameat2};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::random::Random;

/// At every level, so that a link's target often has what its place had.
pub(crate) const NAMES: [&str; 12] =
    ["a", "b", "c", "dev", "proc", "sys", "null", "pts", "ptmx", "console", "secret", "deep"];

/// A random path of one to three names.
pub(crate) fn path(random: &mut Random) -> String {
    let depth = 1 + random.below(3);
    (0..depth).map(|_| format!("/{}", random.pick(&NAMES))).collect()
}

/// Where a link leads: the decoy on all ways, other parts of the root, the kernel's magic links.
fn target(random: &mut Random, decoy: &Path) -> String {
    let decoy = decoy.display();
    match random.below(12) {
        0..3 => decoy.to_string(),
        3 => format!("{decoy}/deep"),
        4 => format!("{decoy}/secret"),
        5 => format!("../../../../../../../../..{decoy}"),
        6 => format!("/proc/self/root{decoy}"),
        7 => format!("/proc/self/fd/{}", random.below(20)),
        8 => format!("{}{}", "../".repeat(random.below(5) as usize), random.pick(&NAMES)),
        9 => "/proc/self/cwd".to_owned(),
        10 => ["/", "..", "."][random.below(3) as usize].to_owned(),
        _ => path(random),
    }
}

/// Fills `root`, which has /bin and nothing else of importance.
pub(crate) fn fill(root: &Path, decoy: &Path, random: &mut Random) {
    let root = File::open(root).expect("the root");
    for _ in 0..60 {
        let path = path(random);
        change(root.as_fd(), &path, decoy, random);
    }
    // The places that every runtime goes to are there more often than not.
    for name in ["dev", "proc", "sys"] {
        if random.often(85) {
            put(root.as_fd(), name, decoy, random, 0);
        }
    }
}

/// The directory that `path` is in, without following a link; and the last name.
fn parent<'p>(root: BorrowedFd<'_>, path: &'p str) -> Result<(OwnedFd, &'p str), Errno> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = dir.trim_start_matches('/');
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY);
    let how = how.resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    Ok((openat2(root, if dir.is_empty() { "." } else { dir }, how)?, name))
}

/// Puts something at `path`, if its directory is there.
fn change(root: BorrowedFd<'_>, path: &str, decoy: &Path, random: &mut Random) {
    if let Ok((dir, name)) = parent(root, path) {
        // Half of them directories, so that the runtime gets far.
        let kind = random.below(14);
        put(dir.as_fd(), name, decoy, random, kind);
    }
}

/// Kind 0 to 7: a directory; 8, 9: a file; 10: a fifo; others: a link.
fn put(dir: BorrowedFd<'_>, name: &str, decoy: &Path, random: &mut Random, kind: u64) {
    let mode = Mode::from_bits_truncate(0o755);
    let flag = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(about) if about.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() => {
            UnlinkatFlags::RemoveDir
        }
        _ => UnlinkatFlags::NoRemoveDir,
    };
    // ENOENT, ENOTEMPTY, EBUSY: it stays as it is.
    let _ = unlinkat(dir, name, flag);
    let made = match kind {
        0..8 => mkdirat(dir, name, mode),
        8 | 9 => {
            openat(dir, name, OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW, mode).map(drop)
        }
        10 => mknodat(dir, name, SFlag::S_IFIFO, mode, 0),
        _ => symlinkat(target(random, decoy).as_str(), dir, name),
    };
    let _ = made;
}

/// The swapper's process, in the root: until its parent ends it. The decoy's path is in `TMPDIR`.
pub(crate) fn keep_swapping(seed: u64) {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).expect("prctl");
    let decoy = std::env::temp_dir().join("decoy");
    let root = File::open(".").expect("the root");
    let mut random = Random::new(seed);
    loop {
        let (one, other) = (path(&mut random), path(&mut random));
        if random.often(15) {
            change(root.as_fd(), &one, &decoy, &mut random);
            continue;
        }
        let (Ok((dir, name)), Ok((dir2, name2))) =
            (parent(root.as_fd(), &one), parent(root.as_fd(), &other))
        else {
            continue;
        };
        // Mostly back and forth, so that the tree keeps its shape.
        for _ in 0..1 + random.below(20) {
            let _ = renameat2(&dir, name, &dir2, name2, RenameFlags::RENAME_EXCHANGE);
            for _ in 0..random.below(2000) {
                std::hint::spin_loop();
            }
        }
    }
}
