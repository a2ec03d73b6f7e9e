// SPDX-License-Identifier: Apache-2.0
//! prlimit64(2).

use nix::errno::Errno;
use nix::unistd::Pid;

/// Sets a limit of another process. EPERM: the hard limit would rise without CAP_SYS_RESOURCE.
pub(crate) fn prlimit(pid: Pid, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one rlimit64, and a null old limit is not written.
    let r = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw(),
            resource,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    Errno::result(r).map(drop)
}

/// A process's soft and hard limit.
pub(crate) fn getrlimit(pid: Pid, resource: u32) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a null new limit changes nothing; the kernel writes one rlimit64.
    let r = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw(),
            resource,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    };
    Errno::result(r).map(|_| (limit.rlim_cur, limit.rlim_max))
}
