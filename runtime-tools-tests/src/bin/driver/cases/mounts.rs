//! config.md: mounts.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::case::{Case, Outcome, ensure};
use crate::stage::Stage;

const OPTIONS: &str = "config.md#linux-mount-options: MUST implement";

pub(crate) const CASES: &[Case] = &[
    Case::inside(
        "mounts-types",
        "config.md#mounts: each entry is mounted with its type",
        "mounts",
        || json!({}),
    ),
    Case::run("mounts-order", "config.md#mounts: MUST mount entries in the listed order", order),
    Case::run(
        "mounts-order-covered",
        "config.md#mounts: a later entry covers an earlier one",
        covered,
    ),
    Case::inside(
        "mounts-destination-relative",
        "config.md#mounts: a relative destination MUST be taken as relative to /",
        "mounts",
        || tmpfs("mnt/relative", &["nosuid"]),
    ),
    Case::inside(
        "mounts-destination-made",
        "config.md#mounts: the destination is a path inside the container",
        "mounts",
        || tmpfs("/mnt/not/there/yet", &[]),
    ),
    Case::inside("mounts-flags", OPTIONS, "mounts", || {
        tmpfs("/mnt/a", &["nosuid", "nodev", "noexec", "noatime", "nodiratime", "ro"])
    }),
    Case::inside("mounts-flags-positive", OPTIONS, "mounts", || {
        tmpfs("/mnt/a", &["suid", "dev", "exec", "rw", "relatime", "async", "diratime"])
    }),
    Case::inside("mounts-flags-last-wins", OPTIONS, "mounts", || {
        tmpfs("/mnt/a", &["nosuid", "suid", "ro", "rw", "exec", "noexec", "noatime", "atime"])
    }),
    Case::inside("mounts-strictatime", OPTIONS, "mounts", || tmpfs("/mnt/a", &["strictatime"])),
    Case::inside("mounts-sync", OPTIONS, "mounts", || tmpfs("/mnt/a", &["sync", "dirsync"])),
    Case::inside("mounts-lazytime", OPTIONS, "mounts", || tmpfs("/mnt/a", &["lazytime"])),
    Case::inside("mounts-option-defaults", OPTIONS, "mounts", || tmpfs("/mnt/a", &["defaults"])),
    Case::inside("mounts-option-loud", OPTIONS, "mounts", || tmpfs("/mnt/a", &["loud"])),
    Case::inside("mounts-option-silent", OPTIONS, "mounts", || tmpfs("/mnt/a", &["silent"])),
    Case::inside("mounts-option-norelatime", OPTIONS, "mounts", || {
        tmpfs("/mnt/a", &["norelatime"])
    }),
    Case::inside("mounts-option-nostrictatime", OPTIONS, "mounts", || {
        tmpfs("/mnt/a", &["nostrictatime"])
    }),
    Case::inside("mounts-option-nolazytime", OPTIONS, "mounts", || {
        tmpfs("/mnt/a", &["nolazytime"])
    }),
    Case::inside("mounts-option-iversion", OPTIONS, "mounts", || tmpfs("/mnt/a", &["iversion"])),
    Case::inside("mounts-option-noiversion", OPTIONS, "mounts", || {
        tmpfs("/mnt/a", &["noiversion"])
    }),
    Case::inside(
        "mounts-nosymfollow",
        "config.md#linux-mount-options: nosymfollow SHOULD be implemented",
        "mounts",
        || tmpfs("/mnt/a", &["nosymfollow"]),
    ),
    Case::inside(
        "mounts-data",
        "config.md#linux-mount-options: unknown options SHOULD be passed to the filesystem",
        "mounts",
        || tmpfs("/mnt/a", &["size=1m", "mode=0700", "uid=5", "gid=6", "nr_inodes=100"]),
    ),
    Case::run("mounts-bind", OPTIONS, |stage| bound(stage, &["bind"], false)),
    Case::run("mounts-bind-read-only", OPTIONS, |stage| bound(stage, &["bind", "ro"], false)),
    Case::run("mounts-bind-flags", OPTIONS, |stage| {
        bound(stage, &["rbind", "nosuid", "nodev", "noexec", "noatime"], true)
    }),
    Case::run("mounts-bind-file", OPTIONS, bind_file),
    Case::run("mounts-bind-is-not-recursive", OPTIONS, |stage| below(stage, "bind", false)),
    Case::run("mounts-rbind-is-recursive", OPTIONS, |stage| below(stage, "rbind", true)),
    Case::run("mounts-propagation-private", OPTIONS, |stage| {
        bound(stage, &["bind", "private"], false)
    }),
    Case::run("mounts-propagation-rprivate", OPTIONS, |stage| {
        bound(stage, &["rbind", "rprivate"], true)
    }),
    Case::run("mounts-propagation-slave", OPTIONS, |stage| bound(stage, &["bind", "slave"], false)),
    Case::run("mounts-propagation-rslave", OPTIONS, |stage| {
        bound(stage, &["rbind", "rslave"], true)
    }),
    Case::run("mounts-propagation-shared", OPTIONS, |stage| {
        bound(stage, &["bind", "shared"], false)
    }),
    Case::run("mounts-propagation-rshared", OPTIONS, |stage| {
        bound(stage, &["rbind", "rshared"], true)
    }),
    Case::run("mounts-propagation-unbindable", OPTIONS, |stage| {
        bound(stage, &["bind", "unbindable"], false)
    }),
    Case::run("mounts-propagation-runbindable", OPTIONS, |stage| {
        bound(stage, &["rbind", "runbindable"], true)
    }),
    Case::run(
        "mounts-recursive-ro",
        "config.md#linux-mount-options: rro SHOULD reach the mounts below",
        |stage| bound(stage, &["rbind", "rro"], true),
    ),
    Case::run(
        "mounts-recursive-flags",
        "config.md#linux-mount-options: rnosuid, rnodev, rnoexec, rnoatime SHOULD reach below",
        |stage| bound(stage, &["rbind", "rnosuid", "rnodev", "rnoexec", "rnoatime"], true),
    ),
    Case::run("mounts-remount", OPTIONS, remount),
    Case::run(
        "mounts-tmpcopyup",
        "config.md#linux-mount-options: tmpcopyup copies the contents up to a tmpfs",
        copy_up,
    ),
    Case::run(
        "mounts-idmap",
        "config.md#linux-mount-options: idmap: the mount MUST have the idmapping applied",
        idmap,
    ),
    Case::refused(
        "mounts-idmap-without-mapping",
        "config.md#linux-mount-options: idmap without mappings or user namespace MUST error",
        || json!({"+mounts": [bind("@ROOTFS@/etc", "/mnt/a", &["bind", "idmap"])]}),
    ),
    Case::refused(
        "mounts-uid-without-gid-mappings",
        "config.md#posix-platform-mounts: uidMappings MUST be specified along with gidMappings",
        || {
            let mut entry = bind("@ROOTFS@/etc", "/mnt/a", &["bind", "idmap"]);
            entry["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
            json!({"+mounts": [entry]})
        },
    ),
    Case::refused(
        "mounts-source-absent",
        "runtime.md#create: MUST error if a property cannot be applied",
        || json!({"+mounts": [bind("@DIR@/absent", "/mnt/a", &["bind"])]}),
    ),
    Case::refused(
        "mounts-type-unknown",
        "runtime.md#create: MUST error if a property cannot be applied",
        || json!({"+mounts": [{"destination": "/mnt/a", "type": "unheard", "source": "x"}]}),
    ),
    Case::refused(
        "mounts-data-unknown",
        "runtime.md#create: MUST error if a property cannot be applied",
        || tmpfs("/mnt/a", &["unheard=of"]),
    ),
    Case::refused(
        "mounts-destination-absent",
        "config.md#mounts: destination is REQUIRED",
        || json!({"+mounts": [{"type": "tmpfs", "source": "tmpfs"}]}),
    ),
    Case::run(
        "mounts-symlink-stays-inside",
        "config.md#mounts: the destination is a path inside the container",
        symlink_stays,
    ),
];

fn tmpfs(at: &str, options: &[&str]) -> Value {
    json!({"+mounts": [
        {"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options}
    ]})
}

fn bind(from: &str, at: &str, options: &[&str]) -> Value {
    json!({"destination": at, "type": "none", "source": from, "options": options})
}

/// A directory on a shared mount of its own, with a mount below, as propagation needs.
fn source(stage: &Stage, with_mount_below: bool) -> Outcome {
    // What is mounted for the case stays in a namespace of the case.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(std::io::Error::from)?;
    let path = stage.dir.join("source");
    fs::create_dir(&path)?;
    let none = None::<&str>;
    let set =
        |flags: MsFlags, at: &str| mount(none, at, none, flags, none).map_err(std::io::Error::from);
    set(MsFlags::MS_REC | MsFlags::MS_PRIVATE, "/")?;
    mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), none)
        .map_err(std::io::Error::from)?;
    set(MsFlags::MS_SHARED, &path.to_string_lossy())?;
    fs::create_dir(path.join("below"))?;
    fs::write(path.join("file"), "data")?;
    if with_mount_below {
        mount(Some("tmpfs"), &path.join("below"), Some("tmpfs"), MsFlags::empty(), none)
            .map_err(std::io::Error::from)?;
        fs::write(path.join("below/deep"), "data")?;
    }
    Ok(())
}

