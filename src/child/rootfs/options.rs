// SPDX-License-Identifier: Apache-2.0
//! `mounts[].options`: one row per option. The parser, the list that `features` prints and the
//! names in error messages come from the rows; a row with an attribute has recursive forms too
//! (`rro`, `rrw`).

use std::fmt;

use crate::error::Result;
use crate::oci::Str;
use crate::sys::mount::attr;

pub(super) const MS_BIND: u64 = libc::MS_BIND;
pub(super) const MS_REC: u64 = libc::MS_REC;
pub(super) const MS_REMOUNT: u64 = libc::MS_REMOUNT;
pub(super) const MS_RDONLY: u64 = libc::MS_RDONLY;
/// Linux 5.10; libc has no name for it.
const MS_NOSYMFOLLOW: u64 = 256;
pub(super) const ATIME_MODES: u64 = libc::MS_NOATIME | libc::MS_RELATIME | libc::MS_STRICTATIME;
pub(super) const ATIME_FLAGS: u64 = ATIME_MODES | libc::MS_NODIRATIME;

/// One option and its opposite.
struct Row {
    set: &'static str,
    /// The opposite; empty if there is none.
    clear: &'static str,
    flag: u64,
    recursive: Recursive,
}

enum Recursive {
    No,
    /// `r…` forms by mount_setattr.
    Attr(u64),
    /// crun's `r…` forms of flags that belong to the filesystem: there is nothing to recurse into,
    /// so they read as the plain ones. Not in runc's list.
    Plain,
}

const fn row(set: &'static str, clear: &'static str, flag: u64, recursive: Recursive) -> Row {
    Row { set, clear, flag, recursive }
}

use Recursive::{Attr, No, Plain};

const OPTIONS: &[Row] = &[
    row("defaults", "", 0, No),
    row("bind", "", MS_BIND, No),
    row("rbind", "", MS_BIND | MS_REC, No),
    row("remount", "", MS_REMOUNT, No),
    row("ro", "rw", MS_RDONLY, Attr(attr::RDONLY)),
    row("nosuid", "suid", libc::MS_NOSUID, Attr(attr::NOSUID)),
    row("nodev", "dev", libc::MS_NODEV, Attr(attr::NODEV)),
    row("noexec", "exec", libc::MS_NOEXEC, Attr(attr::NOEXEC)),
    row("nosymfollow", "symfollow", MS_NOSYMFOLLOW, Attr(attr::NOSYMFOLLOW)),
    row("noatime", "atime", libc::MS_NOATIME, Attr(attr::NOATIME)),
    row("nodiratime", "diratime", libc::MS_NODIRATIME, Attr(attr::NODIRATIME)),
    row("relatime", "norelatime", libc::MS_RELATIME, Attr(attr::RELATIME)),
    row("strictatime", "nostrictatime", libc::MS_STRICTATIME, Attr(attr::STRICTATIME)),
    row("sync", "async", libc::MS_SYNCHRONOUS, Plain),
    row("dirsync", "", libc::MS_DIRSYNC, Plain),
    row("mand", "nomand", libc::MS_MANDLOCK, Plain),
    row("iversion", "noiversion", libc::MS_I_VERSION, No),
    row("lazytime", "nolazytime", libc::MS_LAZYTIME, No),
    row("silent", "loud", libc::MS_SILENT, No),
];

/// Propagation types; applied in the order in which they are written.
const PROPAGATION: &[(&str, u64)] = &[
    ("private", libc::MS_PRIVATE),
    ("rprivate", libc::MS_PRIVATE | MS_REC),
    ("shared", libc::MS_SHARED),
    ("rshared", libc::MS_SHARED | MS_REC),
    ("slave", libc::MS_SLAVE),
    ("rslave", libc::MS_SLAVE | MS_REC),
    ("unbindable", libc::MS_UNBINDABLE),
    ("runbindable", libc::MS_UNBINDABLE | MS_REC),
];

/// What the runtime itself does around a mount.
const EXTENSIONS: &[(&str, Extension)] = &[
    ("tmpcopyup", Extension::CopyUp),
    ("idmap", Extension::Idmap),
    ("ridmap", Extension::RecursiveIdmap),
    ("copy-symlink", Extension::CopySymlink),
    ("src-nofollow", Extension::SrcNofollow),
    ("dest-nofollow", Extension::DestNofollow),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extension {
    CopyUp,
    Idmap,
    RecursiveIdmap,
    CopySymlink,
    SrcNofollow,
    DestNofollow,
}

/// The names that `features` lists, sorted: those of runc, which lists neither its own idmap and
/// ridmap nor what only crun knows.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = vec!["tmpcopyup"];
    names.extend(PROPAGATION.iter().map(|(name, _)| *name));
    for row in OPTIONS {
        names.push(row.set);
        names.push(row.clear);
        if let Attr(_) = row.recursive {
            names.extend(RECURSIVE_NAMES.iter().filter(|name| {
                name.strip_prefix('r').is_some_and(|n| n == row.set || n == row.clear)
            }));
        }
    }
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names
}

