// SPDX-License-Identifier: Apache-2.0
//! `mounts add` and `mounts remove`: mounts of a container that runs.

mod common;

use std::fs;
use std::process::Stdio;

use common::{Bundle, Run, Value, can_run, is_root, json};

/// `mounts add|remove ID FILE` with this list.
fn mounts(bundle: &Bundle, change: &str, list: &Value) -> Run {
    let file = bundle.dir.join("mounts.json");
    fs::write(&file, list.to_string()).expect("the list");
    bundle.runtime(&["mounts", change, bundle.id(), file.to_str().expect("UTF-8")])
}

fn mountinfo(bundle: &Bundle) -> String {
    fs::read_to_string(format!("/proc/{}/mountinfo", bundle.pid())).expect("mountinfo")
}

/// The options of the mount at that place, and its type.
fn mounted_at(bundle: &Bundle, at: &str) -> Option<(String, String)> {
    let text = mountinfo(bundle);
    let line = text.lines().rev().find(|line| line.split(' ').nth(4) == Some(at))?;
    let kind = line.split(" - ").nth(1)?.split(' ').next()?;
    Some((line.split(' ').nth(5)?.to_owned(), kind.to_owned()))
}

fn source(bundle: &Bundle) -> String {
    let dir = bundle.dir.join("source");
    fs::create_dir_all(dir.join("below")).unwrap();
    fs::write(dir.join("file"), "of the host\n").unwrap();
    dir.to_str().unwrap().to_owned()
}

fn writable(script: &str) -> Bundle {
    Bundle::new(script).patch("/root/readonly", json!(false))
}

#[test]
fn what_is_added_is_there_and_goes_again() {
    if !can_run() || common::is_rootless() {
        return;
    }
    let bundle = writable("sleep 60");
    let dir = source(&bundle);
    bundle.start_detached();
    let before = mountinfo(&bundle);
    let list = json!([
        {"destination": "/data", "type": "bind", "source": dir, "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/etc/file", "source": format!("{dir}/file"), "options": ["bind", "nodev"]},
        {"destination": "/scratch/deep", "type": "tmpfs", "source": "tmpfs",
         "options": ["size=1m", "mode=0750", "noexec"]},
        {"destination": "/frozen", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]},
        {"destination": "/queue", "type": "mqueue", "source": "mqueue"},
        {"destination": "/shared", "type": "bind", "source": "source/below", "options": ["bind", "rslave"]},
    ]);
    mounts(&bundle, "add", &list).ok();
    assert_eq!(
        bundle.exec(&["cat", "/data/file", "/etc/file"]).ok().out,
        "of the host\n".repeat(2)
    );
    let at = |place| mounted_at(&bundle, place).expect(place);
    assert!(at("/data").0.contains("ro,nosuid"), "{:?}", at("/data"));
    assert!(at("/etc/file").0.contains("nodev"), "{:?}", at("/etc/file"));
    assert_eq!(at("/scratch/deep").1, "tmpfs");
    assert!(at("/scratch/deep").0.contains("noexec"));
    assert!(at("/frozen").0.starts_with("ro"), "{:?}", at("/frozen"));
    assert_eq!(at("/queue").1, "mqueue");
    assert_eq!(bundle.exec(&["stat", "-c", "%a", "/scratch/deep"]).ok().out, "750\n");
    assert!(bundle.exec(&["touch", "/data/x"]).code != 0);
    bundle.exec(&["touch", "/scratch/deep/x", "/shared/x"]).ok();
    assert!(bundle.dir.join("source/below/x").exists(), "relative sources are of the bundle");
    mounts(&bundle, "remove", &list).ok();
    // The numbers of mounts apart, all is as it was.
    let shape = |text: &str| -> Vec<String> {
        let fields = |line: &str| line.split(' ').skip(3).collect::<Vec<_>>().join(" ");
        text.lines().map(fields).collect()
    };
    assert_eq!(shape(&mountinfo(&bundle)), shape(&before));
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!own.contains(bundle.id()), "nothing of it is mounted on the host");
}

#[test]
fn a_list_also_from_standard_input_and_before_start() {
    if !can_run() || common::is_rootless() {
        return;
    }
    let bundle = writable("cat /data/file");
    let dir = source(&bundle);
    bundle.create().ok();
    let list = json!([{"destination": "/data", "source": dir, "options": ["bind"]}]).to_string();
    let mut child = bundle
        .command(&["mounts", "add", bundle.id(), "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the runtime");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), list.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(mounted_at(&bundle, "/data").is_some());
    bundle.runtime(&["pause", bundle.id()]).ok();
    mounts(&bundle, "remove", &json!([{"destination": "/data"}])).ok();
    assert_eq!(mounted_at(&bundle, "/data"), None);
    bundle.runtime(&["resume", bundle.id()]).ok();
}

