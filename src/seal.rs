// SPDX-License-Identifier: Apache-2.0
//! creel's own binary cannot be overwritten from inside a container (CVE-2019-5736).
//!
//! Commands that enter a container run from a read-only view of their own file: a detached clone of
//! the mount it lies on, made read-only, and one execveat(2). Where that is refused (no privileges,
//! Linux before 5.12) a sealed memfd copy serves. A file on a read-only mount needs neither.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::error::{Context, Result};
use crate::sys;
use crate::sys::mount::{self, Depth, Setattr};

const EXE: &str = "/proc/self/exe";

/// Returns when this process already runs from a file that cannot be written; else executes itself
/// from such a one and does not return.
///
/// # Errors
/// No protection could be set up; the command must not go on.
pub(crate) fn ensure() -> Result<()> {
    let exe = File::open(EXE).context(|| format!("open {EXE}"))?;
    if is_sealed(exe.as_fd())? {
        return Ok(());
    }
    let sealed = match read_only_view() {
        Ok(fd) => fd,
        // KERNEL(5.12): mount_setattr. EPERM: no CAP_SYS_ADMIN.
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EACCES) => copy(exe)?,
        Err(errno) => return Err(errno).context(|| "make a read-only view of creel's own file"),
    };
    let strings = |list: Vec<OsString>| -> Result<Vec<CString>> {
        list.into_iter().map(|s| Ok(sys::cstring(s.into_vec())?)).collect()
    };
    let args = strings(sys::entry::args().to_vec())?;
    let env = std::env::vars_os().map(|(name, value)| {
        let mut pair = name;
        pair.push("=");
        pair.push(value);
        pair
    });
    let env = strings(env.collect())?;
    let errno = sys::exec::execveat(sealed.as_fd(), &args, &env);
    Err(errno).context(|| "execute creel's read-only view of itself")
}

/// Whether the mount is read-only, or the file is a memfd that is sealed against writing.
fn is_sealed(exe: BorrowedFd<'_>) -> Result<bool> {
    let flags = fstatvfs(exe).context(|| format!("statfs {EXE}"))?.flags();
    if flags.contains(FsFlags::ST_RDONLY) {
        return Ok(true);
    }
    let seals = fcntl(exe, FcntlArg::F_GET_SEALS).unwrap_or(0);
    Ok(SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_WRITE))
}

fn read_only_view() -> Result<OwnedFd, Errno> {
    let view = mount::open_tree(c"/proc/self/exe", Depth::One, true)?;
    let change = Setattr { set: mount::attr::RDONLY, ..Setattr::default() };
    mount::mount_setattr(view.as_fd(), Depth::One, &change)?;
    Ok(view)
}

fn copy(mut exe: File) -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = memfd_create(c"creel", flags).context(|| "memfd_create for a copy of creel")?;
    let mut bytes = Vec::new();
    exe.read_to_end(&mut bytes).context(|| format!("read {EXE}"))?;
    let mut file = File::from(fd);
    file.write_all(&bytes).context(|| "copy creel to a memfd")?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).context(|| "seal the copy of creel")?;
    Ok(file.into())
}