fn check(stage: &mut Stage, groups: &str, mounts: Value) -> Outcome {
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "check", groups]},
        "+mounts": mounts
    }))?;
    stage.check_bundle(&bundle, "one")
}

fn bound(stage: &mut Stage, options: &[&str], with_mount_below: bool) -> Outcome {
    source(stage, with_mount_below)?;
    // A shared mount in the container needs a root that is not a slave of the host's.
    check(stage, "mounts", json!([bind("@DIR@/source", "/mnt/a", options)]))
}

fn bind_file(stage: &mut Stage) -> Outcome {
    source(stage, false)?;
    check(stage, "mounts", json!([bind("@DIR@/source/file", "/mnt/made/file", &["bind", "ro"])]))
}

fn below(stage: &mut Stage, option: &str, wanted: bool) -> Outcome {
    source(stage, true)?;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "open", "/mnt/a/below/deep"]},
        "+mounts": [bind("@DIR@/source", "/mnt/a", &[option])]
    }))?;
    let output = stage.run_to_end(&bundle, "one")?;
    let seen = output.contains("/mnt/a/below/deep read ok");
    ensure(seen == wanted, || format!("the mount below is seen: {seen}: {output}"))
}

fn order(stage: &mut Stage) -> Outcome {
    source(stage, false)?;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "open", "/mnt/a/b/file"]},
        "+mounts": [
            {"destination": "/mnt/a", "type": "tmpfs", "source": "tmpfs"},
            bind("@DIR@/source", "/mnt/a/b", &["bind"])
        ]
    }))?;
    let output = stage.run_to_end(&bundle, "one")?;
    ensure(output.contains("/mnt/a/b/file read ok"), || output.clone())
}

