//! The system calls that neither std nor nix has a safe wrapper for. The only unsafe code here.
// SPDX-License-Identifier: Apache-2.0
#![allow(unsafe_code)]

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// What sched_getattr(2) tells of this process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// [sched_getattr(2)](https://man7.org/linux/man-pages/man2/sched_getattr.2.html)
pub fn sched_getattr() -> Result<SchedAttr, Errno> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>();
    // SAFETY: the kernel writes at most `size` bytes, which is the size of `attr`.
    let rc = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    Errno::result(rc).map(|_| attr)
}

/// [ioprio_get(2)](https://man7.org/linux/man-pages/man2/ioprio_get.2.html) of this process:
/// the class and the level.
pub fn ioprio_get() -> Result<(u32, u32), Errno> {
    const WHO_PROCESS: i32 = 1;
    // SAFETY: the call takes two integers and touches no memory.
    let rc = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    let value = u32::try_from(Errno::result(rc)?).map_err(|_| Errno::EINVAL)?;
    Ok((value >> 13, value & 0xff))
}

/// [get_mempolicy(2)](https://man7.org/linux/man-pages/man2/get_mempolicy.2.html): the mode with
/// its flags, and the first 64 nodes of the mask.
pub fn get_mempolicy() -> Result<(i32, u64), Errno> {
    let mut mode: i32 = 0;
    let mut nodes = [0_u64; 16];
    // SAFETY: `mode` is an int and `nodes` has room for the 1024 bits that are announced.
    let rc = unsafe {
        libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), 1024, 0, 0)
    };
    Errno::result(rc).map(|_| (mode, nodes[0]))
}

/// One call by number with integer arguments, for probing a seccomp filter. The callers pass no
/// number whose arguments the kernel would write through.
pub fn probe(number: i64, args: [u64; 3]) -> Result<i64, Errno> {
    // SAFETY: each number that `inside seccomp` passes treats these arguments as integers, or
    // as addresses that are null and so answered by EFAULT.
    Errno::result(unsafe { libc::syscall(number, args[0], args[1], args[2]) })
}

/// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html): runs `work` in a child and
/// returns the child's pid.
pub fn fork(work: impl FnOnce() -> i32) -> Result<nix::unistd::Pid, Errno> {
    // SAFETY: these programs have one thread, so no lock is held by another one.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(child),
        nix::unistd::ForkResult::Child => {
            let code = work();
            // SAFETY: _exit never returns and runs no destructors of the parent's state.
            unsafe { libc::_exit(code) }
        }
    }
}

/// The terminal's size, by [TIOCGWINSZ](https://man7.org/linux/man-pages/man2/TIOCGWINSZ.2const.html).
pub fn window_size(fd: i32) -> Result<(u16, u16), Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel fills one winsize.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

/// [recvmsg(2)](https://man7.org/linux/man-pages/man2/recvmsg.2.html): one message and the
/// descriptors that came with it.
pub fn receive(socket: BorrowedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut data = vec![0_u8; 1 << 16];
    let mut space = nix::cmsg_space!([RawFd; 8]);
    let mut raw: Vec<RawFd> = Vec::new();
    let mut parts = [IoSliceMut::new(&mut data)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            raw.extend(fds);
        }
    }
    let count = message.bytes;
    data.truncate(count);
    // SAFETY: the kernel made these descriptors for this call, so nothing else owns them.
    let owned = raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect();
    Ok((data, owned))
}

/// A [persistent tap device](https://docs.kernel.org/networking/tuntap.html) in this network
/// namespace.
pub fn make_tap(name: &str) -> std::io::Result<()> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;
    const IFF_TAP_NO_PI: i16 = 0x1002;
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // struct ifreq: a name of at most 15 bytes and a nul, then a union that begins with the flags.
    let mut request = [0_u8; 40];
    let length = name.len().min(15);
    request[..length].copy_from_slice(&name.as_bytes()[..length]);
    request[16..18].copy_from_slice(&IFF_TAP_NO_PI.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes one ifreq, whose size `request` has.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) })?;
    // SAFETY: TUNSETPERSIST takes an integer.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETPERSIST, 1) })?;
    Ok(())
}
