// SPDX-License-Identifier: Apache-2.0
//! The allocator: an arena for the first megabyte, the C library's behind it, which is not even started
//! by a command that fits. What is given back is used again, so that few pages are ever touched: each one
//! costs a page fault, and stays with a container's waiting init (docs/benchmarks.md).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

const SIZE: usize = 1 << 20;

/// What malloc gives at least, and C's structures in byte buffers rely on (control messages). Pieces are
/// multiples of it.
const ALIGN: usize = 16;

/// Free pieces of up to this are kept by their exact length, longer ones by classes.
const EXACT: usize = 1024;
const CLASSES: usize = EXACT / ALIGN + 4 * 11;

/// Pieces are cut from the front. The last one can grow, shrink and be given back; others wait in a list
/// of their length for the next that asks for it: a page that is not touched is not paid for.
#[repr(C, align(16))]
pub(crate) struct Arena {
    is_busy: AtomicBool,
    // Beside the first pieces: no page of its own.
    books: UnsafeCell<Books>,
    bytes: UnsafeCell<[u8; SIZE]>,
}

// So that the first piece is aligned.
#[repr(align(16))]
struct Books {
    used: usize,
    /// Pieces before it are left as they are when they are given back: see `leave`.
    floor: usize,
    /// What lies beyond has never been used, and is zero.
    most: usize,
    /// The first free piece of each class, as its offset and one; in it the next one's.
    free: [u32; CLASSES],
}

// SAFETY: the books are read and changed by the one who holds `is_busy`, and a byte belongs to the one
// whom the books gave it.
unsafe impl Sync for Arena {}

/// Of a free piece: above `EXACT` there are four classes to a power of two, which lists that grow by
/// doubling meet exactly.
fn class_of(size: usize) -> usize {
    if size <= EXACT {
        return size / ALIGN - 1;
    }
    let power = size.ilog2();
    EXACT / ALIGN + (power - EXACT.ilog2()) as usize * 4 + (size >> (power - 2) & 3)
}

/// Where a piece of that size is looked for: all of a class are long enough.
fn class_for(size: usize) -> usize {
    if size <= EXACT {
        class_of(size)
    } else {
        class_of(size.next_multiple_of(1 << (size.ilog2() - 2)))
    }
}

fn round(size: usize) -> usize {
    size.max(1).next_multiple_of(ALIGN)
}

impl Arena {
    /// The pages that a command with a container to make is going to use, all in one call instead of one
    /// fault each. Linux 5.14; elsewhere nothing happens.
    pub(crate) fn populate(&self, bytes: usize) {
        super::memory::populate(self.base(), bytes.min(SIZE));
    }

    /// After a clone the pages of before are shared until one side writes, which costs a copy: from here
    /// on pieces come from fresh ones, and what is given back of the old is not even looked at.
    pub(crate) fn leave(&self) {
        let _ = self.with(|books| {
            let page = (self.base() + books.used).next_multiple_of(super::memory::PAGE);
            books.used = (page - self.base()).min(SIZE);
            books.floor = books.used;
            books.free = [0; CLASSES];
        });
    }

    pub(crate) const fn new() -> Self {
        let books = Books { used: 0, floor: 0, most: 0, free: [0; CLASSES] };
        Self {
            is_busy: AtomicBool::new(false),
            books: UnsafeCell::new(books),
            bytes: UnsafeCell::new([0; SIZE]),
        }
    }

    fn base(&self) -> usize {
        self.bytes.get() as usize
    }

    /// Where in the arena the piece begins, if it is one of the arena's.
    fn offset(&self, piece: *mut u8) -> Option<usize> {
        (piece as usize).checked_sub(self.base()).filter(|offset| *offset < SIZE)
    }

    fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: offsets are within the array, or at its end.
        unsafe { self.bytes.get().cast::<u8>().add(offset) }
    }

    /// None: another thread has the books. creel has one, but its tests have two.
    fn with<R>(&self, body: impl FnOnce(&mut Books) -> R) -> Option<R> {
        if self.is_busy.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: only one comes here until `is_busy` is false again.
        let result = body(unsafe { &mut *self.books.get() });
        self.is_busy.store(false, Ordering::Release);
        Some(result)
    }

    /// The piece, and how much of its front may be other than zero.
    fn cut(&self, layout: Layout) -> Option<(*mut u8, usize)> {
        self.with(|books| {
            let size = round(layout.size());
            if layout.align() <= ALIGN && size < SIZE {
                let head = &mut books.free[class_for(size)];
                if let Some(offset) = (*head as usize).checked_sub(1) {
                    let piece = self.at(offset);
                    // SAFETY: a free piece holds the next one's number, and is aligned for it.
                    *head = unsafe { piece.cast::<u32>().read() };
                    return Some((piece, size));
                }
            }
            let align = layout.align().max(ALIGN);
            let start = (self.base() + books.used).next_multiple_of(align) - self.base();
            let end = start.checked_add(size).filter(|end| *end <= SIZE)?;
            let used_before = books.most.saturating_sub(start).min(size);
            books.used = end;
            books.most = books.most.max(end);
            Some((self.at(start), used_before))
        })
        .flatten()
    }

    fn give_back(&self, start: usize, size: usize) {
        // Lost, if another thread has the books.
        let _ = self.with(|books| {
            if start < books.floor {
                return;
            }
            if start + size == books.used {
                books.used = start;
                return;
            }
            let head = &mut books.free[class_of(size)];
            // SAFETY: the piece is nobody's any more, at least four bytes long and aligned.
            unsafe { self.at(start).cast::<u32>().write(*head) };
            *head = u32::try_from(start + 1).expect("within the arena");
        });
    }

    /// Whether the piece could be made longer where it is.
    fn grow(&self, start: usize, from: usize, to: usize) -> bool {
        self.with(|books| {
            let end = start.saturating_add(to);
            let fits = start + from == books.used && end <= SIZE;
            if fits {
                books.used = end;
                books.most = books.most.max(end);
            }
            fits
        })
        .unwrap_or(false)
    }
}

