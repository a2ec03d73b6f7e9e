// SPDX-License-Identifier: Apache-2.0
//! The bundle: a directory with config.json and, usually, the root filesystem.

use std::path::{Path, PathBuf};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci;

/// A bundle's directory and the text of its config.json.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub dir: PathBuf,
    pub config: String,
}

impl Bundle {
    /// Reads `dir`/config.json, or the file that is to be in its place (`--config`). The directory becomes
    /// absolute, as the state reports it.
    ///
    /// # Errors
    /// A missing or unreadable config.json.
    pub(crate) fn open(dir: &Path, config: Option<&Path>) -> Result<Self> {
        let dir = absolute(dir)?;
        if !dir.is_dir() {
            std::fs::metadata(&dir).context(|| format!("open bundle {dir:?}"))?;
            bail!("open bundle {dir:?}: ENOTDIR: not a directory");
        }
        let path = config.map_or_else(|| dir.join("config.json"), Path::to_owned);
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes)
                .map_err(|_| Error::text(format!("read {path:?}: not UTF-8 text")))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && config.is_none() => {
                bail!(
                    "JSON specification file config.json not found in {dir:?}: ENOENT: no such file or directory"
                )
            }
            Err(error) => return Err(error).context(|| format!("read {path:?}")),
        };
        Ok(Self { dir, config: text })
    }

    /// The config, typed.
    pub(crate) fn spec(&self) -> Result<oci::Spec<'_>> {
        oci::parse(&self.config).context(|| "config.json")
    }
}

/// Absolute and without `.` and `..`, without following links (`filepath.Abs`).
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    let joined = if path.is_absolute() {
        path.to_owned()
    } else {
        std::env::current_dir().context(|| "read the working directory")?.join(path)
    };
    Ok(clean(&joined))
}

/// Removes `.`, `..` and double slashes by text.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}
