// SPDX-License-Identifier: Apache-2.0
//! The allocator: an arena for the first megabyte, the C library's behind it. A command allocates a few
//! hundred kilobytes and ends; giving each piece back costs more than it saves (docs/benchmarks.md).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

const SIZE: usize = 1 << 20;

/// What malloc gives at least, and C's structures in byte buffers rely on (control messages).
const ALIGN: usize = 16;

/// Pieces are cut from the front. The last one can grow, shrink and be given back; others are not
/// reused, which bounds the waste by the arena's size.
pub(crate) struct Arena {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: a byte belongs to the one who advanced `used` over it, and that is atomic.
unsafe impl Sync for Arena {}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) }
    }

    fn base(&self) -> usize {
        self.bytes.get() as usize
    }

    /// Where in the arena the piece begins, if it is one of the arena's.
    fn offset(&self, piece: *mut u8) -> Option<usize> {
        (piece as usize).checked_sub(self.base()).filter(|offset| *offset < SIZE)
    }

    /// Moves the end from `from` to `to`; false if it was not there, or if that is past the arena.
    fn move_end(&self, from: usize, to: usize) -> bool {
        let order = Ordering::Relaxed;
        to <= SIZE && self.used.compare_exchange(from, to, order, order).is_ok()
    }

    fn cut(&self, layout: Layout) -> Option<*mut u8> {
        loop {
            let used = self.used.load(Ordering::Relaxed);
            let align = layout.align().max(ALIGN);
            let start = (self.base() + used).next_multiple_of(align) - self.base();
            let end = start.checked_add(layout.size())?;
            if end > SIZE {
                return None;
            }
            if self.move_end(used, end) {
                // SAFETY: start is within the array.
                return Some(unsafe { self.bytes.get().cast::<u8>().add(start) });
            }
        }
    }
}

// SAFETY: pieces are disjoint, aligned and inside the array, or the system allocator's, to which they
// go back; which of the two a piece is, its address says.
unsafe impl GlobalAlloc for Arena {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the system allocator's.
        self.cut(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    #[inline(never)]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset(piece) {
            Some(start) => {
                self.move_end(start + layout.size(), start);
            }
            // SAFETY: it came from there.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(start) = self.offset(piece) else {
            // SAFETY: it came from there.
            return unsafe { System.realloc(piece, layout, size) };
        };
        if size <= layout.size() || self.move_end(start + layout.size(), start + size) {
            return piece;
        }
        // SAFETY: the size is not zero and does not overflow, by the caller's contract.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as for any allocation.
        let grown = unsafe { self.alloc(wanted) };
        if !grown.is_null() {
            // SAFETY: both are at least as long as the old piece, and different pieces.
            unsafe { std::ptr::copy_nonoverlapping(piece, grown, layout.size()) };
        }
        grown
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("used", &self.used).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn pieces_are_aligned_disjoint_and_the_last_is_given_back() {
        static ARENA: Arena = Arena::new();
        // SAFETY: layouts are valid, and pieces are used within their size.
        unsafe {
            let a = ARENA.alloc(layout(3, 1));
            let b = ARENA.alloc(layout(64, 64));
            assert!((b as usize).is_multiple_of(64) && b as usize >= a as usize + 3);
            assert_eq!(ARENA.realloc(b, layout(64, 64), 128), b, "the last one grows in place");
            a.write_bytes(7, 3);
            let c = ARENA.realloc(a, layout(3, 1), 9);
            assert!(c as usize >= b as usize + 128 && *c == 7 && *c.add(2) == 7);
            ARENA.dealloc(c, layout(9, 1));
            assert_eq!(ARENA.alloc(layout(9, 1)), c);
            assert!((c as usize).is_multiple_of(ALIGN), "as malloc's pieces are");
        }
    }

    #[test]
    fn what_does_not_fit_comes_from_the_system() {
        static ARENA: Arena = Arena::new();
        // SAFETY: layouts are valid, and pieces go back with the layout they came with.
        unsafe {
            let first = ARENA.alloc(layout(SIZE - 8, 1));
            assert!(ARENA.offset(first).is_some());
            let big = ARENA.alloc(layout(4096, 8));
            assert!(!big.is_null() && ARENA.offset(big).is_none());
            let bigger = ARENA.realloc(big, layout(4096, 8), 8192);
            ARENA.dealloc(bigger, layout(8192, 8));
        }
    }
}