#[test]
fn all_are_made_or_none() {
    if !can_run() || common::is_rootless() {
        return;
    }
    let bundle = writable("sleep 60");
    let dir = source(&bundle);
    bundle.start_detached();
    let before = mountinfo(&bundle);
    let run = mounts(
        &bundle,
        "add",
        &json!([
            {"destination": "/data", "source": dir, "options": ["bind"]},
            {"destination": "/etc/one", "source": format!("{dir}/file"), "options": ["bind"]},
            {"destination": "/tmp/two", "type": "tmpfs", "source": "tmpfs", "options": ["nonsense=1"]},
        ]),
    );
    let message = run.message();
    assert!(
        run.code == 1 && message.starts_with("mount tmpfs at /tmp/two (nonsense=1): "),
        "{message}"
    );
    assert_eq!(mountinfo(&bundle), before);
}

#[test]
fn no_link_of_the_container_leads_out_or_to_a_mask() {
    if !can_run() || common::is_rootless() {
        return;
    }
    let bundle = writable("ln -s /proc /way; ln -s ../../../.. /up; touch /ready; sleep 60");
    let dir = source(&bundle);
    bundle.start_detached();
    while !bundle.rootfs().join("ready").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let before = mountinfo(&bundle);
    let refused = |change, destination: &str, want: &str| {
        let list = json!([{"destination": destination, "source": dir, "options": ["bind"]}]);
        let run = mounts(&bundle, change, &list);
        assert_eq!((run.code, run.message().as_str()), (1, want), "{change} {destination}");
        assert_eq!(mountinfo(&bundle), before);
    };
    refused("remove", "/way/kcore", "unmount /way/kcore: a symbolic link leads there");
    refused(
        "remove",
        "/proc/kcore",
        "mounts[0].destination: /proc/kcore is one of linux.maskedPaths",
    );
    refused("remove", "/tmp", "unmount /tmp: nothing is mounted there");
    refused("remove", "/nowhere", "unmount /nowhere: ENOENT: no such file or directory");
    let doing = format!("mount {dir} at /way/cmdline (bind)");
    let why = "/proc/cmdline cannot be mounted because it is inside /proc";
    refused("add", "/way/cmdline", &format!("{doing}: {why}"));
    // A link to the top is the container's own.
    let list = json!([{"destination": "/up/inside", "source": dir, "options": ["bind"]}]);
    mounts(&bundle, "add", &list).ok();
    assert!(mounted_at(&bundle, "/inside").is_some());
}

#[test]
fn a_container_in_a_user_namespace_and_mapped_ids() {
    if !is_root() {
        return;
    }
    if common::lacks("mount_setattr") {
        println!("SKIP: id maps take mount_setattr");
        return;
    }
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mut bundle = writable("sleep 60")
        .patch("/linux/uidMappings", map.clone())
        .patch("/linux/gidMappings", map.clone());
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for path in ["", "bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        std::os::unix::fs::chown(bundle.rootfs().join(path), Some(100_000), Some(100_000)).unwrap();
    }
    let dir = source(&bundle);
    bundle.start_detached();
    let list = json!([
        {"destination": "/plain", "source": dir, "options": ["bind"]},
        {"destination": "/mapped", "source": dir, "options": ["bind", "idmap"]},
        {"destination": "/tmpfs", "type": "tmpfs", "source": "tmpfs"},
    ]);
    mounts(&bundle, "add", &list).ok();
    let owner = |place: &str| bundle.exec(&["stat", "-c", "%u", place]).ok().out;
    assert_eq!(owner("/plain/file"), "65534\n");
    assert_eq!(owner("/mapped/file"), "0\n");
    assert_eq!(owner("/tmpfs"), "0\n");
    mounts(&bundle, "remove", &list).ok();
    assert_eq!(mounted_at(&bundle, "/mapped"), None);
}

#[test]
fn refusals_are_whole_lines() {
    if !can_run() || common::is_rootless() {
        return;
    }
    let bundle = writable("sleep 60");
    bundle.start_detached();
    let add = |list: Value| mounts(&bundle, "add", &list);
    for (list, want) in [
        (
            json!([{"destination": "/x", "source": "/nowhere", "options": ["bind"]}]),
            "mounts[0].source: /nowhere: ENOENT: no such file or directory",
        ),
        (
            json!([{"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup"}]),
            "mounts[0].type: only create mounts cgroups: they are the host's files",
        ),
        (
            json!([{"destination": "/x"}]),
            "mounts[0].type: must be set unless the mount is a bind mount",
        ),
    ] {
        let run = add(list);
        assert_eq!((run.code, run.message().as_str()), (1, want));
    }
    let run = add(json!({"destination": "/x"}));
    assert!(
        run.code == 1 && run.message().contains("invalid type: object, expected a list"),
        "{}",
        run.message()
    );
    let run = bundle.runtime(&["mounts", "add", bundle.id(), "/nowhere"]);
    let want = "read /nowhere: ENOENT: no such file or directory";
    assert_eq!((run.code, run.message().as_str()), (1, want));
    bundle.runtime(&["kill", bundle.id(), "KILL"]).ok();
    bundle.wait_status("stopped");
    assert_eq!(add(json!([])).message(), "container not running");
    bundle.runtime(&["delete", bundle.id()]).ok();
    assert_eq!(add(json!([])).message(), "container does not exist");
    assert!(bundle.leftovers().is_empty());
}
