// SPDX-License-Identifier: Apache-2.0
//! Random configs: what a runtime resolves in the root.

use super::arena::Arena;
use super::common::{Bundle, Value, json};
use super::random::Random;
use super::tree::path;

/// Changes everything in the bundle's config that names a path of the root.
pub(crate) fn scramble(bundle: &mut Bundle, arena: &Arena, random: &mut Random) {
    let mut mounts: Vec<Value> = Vec::new();
    for mount in bundle.config["mounts"].as_array().expect("mounts") {
        if random.often(60) {
            mounts.push(mount.clone());
        }
    }
    for _ in 0..random.below(6) {
        let at = random.below(mounts.len() as u64 + 1) as usize;
        mounts.insert(at, mount(arena, random));
    }
    bundle.set("/mounts", json!(mounts));
    let paths = |random: &mut Random| -> Vec<String> {
        (0..random.below(4)).map(|_| path(random)).chain(["/proc/kcore".to_owned()]).collect()
    };
    bundle.set("/linux/maskedPaths", json!(paths(random)));
    bundle.set("/linux/readonlyPaths", json!(paths(random)));
    bundle.set("/root/readonly", json!(random.often(30)));
    let propagation = ["", "private", "slave", "shared", "unbindable", "rslave", "rprivate"];
    bundle.set("/linux/rootfsPropagation", json!(random.pick(&propagation)));
    bundle.set("/process/cwd", json!(if random.often(50) { path(random) } else { "/".into() }));
    if random.often(30) {
        let device = json!({"path": path(random), "type": "c", "major": 1, "minor": 5,
                            "fileMode": 0o640, "uid": 7, "gid": 7});
        bundle.set("/linux/devices", json!([device]));
    }
    if random.often(25) {
        bundle.set("/linux/namespaces/-", json!({"type": "user"}));
        for map in ["/linux/uidMappings", "/linux/gidMappings"] {
            bundle.set(map, json!([{"containerID": 0, "hostID": 0, "size": 65536}]));
        }
    }
    if random.often(25) {
        bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    }
}

fn mount(arena: &Arena, random: &mut Random) -> Value {
    let at = path(random);
    let own = arena.path("own");
    let mut options: Vec<&str> = Vec::new();
    for option in ["ro", "nosuid", "noexec", "rro"] {
        if random.often(20) {
            options.push(option);
        }
    }
    let kind = *random.pick(&[
        "dir",
        "dir",
        "file",
        "tmpfs",
        "tmpfs",
        "tmpcopyup",
        "proc",
        "sysfs",
        "devpts",
        "mqueue",
        "cgroup",
    ]);
    let (kind, source) = match kind {
        "dir" => {
            options.push("rbind");
            ("bind", own.join("dir"))
        }
        "file" => {
            options.push("bind");
            ("bind", own.join("file"))
        }
        "tmpcopyup" => {
            options.push("tmpcopyup");
            ("tmpfs", "tmpfs".into())
        }
        other => (other, other.into()),
    };
    json!({"destination": at, "type": kind, "source": source, "options": options})
}
