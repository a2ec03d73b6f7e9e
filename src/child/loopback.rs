// SPDX-License-Identifier: Apache-2.0
//! `lo` up in a fresh network namespace, which the kernel hands out with it down.
//! Child side, only for a new namespace: in a joined one it is somebody else's.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::error::{Context, Result};
use crate::sys::{Inside, netlink};

/// The flags are not read first: a fresh `lo` has no other that could be lost.
pub(crate) fn up(_: &Inside) -> Result<()> {
    let any = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .context(|| "bring lo up")?;
    netlink::set_interface_flags(&any, c"lo", libc::IFF_UP | libc::IFF_LOOPBACK)
        .context(|| "bring lo up")
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::testing::inside;

    #[test]
    fn it_answers_only_when_it_is_up() {
        inside(|me| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            assert!(std::net::TcpStream::connect(address).is_err());
            up(me)?;
            std::net::TcpStream::connect(address)?;
            Ok(())
        });
    }
}
