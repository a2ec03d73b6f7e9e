// SPDX-License-Identifier: Apache-2.0
//! fsetxattr(2).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Sets an extended attribute of an open file (not O_PATH) to a terminated string, as SELinux's
/// labels are.
pub(crate) fn fsetxattr(fd: BorrowedFd<'_>, name: &CStr, value: &CStr) -> Result<(), Errno> {
    let bytes = value.to_bytes_with_nul();
    // SAFETY: `name` is terminated, `bytes` has the length that is passed; both outlive the call.
    let r = unsafe {
        let (value, length) = (bytes.as_ptr().cast(), bytes.len());
        libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value, length, 0)
    };
    Errno::result(r).map(drop)
}
