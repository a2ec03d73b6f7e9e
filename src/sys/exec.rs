// SPDX-License-Identifier: Apache-2.0
//! execveat(2) of a descriptor.

use std::ffi::{CStr, c_char};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Executes the open file with this process's own arguments and environment, and one more variable in
/// that; comes back only with the reason why not.
pub(crate) fn execveat_again(file: BorrowedFd<'_>, more: Option<&CStr>) -> Errno {
    let (args, env) = super::entry::raw();
    let with_more: Vec<*const c_char>;
    let env = match more {
        None => env,
        Some(more) => {
            with_more = super::entry::env_with(more);
            with_more.as_ptr()
        }
    };
    // SAFETY: both lists are null-terminated, of terminated strings, and outlive the call.
    let r = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args,
            env,
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::result(r).err().unwrap_or(Errno::EIO)
}
