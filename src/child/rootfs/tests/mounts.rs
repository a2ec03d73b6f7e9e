// SPDX-License-Identifier: Apache-2.0
//! Effects of mounts, devices and paths, as root in a new mount namespace.

use super::*;

#[test]
fn enters_the_root_with_mounts_devices_and_links() {
    let bundle = Bundle::new();
    let pts = r#"{"destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}"#;
    let data = r#"{"destination": "/a/b/c", "type": "tmpfs", "source": "tmpfs",
        "options": ["ro", "nosuid", "noatime", "size=64k"]}"#;
    let sys = r#"{"destination": "/sys", "type": "sysfs", "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"]}"#;
    let rootfs = bundle.plan(&with_mounts(&[PROC, DEV, pts, data, sys]));
    if !is_root() {
        return;
    }
    inside(|me| {
        all(&rootfs, me)?;
        ensure(!Path::new("/etc").exists(), "the host's files are out of sight")?;
        has_options("/a/b/c", &["ro", "nosuid", "noatime"])?;
        has_options("/dev", &["rw", "nosuid"])?;
        lacks_options("/dev", &["noatime", "relatime"])?;
        has_options("/sys", &["ro", "nosuid", "noexec", "nodev"])?;
        ensure(
            mounted("/dev/pts")?.contains("devpts devpts rw,gid=5,mode=620,ptmxmode=666"),
            "pts",
        )?;
        for (name, rdev) in [("null", 0x103), ("full", 0x107), ("tty", 0x500)] {
            let node = fs::symlink_metadata(format!("/dev/{name}"))?;
            ensure(node.file_type().is_char_device() && node.rdev() == rdev, name)?;
            ensure(node.mode() & 0o7777 == 0o666, name)?;
        }
        ensure(fs::read_link("/dev/ptmx")? == Path::new("pts/ptmx"), "ptmx")?;
        ensure(fs::read_link("/dev/stderr")? == Path::new("/proc/self/fd/2"), "stderr")?;
        ensure(std::env::current_dir()? == Path::new("/"), "cwd")
    });
    assert_eq!(fs::metadata(bundle.root("a/b")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn bind_mounts_of_files_and_directories() {
    let bundle = Bundle::new();
    bundle.dir("src/sub").file("src/f", "text").file("plain", "file");
    let dir = r#"{"destination": "/x/dir", "source": "src", "options": ["rbind", "ro", "nosuid"]}"#;
    let file =
        r#"{"destination": "/y/file", "source": "plain", "type": "none", "options": ["bind"]}"#;
    let rootfs = bundle.plan(&with_mounts(&[PROC, dir, file]));
    if !is_root() {
        return;
    }
    inside(|me| {
        all(&rootfs, me)?;
        ensure(fs::read_to_string("/x/dir/f")? == "text", "directory")?;
        ensure(fs::read_to_string("/y/file")? == "file", "file")?;
        has_options("/x/dir", &["ro", "nosuid"])?;
        ensure(fs::write("/x/dir/f", "").is_err(), "read-only")?;
        fs::write("/y/file", "changed")?;
        Ok(())
    });
    assert_eq!(fs::read_to_string(bundle.0.join("plain")).unwrap(), "changed");
    assert_eq!(fs::metadata(bundle.root("y/file")).unwrap().len(), 0, "only a target");
}

#[test]
fn a_missing_source_is_named() {
    let bundle = Bundle::new();
    let rootfs = bundle.plan(&with_mounts(&[
        r#"{"destination": "/x", "source": "/no/such", "options": ["rbind", "ro"]}"#,
    ]));
    if is_root() {
        refused_in_child(
            &rootfs,
            "mount /no/such at /x (rbind, ro): source /no/such: ENOENT: no such file or directory",
        );
    }
    assert!(!bundle.root("x").exists());
}

#[test]
fn an_unknown_option_is_told_by_the_kernel() {
    let bundle = Bundle::new();
    let rootfs = bundle.plan(&with_mounts(&[
        r#"{"destination": "/data", "type": "tmpfs", "options": ["nosuid", "bogus=1"]}"#,
    ]));
    if is_root() {
        refused_in_child(
            &rootfs,
            "mount tmpfs at /data (nosuid, bogus=1): tmpfs: Unknown parameter 'bogus': \
             EINVAL: invalid argument",
        );
    }
}

#[test]
fn recursive_read_only_reaches_what_is_below() {
    let bundle = Bundle::new();
    bundle.dir("src/sub");
    let source = bundle.0.join("src/sub");
    let rootfs = bundle.plan(&with_mounts(&[
        PROC,
        r#"{"destination": "/plain", "source": "src", "options": ["rbind", "ro"]}"#,
        r#"{"destination": "/all", "source": "src", "options": ["rbind", "rro"]}"#,
    ]));
    if !is_root() || !has_mount_setattr() {
        return;
    }
    inside(|me| {
        mount(Some("t"), &source, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        all(&rootfs, me)?;
        has_options("/plain", &["ro"])?;
        has_options("/plain/sub", &["rw"])?;
        has_options("/all", &["ro"])?;
        has_options("/all/sub", &["ro"])
    });
}

#[test]
fn tmpfs_inherits_the_mode_unless_told() {
    let bundle = Bundle::new();
    for dir in ["root/a", "root/b"] {
        bundle.dir(dir);
        fs::set_permissions(bundle.0.join(dir), fs::Permissions::from_mode(0o710)).unwrap();
    }
    let rootfs = bundle.plan(&with_mounts(&[
        r#"{"destination": "/a", "type": "tmpfs"}"#,
        r#"{"destination": "/b", "type": "tmpfs", "options": ["mode=1500"]}"#,
        r#"{"destination": "/c", "type": "tmpfs"}"#,
    ]));
    if !is_root() {
        return;
    }
    inside(|me| {
        all(&rootfs, me)?;
        let mode = |path| -> Result<u32> { Ok(fs::metadata(path)?.mode() & 0o7777) };
        ensure(mode("/a")? == 0o710, "inherited")?;
        ensure(mode("/b")? == 0o1500, "explicit")?;
        ensure(mode("/c")? == 0o1777, "default")
    });
}

#[test]
fn copy_up_keeps_everything() {
    let bundle = Bundle::new();
    bundle.dir("root/d/sub").file("root/d/sub/f", "text").link("root/d/l", "/etc/passwd");
    fs::set_permissions(bundle.root("d/sub"), fs::Permissions::from_mode(0o2751)).unwrap();
    fs::set_permissions(bundle.root("d/sub/f"), fs::Permissions::from_mode(0o4640)).unwrap();
    let options = r#""options": ["tmpcopyup", "ro"]"#;
    let rootfs = bundle.plan(&with_mounts(&[
        PROC,
        &format!(r#"{{"destination": "/d", "type": "tmpfs", {options}}}"#),
    ]));
    if !is_root() {
        return;
    }
    std::os::unix::fs::chown(bundle.root("d/sub"), Some(7), Some(8)).unwrap();
    fs::set_permissions(bundle.root("d/sub"), fs::Permissions::from_mode(0o2751)).unwrap();
    inside(|me| {
        all(&rootfs, me)?;
        let sub = fs::metadata("/d/sub")?;
        ensure((sub.mode() & 0o7777, sub.uid(), sub.gid()) == (0o2751, 7, 8), "directory")?;
        ensure(fs::metadata("/d/sub/f")?.mode() & 0o7777 == 0o4640, "file")?;
        ensure(fs::read_to_string("/d/sub/f")? == "text", "content")?;
        ensure(fs::read_link("/d/l")? == Path::new("/etc/passwd"), "link")?;
        ensure(mounted("/d")?.contains(" - tmpfs "), "tmpfs")?;
        has_options("/d", &["ro"])
    });
    assert_eq!(fs::read_to_string(bundle.root("d/sub/f")).unwrap(), "text");
}

#[test]
fn masked_and_read_only_paths() {
    let bundle = Bundle::new();
    bundle
        .dir("root/d1")
        .dir("root/d2")
        .dir("root/ro")
        .file("root/d1/f", "")
        .file("root/secret", "s");
    let linux = r#""linux": {"maskedPaths": ["/d1", "/d2", "/secret", "/none", "/d1/", "/d1/f/x"],
        "readonlyPaths": ["/ro", "/none", "/proc/sys"]}"#;
    let rootfs = bundle.plan(&format!("{}, {linux}", with_mounts(&[PROC, DEV])));
    if !is_root() {
        return;
    }
    inside(|me| {
        all(&rootfs, me)?;
        ensure(fs::read_dir("/d1")?.count() == 0 && fs::read_dir("/d2")?.count() == 0, "empty")?;
        ensure(fs::read_to_string("/secret")?.is_empty(), "masked file")?;
        has_options("/d1", &["ro"])?;
        has_options("/ro", &["ro"])?;
        has_options("/proc/sys", &["ro"])?;
        let device = |path: &str| Ok::<_, crate::error::Error>(fs::metadata(path)?.dev());
        ensure(device("/d1")? == device("/d2")?, "one tmpfs for both")?;
        let info = fs::read_to_string("/proc/self/mountinfo")?;
        ensure(info.lines().filter(|l| l.contains(" /d1 ")).count() == 1, "masked once")?;
        ensure(fs::write("/proc/sys/kernel/hostname", "x").is_err(), "read-only")?;
        fs::write("/ok", "")?;
        Ok(())
    });
}

#[test]
fn read_only_root_stays_writable_in_its_mounts() {
    let bundle = Bundle::new();
    let text = format!(
        r#"{{"root": {{"path": "root", "readonly": true}}, {}}}"#,
        with_mounts(&[PROC, DEV, r#"{"destination": "/t", "type": "tmpfs"}"#])
    );
    let rootfs = bundle.plan_text(&text, |_| {}).unwrap();
    if !is_root() {
        return;
    }
    inside(|me| {
        all(&rootfs, me)?;
        ensure(fs::write("/f", "").is_err(), "read-only root")?;
        fs::write("/t/f", "")?;
        has_options("/", &["ro"])
    });
}

#[test]
fn default_propagation_is_private_and_the_forms_are_kept() {
    let bundle = Bundle::new();
    for (name, tag) in [
        ("", ""),
        ("private", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
    ] {
        let linux = format!(r#", "linux": {{"rootfsPropagation": "{name}"}}"#);
        let rootfs = bundle.plan(&format!("{}{linux}", with_mounts(&[PROC])));
        if !is_root() {
            return;
        }
        inside(|me| {
            all(&rootfs, me)?;
            let line = mounted("/")?;
            let tags: Vec<&str> = line.split(' ').skip(6).take_while(|t| *t != "-").collect();
            let is = match tag {
                "" => tags.is_empty(),
                tag => tags.iter().any(|t| t.starts_with(tag)),
            };
            ensure(is, &format!("{name:?}: {line}"))
        });
    }
}

#[test]
fn a_slave_root_hears_the_host_and_a_shared_mount_is_a_peer() {
    let bundle = Bundle::new();
    bundle.dir("host");
    let host = bundle.0.join("host");
    let shared = r#"{"destination": "/peer", "source": "host", "options": ["rbind", "rshared"]}"#;
    let slave = r#"{"destination": "/slave", "source": "host", "options": ["rbind", "rslave"]}"#;
    let linux = r#""linux": {"rootfsPropagation": "rshared"}"#;
    let rootfs = bundle.plan(&format!("{}, {linux}", with_mounts(&[PROC, shared, slave])));
    if !is_root() {
        return;
    }
    inside(|me| {
        mount(Some("t"), &host, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        mount(None::<&str>, &host, None::<&str>, MsFlags::MS_SHARED, None::<&str>)?;
        all(&rootfs, me)?;
        ensure(mounted("/peer")?.contains(" shared:"), "peer")?;
        ensure(mounted("/slave")?.contains(" master:"), "slave")
    });
}

#[test]
fn no_pivot_and_no_namespace_of_its_own() {
    let bundle = Bundle::new();
    bundle.file("root/here", "");
    let properties = with_mounts(&[PROC]);
    let moved = bundle.plan_with(&properties, |r| r.no_pivot = true).unwrap();
    let rooted = bundle.plan_with(&properties, |r| r.mount_namespace = false).unwrap();
    if !is_root() {
        return;
    }
    for rootfs in [&moved, &rooted] {
        inside(|me| {
            all(rootfs, me)?;
            ensure(Path::new("/here").exists() && !Path::new("/etc").exists(), "in the root")?;
            ensure(mounted("/proc")?.contains(" - proc "), "mounts")
        });
    }
}
