// SPDX-License-Identifier: Apache-2.0
//! Memory that a clone shares with its parent: marks in time, by CLOCK_MONOTONIC.

use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nix::errno::Errno;

const ROOM: usize = 1020;

/// A list that only grows. Marks beyond its room are lost.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Marks {
    count: AtomicUsize,
    /// When, and what: whatever the caller has packed into it.
    list: [(AtomicU64, AtomicU64); ROOM],
}

impl Marks {
    /// For as long as the process lives, and its clones.
    pub(crate) fn new() -> Result<&'static Self, Errno> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping, of which nobody else knows.
        let map =
            unsafe { libc::mmap(ptr::null_mut(), size_of::<Self>(), protection, flags, -1, 0) };
        if map == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        // SAFETY: it is page-aligned, large enough, zeroed (which is valid for atomics) and never
        // unmapped; all access is atomic, also of other processes.
        Ok(unsafe { &*map.cast::<Self>() })
    }

    /// `at` must not be 0.
    pub(crate) fn push(&self, at: u64, what: u64) {
        let slot = self.count.fetch_add(1, Ordering::Relaxed);
        if let Some((time, place)) = self.list.get(slot) {
            place.store(what, Ordering::Relaxed);
            time.store(at, Ordering::Release);
        }
    }

    /// Those that are whole.
    pub(crate) fn all(&self) -> Vec<(u64, u64)> {
        let read = |(time, place): &(AtomicU64, AtomicU64)| {
            let at = time.load(Ordering::Acquire);
            (at != 0).then(|| (at, place.load(Ordering::Relaxed)))
        };
        self.list.iter().filter_map(read).collect()
    }
}

/// Nanoseconds of CLOCK_MONOTONIC; never 0.
pub(crate) fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one timespec is written, which outlives the call; the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{CloneRequest, Fork, clone3};

    #[test]
    fn a_clone_s_marks_are_the_parent_s_too_and_too_many_are_lost() {
        let marks = Marks::new().unwrap();
        marks.push(5, 1);
        match clone3(&CloneRequest::default()).unwrap() {
            Fork::Child(_) => {
                marks.push(6, 2);
                crate::sys::exit(0)
            }
            Fork::Parent { child, .. } => {
                nix::sys::wait::waitpid(child, None).unwrap();
            }
        }
        assert_eq!(marks.all(), [(5, 1), (6, 2)]);
        (0..2 * ROOM).for_each(|_| marks.push(7, 3));
        assert_eq!(marks.all().len(), ROOM);
        assert!(now() > 1);
    }
}
