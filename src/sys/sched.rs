// SPDX-License-Identifier: Apache-2.0
//! sched_setattr(2), ioprio_set(2), set_mempolicy(2), sched_setaffinity(2).

use nix::errno::Errno;
use nix::unistd::Pid;

/// `struct sched_attr`, as of Linux 5.3.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// Sets policy and parameters of the calling thread.
///
/// # Errors
/// EPERM: not privileged, or a deadline policy with a restricted CPU set. EBUSY: no bandwidth left.
pub(crate) fn sched_setattr(attr: &SchedAttr) -> Result<(), Errno> {
    let mut attr = *attr;
    attr.size = u32::try_from(size_of::<SchedAttr>()).expect("56 bytes");
    // SAFETY: `size` is the structure's own, which outlives the call.
    let r = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    Errno::result(r).map(drop)
}

const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// Sets the I/O class and priority of the calling thread.
pub(crate) fn ioprio_set(class: u8, priority: u8) -> Result<(), Errno> {
    let value = u32::from(class) << IOPRIO_CLASS_SHIFT | u32::from(priority);
    // SAFETY: only integers are passed.
    let r = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) };
    Errno::result(r).map(drop)
}

/// What ioprio_set has set, in its encoding.
#[cfg(test)]
pub(crate) fn ioprio_get() -> Result<i64, Errno> {
    // SAFETY: only integers are passed.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) })
}

/// Sets the NUMA policy of the calling thread: mode and flags, nodes as a bit mask.
pub(crate) fn set_mempolicy(mode: i32, nodes: &[libc::c_ulong]) -> Result<(), Errno> {
    let (pointer, bits) = if nodes.is_empty() {
        (std::ptr::null(), 0)
    } else {
        // The kernel takes one off.
        (nodes.as_ptr(), size_of_val(nodes) * 8 + 1)
    };
    // SAFETY: the kernel reads `bits - 1` bits, which is the slice's length.
    let r = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    Errno::result(r).map(drop)
}

/// The mode and flags that set_mempolicy has set.
#[cfg(test)]
pub(crate) fn get_mempolicy() -> Result<i32, Errno> {
    let mut mode = 0;
    let none = std::ptr::null_mut::<libc::c_ulong>();
    // SAFETY: one integer is written; no node mask is asked for.
    let r = unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, none, 0, 0, 0) };
    Errno::result(r).map(|_| mode)
}

/// Lets a process run on the CPUs of the mask only; the kernel cuts it to those it may use.
pub(crate) fn sched_setaffinity(pid: Pid, cpus: &[libc::c_ulong]) -> Result<(), Errno> {
    let (pid, bytes) = (pid.as_raw(), size_of_val(cpus));
    // SAFETY: the kernel reads at most `bytes`.
    let r = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, bytes, cpus.as_ptr()) };
    Errno::result(r).map(drop)
}

/// The CPUs a process may run on.
#[cfg(test)]
pub(crate) fn sched_getaffinity(pid: Pid) -> Result<Vec<libc::c_ulong>, Errno> {
    let mut cpus = vec![0; 1024];
    let (pid, bytes) = (pid.as_raw(), size_of_val(cpus.as_slice()));
    // SAFETY: the kernel writes at most `bytes`.
    let r = unsafe { libc::syscall(libc::SYS_sched_getaffinity, pid, bytes, cpus.as_mut_ptr()) };
    Errno::result(r)?;
    Ok(cpus)
}
