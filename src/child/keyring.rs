// SPDX-License-Identifier: Apache-2.0
//! The session keyring `_ses.ID`: the container does not inherit the caller's. `--no-new-keyring`.
//! Child side, first of all; the SELinux key label, if any, must be set before.

use std::ffi::CString;

use nix::errno::Errno;

use crate::error::{Context, Result, describe};
use crate::log;
use crate::sys::{Inside, cstring, keyctl};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Keyring {
    name: CString,
    permissions: u32,
}

/// What the kernel gives a session keyring that a process asks for by name, as keyctl(2) spells it:
/// everything to the possessor; view, read and link to the owner.
const POSSESSOR_ALL: u32 = 0x3f00_0000;
const OWNER_VIEW_READ_LINK: u32 = 0x0013_0000;
/// `exec` must find it by name, as its owner; over a user namespace also as anyone, as in runc.
const OWNER_SEARCH: u32 = 0x0008_0000;
const OTHERS_SEARCH: u32 = 0x0000_0008;

impl Keyring {
    /// None with `--no-new-keyring`.
    pub(crate) fn plan(
        id: &str,
        no_new_keyring: bool,
        has_user_namespace: bool,
    ) -> Result<Option<Self>> {
        if no_new_keyring {
            return Ok(None);
        }
        let name = cstring(format!("_ses.{id}")).context(|| format!("container id {id:?}"))?;
        let others = if has_user_namespace { OTHERS_SEARCH } else { 0 };
        let permissions = POSSESSOR_ALL | OWNER_VIEW_READ_LINK | OWNER_SEARCH | others;
        Ok(Some(Self { name, permissions }))
    }

    /// For `create`: joins it and makes it searchable for a later `exec`.
    pub(crate) fn make(&self, me: &Inside) -> Result<()> {
        let Some(keyring) = self.join(me)? else { return Ok(()) };
        keyctl::setperm(keyring, self.permissions)
            .context(|| format!("permissions of session keyring {:?}", self.name))
    }

    /// For `exec`. None: the kernel has no keyrings, which is no reason to fail, as in runc.
    pub(crate) fn join(&self, _: &Inside) -> Result<Option<keyctl::Serial>> {
        match keyctl::join_session_keyring(&self.name) {
            Ok(keyring) => Ok(Some(keyring)),
            Err(Errno::ENOSYS) => {
                log::warn(&format!("join session keyring: {}", describe(Errno::ENOSYS)));
                Ok(None)
            }
            Err(errno) => Err(errno).context(|| format!("join session keyring {:?}", self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::inside;

    #[test]
    fn no_new_keyring_is_no_keyring() {
        assert_eq!(Keyring::plan("x", true, false).unwrap(), None);
    }

    #[test]
    fn a_named_keyring_is_made_searchable_and_found_again() {
        for (user_namespace, permissions) in [(false, "3f1b0000"), (true, "3f1b0008")] {
            let id = format!("test{}{user_namespace}", std::process::id());
            let ring = Keyring::plan(&id, false, user_namespace).unwrap().unwrap();
            inside(|me| {
                ring.make(me)?;
                keyctl::join_session_keyring(c"another")?;
                let Some(joined) = ring.join(me)? else {
                    println!("SKIP: the kernel has no keyrings");
                    return Ok(());
                };
                let text = keyctl::describe(joined)?;
                let fields: Vec<_> = text.split(';').collect();
                assert_eq!((fields[0], fields[3]), ("keyring", permissions), "{text}");
                assert_eq!(fields[4], format!("_ses.{id}"));
                Ok(())
            });
        }
    }
}
