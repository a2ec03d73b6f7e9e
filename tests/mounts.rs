// SPDX-License-Identifier: Apache-2.0
//! Mounts that take more than a line of config: filesystems on a device, id maps, crun's options, a
//! /dev of the host's, procfs with less in it, many masks.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::PathBuf;
use std::process::Command;

use common::{Bundle, Value, has, is_creel, is_root, json, lacks};

fn mount(kind: &str, source: impl AsRef<std::path::Path>, to: &str, options: &[&str]) -> Value {
    json!({"destination": to, "source": source.as_ref(), "type": kind, "options": options})
}

/// A running command's output, or nothing where it fails.
fn output(command: &mut Command) -> Option<String> {
    let run = command.output().ok()?;
    run.status.success().then(|| String::from_utf8_lossy(&run.stdout).trim().to_owned())
}

/// The kernel opens the disk as the container's init, under its device rules.
fn with_disks(bundle: Bundle) -> Bundle {
    let rule = json!({"allow": true, "type": "b", "access": "rwm"});
    bundle.patch("/linux/resources/devices/-", rule)
}

/// A loop device with an image that `make` fills; detached at the end.
struct Loop(String);

impl Loop {
    fn new(bundle: &Bundle, make: &[&str], source: Option<PathBuf>) -> Option<Self> {
        let image = bundle.dir.join("image");
        fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        let mut command = Command::new(make[0]);
        command.args(source).arg(&image).args(&make[1..]);
        let device = output(&mut command)
            .and_then(|_| output(Command::new("losetup").args(["--show", "-f"]).arg(&image)));
        if device.is_none() {
            println!("SKIP: {} or losetup does not work here", make[0]);
        }
        device.map(Self)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = Command::new("losetup").args(["-d", &self.0]).status();
        assert!(detached.is_ok_and(|status| status.success()), "{} stays", self.0);
    }
}

fn knows(filesystem: &str) -> bool {
    let list = fs::read_to_string("/proc/filesystems").unwrap();
    let knows = list.lines().any(|line| line.split_whitespace().last() == Some(filesystem));
    if !knows {
        println!("SKIP: this kernel has no {filesystem}");
    }
    knows
}

#[test]
fn a_disk_is_mounted_from_its_device() {
    if !is_root() || !knows("ext4") {
        return;
    }
    let bundle = Bundle::new("grep ' /data ' /proc/mounts; ls /data");
    let Some(device) = Loop::new(&bundle, &["mkfs.ext4", "-q"], None) else { return };
    let bundle = with_disks(bundle).add_mount(mount("ext4", &device.0, "/data", &["ro", "nosuid"]));
    let run = bundle.run().ok();
    assert!(run.out.starts_with(&format!("{} /data ext4 ro,nosuid", device.0)), "{}", run.out);
    assert!(run.out.contains("lost+found"), "{}", run.out);
}

#[test]
fn a_squashfs_image_is_mounted_from_its_device() {
    if !is_root() || !knows("squashfs") {
        return;
    }
    if !has("mksquashfs") {
        println!("SKIP: mksquashfs is not installed");
        return;
    }
    let bundle = Bundle::new("cat /data/file; grep ' /data ' /proc/mounts");
    let source = bundle.dir.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "squashed ").unwrap();
    let make = ["mksquashfs", "-quiet", "-noappend"];
    let Some(device) = Loop::new(&bundle, &make, Some(source)) else { return };
    let bundle = with_disks(bundle).add_mount(mount("squashfs", &device.0, "/data", &["ro"]));
    let run = bundle.run().ok();
    assert!(
        run.out.starts_with(&format!("squashed {} /data squashfs ro", device.0)),
        "{}",
        run.out
    );
}

#[test]
fn overlay_and_other_types_the_kernel_knows() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new(
        "cat /merged/low; echo new >/merged/made; cut -d' ' -f2,3 /proc/mounts; ls /merged",
    );
    for dir in ["lower", "upper", "work"] {
        fs::create_dir(bundle.dir.join(dir)).unwrap();
    }
    fs::write(bundle.dir.join("lower/low"), "below\n").unwrap();
    let options = ["lowerdir", "upperdir", "workdir"]
        .map(|name| format!("{name}={}", bundle.dir.join(name.trim_end_matches("dir")).display()));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut wanted = vec!["below", "low", "made", "/merged overlay", "/ram ramfs"];
    let mut bundle = bundle
        .add_mount(mount("overlay", "overlay", "/merged", &options))
        .add_mount(mount("ramfs", "ramfs", "/ram", &["nosuid"]));
    if knows("fusectl") {
        bundle = bundle.add_mount(mount("fusectl", "fusectl", "/fuse-control", &[]));
        wanted.push("/fuse-control fusectl");
    }
    let run = bundle.run().ok();
    for line in wanted {
        assert!(run.out.lines().any(|l| l == line), "{line}: {run:?}");
    }
    assert_eq!(fs::read_to_string(bundle.dir.join("upper/made")).unwrap(), "new\n");
}