/// `r` put before the names of all rows with an attribute; a test holds it to the rows.
const RECURSIVE_NAMES: &[&str] = &[
    "rro",
    "rrw",
    "rnosuid",
    "rsuid",
    "rnodev",
    "rdev",
    "rnoexec",
    "rexec",
    "rnosymfollow",
    "rsymfollow",
    "rnoatime",
    "ratime",
    "rnodiratime",
    "rdiratime",
    "rrelatime",
    "rnorelatime",
    "rstrictatime",
    "rnostrictatime",
];

/// The rootfsPropagation or mount propagation of that name, as MS_* bits.
pub(super) fn propagation(name: &str) -> Option<u64> {
    PROPAGATION.iter().find(|(n, _)| *n == name).map(|(_, bits)| *bits)
}

/// The options of one mount, sorted out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// MS_* bits.
    pub flags: u64,
    /// MS_* bits whose absence was asked for.
    pub cleared: u64,
    pub propagation: Vec<u64>,
    pub recursive_set: u64,
    pub recursive_clear: u64,
    pub copy_up: bool,
    pub idmap: Option<Idmap>,
    pub copy_symlink: bool,
    pub src_nofollow: bool,
    pub dest_nofollow: bool,
    /// What is left for the filesystem.
    pub data: Vec<String>,
}

/// `idmap` or `ridmap`, with crun's own notation of the maps if there is one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Idmap {
    pub recursive: bool,
    pub maps: Option<String>,
}

impl Options {
    pub(super) fn plan(options: &[Str<'_>]) -> Result<Self> {
        let mut parsed = Self::default();
        for option in options {
            if option.contains('\0') {
                crate::bail!("a null byte in {:?}", option.as_str());
            }
            parsed.add(option);
        }
        Ok(parsed)
    }

    fn add(&mut self, option: &str) {
        if let Some(bits) = propagation(option) {
            self.propagation.push(bits);
        } else if let Some((extension, value)) = extension(option) {
            self.extend(extension, value);
        } else if !OPTIONS.iter().any(|row| self.add_row(row, option)) {
            self.data.push(option.to_owned());
        }
    }

    /// Whether the option was of this row.
    fn add_row(&mut self, row: &Row, option: &str) -> bool {
        if option.is_empty() {
            return false;
        }
        if option == row.set {
            self.flags |= row.flag;
            self.cleared &= !row.flag;
            return true;
        }
        if option == row.clear {
            self.flags &= !row.flag;
            self.cleared |= row.flag;
            return true;
        }
        let Some(plain) = option.strip_prefix('r').filter(|n| !n.is_empty()) else {
            return false;
        };
        match row.recursive {
            Attr(bits) if plain == row.set => self.set_recursive(bits),
            Attr(bits) if plain == row.clear => self.clear_recursive(bits),
            Plain if plain == row.set || plain == row.clear => {
                self.add_row(row, plain);
            }
            _ => return false,
        }
        true
    }

    fn set_recursive(&mut self, bits: u64) {
        if is_atime_mode(bits) {
            // The modes are one value: mount_setattr wants the old one cleared.
            self.recursive_set &= !attr::ATIME;
            self.recursive_clear |= attr::ATIME;
        } else {
            self.recursive_clear &= !bits;
        }
        self.recursive_set |= bits;
    }

    fn clear_recursive(&mut self, bits: u64) {
        self.recursive_set &= !bits;
        self.recursive_clear |= if is_atime_mode(bits) { attr::ATIME } else { bits };
    }

    fn extend(&mut self, extension: Extension, value: Option<&str>) {
        match extension {
            Extension::CopyUp => self.copy_up = true,
            Extension::CopySymlink => self.copy_symlink = true,
            Extension::SrcNofollow => self.src_nofollow = true,
            Extension::DestNofollow => self.dest_nofollow = true,
            Extension::Idmap | Extension::RecursiveIdmap => {
                let recursive = extension == Extension::RecursiveIdmap;
                self.idmap = Some(Idmap { recursive, maps: value.map(str::to_owned) });
            }
        }
    }

    pub(super) fn is_bind(&self) -> bool {
        self.flags & MS_BIND != 0
    }

    pub(super) fn is_remount(&self) -> bool {
        self.flags & MS_REMOUNT != 0
    }

    /// Whether the attributes of a bind mount are to be other than its source's.
    pub(super) fn changes_attributes(&self) -> bool {
        self.flags & !(MS_BIND | MS_REC | MS_REMOUNT) != 0 || self.cleared != 0
    }
}

fn is_atime_mode(bits: u64) -> bool {
    bits & attr::ATIME == bits
}

fn extension(option: &str) -> Option<(Extension, Option<&str>)> {
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let (_, extension) = EXTENSIONS.iter().find(|(n, _)| *n == name)?;
    let takes_value = matches!(extension, Extension::Idmap | Extension::RecursiveIdmap);
    (takes_value || value.is_none()).then_some((*extension, value))
}

/// The MOUNT_ATTR_* bits for MS_* bits of one mount.
pub(super) fn attributes(flags: u64) -> u64 {
    let mut bits = 0;
    for row in OPTIONS {
        if let Attr(attr) = row.recursive
            && !is_atime_mode(attr)
            && flags & row.flag != 0
        {
            bits |= attr;
        }
    }
    // In the kernel's order of precedence.
    bits | if flags & libc::MS_STRICTATIME != 0 {
        attr::STRICTATIME
    } else if flags & libc::MS_NOATIME != 0 {
        attr::NOATIME
    } else {
        attr::RELATIME
    }
}

/// The options for which a flag of the filesystem (not of the mount) has a name in fsconfig.
pub(super) fn superblock_flags(flags: u64) -> impl Iterator<Item = &'static str> {
    const NAMED: &[&str] = &["ro", "sync", "dirsync", "mand", "lazytime"];
    OPTIONS
        .iter()
        .filter(move |row| flags & row.flag != 0 && NAMED.contains(&row.set))
        .map(|row| row.set)
}

