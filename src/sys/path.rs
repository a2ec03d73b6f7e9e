// SPDX-License-Identifier: Apache-2.0
//! getcwd(2), uninterpreted: the C library's function hides what creel looks for.

use nix::errno::Errno;

/// The working directory as the kernel says it: `(unreachable)…` when it is not below the root.
/// ENOENT: it has been removed.
pub(crate) fn getcwd() -> Result<Vec<u8>, Errno> {
    let mut path = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most the length that is passed.
    let r = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    let length = usize::try_from(Errno::result(r)?).expect("not negative");
    path.truncate(length.saturating_sub(1));
    Ok(path)
}
