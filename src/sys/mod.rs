// SPDX-License-Identifier: Apache-2.0
//! The only unsafe code: one wrapper per system call that nix lacks, under the kernel's name, typed
//! flags and `BorrowedFd` in, `OwnedFd` (close-on-exec) and bare `Errno` out. Callers add context.
#![allow(unsafe_code)]

pub(crate) mod alloc;
pub(crate) mod bpf;
pub(crate) mod capset;
pub(crate) mod clone;
pub(crate) mod entry;
pub(crate) mod exec;
pub(crate) mod fd;
pub(crate) mod ids;
pub(crate) mod keyctl;
pub(crate) mod marks;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod netlink;
pub(crate) mod ns;
pub(crate) mod openat2;
pub(crate) mod path;
pub(crate) mod pidfd;
pub(crate) mod regex;
pub(crate) mod rlimit;
pub(crate) mod sched;
pub(crate) mod scm;
pub(crate) mod seccomp;
pub(crate) mod sigaction;
pub(crate) mod tty;
pub(crate) mod uts;
pub(crate) mod wait;
pub(crate) mod xattr;

use std::ffi::CString;

use nix::errno::Errno;

pub(crate) use clone::Inside;

/// Ends this process at once: no destructors, no flush of stdio buffers that the parent owns too.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// `PR_SET_NAME`: what `ps` shows as the command; cut to 15 bytes by the kernel.
pub(crate) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the kernel reads at most 16 bytes of a terminated string; the call cannot fail so.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// A signal's description, as strsignal(3) has it in the C locale.
pub(crate) fn strsignal(number: i32) -> String {
    // SAFETY: any number is allowed; creel has one thread, so that the text stays until it is copied.
    let text = unsafe { libc::strsignal(number) };
    if text.is_null() {
        return format!("signal {number}");
    }
    // SAFETY: not null, so it is a terminated string.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A one-word `prctl(option, value, 0, 0, 0)`.
pub(crate) fn prctl(option: i32, value: libc::c_ulong) -> Result<i32, Errno> {
    // SAFETY: used only with options that take an integer; unused arguments are zero as required.
    Errno::result(unsafe { libc::prctl(option, value, 0_usize, 0_usize, 0_usize) })
}

/// Turns text into what the kernel takes; an embedded NUL is EINVAL.
pub(crate) fn cstring(text: impl Into<Vec<u8>>) -> Result<CString, Errno> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

/// A new session, led by this process. EPERM: it leads a process group already.
pub(crate) fn setsid(_: &Inside) -> Result<(), Errno> {
    nix::unistd::setsid().map(drop)
}

/// This process's pid, in its own pid namespace (1 for a container's init).
pub(crate) fn getpid() -> i32 {
    nix::unistd::getpid().as_raw()
}
