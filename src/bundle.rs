// SPDX-License-Identifier: Apache-2.0
//! The bundle: a directory with config.json and, usually, the root filesystem.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::file;
use crate::oci;

/// A bundle's directory and the text of its config.json.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub dir: PathBuf,
    config: String,
    /// `config` with what it has twice, in two spellings, put together.
    merged: OnceCell<String>,
}

impl Bundle {
    /// Reads `dir`/config.json, or the file that is to be in its place (`--config`). The directory becomes
    /// absolute, as the state reports it.
    ///
    /// # Errors
    /// A missing or unreadable config.json.
    pub(crate) fn open(dir: &Path, config: Option<&Path>) -> Result<Self> {
        let dir = absolute(dir)?;
        if config.is_some() {
            check_is_directory(&dir)?;
        }
        let path = config.map_or_else(|| dir.join("config.json"), Path::to_owned);
        let text = match file::read(&path) {
            Ok(bytes) => String::from_utf8(bytes)
                .map_err(|_| Error::text(format!("read {path:?}: not UTF-8 text")))?,
            Err(Errno::ENOENT | Errno::ENOTDIR) if config.is_none() => {
                check_is_directory(&dir)?;
                bail!(
                    "JSON specification file config.json not found in {dir:?}: ENOENT: no such file or directory"
                )
            }
            Err(error) => return Err(error).context(|| format!("read {path:?}")),
        };
        Ok(Self::of(dir, text))
    }

    /// A bundle whose config.json is at hand.
    pub(crate) fn of(dir: PathBuf, config: String) -> Self {
        Self { dir, config, merged: OnceCell::new() }
    }

    /// The config's text: as it was found, or as `spec` had to mend it.
    pub(crate) fn config(&self) -> &str {
        self.merged.get().unwrap_or(&self.config)
    }

    /// The config, typed.
    pub(crate) fn spec(&self) -> Result<oci::Spec<'_>> {
        let error = match oci::parse(self.config()) {
            Ok(spec) => return Ok(spec),
            Err(error) => error,
        };
        match oci::merged(&self.config, &error) {
            Some(text) => oci::parse(self.merged.get_or_init(|| text)),
            None => Err(error),
        }
        .context(|| "config.json")
    }
}

fn check_is_directory(dir: &Path) -> Result<()> {
    let about = std::fs::metadata(dir).context(|| format!("open bundle {dir:?}"))?;
    if !about.is_dir() {
        bail!("open bundle {dir:?}: ENOTDIR: not a directory");
    }
    Ok(())
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
