// SPDX-License-Identifier: Apache-2.0
//! capset(2), and the prctl(2) options of the bounding and ambient sets. Sets are masks: bit N is
//! capability number N.

use nix::errno::Errno;

/// The three sets that capset changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits, in two halves.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets all three of the calling thread. EPERM: more than is permitted.
pub(crate) fn capset(sets: &Sets) -> Result<(), Errno> {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Half {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads a header and two halves, which outlive the call.
    let r = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(r).map(drop)
}

/// Those of the calling thread.
pub(crate) fn capget() -> Result<Sets, Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Half::default(); 2];
    // SAFETY: version 3 writes two halves, and both outlive the call.
    let r = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    Errno::result(r)?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// `PR_CAPBSET_READ`. EINVAL: the kernel has no capability of that number.
pub(crate) fn capbset_read(number: u8) -> Result<bool, Errno> {
    Ok(super::prctl(libc::PR_CAPBSET_READ, number.into())? == 1)
}

/// `PR_CAPBSET_DROP`. EPERM: no CAP_SETPCAP.
pub(crate) fn capbset_drop(number: u8) -> Result<(), Errno> {
    super::prctl(libc::PR_CAPBSET_DROP, number.into()).map(drop)
}

/// `PR_CAP_AMBIENT_CLEAR_ALL`.
pub(crate) fn ambient_clear_all() -> Result<(), Errno> {
    super::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong).map(drop)
}

/// `PR_CAP_AMBIENT_RAISE`. EPERM: it is not both permitted and inheritable.
pub(crate) fn ambient_raise(number: u8) -> Result<(), Errno> {
    ambient(libc::PR_CAP_AMBIENT_RAISE, number).map(drop)
}

fn ambient(what: libc::c_int, number: u8) -> Result<libc::c_int, Errno> {
    let (what, number) = (what as libc::c_ulong, libc::c_ulong::from(number));
    // SAFETY: only integers are passed; the last two must be zero.
    Errno::result(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, what, number, 0_usize, 0_usize) })
}
