// SPDX-License-Identifier: Apache-2.0
//! What to do about a finding: the first row that fits its words or its place.

/// Part of the words, or of the pointer; and the hint.
type Row = (&'static str, &'static str);

const WORDS: &[Row] = &[
    (
        "config.json not found",
        "name the bundle's directory; `creel spec` writes a config.json to begin with",
    ),
    ("EOF while parsing", "the file ends too early: a bracket or a quote is missing"),
    (
        "invalid type",
        "runtime-spec's config.md says which type this property has; numbers have no quotes, true and false neither",
    ),
    ("duplicated ns", "name each type of namespace once"),
    ("unknown namespace", "the types are those that `creel features` lists under linux.namespaces"),
    ("not a namespace", "a path like /proc/PID/ns/net or /run/netns/NAME is wanted"),
    (
        "without a uts namespace",
        "add {\"type\": \"uts\"} to linux.namespaces, or leave the name out",
    ),
    (
        "need a user namespace",
        "add {\"type\": \"user\"} to linux.namespaces, or leave the maps out",
    ),
    ("need a mount namespace", "add {\"type\": \"mount\"} to linux.namespaces"),
    (
        "must be set for a new user namespace",
        "map at least id 0 of the container to an id of the host",
    ),
    ("is not mapped by", "give the process an id that the maps have, or map it"),
    (
        "are not all in /etc/sub",
        "ask root for `usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER`",
    ),
    ("are not all in /proc/self", "creel itself runs in a user namespace: map ids that it has"),
    ("newuidmap: executable", "install the uidmap package"),
    ("newgidmap: executable", "install the uidmap package"),
    ("controller is not mounted", "mount it, boot with it, or leave the limit out"),
    (
        "controller is not available",
        "see cgroup.controllers at the top; a boot parameter (cgroup_disable=) may hide it",
    ),
    ("is the root cgroup", "name a cgroup of the container's own, like /NAME/ID"),
    ("cgroup is not empty", "another container uses this linux.cgroupsPath: choose another"),
    ("below a frozen one", "resume the container above, or choose another linux.cgroupsPath"),
    ("no cgroup filesystem", "mount cgroup2 at /sys/fs/cgroup"),
    (
        "source ",
        "make it on the host, or correct mounts[].source; relative ones are below the bundle",
    ),
    ("a file over a directory", "source and destination must both be directories, or neither"),
    ("a directory over a file", "source and destination must both be directories, or neither"),
    (
        "ENODEV: no such device",
        "is the name right? `cat /proc/filesystems` and `ip link` show what this host has",
    ),
    (
        "Unknown parameter",
        "the filesystem does not know this option: mount(8) lists those of each type",
    ),
    ("Bad value for", "the filesystem knows this option, but not this value"),
    (
        "allows no id-mapped mounts",
        "put the source on a filesystem that does (ext4, xfs, btrfs, tmpfs …), or map nothing",
    ),
    ("inside /proc", "only procfs may be mounted on /proc, and only a few files inside it"),
    (
        "must be mounted on ordinary directory",
        "a symbolic link or a file is in the way below the root",
    ),
    ("is the root itself", "a mount on / would hide the container's root: use root.path"),
    ("symbolic link", "resolve it yourself: `realpath` prints where it leads"),
    ("root.path:", "unpack an image there, or correct root.path; it is relative to the bundle"),
    (
        "executable file not found in $PATH",
        "is the program in the root filesystem, in a directory that PATH of process.env names?",
    ),
    ("exec: ", "process.args[0] is looked up in the container's root, not on the host"),
    (
        "error running ",
        "the hook's file must be on the host (for startContainer in the container) and be executable",
    ),
    (
        "unknown or unavailable capabilities",
        "take them out, or run creel with them: `creel features` lists the known ones",
    ),
    ("is not in permitted", "what is effective must be permitted, too"),
    ("apparmor not supported", "boot with AppArmor, or leave process.apparmorProfile out"),
    ("is not loaded", "load it with apparmor_parser"),
    ("selinux label is specified", "enable SELinux, or leave process.selinuxLabel out"),
    ("wrong rlimit value", "the names are those of getrlimit(2), like RLIMIT_NOFILE"),
    (
        "EPERM: operation not permitted",
        "creel has not the privilege for this: lower the value, or run it with more",
    ),
    ("no such file or directory", "is the name right?"),
    ("no system call", "look for a misspelling; a name that is newer than creel has no effect"),
    (
        "unknown action",
        "the actions are those that `creel features` lists under linux.seccomp.actions",
    ),
    (
        "unknown architecture",
        "the names are those that `creel features` lists under linux.seccomp.archs",
    ),
    (
        "unknown operator",
        "the operators are those that `creel features` lists under linux.seccomp.operators",
    ),
    ("this kernel does not support", "leave the flag out, or run a newer kernel"),
    ("no agent listens", "start the seccomp agent before the container"),
    (
        "no resctrl",
        "needs a machine with Intel RDT or AMD QoS, and `mount -t resctrl resctrl /sys/fs/resctrl`",
    ),
    ("has no effect", "leave it out, unless it is for other hosts"),
    ("not absolute", "begin it with a slash"),
    (
        "not a separate kernel namespace",
        "only sysctls of the container's own namespaces can be set",
    ),
    ("in the host's", "give the container a namespace of its own of this type"),
];

const PLACES: &[Row] = &[
    ("/linux/resources", "docs/cgroups.md says for each limit which values it takes"),
    ("/linux/seccomp", "see config-linux.md#seccomp of runtime-spec"),
    ("/linux", "see config-linux.md of runtime-spec"),
    ("/", "see config.md of runtime-spec"),
];

pub(super) fn of(pointer: &str, found: &str) -> String {
    let by_words = WORDS.iter().find(|(words, _)| found.contains(words));
    let by_place = || PLACES.iter().find(|(place, _)| pointer.starts_with(place));
    by_words.or_else(by_place).map_or("", |row| row.1).to_owned()
}

/// Warnings name no property.
pub(super) fn place_of_warning(text: &str) -> &'static str {
    let places = [
        ("capabilit", "/process/capabilities"),
        ("mount", "/mounts"),
        ("cgroup", "/linux/resources"),
        ("seccomp", "/linux/seccomp"),
    ];
    places.iter().find(|(words, _)| text.contains(words)).map_or("", |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_before_places() {
        assert!(
            of("/mounts/6/source", "mount /x at /y (bind): source /x: ENOENT")
                .contains("mounts[].source")
        );
        assert!(of("/linux/resources/x", "?").contains("cgroups.md"));
        assert_eq!(of("", "?"), "");
        // Each row can be reached: none is hidden by an earlier one.
        for (i, (words, _)) in WORDS.iter().enumerate() {
            let first = WORDS.iter().position(|(other, _)| words.contains(other));
            assert_eq!(first, Some(i), "{words:?} is never looked at");
        }
    }
}
