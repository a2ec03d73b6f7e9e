// SPDX-License-Identifier: Apache-2.0
//! execveat(2) of a descriptor.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;

/// Executes the open file; comes back only with the reason why not.
pub(crate) fn execveat(file: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Errno {
    match nix::unistd::execveat(file, c"", args, env, AtFlags::AT_EMPTY_PATH) {
        Ok(never) => match never {},
        Err(errno) => errno,
    }
}
