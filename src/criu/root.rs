// SPDX-License-Identifier: Apache-2.0
//! What the clone that becomes CRIU does for a restore, in a mount namespace of its own: there the
//! container's root is a mount point, and nothing has to be unmounted afterwards, whatever happens.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::child::rootfs::{External, Rootfs};
use crate::error::{Context, Error, Result};
use crate::sys::Inside;

/// The place of the root, and what the clone finds out there.
#[derive(Debug)]
pub(super) struct Root {
    at: PathBuf,
    found: File,
}

impl Root {
    /// Makes the directory, in the container's own.
    pub(super) fn make(state_dir: &std::path::Path) -> Result<Self> {
        let at = state_dir.join("criu-root");
        std::fs::create_dir(&at).context(|| format!("make {at:?}"))?;
        let found = memfd_create(c"creel", MFdFlags::MFD_CLOEXEC).context(|| "memfd_create")?;
        Ok(Self { at, found: found.into() })
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.at
    }

    pub(super) fn prepare(&self, rootfs: &Rootfs, me: &Inside) -> Result<()> {
        let found = rootfs.prepare_restore(&self.at, me)?;
        let text =
            serde_json::to_vec(&found).map_err(|e| Error::text(format!("external mounts: {e}")))?;
        (&self.found).write_all(&text).context(|| "write what was found")
    }

    /// In the parent, once the clone has executed CRIU.
    pub(super) fn found(&mut self) -> Result<Vec<External>> {
        let mut text = String::new();
        self.found.rewind().context(|| "read what was found")?;
        self.found.read_to_string(&mut text).context(|| "read what was found")?;
        serde_json::from_str(&text).map_err(|e| Error::text(format!("external mounts: {e}")))
    }

    /// The restored container has its own copy of the mount.
    pub(super) fn remove(self) -> Result<()> {
        std::fs::remove_dir(&self.at).context(|| format!("remove {:?}", self.at))
    }
}
