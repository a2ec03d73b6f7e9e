// SPDX-License-Identifier: Apache-2.0
//! `linux.uidMappings` and `gidMappings`: whether this user may have those ids. Root's own map, an
//! ordinary user's subordinate ids, and the helpers that write them.

use std::ops::Range;
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use crate::oci::{IdMapping, Linux};

/// What one kind of ids is called where.
struct Kind {
    property: &'static str,
    own_map: &'static str,
    subordinate: &'static str,
    helper: &'static str,
}

const UIDS: Kind = Kind {
    property: "uidMappings",
    own_map: "/proc/self/uid_map",
    subordinate: "/etc/subuid",
    helper: "newuidmap",
};
const GIDS: Kind = Kind {
    property: "gidMappings",
    own_map: "/proc/self/gid_map",
    subordinate: "/etc/subgid",
    helper: "newgidmap",
};

/// Pointers and messages, for a new user namespace.
pub(super) fn foresee(linux: &Linux<'_>, is_new: bool) -> Vec<(String, String)> {
    if !is_new {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (kind, maps, own) in [
        (UIDS, &linux.uid_mappings, geteuid().as_raw()),
        (GIDS, &linux.gid_mappings, getegid().as_raw()),
    ] {
        found.extend(kind.foresee(maps, own));
    }
    found
}

impl Kind {
    fn foresee(&self, maps: &[IdMapping], own: u32) -> Vec<(String, String)> {
        let Self { property, helper, .. } = self;
        let at = format!("/linux/{property}");
        let ranges = if geteuid().is_root() {
            own_ranges(&read(self.own_map))
        } else {
            if maps.iter().all(|map| (map.host_id, map.size) == (own, 1)) {
                return Vec::new();
            }
            if find_program(helper).is_none() {
                let text = format!(
                    "linux.{property}: {helper}: executable file not found in $PATH; a user without \
                     privileges needs it to map other ids than the own one (the uidmap package)"
                );
                return vec![(at, text)];
            }
            let mut ranges = subordinate_ranges(&read(self.subordinate), &user_names());
            ranges.push(u64::from(own)..u64::from(own) + 1);
            ranges
        };
        let missing = |(i, map): (usize, &IdMapping)| {
            let wanted = u64::from(map.host_id)..u64::from(map.host_id) + u64::from(map.size);
            (!covers(&ranges, &wanted)).then(|| {
                let (from, to) = (wanted.start, wanted.end.saturating_sub(1));
                let whose = if geteuid().is_root() { self.own_map } else { self.subordinate };
                let text = format!(
                    "linux.{property}[{i}]: the host's ids {from} to {to} are not all in {whose}"
                );
                (format!("{at}/{i}"), text)
            })
        };
        maps.iter().enumerate().filter_map(missing).collect()
    }
}

/// What a user has to give to user namespaces of his own, for the host's report.
pub(super) fn subordinate() -> [(&'static str, Vec<Range<u64>>); 2] {
    let names = user_names();
    [UIDS, GIDS].map(|kind| (kind.subordinate, subordinate_ranges(&read(kind.subordinate), &names)))
}

pub(super) fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| {
        std::fs::metadata(file)
            .is_ok_and(|m| crate::hooks::is_program(std::os::unix::fs::MetadataExt::mode(&m)))
    })
}

fn read(file: impl AsRef<Path>) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// `inside outside count` a line: the first is what this process can give on.
fn own_ranges(map: &str) -> Vec<Range<u64>> {
    let line = |line: &str| {
        let numbers: Vec<u64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let [inside, _, count] = numbers[..] else { return None };
        Some(inside..inside + count)
    };
    map.lines().filter_map(line).collect()
}

/// `user:first:count` a line, by name or number.
fn subordinate_ranges(text: &str, names: &[String]) -> Vec<Range<u64>> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        let (first, count) =
            (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
        names.iter().any(|name| name == user).then(|| first..first + count)
    };
    text.lines().filter_map(line).collect()
}

/// The name and the number of who asks.
fn user_names() -> Vec<String> {
    let uid = geteuid().to_string();
    let users = read("/etc/passwd");
    let named = users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    named.chain([uid.clone()]).collect()
}

/// Whether the union of `ranges` has all of `wanted`.
fn covers(ranges: &[Range<u64>], wanted: &Range<u64>) -> bool {
    let mut at = wanted.start;
    while at < wanted.end {
        match ranges.iter().filter(|range| range.contains(&at)).map(|range| range.end).max() {
            Some(end) => at = end,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_joined() {
        let names = ["me".to_owned(), "1000".to_owned()];
        let ranges = subordinate_ranges("me:100:10\nyou:110:10\n1000:110:5\nbroken\n", &names);
        assert_eq!(ranges, [100..110, 110..115]);
        assert!(covers(&ranges, &(105..115)) && !covers(&ranges, &(105..116)));
        assert!(!covers(&[], &(0..1)) && covers(&[], &(5..5)));
        assert_eq!(
            own_ranges("         0          0 4294967295\n").first(),
            Some(&(0..4_294_967_295))
        );
    }
}
