// SPDX-License-Identifier: Apache-2.0
//! `spec`: a config.json to begin with. Contents and layout are runc's, except the hostname.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};

use crate::bail;
use crate::error::{Context, Result};
use crate::json::Json;
use crate::oci;

const CONFIG: &str = "config.json";

/// What the file depends on.
#[derive(Debug, Clone, Copy)]
struct Host {
    /// The caller's ids, for a container without privileges.
    rootless: Option<(u32, u32)>,
    /// /sys/fs/cgroup is cgroup2.
    is_unified: bool,
}

/// Writes config.json into `bundle`, or into the working directory.
pub(crate) fn write(bundle: Option<&Path>, rootless: bool) -> Result<()> {
    let host = Host {
        rootless: rootless.then(|| (geteuid().as_raw(), getegid().as_raw())),
        // Without a cgroup mount there is none to be private in.
        is_unified: statfs("/sys/fs/cgroup")
            .is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC),
    };
    let path = bundle.unwrap_or(Path::new("")).join(CONFIG);
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o666).open(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("File {CONFIG} exists. Remove it first")
        }
        opened => opened.context(|| format!("create {}", path.display()))?,
    };
    let text = config(host).pretty("\t");
    file.write_all(text.as_bytes()).context(|| format!("write {}", path.display()))
}

fn object<'a, const N: usize>(fields: [(&'a str, Json<'a>); N]) -> Json<'a> {
    Json::Object(fields.into())
}

fn config(host: Host) -> Json<'static> {
    object([
        ("ociVersion", Json::Text(oci::VERSION)),
        ("process", process()),
        ("root", object([("path", Json::Text("rootfs")), ("readonly", Json::Bool(true))])),
        ("hostname", Json::Text("creel")),
        ("mounts", Json::List(mounts(host.rootless.is_some()))),
        ("linux", linux(host)),
    ])
}

fn process() -> Json<'static> {
    let caps = || Json::texts(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let rlimit = object([
        ("type", Json::Text("RLIMIT_NOFILE")),
        ("hard", Json::Int(1024)),
        ("soft", Json::Int(1024)),
    ]);
    object([
        ("terminal", Json::Bool(true)),
        ("user", object([("uid", Json::Int(0)), ("gid", Json::Int(0))])),
        ("args", Json::texts(&["sh"])),
        ("env", Json::texts(&[path, "TERM=xterm"])),
        ("cwd", Json::Text("/")),
        (
            "capabilities",
            object([("bounding", caps()), ("effective", caps()), ("permitted", caps())]),
        ),
        ("rlimits", Json::List(vec![rlimit])),
        ("noNewPrivileges", Json::Bool(true)),
    ])
}

/// (destination, type, source, options)
type MountRow = (&'static str, &'static str, &'static str, &'static [&'static str]);

const MOUNTS: &[MountRow] = &[
    ("/proc", "proc", "proc", &[]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

/// Without a network namespace of one's own sysfs can't be mounted, only bound.
const ROOTLESS_SYS: MountRow =
    ("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);

fn mounts(rootless: bool) -> Vec<Json<'static>> {
    let row = |row: &MountRow| {
        let row = if rootless && row.0 == ROOTLESS_SYS.0 { &ROOTLESS_SYS } else { row };
        let (destination, kind, source, options) = *row;
        // One id is mapped: no other can own anything.
        let is_kept = |o: &&&str| !(rootless && (o.starts_with("gid=") || o.starts_with("uid=")));
        let options: Vec<&str> = options.iter().filter(is_kept).copied().collect();
        let mut fields = vec![
            ("destination", Json::Text(destination)),
            ("type", Json::Text(kind)),
            ("source", Json::Text(source)),
        ];
        if !options.is_empty() {
            fields.push(("options", Json::texts(&options)));
        }
        Json::Object(fields)
    };
    MOUNTS.iter().map(row).collect()
}

const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn linux(host: Host) -> Json<'static> {
    let mut fields = Vec::new();
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    if host.is_unified {
        namespaces.push("cgroup");
    }
    if let Some((uid, gid)) = host.rootless {
        namespaces.retain(|name| *name != "network");
        namespaces.push("user");
        fields.extend([("uidMappings", one_id(uid)), ("gidMappings", one_id(gid))]);
    } else {
        let deny = object([("allow", Json::Bool(false)), ("access", Json::Text("rwm"))]);
        fields.push(("resources", object([("devices", Json::List(vec![deny]))])));
    }
    let namespace = |name: &&'static str| object([("type", Json::Text(name))]);
    fields.push(("namespaces", Json::List(namespaces.iter().map(namespace).collect())));
    fields.extend([("maskedPaths", Json::texts(MASKED)), ("readonlyPaths", Json::texts(READONLY))]);
    Json::Object(fields)
}

/// Id 0 in the container is this id outside.
fn one_id(id: u32) -> Json<'static> {
    Json::List(vec![object([
        ("containerID", Json::Int(0)),
        ("hostID", Json::Int(i64::from(id))),
        ("size", Json::Int(1)),
    ])])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Host = Host { rootless: None, is_unified: false };

    fn mount<'a>(config: &'a oci::Spec<'_>, destination: &str) -> &'a oci::Mount<'a> {
        config.mounts.iter().find(|mount| mount.destination == *destination).unwrap()
    }

    /// Namespaces' types, in order.
    fn namespaces(text: &str) -> Vec<String> {
        let config: oci::Spec<'_> = oci::parse(text).unwrap();
        let linux = config.linux.unwrap();
        linux.namespaces.iter().map(|namespace| namespace.kind.to_string()).collect()
    }

    #[test]
    fn layout_is_go_s_with_tabs() {
        let text = config(ROOT).pretty("\t");
        let head = "{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,\n\t\t\"user\": {\n\t\t\t\"uid\": 0,\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with("\n\t\t\t\"/proc/sysrq-trigger\"\n\t\t]\n\t}\n}"), "{text}");
    }

    #[test]
    fn a_unified_host_gets_a_cgroup_namespace() {
        let text = |is_unified| config(Host { is_unified, ..ROOT }).pretty("");
        assert_eq!(namespaces(&text(false)), ["pid", "network", "ipc", "uts", "mount"]);
        assert_eq!(namespaces(&text(true)), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
    }

    #[test]
    fn rootless_maps_one_id_and_asks_for_nothing_privileged() {
        let text = config(Host { rootless: Some((1000, 100)), is_unified: true }).pretty("");
        assert_eq!(namespaces(&text), ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
        let config: oci::Spec<'_> = oci::parse(&text).unwrap();
        assert_eq!(mount(&config, "/sys").source, "/sys");
        assert_eq!(mount(&config, "/sys").options[0], "rbind");
        assert_eq!(mount(&config, "/dev/pts").options.last().unwrap(), "mode=0620");
        let linux = config.linux.unwrap();
        assert!(linux.resources.is_none());
        let of = |container_id, host_id| oci::IdMapping { container_id, host_id, size: 1 };
        assert_eq!(linux.uid_mappings, [of(0, 1000)]);
        assert_eq!(linux.gid_mappings, [of(0, 100)]);
    }

    #[test]
    fn an_existing_file_stays() {
        let dir = std::env::temp_dir().join(format!("creel-spec-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let first = write(Some(&dir), false);
        let written = std::fs::read_to_string(dir.join(CONFIG)).unwrap();
        let second = write(Some(&dir), true).unwrap_err().to_string();
        let kept = std::fs::read_to_string(dir.join(CONFIG)).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        first.unwrap();
        assert_eq!(second, "File config.json exists. Remove it first");
        assert_eq!(kept, written);
    }
}
