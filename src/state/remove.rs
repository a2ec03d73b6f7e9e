// SPDX-License-Identifier: Apache-2.0
//! Removing a state directory that is open. What is in it goes by its descriptor, never by its path: at that
//! there may be the directory of another container of the same id by now, whose files must stay.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Context, Result};

/// How often it is emptied again: a `create` that is being deleted may write one more file before it notices.
const TRIES: u32 = 20;

/// The directory and all that is in it; gone already is fine.
pub(crate) fn remove(dir: impl AsFd, path: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        empty(&dir).context(|| format!("remove what is in {path:?}"))?;
        match remove_empty(path) {
            // Another's: what was ours has been removed already.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) if !is_at(&dir, path) => return Ok(()),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) if tries < TRIES => tries += 1,
            removed => return removed.context(|| format!("remove {path:?}")),
        }
    }
}

/// Harmless, whoever's it is: a `create` that has made it and has written nothing yet says ENOENT.
pub(super) fn remove_empty(path: &Path) -> Result<(), Errno> {
    match unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed,
    }
}

/// Whether the path leads to this directory.
pub(crate) fn is_at(dir: impl AsFd, path: &Path) -> bool {
    let (here, there) = (fstat(dir), stat(path));
    matches!((here, there), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn empty(dir: impl AsFd) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    // Anew: the position in the list is of the open file.
    let mut list = match Dir::openat(&dir, ".", flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(()),
        opened => opened?,
    };
    for entry in list.iter() {
        let entry = match entry {
            // It has been removed itself.
            Err(Errno::ENOENT) => return Ok(()),
            entry => entry?,
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(errno),
        }
        let below: OwnedFd = openat(&dir, name, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
        empty(&below)?;
        match unlinkat(&dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let base = std::env::temp_dir().join(format!("creel-{name}-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        base
    }

    fn open(path: &Path) -> fs::File {
        fs::File::open(path).unwrap()
    }

    #[test]
    fn all_that_is_in_it_goes_and_what_links_lead_to_stays() {
        let base = scratch("remove");
        let (path, other) = (base.join("id"), base.join("other"));
        fs::create_dir_all(path.join("notify/deep")).unwrap();
        fs::write(path.join("notify/deep/file"), "").unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), "").unwrap();
        std::os::unix::fs::symlink(&other, path.join("link")).unwrap();
        let dir = open(&path);
        remove(&dir, &path).unwrap();
        assert!(!path.exists() && other.join("file").exists());
        remove(&dir, &path).unwrap();
        fs::remove_dir_all(base).unwrap();
    }

    /// A slow `delete` took away the state of the next container of that id, which went on without.
    #[test]
    fn the_directory_of_another_with_that_id_stays() {
        let base = scratch("remove-another");
        let path = base.join("id");
        fs::create_dir(&path).unwrap();
        let old = open(&path);
        fs::remove_dir(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("state.json"), "its").unwrap();
        remove(&old, &path).unwrap();
        assert_eq!(fs::read_to_string(path.join("state.json")).unwrap(), "its");
        assert!(!is_at(&old, &path) && is_at(open(&path), &path));
        fs::remove_dir_all(base).unwrap();
    }
}
