// SPDX-License-Identifier: Apache-2.0
//! bpf(2): loading a CGROUP_DEVICE program and attaching it to a cgroup.
//! <https://man7.org/linux/man-pages/man2/bpf.2.html>

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// The kernel's own limit of programs per cgroup and type.
const MOST_PROGRAMS: usize = 64;

/// One instruction (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Insn {
    pub code: u8,
    /// Destination in the low half, source in the high one.
    pub regs: u8,
    pub off: i16,
    pub imm: u32,
}

impl Insn {
    pub(crate) fn new(code: u8, dst: u8, src: u8, off: i16, imm: u32) -> Self {
        let regs = if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src };
        Self { code, regs, off, imm }
    }
}

/// The heads of `union bpf_attr`: the kernel takes what is missing at the end as zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Default)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Loads a program that the kernel asks about devices. EPERM: no CAP_BPF, or (before Linux 5.11)
/// RLIMIT_MEMLOCK is too low.
pub(crate) fn load_cgroup_device(program: &[Insn]) -> Result<OwnedFd, Errno> {
    let mut prog_name = [0; 16];
    prog_name[..13].copy_from_slice(b"creel_devices");
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name,
        ..Load::default()
    };
    // SAFETY: the instructions and the license outlive the call; the kernel only reads them.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?;
    owned(fd)
}

/// Attaches beside other programs, or in the place of one in a single step.
pub(crate) fn attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaces: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replaces.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replaces.map_or(0, raw),
    };
    // SAFETY: the attribute holds descriptors only.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

pub(crate) fn detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: the attribute holds descriptors only.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// The device programs attached to this very cgroup. Those that a security module keeps from us are
/// left out: they can only restrict further.
pub(crate) fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attr = Query {
        target_fd: raw(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST_PROGRAMS as u32,
        ..Query::default()
    };
    // SAFETY: `ids` outlives the call and has room for `prog_cnt` numbers.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    let mut programs = Vec::new();
    for &id in ids.iter().take(attr.prog_cnt as usize) {
        let mut attr = ById { prog_id: id, ..ById::default() };
        // SAFETY: the attribute holds a number only.
        match unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) } {
            Ok(fd) => programs.push(owned(fd)?),
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(programs)
}

/// # Safety
/// Every pointer inside `attr` must be valid for what `command` does with it.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: `attr` is valid for its size; what it points to is the caller's promise.
    let r = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    Errno::result(r)
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor, close-on-exec, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
