// SPDX-License-Identifier: Apache-2.0
//! waitpid(2), for real-time signals too: nix has no names for those and loses the status.

use nix::errno::Errno;
use nix::unistd::Pid;

/// Any child of ours that has ended, with its exit code, or 128+n if signal n has killed it. None:
/// all live. ECHILD: there is none.
pub(crate) fn wait_any() -> Result<Option<(Pid, i32)>, Errno> {
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    match Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) })? {
        0 => Ok(None),
        pid if libc::WIFSIGNALED(status) => {
            Ok(Some((Pid::from_raw(pid), 128 + libc::WTERMSIG(status))))
        }
        pid => Ok(Some((Pid::from_raw(pid), libc::WEXITSTATUS(status)))),
    }
}
