// SPDX-License-Identifier: Apache-2.0
//! madvise(2): pages that are sure to be needed, and those that are not needed for a long time. All of
//! it is advice: where it is not taken, nothing but time or memory is lost.

use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

pub(super) const PAGE: usize = 4096;
const MADV_POPULATE_WRITE: libc::c_int = 23;

/// Of the stack below the caller's frame.
const STACK: usize = 256 * 1024;
/// What the functions that are called meanwhile take of it.
const FRAMES: usize = 2 * PAGE;

/// Writable pages from `start` on.
pub(super) fn populate(start: usize, bytes: usize) {
    advise(start.next_multiple_of(PAGE), bytes / PAGE * PAGE, MADV_POPULATE_WRITE);
}

/// The pages of the stack that are about to be used: no deeper than the kernel maps it at the start.
pub(crate) fn populate_stack(bytes: usize) {
    let here = 0_u8;
    let top = (&raw const here) as usize / PAGE * PAGE;
    advise(top - bytes, bytes, MADV_POPULATE_WRITE);
}

/// Reads one byte, which takes long to come: the program's code and constants are read from its file
/// again afterwards, and the stack below is forgotten. `read` and what it calls lie on few pages.
pub(crate) fn read_leanly(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut byte = 0_u8;
    let below = ((&raw const byte) as usize - FRAMES) / PAGE * PAGE;
    advise(below - STACK, STACK, libc::MADV_DONTNEED);
    for [start, end] in read_only_segments() {
        advise(start, end - start, libc::MADV_DONTNEED);
    }
    // SAFETY: the kernel writes one byte, which outlives the call.
    let r = unsafe { libc::syscall(libc::SYS_read, fd.as_raw_fd(), &raw mut byte, 1) };
    Errno::result(r).map(|n| usize::try_from(n).unwrap_or(0))
}

/// The parts of the program that are as in its file: a page of them that goes comes back unchanged.
fn read_only_segments() -> [[usize; 2]; 4] {
    let mut found = [[0; 2]; 4];
    // SAFETY: the kernel has told the number and the address of the program headers, which are mapped.
    let headers = unsafe {
        let at = libc::getauxval(libc::AT_PHDR) as *const libc::Elf64_Phdr;
        let count = libc::getauxval(libc::AT_PHNUM) as usize;
        if at.is_null() || count > 64 {
            return found;
        }
        std::slice::from_raw_parts(at, count)
    };
    // Built to be loaded where it says (see .cargo/config.toml); another program keeps its pages.
    let is_fixed = headers.iter().any(|h| {
        let end = (h.p_vaddr + h.p_memsz) as usize;
        h.p_type == libc::PT_LOAD
            && (h.p_vaddr as usize..end).contains(&(headers.as_ptr() as usize))
    });
    let read_only =
        headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0);
    for (segment, h) in found.iter_mut().zip(read_only.filter(|_| is_fixed)) {
        let start = h.p_vaddr as usize / PAGE * PAGE;
        *segment = [start, (h.p_vaddr + h.p_memsz) as usize / PAGE * PAGE];
    }
    found
}

fn advise(start: usize, length: usize, advice: libc::c_int) {
    if length == 0 || length > isize::MAX as usize {
        return;
    }
    // SAFETY: MADV_POPULATE_WRITE changes no content. MADV_DONTNEED is asked for pages of the program
    // that were never written to, and for those of the stack below every frame that is in use.
    unsafe { libc::madvise(start as *mut libc::c_void, length, advice) };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_lean_wait_reads_its_byte_and_the_program_goes_on() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&writer, b"x").unwrap();
        assert_eq!(read_leanly(reader.as_fd()), Ok(1));
        drop(writer);
        assert_eq!(read_leanly(reader.as_fd()), Ok(0));
        populate_stack(16 * 1024);
    }

    #[test]
    fn segments_are_whole_pages_of_the_program() {
        for [start, end] in read_only_segments() {
            assert!(start <= end && start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE));
        }
    }
}