/// A filesystem whose server is a process; it ends with its mount.
struct Fuse(PathBuf);

impl Fuse {
    fn new(bundle: &Bundle) -> Option<Self> {
        if !is_root() || !knows("fuse") {
            return None;
        }
        for dir in ["lower", "fuse"] {
            fs::create_dir(bundle.dir.join(dir)).unwrap();
        }
        fs::write(bundle.dir.join("lower/file"), "served\n").unwrap();
        let at = bundle.dir.join("fuse");
        let lower = format!("lowerdir={}", bundle.dir.join("lower").display());
        let served = Command::new("fuse-overlayfs").args(["-o", &lower]).arg(&at).status();
        if !served.is_ok_and(|status| status.success()) {
            println!("SKIP: fuse-overlayfs is not there or does not work here");
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(gone.is_ok_and(|status| status.success()), "{} stays", self.0.display());
    }
}

#[test]
fn a_fuse_filesystem_is_bound_also_in_a_user_namespace() {
    let script = "cat /data/file /one; grep ' fuse.fuse-overlayfs ' /proc/mounts | cut -d' ' -f2,4";
    let bundle = Bundle::new(script);
    let Some(fuse) = Fuse::new(&bundle) else { return };
    fs::create_dir(bundle.rootfs().join("data")).unwrap();
    fs::write(bundle.rootfs().join("one"), "").unwrap();
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
    let mut bundle = bundle
        .add_mount(mount("bind", &fuse.0, "/data", &["rbind", "ro", "nosuid"]))
        .add_mount(mount("bind", fuse.0.join("file"), "/one", &["bind"]));
    for own_user in [false, true] {
        if own_user {
            bundle.set("/linux/namespaces/-", json!({"type": "user"}));
            bundle.set("/linux/uidMappings", map.clone());
            bundle.set("/linux/gidMappings", map.clone());
        }
        let run = bundle.run().ok();
        assert!(run.out.starts_with("served\nserved\n/data ro,nosuid,"), "{own_user}: {run:?}");
        assert!(run.out.contains("\n/one rw,"), "{own_user}: {run:?}");
    }
    drop(fuse);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

const MAPS: [&str; 2] = ["uidMappings", "gidMappings"];

fn mapped(mut mount: Value) -> Value {
    for name in MAPS {
        mount[name] = json!([{"containerID": 0, "hostID": 7000, "size": 1000}]);
    }
    mount
}

#[test]
fn id_maps_where_the_filesystem_allows_them_and_by_name_where_not() {
    if !is_root() || !is_creel() {
        return;
    }
    if lacks("mount_setattr") {
        println!("SKIP: id maps take mount_setattr, which is left out");
        return;
    }
    // Not a bind mount: its root is root's on the filesystem, 7000 through the map.
    let bundle = Bundle::new("stat -c %u:%g /data /bound/file /deep/below/file")
        .add_mount(mapped(mount("tmpfs", "tmpfs", "/data", &["idmap"])));
    let source = bundle.dir.join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    for file in ["file", "below/file"] {
        fs::write(source.join(file), "").unwrap();
        chown(source.join(file), Some(5), Some(6)).unwrap();
    }
    let bundle = bundle
        .add_mount(mapped(mount("bind", &source, "/bound", &["bind"])))
        .add_mount(mapped(mount("bind", &source, "/deep", &["rbind", "ridmap"])));
    assert_eq!(bundle.run().ok().out, "7000:7000\n7005:7006\n7005:7006\n");
    assert_eq!(fs::metadata(source.join("file")).unwrap().uid(), 5);

    let bundle = Bundle::new("true").add_mount(mapped(mount("proc", "proc", "/data", &["idmap"])));
    let run = bundle.run();
    let why = "uidMappings, gidMappings: its filesystem allows no id-mapped mounts: EINVAL";
    assert!(run.code == 1 && run.message().contains(why), "{run:?}");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn crun_s_options_for_links() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = Bundle::new("readlink /copied; readlink /kept; ls -d /place/*; ls /through");
    let source = bundle.dir.join("source");
    fs::create_dir_all(source.join("real")).unwrap();
    fs::write(source.join("real/file"), "").unwrap();
    symlink("real", source.join("link")).unwrap();
    for dir in ["through", "place"] {
        fs::create_dir(bundle.rootfs().join(dir)).unwrap();
    }
    symlink("/through", bundle.rootfs().join("kept")).unwrap();
    let link = source.join("link");
    let bundle = bundle
        .add_mount(mount("bind", &link, "/copied", &["bind", "copy-symlink"]))
        // Followed: a directory.
        .add_mount(mount("bind", &link, "/place", &["bind"]));
    let run = bundle.run().ok();
    assert_eq!(run.out, "real\n/through\n/place/file\n");
    // What is mounted is the link itself, over the link itself: nothing changes behind it.
    let bundle =
        bundle.add_mount(mount("bind", &link, "/kept", &["bind", "src-nofollow", "dest-nofollow"]));
    let run = bundle.run().ok();
    assert_eq!(run.out, "real\nreal\n/place/file\n");
}

#[test]
fn a_dev_of_the_host_s_is_left_alone() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("ls /dev");
    let dev = bundle.dir.join("dev");
    fs::create_dir(&dev).unwrap();
    fs::write(dev.join("mark"), "").unwrap();
    let mut bundle = bundle;
    bundle.set(
        "/mounts",
        json!([mount("proc", "proc", "/proc", &[]), mount("bind", &dev, "/dev", &["rbind"])]),
    );
    bundle.set("/linux/maskedPaths", json!([]));
    assert_eq!(bundle.run().ok().out, "mark\n");
    assert_eq!(fs::read_dir(&dev).unwrap().count(), 1, "something was made in the host's");
}

/// The container's own procfs has no /proc/sys then; creel writes through one that has.
#[test]
fn sysctls_are_written_whatever_the_container_s_procfs_shows() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = Bundle::new("ls /proc/sys; cat /full/sys/net/ipv4/ip_forward")
        .patch("/linux/readonlyPaths", json!([]));
    let bundle = bundle
        .patch("/mounts/0/options", json!(["subset=pid", "hidepid=invisible"]))
        .patch("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .add_mount(mount("proc", "proc", "/full", &[]));
    let run = bundle.run();
    assert!(run.out.ends_with("1\n"), "{run:?}");
    assert!(run.err.contains("/proc/sys: No such file"), "{run:?}");
}

#[test]
fn masked_directories_share_one_empty_filesystem() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = Bundle::new(
        "grep ' /m/' /proc/self/mountinfo | cut -d' ' -f3 | sed 's/^/device /'; ls /m/7; cat /m/8",
    );
    let mut masked = Vec::new();
    for number in 0..512 {
        let path = bundle.rootfs().join("m").join(number.to_string());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match number % 2 {
            0 => fs::write(&path, "secret").unwrap(),
            _ => {
                fs::create_dir(&path).unwrap();
                fs::write(path.join("secret"), "secret").unwrap();
            }
        }
        masked.push(format!("/m/{number}"));
    }
    let bundle = bundle.patch("/linux/maskedPaths", json!(masked));
    let run = bundle.run().ok();
    let devices: Vec<&str> = run.out.lines().collect();
    assert_eq!(devices.len(), 512, "a mask is missing, or shows something: {}", run.out);
    let distinct: std::collections::BTreeSet<&str> = devices.iter().copied().collect();
    // The container's /dev with its null device, and the empty one.
    assert_eq!(distinct.len(), 2, "{distinct:?}");
}

#[test]
fn all_forms_of_root_propagation() {
    if !is_root() {
        return;
    }
    for (form, mark) in [
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
        ("private", ""),
        ("rprivate", ""),
    ] {
        let bundle = Bundle::new("grep -E '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ' /proc/self/mountinfo")
            .patch("/linux/rootfsPropagation", json!(form));
        let run = bundle.run().ok();
        let (mount, _) = run.out.split_once(" - ").expect("mountinfo");
        let peers = mount.split(' ').skip(6).collect::<Vec<_>>().join(" ");
        let fits = if mark.is_empty() { peers.is_empty() } else { peers.contains(mark) };
        assert!(fits, "{form}: {peers:?}");
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
    // Slaves of what is shared on the host: here perhaps nothing is.
    for form in ["slave", "rslave"] {
        let bundle = Bundle::new("grep -c shared: /proc/self/mountinfo")
            .patch("/linux/rootfsPropagation", json!(form));
        assert_eq!(bundle.run().out, "0\n", "{form}");
    }
}
