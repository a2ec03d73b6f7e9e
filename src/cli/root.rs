// SPDX-License-Identifier: Apache-2.0
//! `--root`: where state directories are, and what stands in for it.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::bail;
use crate::bundle::clean;
use crate::error::{Context, Result};

const DEFAULT: &str = "/run/creel";

/// The directory without `--root`, and whether it is in `$XDG_RUNTIME_DIR`.
pub(crate) fn default() -> (PathBuf, bool) {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() && honours_xdg() => (Path::new(&dir).join("creel"), true),
        _ => (PathBuf::from(DEFAULT), false),
    }
}

/// For anybody but the host's root; `USER=root` in a user namespace asks to be taken for it.
fn honours_xdg() -> bool {
    if !nix::unistd::geteuid().is_root() {
        return true;
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    is_user_namespace(&map) && std::env::var_os("USER").is_none_or(|user| user != "root")
}

/// Whether a uid_map is other than the initial one. An unreadable one is none: no user namespaces.
fn is_user_namespace(uid_map: &str) -> bool {
    let first: Vec<&str> = uid_map.lines().next().unwrap_or("").split_whitespace().collect();
    !first.is_empty() && first != ["0", "0", "4294967295"]
}

/// The directory to use: absolute and clean, made if it is the one in `$XDG_RUNTIME_DIR`. The flag
/// says whether it was given.
pub(crate) fn choose(given: Option<&str>) -> Result<(PathBuf, bool)> {
    if let Some(given) = given {
        let path = if given.is_empty() { PathBuf::from("/") } else { std::path::absolute(given)? };
        let path = clean(&path);
        if path == Path::new("/") {
            bail!("Option --root argument should not be set to /");
        }
        return Ok((path, true));
    }
    let (path, is_xdg) = default();
    if is_xdg {
        make(&path).context(|| format!("{} in $XDG_RUNTIME_DIR", path.display()))?;
    }
    Ok((path, false))
}

/// The sticky bit keeps clean-up services away, as the XDG base directory specification has it.
fn make(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    Ok(std::fs::set_permissions(path, Permissions::from_mode(0o1700))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_root_is_refused_however_it_is_spelled() {
        for given in ["", "/", "//", "/.", "/a/..", "/../.."] {
            let error = choose(Some(given)).unwrap_err().to_string();
            assert_eq!(error, "Option --root argument should not be set to /", "{given}");
        }
    }

    #[test]
    fn a_given_root_is_made_absolute_and_clean() {
        assert_eq!(choose(Some("/a//b/./c/../d/")).unwrap(), (PathBuf::from("/a/b/d"), true));
        let relative = choose(Some("x/../y")).unwrap().0;
        assert_eq!(relative, std::env::current_dir().unwrap().join("y"));
    }

    #[test]
    fn only_the_whole_range_is_the_initial_namespace() {
        assert!(!is_user_namespace("         0          0 4294967295\n"));
        assert!(is_user_namespace("         0       1000          1\n"));
        assert!(is_user_namespace("0 0 4294967294\n"));
        assert!(!is_user_namespace(""));
    }

    #[test]
    fn a_root_of_its_own_is_private_and_sticky() {
        let base = std::env::temp_dir().join(format!("creel-root-{}", std::process::id()));
        let path = base.join("a/creel");
        make(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(mode & 0o7777, 0o1700);
    }
}
