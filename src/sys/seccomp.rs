// SPDX-License-Identifier: Apache-2.0
//! seccomp(2): <https://man7.org/linux/man-pages/man2/seccomp.2.html>

use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_long, c_uint, c_ulong, c_ushort, sock_filter, sock_fprog};
use nix::errno::Errno;

/// Puts the filter on this thread and what it becomes. A descriptor comes back for
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, close-on-exec as the kernel makes it.
///
/// # Errors
/// EACCES: neither no_new_privs is set nor CAP_SYS_ADMIN held. EINVAL: a program or a combination
/// of flags that the kernel refuses. EBUSY: a listener exists already.
pub(crate) fn load(program: &[sock_filter], flags: c_ulong) -> Result<Option<OwnedFd>, Errno> {
    let program = sock_fprog {
        len: c_ushort::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` and what it points to outlive the call; the kernel copies `len`
    // instructions and writes nothing.
    let r = unsafe { call(libc::SECCOMP_SET_MODE_FILTER, flags, ptr::from_ref(&program)) };
    let fd = Errno::result(r)?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with that flag the call returns a new descriptor, which nobody else knows.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}

/// Whether the kernel knows all of these `SECCOMP_FILTER_FLAG_*`. Loads nothing.
pub(crate) fn flag_is_supported(flags: c_ulong) -> bool {
    // WAIT_KILLABLE_RECV is refused without a listener to wait for.
    let needed = if flags & libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV == 0 {
        0
    } else {
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    };
    // SAFETY: the kernel checks the flags (EINVAL) before it finds no program (EFAULT).
    let r =
        unsafe { call(libc::SECCOMP_SET_MODE_FILTER, flags | needed, ptr::null::<sock_fprog>()) };
    Errno::result(r) == Err(Errno::EFAULT)
}

/// Whether the kernel knows this `SECCOMP_RET_*`.
#[cfg(test)]
pub(crate) fn action_is_supported(action: u32) -> bool {
    // SAFETY: the kernel reads one u32, which outlives the call.
    unsafe { call(libc::SECCOMP_GET_ACTION_AVAIL, 0, ptr::from_ref(&action)) == 0 }
}

/// SAFETY: the caller answers for what `argument` points to, as `operation` demands.
unsafe fn call<T>(operation: c_uint, flags: c_ulong, argument: *const T) -> c_long {
    // SAFETY: see above.
    unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, argument) }
}

/// A system call without arguments, by number.
#[cfg(test)]
pub(crate) fn raw_call(number: c_long) -> Result<c_long, Errno> {
    // SAFETY: the tests use numbers that take no arguments, or that no kernel has.
    Errno::result(unsafe { libc::syscall(number) })
}

/// The same as a 32-bit program makes it; 0 or above, or the errno below 0.
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) fn raw_call_of_x86(number: i32) -> i32 {
    let mut answer = number;
    // SAFETY: the tests use calls that take no arguments; the old gate keeps all registers but eax and,
    // on some kernels, r8 to r11.
    unsafe {
        std::arch::asm!(
            "int 0x80", inout("eax") answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_tell_known_from_unknown_and_load_nothing() {
        assert!(flag_is_supported(libc::SECCOMP_FILTER_FLAG_LOG));
        assert!(flag_is_supported(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW));
        assert!(!flag_is_supported(1 << 30));
        assert!(action_is_supported(libc::SECCOMP_RET_ALLOW));
        assert!(action_is_supported(libc::SECCOMP_RET_USER_NOTIF));
        assert!(!action_is_supported(0x1234_0000));
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("own status");
        assert!(status.contains("Seccomp_filters:\t0"), "{status}");
    }
}
