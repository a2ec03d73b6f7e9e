// SPDX-License-Identifier: Apache-2.0
//! Whole files in as few calls as they take: no size asked for, no second flag for close-on-exec (the
//! C library's `open` sets it once more), no read that only finds the end where the kernel writes.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Opens for reading.
pub(crate) fn open(path: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    openat(AT_FDCWD, path.as_ref(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// A file on disk.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; 16 * 1024];
    fill(&open(path)?, &mut bytes, |n, _| n == 0)?;
    Ok(bytes)
}

/// A file on disk, below a directory; `size` is more than it will be, if that is known.
pub(crate) fn read_at(dir: impl AsFd, name: &str, size: usize) -> Result<Vec<u8>, Errno> {
    let fd = openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut bytes = vec![0; size];
    fill(&fd, &mut bytes, |n, _| n == 0)?;
    Ok(bytes)
}

/// A file of procfs or of a cgroup that fits into `buffer` by its nature; one call.
pub(crate) fn read_short<'a>(fd: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    loop {
        match nix::unistd::read(fd, buffer) {
            Ok(n) => return Ok(&buffer[..n]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A file of procfs or of a cgroup. EILSEQ: no UTF-8.
pub(crate) fn read_kernel(path: impl AsRef<Path>) -> Result<String, Errno> {
    let mut bytes = vec![0; 4096];
    fill(&open(path)?, &mut bytes, was_last)?;
    String::from_utf8(bytes).map_err(|_| Errno::EILSEQ)
}

/// Whether nothing comes after a read of `n` bytes into `size` from a file that the kernel writes: it
/// ends a read early only for a record that would not fit, and none is as long as half a page.
pub(crate) fn was_last(n: usize, size: usize) -> bool {
    n < size.min(4096) / 2
}

fn fill(
    fd: &OwnedFd,
    bytes: &mut Vec<u8>,
    is_last: impl Fn(usize, usize) -> bool,
) -> Result<(), Errno> {
    let mut end = 0;
    loop {
        if end == bytes.len() {
            bytes.resize(end * 2, 0);
        }
        let space = bytes.len() - end;
        match nix::unistd::read(fd, &mut bytes[end..]) {
            Ok(n) => {
                end += n;
                if n == 0 || is_last(n, space) {
                    bytes.truncate(end);
                    return Ok(());
                }
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_length_are_whole() {
        let path = std::env::temp_dir().join(format!("creel-file-{}", std::process::id()));
        for length in [0, 1, 2047, 4096, 16 * 1024, 16 * 1024 + 1, 100_000] {
            let text = "x".repeat(length);
            std::fs::write(&path, &text).unwrap();
            let got = read(&path).map(|bytes| bytes.len());
            std::fs::remove_file(&path).unwrap();
            assert_eq!(got, Ok(length));
        }
        assert_eq!(read(&path), Err(Errno::ENOENT));
    }

    /// Thousands of lines, more than one page of them.
    #[test]
    fn the_kernels_files_are_whole() {
        let slow = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let fast = read_kernel("/proc/self/smaps").unwrap();
        let names = |text: &str| text.lines().filter(|line| line.contains("Rss:")).count();
        assert!(names(&fast).abs_diff(names(&slow)) < 4, "{}, {}", fast.len(), slow.len());
        assert!(read_kernel("/proc/self/stat").unwrap().ends_with('\n'));
    }
}
