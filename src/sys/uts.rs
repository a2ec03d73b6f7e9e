// SPDX-License-Identifier: Apache-2.0
//! setdomainname(2).

use nix::errno::Errno;

/// Sets the NIS domain name of the UTS namespace; at most 64 bytes.
pub(crate) fn setdomainname(name: &str) -> Result<(), Errno> {
    // SAFETY: the kernel reads the given number of bytes and wants no terminator.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}
