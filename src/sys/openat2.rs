// SPDX-License-Identifier: Apache-2.0
//! openat2(2), Linux 5.6: a lookup that cannot leave its directory.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2 as nix_openat2};

/// How often a lookup is repeated that a rename or mount elsewhere has disturbed (EAGAIN).
const ATTEMPTS: usize = 128;

/// Opens `path` below `dir`; close-on-exec.
/// <https://man7.org/linux/man-pages/man2/openat2.2.html>
pub(crate) fn openat2<P: ?Sized + NixPath>(
    dir: BorrowedFd<'_>,
    path: &P,
    flags: OFlag,
    resolve: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    for _ in 1..ATTEMPTS {
        match nix_openat2(dir, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
    nix_openat2(dir, path, how)
}