/// MS_* bits as the options that set them, for messages.
pub(super) struct Names(pub u64);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for row in OPTIONS.iter().filter(|row| row.flag != 0 && self.0 & row.flag == row.flag) {
            write!(f, "{separator}{}", row.set)?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&'static str]) -> Options {
        let options: Vec<Str<'_>> = options.iter().map(|o| Str::from(*o)).collect();
        Options::plan(&options).expect("no null byte")
    }

    #[test]
    fn every_name_of_features_is_an_option_and_not_data() {
        for name in names() {
            assert_eq!(parse(&[name]).data, Vec::<String>::new(), "{name}");
        }
        assert_eq!(names().len(), 60, "as many as runc lists");
        assert!(names().is_sorted());
    }

    #[test]
    fn recursive_names_are_those_of_the_rows() {
        let rows = OPTIONS.iter().filter(|row| matches!(row.recursive, Attr(_)));
        let expected: Vec<String> =
            rows.flat_map(|row| [format!("r{}", row.set), format!("r{}", row.clear)]).collect();
        assert_eq!(RECURSIVE_NAMES, expected);
    }

    #[test]
    fn the_opposite_clears_and_is_remembered() {
        let options = parse(&["nosuid", "ro", "suid"]);
        assert_eq!((options.flags, options.cleared), (MS_RDONLY, libc::MS_NOSUID));
        let options = parse(&["suid", "nosuid"]);
        assert_eq!((options.flags, options.cleared), (libc::MS_NOSUID, 0));
    }

    #[test]
    fn recursive_forms_are_attributes() {
        let options = parse(&["rbind", "rro", "rsuid"]);
        assert_eq!(options.flags, MS_BIND | MS_REC);
        assert_eq!(options.recursive_set, attr::RDONLY);
        assert_eq!(options.recursive_clear, attr::NOSUID);
    }

    #[test]
    fn an_access_time_mode_replaces_the_other() {
        let options = parse(&["rnoatime", "rstrictatime"]);
        assert_eq!(options.recursive_set, attr::STRICTATIME);
        assert_eq!(options.recursive_clear, attr::ATIME);
        assert_eq!(parse(&["rrelatime"]).recursive_clear, attr::ATIME);
    }

    #[test]
    fn the_rest_is_data_in_order() {
        let options = parse(&["mode=755", "nosuid", "size=64m", "acl", "r", ""]);
        assert_eq!(options.data, ["mode=755", "size=64m", "acl", "r", ""]);
    }

    #[test]
    fn extensions_of_both_peers() {
        let options =
            parse(&["tmpcopyup", "copy-symlink", "rsync", "ridmap=uids=0-1-2;gids=0-1-2"]);
        assert!(options.copy_up && options.copy_symlink);
        assert_eq!(options.flags, libc::MS_SYNCHRONOUS);
        let maps = Some("uids=0-1-2;gids=0-1-2".to_owned());
        assert_eq!(options.idmap, Some(Idmap { recursive: true, maps }));
        assert_eq!(parse(&["tmpcopyup=1"]).data, ["tmpcopyup=1"]);
    }

    #[test]
    fn kernel_precedence_of_access_time_modes() {
        assert_eq!(attributes(libc::MS_RELATIME), 0);
        assert_eq!(attributes(libc::MS_NOATIME | libc::MS_STRICTATIME), attr::STRICTATIME);
        assert_eq!(attributes(libc::MS_NODIRATIME | MS_RDONLY), attr::NODIRATIME | attr::RDONLY);
    }

    #[test]
    fn names_for_messages() {
        assert_eq!(Names(libc::MS_NOSUID | libc::MS_NODEV).to_string(), "nosuid, nodev");
    }
}
