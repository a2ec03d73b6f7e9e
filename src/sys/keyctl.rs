// SPDX-License-Identifier: Apache-2.0
//! keyctl(2): the session keyring.

use std::ffi::CStr;

use nix::errno::Errno;

/// A key or keyring by its serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serial(libc::c_long);

const SESSION: libc::c_long = libc::KEY_SPEC_SESSION_KEYRING as libc::c_long;

/// `KEYCTL_JOIN_SESSION_KEYRING`: joins the keyring of that name, or makes it. EDQUOT: the user has
/// too many keys. ENOSYS: the kernel has no keys.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<Serial, Errno> {
    let operation = libc::KEYCTL_JOIN_SESSION_KEYRING;
    // SAFETY: the kernel reads a terminated string.
    let r = unsafe { libc::syscall(libc::SYS_keyctl, operation, name.as_ptr()) };
    // 0: it is this process's session keyring already.
    Errno::result(r).map(|serial| Serial(if serial == 0 { SESSION } else { serial }))
}

/// `KEYCTL_SETPERM`.
pub(crate) fn setperm(key: Serial, permissions: u32) -> Result<(), Errno> {
    let operation = libc::KEYCTL_SETPERM;
    // SAFETY: only integers are passed.
    let r = unsafe { libc::syscall(libc::SYS_keyctl, operation, key.0, permissions) };
    Errno::result(r).map(drop)
}

/// `KEYCTL_DESCRIBE`: `type;uid;gid;permissions;name`.
#[cfg(test)]
pub(crate) fn describe(key: Serial) -> Result<String, Errno> {
    let mut text = vec![0_u8; 4096];
    let operation = libc::KEYCTL_DESCRIBE;
    // SAFETY: the kernel writes at most the length that is passed.
    let r =
        unsafe { libc::syscall(libc::SYS_keyctl, operation, key.0, text.as_mut_ptr(), text.len()) };
    let length = usize::try_from(Errno::result(r)?).expect("not negative");
    text.truncate(length.saturating_sub(1));
    String::from_utf8(text).map_err(|_| Errno::EILSEQ)
}