// SAFETY: pieces are disjoint, aligned and inside the array, or the system allocator's, to which they
// go back; which of the two a piece is, its address says.
unsafe impl GlobalAlloc for Arena {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.cut(layout) {
            Some((piece, _)) => piece,
            // SAFETY: the caller's contract is the system allocator's.
            None => unsafe { System.alloc(layout) },
        }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.cut(layout) {
            Some((piece, used_before)) => {
                // SAFETY: the piece is as long as the layout.
                unsafe { piece.write_bytes(0, used_before.min(layout.size())) };
                piece
            }
            // SAFETY: the caller's contract is the system allocator's.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset(piece) {
            Some(start) => self.give_back(start, round(layout.size())),
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
        let (old, new) = (round(layout.size()), round(size));
        if new <= old || self.grow(start, old, new) {
            return piece;
        }
        // SAFETY: the size is not zero and does not overflow, by the caller's contract.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as for any allocation.
        let grown = unsafe { self.alloc(wanted) };
        if !grown.is_null() {
            // SAFETY: both are at least as long as the old piece, and different pieces.
            unsafe { std::ptr::copy_nonoverlapping(piece, grown, layout.size()) };
            self.give_back(start, old);
        }
        grown
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.with(|books| books.used);
        f.debug_struct("Arena").field("used", &used).finish_non_exhaustive()
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
            let c = ARENA.realloc(a, layout(3, 1), 40);
            assert!(c as usize >= b as usize + 128 && *c == 7 && *c.add(2) == 7);
            ARENA.dealloc(c, layout(40, 1));
            assert_eq!(ARENA.alloc(layout(33, 1)), c);
            assert!((c as usize).is_multiple_of(ALIGN), "as malloc's pieces are");
            assert_eq!(ARENA.alloc(layout(16, 8)), a, "it was free since it could not grow");
        }
    }

    #[test]
    fn a_free_piece_serves_whoever_asks_for_its_length() {
        static ARENA: Arena = Arena::new();
        // SAFETY: layouts are valid, and pieces are used within their size and given back once.
        unsafe {
            for (size, next) in
                [(16, 1), (1024, 1009), (1536, 1300), (5120, 5000), (49_152, 41_000)]
            {
                let (a, b) = (ARENA.alloc(layout(size, 8)), ARENA.alloc(layout(size, 8)));
                let fence = ARENA.alloc(layout(16, 8));
                a.write_bytes(1, size);
                b.write_bytes(2, size);
                ARENA.dealloc(a, layout(size, 8));
                assert_eq!(ARENA.alloc(layout(next, 8)), a, "{size}");
                assert_ne!(ARENA.alloc(layout(next, 8)), b, "{size}: it is in use");
                assert_eq!(*b.add(size - 1), 2);
                assert_ne!(fence, a);
            }
        }
    }

    #[test]
    fn zeroed_pieces_are_zero_wherever_they_come_from() {
        static ARENA: Arena = Arena::new();
        // SAFETY: layouts are valid, and pieces are used within their size and given back once.
        unsafe {
            let is_zero = |piece: *mut u8, size| (0..size).all(|i| *piece.add(i) == 0);
            let a = ARENA.alloc_zeroed(layout(100, 8));
            assert!(is_zero(a, 100));
            a.write_bytes(9, 100);
            ARENA.dealloc(a, layout(100, 8));
            let again = ARENA.alloc_zeroed(layout(100, 8));
            assert!(again == a && is_zero(again, 100), "the end was moved back over it");
            again.write_bytes(9, 100);
            let fence = ARENA.alloc(layout(16, 8));
            ARENA.dealloc(again, layout(100, 8));
            assert!(is_zero(ARENA.alloc_zeroed(layout(100, 8)), 100), "from the list");
            assert!(!fence.is_null());
        }
    }

    #[test]
    fn pieces_of_before_a_clone_are_not_used_again() {
        static ARENA: Arena = Arena::new();
        // SAFETY: layouts are valid, and pieces are used within their size and given back once.
        unsafe {
            let [free, old, last] = [0, 1, 2].map(|_| ARENA.alloc(layout(64, 8)));
            old.write_bytes(7, 64);
            ARENA.dealloc(free, layout(64, 8));
            ARENA.leave();
            let new = ARENA.alloc(layout(64, 8));
            assert!((new as usize).is_multiple_of(super::super::memory::PAGE) && new > last);
            let moved = ARENA.realloc(last, layout(64, 8), 100);
            assert!(moved > new, "it cannot grow where it is");
            ARENA.dealloc(old, layout(64, 8));
            assert_eq!((*old, *old.add(63)), (7, 7), "no list goes through it");
            assert_ne!(ARENA.alloc(layout(64, 8)), old);
            ARENA.dealloc(new, layout(64, 8));
            assert_eq!(ARENA.alloc(layout(64, 8)), new, "the new ones are");
        }
    }

    /// Against a model: pieces keep what was written into them, whatever is taken and given meanwhile.
    #[test]
    fn pieces_never_overlap() {
        static ARENA: Arena = Arena::new();
        let mut pieces: Vec<(*mut u8, usize, u8)> = Vec::new();
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        for round in 0..20_000_usize {
            let mark = (round % 251) as u8;
            // SAFETY: layouts are valid, and pieces are used within their size and given back once.
            unsafe {
                if pieces.len() > 60 || random(3) == 0 && !pieces.is_empty() {
                    let at = random(pieces.len());
                    let (piece, size, mark) = pieces.swap_remove(at);
                    assert!((0..size).all(|i| *piece.add(i) == mark));
                    ARENA.dealloc(piece, layout(size, 8));
                } else if random(4) == 0 && !pieces.is_empty() {
                    let at = random(pieces.len());
                    let (piece, size, mark) = pieces[at];
                    let wanted = 1 + random(6000);
                    let grown = ARENA.realloc(piece, layout(size, 8), wanted);
                    assert!((0..size.min(wanted)).all(|i| *grown.add(i) == mark));
                    grown.write_bytes(mark, wanted);
                    pieces[at] = (grown, wanted, mark);
                } else {
                    let longest = if random(10) == 0 { 9000 } else { 300 };
                    let size = 1 + random(longest);
                    let piece = ARENA.alloc(layout(size, 8));
                    piece.write_bytes(mark, size);
                    pieces.push((piece, size, mark));
                }
            }
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
