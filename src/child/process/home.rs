// SPDX-License-Identifier: Apache-2.0
//! HOME, from the container's /etc/passwd: a hostile file, read after the root was entered.

use std::fs::File;
use std::io::Read;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

use crate::error::Result;
use crate::log;
use crate::sys::Inside;

/// From `/`, where every way into the root ends.
const PASSWD: &str = "etc/passwd";

/// More than any real file; a hostile one must not eat the memory limit.
const MOST: u64 = 4 << 20;

/// The user's home directory; `/` where there is no line or no file, as runc has it.
pub(crate) fn of(uid: u32, _: &Inside) -> String {
    match read() {
        Ok(text) => find(&text, uid).unwrap_or_else(|| "/".to_owned()),
        Err(error) => {
            log::debug(|| {
                let text = "HOME not set in process.env, and getting UID";
                format!("{text} {uid} homedir failed: {error}")
            });
            "/".to_owned()
        }
    }
}

fn read() -> Result<Vec<u8>> {
    let file = open()?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(Vec::new());
    }
    let mut text = Vec::with_capacity(usize::try_from(about.len().min(MOST)).unwrap_or(0) + 1);
    file.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

/// Without waiting on a fifo, and not through /proc/self/fd to one of our own descriptors.
fn open() -> Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(AT_FDCWD, PASSWD, how) {
        // KERNEL(5.6): drop when openat2 can be assumed. Without it no link is followed at all.
        Err(Errno::ENOSYS) => {
            let flags = flags | OFlag::O_NOFOLLOW;
            Ok(nix::fcntl::open(PASSWD, flags, Mode::empty())?.into())
        }
        other => Ok(other?.into()),
    }
}

/// The sixth field of the first line whose third is `uid`. `needs_home_of`'s value becomes part of
/// the environment, so a NUL in it is no home.
fn find(passwd: &[u8], uid: u32) -> Option<String> {
    for line in passwd.split(|&b| b == b'\n') {
        let mut fields = line.trim_ascii().split(|&b| b == b':');
        let number = fields.nth(2).and_then(|field| std::str::from_utf8(field).ok());
        if number.and_then(|n| n.parse().ok()) != Some(uid) {
            continue;
        }
        let home = fields.nth(2).and_then(|field| std::str::from_utf8(field).ok());
        return home.filter(|home| !home.is_empty() && !home.contains('\0')).map(str::to_owned);
    }
    None
}

#[cfg(test)]
mod tests {
    use nix::mount::{MsFlags, mount};
    use nix::unistd::{chdir, chroot};

    use super::*;
    use crate::testing::inside;

    #[test]
    fn the_first_line_of_the_user_decides() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\n# comment\nbad:x:y:0::/bad:\n \
            app:x:1000:1000::/home/app:/bin/sh\nagain:x:1000:1000::/other:\nshort:x:7\nempty:x:8:8:::\n";
        assert_eq!(find(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(find(passwd, 1000).as_deref(), Some("/home/app"));
        assert_eq!(find(passwd, 7), None);
        assert_eq!(find(passwd, 8), None);
        assert_eq!(find(passwd, 9), None);
        assert_eq!(find(b"a:x:1:1::/a\0b:", 1), None);
    }

    /// In a fresh root whose /etc/passwd `make` makes.
    fn home_with(make: impl FnOnce() -> Result<()>) {
        inside(|me| {
            mount(Some("t"), "/mnt", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            std::fs::create_dir("/mnt/etc")?;
            std::fs::create_dir("/mnt/proc")?;
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some("/proc"), "/mnt/proc", None::<&str>, bind, None::<&str>)?;
            chroot("/mnt")?;
            chdir("/")?;
            make()?;
            assert_eq!(of(0, me), "/");
            std::fs::remove_file(PASSWD)?;
            std::fs::write(PASSWD, "r:x:0:0::/r:\n")?;
            assert_eq!(of(0, me), "/r");
            Ok(())
        });
    }

    #[test]
    fn a_fifo_in_its_place_does_not_hang() {
        home_with(|| Ok(nix::unistd::mkfifo(PASSWD, Mode::S_IRUSR)?));
    }

    #[test]
    fn a_magic_link_to_a_descriptor_is_not_followed() {
        home_with(|| {
            std::fs::write("/secret", "r:x:0:0::/stolen:\n")?;
            let secret = File::open("/secret")?;
            let number = crate::sys::fd::leak(secret.into());
            Ok(std::os::unix::fs::symlink(format!("/proc/self/fd/{number}"), PASSWD)?)
        });
    }
}
