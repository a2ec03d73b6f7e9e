// SPDX-License-Identifier: Apache-2.0
//! creel's own binary cannot be overwritten from inside a container (CVE-2019-5736).
//!
//! Commands that enter a container run from a read-only view of their own file: a detached clone of
//! the mount it lies on, made read-only, and one execveat(2). For an ordinary user a short-lived clone
//! in a user namespace makes it. Where that is refused (Linux before 5.12, no user namespaces) a sealed
//! memfd copy serves. A file on a read-only mount needs none. The view's descriptor is closed by
//! execveat: the mount belongs to no namespace from then on, and nobody can make it writable again.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::sys::statvfs::{FsFlags, fstatvfs, statvfs};
use nix::sys::wait::waitpid;

use crate::error::{Context, Result};
use crate::sys;
use crate::sys::clone::{CloneFlagsBits, CloneRequest, Fork, clone3};
use crate::sys::mount::{self, Depth, Setattr};
use crate::timings;

const EXE: &str = "/proc/self/exe";
const EXE_C: &CStr = c"/proc/self/exe";

/// The commands that enter a container.
const COMMANDS: [&str; 3] = ["create", "run", "exec"];

/// This process runs from a read-only mount.
static ON_READ_ONLY: AtomicBool = AtomicBool::new(false);

/// Where one of the command line's words is such a command: what `ensure` does in the usual case, before
/// anything else, since all that is done before is done twice. What fails here is left to `ensure`.
pub(crate) fn ensure_early() {
    let is_any = |arg: &OsStr| COMMANDS.iter().any(|name| arg == *name);
    // `--timings` counts from here: `ensure` hands that on.
    let is_timed = |arg: &OsStr| arg.to_string_lossy().contains("-timings");
    if !sys::entry::args().skip(1).any(is_any) || sys::entry::args().any(is_timed) {
        return;
    }
    match statvfs(EXE) {
        Ok(on) if on.flags().contains(FsFlags::ST_RDONLY) => {
            ON_READ_ONLY.store(true, Ordering::Relaxed);
            expect_work();
        }
        Ok(_) => {
            if let Ok(view) = read_only_view(EXE_C) {
                // Not executed: `ensure` will say why.
                let _ = sys::exec::execveat_again(view.as_fd(), None);
            }
        }
        Err(_) => {}
    }
}

/// Of memory about as much as any of these commands uses: fewer faults, not more pages.
fn expect_work() {
    #[cfg(not(any(fuzzing, sanitized, miri)))]
    crate::ALLOCATOR.populate(80 * 1024);
    sys::memory::populate_stack(48 * 1024);
}

/// Returns when this process already runs from a file that cannot be written; else executes itself
/// from such a one and does not return.
///
/// # Errors
/// No protection could be set up; the command must not go on.
pub(crate) fn ensure() -> Result<()> {
    if ON_READ_ONLY.load(Ordering::Relaxed) {
        return Ok(());
    }
    let exe = File::open(EXE).context(|| format!("open {EXE}"))?;
    if is_sealed(exe.as_fd())? {
        return Ok(());
    }
    let sealed = match read_only_view(EXE_C) {
        Ok(fd) => fd,
        // No CAP_SYS_ADMIN.
        Err(Errno::EPERM) => match view_of_an_ordinary_user(&exe) {
            Some(view) => view,
            None => copy(exe)?,
        },
        // KERNEL(5.12): mount_setattr.
        Err(Errno::ENOSYS | Errno::EINVAL | Errno::EACCES) => copy(exe)?,
        Err(errno) => return Err(errno).context(|| "make a read-only view of creel's own file"),
    };
    let begun = timings::begun().map(|at| format!("{}={at}", timings::BEGUN));
    let begun = begun.map(sys::cstring).transpose()?;
    Err(sys::exec::execveat_again(sealed.as_fd(), begun.as_deref()))
        .context(|| "execute creel's read-only view of itself")
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

fn read_only_view(path: &CStr) -> Result<OwnedFd, Errno> {
    let view = mount::open_tree(path, Depth::One, true)?;
    let change = Setattr { set: mount::attr::RDONLY, ..Setattr::default() };
    mount::mount_setattr(view.as_fd(), Depth::One, &change)?;
    Ok(view)
}

/// Only in a mount namespace of a user namespace of its own may an ordinary user clone mounts. None:
/// not here, for whatever reason.
fn view_of_an_ordinary_user(exe: &File) -> Option<OwnedFd> {
    // Not through /proc/self/exe: that is a file of this mount namespace.
    let path = std::fs::read_link(EXE).ok()?;
    let path = CString::new(path.into_os_string().into_vec()).ok()?;
    // The clone puts the view in the place of this in the table of descriptors that they share.
    let place = exe.try_clone().ok()?;
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_FILES;
    let request = CloneRequest { flags: CloneFlagsBits(flags as u64), cgroup: None };
    match clone3(&request).ok()? {
        Fork::Child(_) => {
            let made = read_only_view(&path)
                .and_then(|view| sys::fd::replace(place.as_fd(), view.as_fd()));
            sys::exit(i32::from(made.is_err()))
        }
        Fork::Parent { child, .. } => drop(waitpid(child, None)),
    }
    let (view, original) = (fstat(&place).ok()?, fstat(exe).ok()?);
    let is_same = (view.st_dev, view.st_ino) == (original.st_dev, original.st_ino);
    (is_same && is_sealed(place.as_fd()).ok()?).then(|| place.into())
}

fn copy(mut exe: File) -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = memfd_create(c"creel", flags).context(|| "memfd_create for a copy of creel")?;
    let mut file = File::from(fd);
    std::io::copy(&mut exe, &mut file).context(|| "copy creel to a memfd")?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).context(|| "seal the copy of creel")?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::fcntl::{OFlag, open};
    use nix::mount::MsFlags;
    use nix::sys::stat::Mode;

    use super::*;
    use crate::testing::inside;

    /// As a container's root would that has CAP_SYS_ADMIN over its own mount namespace.
    #[test]
    fn the_view_cannot_be_made_writable_again() {
        inside(|_| {
            // Its own file: an ordinary user may not write to others anyway.
            let none = None::<&str>;
            nix::mount::mount(Some("t"), "/mnt", Some("tmpfs"), MsFlags::empty(), none)?;
            std::fs::write("/mnt/own", "")?;
            let view = read_only_view(c"/mnt/own")?;
            let again = format!("/proc/self/fd/{}", view.as_raw_fd());
            let held = open(again.as_str(), OFlag::O_PATH, Mode::empty())?;
            // As execveat does.
            drop(view);
            let change = Setattr { clear: mount::attr::RDONLY, ..Setattr::default() };
            let changed = mount::mount_setattr(held.as_fd(), Depth::One, &change);
            assert_eq!(changed, Err(Errno::EINVAL));
            assert_eq!(mount::open_tree_fd(held.as_fd(), Depth::One).err(), Some(Errno::EINVAL));
            let again = format!("/proc/self/fd/{}", held.as_raw_fd());
            assert_eq!(
                open(again.as_str(), OFlag::O_WRONLY, Mode::empty()).err(),
                Some(Errno::EROFS)
            );
            assert!(is_sealed(held.as_fd())?);
            Ok(())
        });
    }
}
