//! `mounts`: each entry is there, of its type, with its options.
// SPDX-License-Identifier: Apache-2.0

use std::fs;

use serde_json::Value;

use conformance::proc::{self, Mount};

use crate::Facts;
use crate::report::Report;

pub(crate) fn mounts(facts: &Facts, report: &mut Report) {
    let Some(table) = report.value("mountinfo", proc::mounts("self")) else { return };
    for entry in facts.config["mounts"].as_array().into_iter().flatten() {
        let written = entry["destination"].as_str().unwrap_or("");
        let point = format!("/{}", written.trim_matches('/'));
        // cgroup v1 is a directory of mounts, laid out as the host's hierarchies are.
        if entry["type"] == "cgroup" {
            let there = fs::read_dir(&point).is_ok_and(|list| list.count() > 0);
            report.is(there, &format!("mounts {point} shows cgroups"), String::new);
            continue;
        }
        let Some(mount) = proc::top(&table, &point) else {
            report.is(false, &format!("mounts {point}"), || "no such mount".into());
            continue;
        };
        one(entry, &point, mount, &table, report);
    }
}

fn one(entry: &Value, point: &str, mount: &Mount, table: &[Mount], report: &mut Report) {
    let options = entry["options"].as_array().into_iter().flatten();
    let options: Vec<&str> = options.filter_map(|option| option.as_str()).collect();
    let is_bind = options.iter().any(|option| matches!(*option, "bind" | "rbind"));
    if let (false, Some(kind)) = (is_bind, entry["type"].as_str()) {
        report.equal(&format!("mounts {point} type"), kind, mount.fstype.as_str());
    }
    for option in &options {
        // A later word that undoes it wins.
        let last = options.iter().rev().find(|other| family(other) == family(option));
        if family(option).is_some() && last != Some(option) {
            continue;
        }
        if let Some(holds) = holds(option, mount, point, table) {
            report.is(holds, &format!("mounts {point} {option}"), || {
                format!("{:?} {:?} {:?}", mount.options, mount.tags, mount.super_options)
            });
        }
    }
}

/// Options of one family overrule each other.
fn family(option: &str) -> Option<&'static str> {
    let rows: [(&str, &[&str]); 9] = [
        ("ro", &["ro", "rw"]),
        ("suid", &["suid", "nosuid"]),
        ("dev", &["dev", "nodev"]),
        ("exec", &["exec", "noexec"]),
        ("sync", &["sync", "async"]),
        ("diratime", &["diratime", "nodiratime"]),
        ("lazytime", &["lazytime", "nolazytime"]),
        ("symfollow", &["symfollow", "nosymfollow"]),
        ("atime", &["atime", "noatime", "relatime", "norelatime", "strictatime", "nostrictatime"]),
    ];
    rows.iter().find(|(_, words)| words.contains(&option)).map(|(name, _)| *name)
}

/// Whether the kernel shows the option in force; None where nothing can be seen of it.
fn holds(option: &str, mount: &Mount, point: &str, table: &[Mount]) -> Option<bool> {
    let flag = |name: &str| mount.has_flag(name);
    if let Some(plain) = recursive(option) {
        let below = format!("{}/", point.trim_end_matches('/'));
        let tree =
            table.iter().filter(|other| other.point == point || other.point.starts_with(&below));
        let mut answers = tree.map(|other| plain_holds(plain, other));
        return Some(answers.all(|answer| answer != Some(false)));
    }
    match option {
        "shared" | "rshared" => Some(mount.is_tagged("shared:")),
        "slave" | "rslave" => Some(!mount.is_tagged("shared:")),
        "private" | "rprivate" => Some(!mount.is_tagged("shared:") && !mount.is_tagged("master:")),
        "unbindable" | "runbindable" => Some(mount.is_tagged("unbindable")),
        "rw" => Some(!flag("ro")),
        _ => plain_holds(option, mount).or_else(|| data_holds(option, mount)),
    }
}

/// The attribute that a recursive word sets on the whole tree.
fn recursive(option: &str) -> Option<&str> {
    let plain = option.strip_prefix('r')?;
    let known = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow", "rw"];
    known.contains(&plain).then_some(plain).filter(|_| option != "rro" || plain == "ro")
}

fn plain_holds(option: &str, mount: &Mount) -> Option<bool> {
    let flag = |name: &str| mount.has_flag(name);
    Some(match option {
        "ro" | "nosuid" | "nodev" | "noexec" | "noatime" | "nodiratime" | "relatime"
        | "nosymfollow" => flag(option),
        "rw" => !flag("ro"),
        "suid" | "dev" | "exec" | "diratime" | "symfollow" => !flag(&format!("no{option}")),
        "strictatime" => !flag("relatime") && !flag("noatime"),
        "atime" => !flag("noatime"),
        "sync" | "dirsync" | "lazytime" => mount.has(option),
        "async" => !mount.has("sync"),
        "nolazytime" => !mount.has("lazytime"),
        _ => return None,
    })
}

/// Options of the filesystem, as tmpfs and devpts show them back.
fn data_holds(option: &str, mount: &Mount) -> Option<bool> {
    let (key, want) = option.split_once('=')?;
    let shown = mount.super_options.iter().find_map(|have| {
        let (name, value) = have.split_once('=')?;
        (name == key).then_some(value)
    });
    match key {
        "size" => Some(bytes(shown?) == bytes(want)),
        "mode" | "ptmxmode" => {
            let octal = |text: &str| u32::from_str_radix(text, 8).ok();
            // tmpfs does not show its default.
            Some(octal(shown.unwrap_or("1777")) == octal(want))
        }
        "gid" | "uid" | "nr_inodes" => Some(shown == Some(want)),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let scale = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok().map(|count| count * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("64k"), bytes("65536"));
        assert_eq!(bytes("1x"), None);
    }

    #[test]
    fn recursive_words_are_not_the_plain_ones() {
        assert_eq!(recursive("rro"), Some("ro"));
        assert_eq!(recursive("ro"), None);
        assert_eq!(recursive("relatime"), None);
        assert_eq!(recursive("rnoexec"), Some("noexec"));
    }

    #[test]
    fn a_missing_flag_is_seen() {
        let line = "2 1 0:20 / /mnt rw,nosuid - tmpfs none rw,size=4k\n";
        let mount = &proc::parse_mounts(line)[0];
        assert_eq!(holds("nodev", mount, "/mnt", &[]), Some(false));
        assert_eq!(holds("nosuid", mount, "/mnt", &[]), Some(true));
        assert_eq!(holds("size=4096", mount, "/mnt", &[]), Some(true));
        assert_eq!(holds("size=8k", mount, "/mnt", &[]), Some(false));
        assert_eq!(holds("loud", mount, "/mnt", &[]), None);
    }
}
