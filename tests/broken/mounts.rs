// SPDX-License-Identifier: Apache-2.0
//! `mounts`, `linux.devices`, `linux.rootfsPropagation`, masked and read-only paths.

use std::fs;
use std::os::unix::fs::symlink;

use super::case::{Case, case};
use super::config::without;
use crate::common::{Value, json};

pub(crate) fn rows() -> Vec<Case> {
    let mut rows = places();
    rows.extend(kinds());
    rows.extend(devices());
    rows.extend(others());
    rows
}

fn mounting(name: &'static str, mount: Value) -> Case {
    case(name).set("/mounts/-", mount)
}

fn tmpfs(name: &'static str, destination: &str) -> Case {
    mounting(name, json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}))
}

fn places() -> Vec<Case> {
    vec![
        tmpfs("mount over a file", "/etc/passwd")
            .says("mount tmpfs at /etc/passwd: ENOTDIR: not a directory"),
        tmpfs("mount below a file", "/etc/passwd/x")
            .says("mount tmpfs at /etc/passwd/x: mount point: ENOTDIR: not a directory"),
        tmpfs("destination absent", "").says("mounts[6].destination: must be set"),
        tmpfs("destination the root", "/").says("mounts[6].destination: / is the root itself"),
        tmpfs("destination climbs to the root", "/tmp/../..")
            .says("mounts[6].destination: /tmp/../.. is the root itself"),
        tmpfs("destination in procfs", "/proc/nope")
            .says("mounts[6].destination: /proc/nope cannot be mounted because it is inside /proc"),
        tmpfs("destination a directory of procfs", "/proc/sys")
            .says("mounts[6].destination: /proc/sys cannot be mounted because it is inside /proc"),
        tmpfs("tmpfs as /proc", "/proc")
            .says("mounts[6].destination: /proc cannot be mounted because it is not of type proc"),
        tmpfs("destination through a link into procfs", "/link/sys")
            .prepare(|bundle| symlink("/proc", bundle.rootfs().join("link")).unwrap())
            .says(
                "mount tmpfs at /link/sys: /proc/sys cannot be mounted because it is inside /proc",
            ),
        tmpfs("destination through a loop of links", "/loop/x")
            .prepare(|bundle| symlink("loop", bundle.rootfs().join("loop")).unwrap())
            .says(
                "mount tmpfs at /loop/x: mount point: ELOOP: too many symbolic links encountered",
            ),
        tmpfs("destination relative", "data")
            .set("/root/readonly", json!(false))
            .succeeds()
            .warns("mount destination data is not absolute: taken as relative to /"),
        mounting(
            "bind of a missing source",
            json!({"destination": "/data", "type": "bind", "source": "/none", "options": ["bind"]}),
        )
        .says("mount /none at /data (bind): source /none: ENOENT: no such file or directory"),
        mounting(
            "bind of a relative missing source",
            json!({"destination": "/data", "source": "none", "options": ["rbind", "ro"]}),
        )
        .says(
            "mount none at /data (rbind, ro): source {DIR}/none: ENOENT: no such file or directory",
        ),
        mounting(
            "bind of a file over a directory",
            json!({"destination": "/tmp", "source": "config.json", "options": ["bind"]}),
        )
        .says(
            "mount config.json at /tmp (bind): a file over a directory: ENOTDIR: not a directory",
        ),
        mounting(
            "bind of a directory over a file",
            json!({"destination": "/etc/passwd", "source": "rootfs", "options": ["bind"]}),
        )
        .says(
            "mount rootfs at /etc/passwd (bind): a directory over a file: ENOTDIR: not a directory",
        ),
    ]
}

fn kinds() -> Vec<Case> {
    let options = |name, options: &[&str]| {
        let mount = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs",
                           "options": options});
        mounting(name, mount)
    };
    vec![
        mounting(
            "unknown filesystem",
            json!({"destination": "/data", "type": "nonsense", "source": "x"}),
        )
        .says("mount nonsense at /data: ENODEV: no such device"),
        mounting("type absent", json!({"destination": "/data", "source": "x"}))
            .says("mounts[6].type: must be set unless the mount is a bind mount"),
        options("unknown mount option", &["nosuid", "sized=1"])
            .says("mount tmpfs at /data (nosuid, sized=1): tmpfs: Unknown parameter 'sized': EINVAL: invalid argument"),
        options("mount option with a bad value", &["size=lots"])
            .says("mount tmpfs at /data (size=lots): tmpfs: Bad value for 'size': EINVAL: invalid argument"),
        mounting(
            "bind with an option of a filesystem",
            json!({"destination": "/data", "source": "rootfs", "options": ["bind", "size=1m"]}),
        )
        .unlike_runc("creel only warns").succeeds()
        .warns("bind mount of {DIR}/rootfs: size=1m has no effect"),
        mounting(
            "tmpcopyup of what is no tmpfs",
            json!({"destination": "/data", "type": "proc", "source": "p", "options": ["tmpcopyup"]}),
        )
        .unlike_runc("runc leaves it unused").says("mounts[6].options: tmpcopyup needs type tmpfs"),
        mounting(
            "id maps without gidMappings",
            json!({"destination": "/data", "source": "rootfs", "options": ["bind"],
                   "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]}),
        )
        .says("mounts[6].gidMappings: id-mapped mounts must have both uid and gid mappings specified"),
        mounting(
            "a disk that is not there",
            json!({"destination": "/data", "type": "ext4", "source": "/dev/none"}),
        )
        .says("mount ext4 at /data: /dev/none: Can't lookup blockdev: ENOENT: no such file or directory"),
    ]
}

fn devices() -> Vec<Case> {
    let device = |name, device: Value| case(name).set("/linux/devices", json!([device]));
    vec![
        device("device of an unknown type", json!({"path": "/dev/x", "type": "z"}))
            .says(r#"linux.devices[0].type: unknown device type "z" (want c, b, u or p)"#),
        device("device without a type", json!({"path": "/dev/x", "major": 1, "minor": 3}))
            .says(r#"linux.devices[0].type: unknown device type "" (want c, b, u or p)"#),
        device("device without a path, for the rules only", json!({"type": "c"})).succeeds(),
        device(
            "device with a negative number",
            json!({"path": "/dev/x", "type": "c", "major": -1, "minor": 0}),
        )
        .says("linux.devices[0].major: -1 is not a device number"),
        device(
            "device over a directory",
            json!({"path": "/dev/pts", "type": "c", "major": 1, "minor": 3}),
        )
        .unlike_runc("runc leaves what is there")
        .says("linux.devices: /dev/pts: there is something else already"),
        device(
            "device below a file",
            json!({"path": "/etc/passwd/x", "type": "c", "major": 1, "minor": 3}),
        )
        .says("linux.devices: /etc/passwd/x: ENOTDIR: not a directory"),
    ]
}

fn others() -> Vec<Case> {
    vec![
        case("unknown rootfsPropagation")
            .set("/linux/rootfsPropagation", json!("loud"))
            .says(r#"linux.rootfsPropagation: "loud" is not supported"#),
        case("masked paths without a mount namespace")
            .prepare(|bundle| without(bundle, "mount"))
            .says("linux.maskedPaths: need a mount namespace"),
        case("read-only paths without a mount namespace")
            .set("/linux/maskedPaths", json!([]))
            .prepare(|bundle| without(bundle, "mount"))
            .says("linux.readonlyPaths: need a mount namespace"),
        case("/dev/null is a file")
            .set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]))
            .prepare(|bundle| fs::write(bundle.rootfs().join("dev/null"), "").unwrap())
            .says("linux.devices: /dev/null: there is something else already"),
    ]
}
