// SPDX-License-Identifier: Apache-2.0
//! The container's standard streams as it was given them, for a restore: pipes of the host's, which
//! CRIU is to replace by those that the restoring creel has. Kept in state.json, and beside the images
//! in `descriptors.json`, which runc and crun read and write too.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::stat::{SFlag, fstat};

use super::rpc::{self, opts};
use super::wire::Message;
use crate::error::{Context, Error, Result};
use crate::state;
use crate::sys::fd;

const FILE: &str = "descriptors.json";
const PIPE: &str = "pipe:";

/// This process's three: `pipe:[INODE]`, or nothing for what is no pipe. Empty if none is one.
pub(crate) fn plan() -> Vec<String> {
    let name = |stream: std::os::fd::BorrowedFd<'_>| match fstat(stream) {
        Ok(about) if about.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits() => {
            format!("{PIPE}[{}]", about.st_ino)
        }
        _ => String::new(),
    };
    let names = fd::stdio().map(name);
    if names.iter().all(String::is_empty) { Vec::new() } else { names.into() }
}

/// Writes descriptors.json: the pipes that the container was given, and for the rest what init has.
pub(super) fn save(pipes: &[String], init: i32, images: &OwnedFd) -> Result<()> {
    let now = |stream: usize| {
        let link = std::fs::read_link(format!("/proc/{init}/fd/{stream}"));
        link.map_or_else(|_| "/dev/null".to_owned(), |to| to.to_string_lossy().into_owned())
    };
    let names: Vec<String> = (0..3)
        .map(|stream| match pipes.get(stream) {
            Some(pipe) if !pipe.is_empty() => pipe.clone(),
            _ => now(stream),
        })
        .collect();
    let text = serde_json::to_string(&names).expect("strings");
    state::write_atomically(images, FILE, text.as_bytes()).context(|| format!("write {FILE}"))
}

/// Tells CRIU which of the pipes in the images are this process's standard streams now.
pub(super) fn tell(message: &mut Message, images: &OwnedFd) -> Result<()> {
    let text = state::read(images, FILE).context(|| format!("--image-path: read {FILE}"))?;
    let names: Vec<String> =
        serde_json::from_str(&text).map_err(|e| Error::text(format!("{FILE}: {e}")))?;
    for (stream, name) in fd::stdio().into_iter().zip(&names) {
        if name.contains(PIPE) {
            let number = fd::number(stream.as_fd()).into();
            let inherit = Message::of([(rpc::KEY, name.as_str().into()), (rpc::FD, number)]);
            message.set(opts::INHERIT_FD, inherit);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::inside;

    #[test]
    fn pipes_have_names_and_other_streams_none() {
        inside(|_| {
            let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
            let (_, pipe) = nix::unistd::pipe()?;
            for stream in 0..3 {
                fd::dup_to(null.as_fd(), stream)?;
            }
            assert_eq!(plan(), [""; 0]);
            fd::dup_to(pipe.as_fd(), 1)?;
            let name = std::fs::read_link("/proc/self/fd/1")?;
            assert_eq!(plan(), ["", name.to_str().unwrap(), ""]);
            Ok(())
        });
    }

    #[test]
    fn what_is_saved_is_told_for_pipes_alone() {
        inside(|_| {
            let images = OwnedFd::from(std::fs::File::open("/mnt")?);
            nix::mount::mount(
                Some("t"),
                "/mnt",
                Some("tmpfs"),
                nix::mount::MsFlags::empty(),
                None::<&str>,
            )?;
            drop(images);
            let images = OwnedFd::from(std::fs::File::open("/mnt")?);
            let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
            fd::dup_to(null.as_fd(), 0)?;
            let pipes = [String::new(), "pipe:[7]".to_owned(), "pipe:[8]".to_owned()];
            save(&pipes, nix::unistd::getpid().as_raw(), &images)?;
            let text = std::fs::read_to_string("/mnt/descriptors.json")?;
            assert_eq!(text, r#"["/dev/null","pipe:[7]","pipe:[8]"]"#);
            let mut message = Message::default();
            tell(&mut message, &images)?;
            let expected = r#"inherit_fd={key="pipe:[7]" fd=1} inherit_fd={key="pipe:[8]" fd=2}"#;
            assert_eq!(message.to_string(), expected);
            Ok(())
        });
    }
}