fn covered(stage: &mut Stage) -> Outcome {
    source(stage, false)?;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "open", "/mnt/a/b/file"]},
        "+mounts": [
            bind("@DIR@/source", "/mnt/a/b", &["bind"]),
            {"destination": "/mnt/a", "type": "tmpfs", "source": "tmpfs"}
        ]
    }))?;
    let output = stage.run_to_end(&bundle, "one")?;
    ensure(output.contains("/mnt/a/b/file read errno 2"), || output.clone())
}

/// A second entry changes the flags of the mount that is there.
fn remount(stage: &mut Stage) -> Outcome {
    source(stage, false)?;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "open", "/mnt/a/file"]},
        "+mounts": [
            bind("@DIR@/source", "/mnt/a", &["bind"]),
            bind("@DIR@/source", "/mnt/a", &["bind", "remount", "ro"])
        ]
    }))?;
    let output = stage.run_to_end(&bundle, "one")?;
    ensure(output.contains("/mnt/a/file write errno 30"), || output.clone())
}

fn copy_up(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "open", "/etc/original"]},
        "+mounts": [{"destination": "/etc", "type": "tmpfs", "source": "tmpfs",
                     "options": ["tmpcopyup"]}]
    }))?;
    fs::write(bundle.rootfs().join("etc/original"), "data")?;
    let output = stage.run_to_end(&bundle, "one")?;
    ensure(output.contains("/etc/original read ok"), || output.clone())
}

/// A file of host user 0 belongs to the mapped user inside, and stays as it is outside.
fn idmap(stage: &mut Stage) -> Outcome {
    let source = stage.dir.join("owned");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "")?;
    chown(source.join("file"), Some(1000), Some(1000))?;
    let mut entry = bind("@DIR@/owned", "/mnt/a", &["bind", "idmap"]);
    let range = json!([{"containerID": 0, "hostID": 5000, "size": 65_536}]);
    entry["uidMappings"] = range.clone();
    entry["gidMappings"] = range;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "owner", "/mnt/a/file"]},
        "+mounts": [entry]
    }))?;
    let output = stage.run_to_end(&bundle, "one")?;
    ensure(output.contains("/mnt/a/file 6000 6000"), || format!("want owner 6000: {output}"))?;
    let owner = fs::metadata(source.join("file"))?.uid();
    ensure(owner == 1000, || format!("outside the owner became {owner}"))
}

/// A link in the root that names a host path leads to that path below the root.
fn symlink_stays(stage: &mut Stage) -> Outcome {
    let outside = stage.dir.join("outside");
    fs::create_dir(&outside)?;
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "exit", "0"]},
        "+mounts": [{"destination": "/mnt/link/new", "type": "tmpfs", "source": "tmpfs"}]
    }))?;
    std::os::unix::fs::symlink(&outside, bundle.rootfs().join("mnt/link"))?;
    // Refusing is right too: the link's target does not exist below the root.
    let answer = stage.try_create(&bundle, "one")?;
    if answer.is_ok() {
        stage.pid("one")?;
    } else {
        answer.must_fail("create failed")?;
    }
    let made = fs::read_dir(&outside)?.count();
    ensure(made == 0, || "something was made on the host through the link".into())
}
