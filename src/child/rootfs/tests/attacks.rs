// SPDX-License-Identifier: Apache-2.0
//! Hostile roots; the names are those of the CVEs.

use super::*;

#[test]
fn cve_2026_41579_a_dev_link_does_not_lead_out() {
    let bundle = Bundle::new();
    bundle.dir("decoy").file("decoy/ptmx", "host").link("root/dev", bundle.0.join("decoy"));
    let rootfs = bundle.plan(&with_mounts(&[PROC]));
    if !is_root() {
        return;
    }
    inside(|me| all(&rootfs, me).map(drop));
    assert_eq!(fs::read_to_string(bundle.0.join("decoy/ptmx")).unwrap(), "host");
    assert_eq!(fs::read_dir(bundle.0.join("decoy")).unwrap().count(), 1, "untouched");
}

#[test]
fn cve_2023_27561_proc_and_sys_are_no_links() {
    for (name, kind) in [("proc", "proc"), ("sys", "sysfs")] {
        let bundle = Bundle::new();
        bundle.dir("root/elsewhere").link(&format!("root/{name}"), "/elsewhere");
        let one = format!(r#"{{"destination": "/{name}", "type": "{kind}"}}"#);
        let rootfs = bundle.plan(&with_mounts(&[&one]));
        if is_root() {
            refused_in_child(&rootfs, "must be mounted on ordinary directory");
        }
    }
}

#[test]
fn a_link_into_proc_is_no_way_around_the_list() {
    let bundle = Bundle::new();
    bundle.link("root/door", "/proc/self/attr").file("f", "");
    let door = r#"{"destination": "/door/exec", "source": "f", "options": ["bind"]}"#;
    let rootfs = bundle.plan(&with_mounts(&[PROC, door]));
    if is_root() {
        refused_in_child(&rootfs, "/attr/exec cannot be mounted because it is inside /proc");
    }
}

#[test]
fn cve_2019_18837_a_target_link_stays_in_the_root() {
    let bundle = Bundle::new();
    bundle.dir("decoy").link("root/out", bundle.0.join("decoy")).link("root/up", "../../decoy");
    bundle.link("root/dangling", "/not/there").file("f", "file");
    let rootfs = bundle.plan(&with_mounts(&[
        PROC,
        r#"{"destination": "/out/new", "type": "tmpfs"}"#,
        r#"{"destination": "/up/new", "type": "tmpfs"}"#,
        r#"{"destination": "/dangling", "source": "f", "options": ["bind"]}"#,
    ]));
    if !is_root() {
        return;
    }
    inside(|me| {
        all(&rootfs, me)?;
        ensure(fs::read_to_string("/not/there")? == "file", "made inside")?;
        ensure(mounted("/decoy/new")?.contains(" - tmpfs "), "in the root")
    });
    assert_eq!(fs::read_dir(bundle.0.join("decoy")).unwrap().count(), 0, "untouched");
    assert!(bundle.root("decoy/new").exists());
}

#[test]
fn cve_2025_31133_a_false_null_is_refused() {
    let bundle = Bundle::new();
    bundle.dir("root/dev").link("root/dev/null", "/secret").file("root/secret", "");
    let rootfs = bundle.plan(&with_mounts(&[PROC]));
    if is_root() {
        refused_in_child(&rootfs, "linux.devices: /dev/null: there is something else already");
    }
}

#[test]
fn cve_2019_16884_proc_is_a_procfs() {
    let bundle = Bundle::new();
    bundle.dir("fake");
    let fake = r#"{"destination": "/proc", "source": "fake", "options": ["bind"]}"#;
    let rootfs = bundle.plan(&with_mounts(&[fake]));
    if is_root() {
        refused_in_child(&rootfs, "/proc cannot be mounted because it is not of type proc");
    }
}

#[test]
fn cve_2026_88264_the_console_is_not_put_through_a_link() {
    let bundle = Bundle::new();
    bundle.dir("root/dev").file("victim", "host");
    bundle.link("root/dev/console", bundle.0.join("victim"));
    let rootfs = bundle.plan(&with_mounts(&[PROC]));
    if !is_root() {
        return;
    }
    inside(|me| {
        let entered = all(&rootfs, me)?;
        let null = fs::File::open("/dev/null")?;
        let error = rootfs.bind_console(&entered, null.as_fd(), me).err();
        let error = error.map(|e| e.to_string()).unwrap_or_default();
        ensure(error == "/dev/console: there is a symbolic link or directory already", &error)
    });
}

#[test]
fn the_console_is_the_descriptor() {
    let bundle = Bundle::new();
    let rootfs = bundle.plan(&with_mounts(&[PROC, DEV]));
    if !is_root() {
        return;
    }
    inside(|me| {
        let entered = rootfs.enter(rootfs.assemble(me)?, me)?;
        let full = fs::File::open("/dev/full")?;
        rootfs.bind_console(&entered, full.as_fd(), me)?;
        ensure(fs::metadata("/dev/console")?.rdev() == 0x107, "the descriptor's device")
    });
}

#[test]
fn private_proc_is_not_fooled_by_mounts_on_proc() {
    let bundle = Bundle::new();
    bundle.dir("fake");
    let rootfs = bundle.plan(&with_mounts(&[PROC, DEV]));
    if !is_root() {
        return;
    }
    let domain = "/proc/sys/kernel/domainname";
    let check = |proc: &Proc, wanted: &str| {
        mount(Some("t"), "/proc/sys/kernel", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        fs::write(domain, "fake")?;
        proc.write("sys/kernel/domainname", wanted.as_bytes())?;
        ensure(fs::read_to_string(domain)? == "fake", "the fake is as it was")?;
        umount2("/proc/sys/kernel", MntFlags::MNT_DETACH)?;
        ensure(fs::read_to_string(domain)?.trim() == wanted, "written")
    };
    inside(|me| {
        let entered = rootfs.enter(rootfs.assemble(me)?, me)?;
        check(&Proc::open(me)?, "private")?;
        let own = entered.proc(me)?;
        check(&own, "own")?;
        own.write("sys/kernel/domainname", b"plain")?;
        ensure(fs::read_to_string(domain)?.trim() == "plain", "nothing is in the way")?;
        // No procfs at all.
        mount(Some("t"), "/proc", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        entered.proc(me)?.write("sys/kernel/domainname", b"new")?;
        umount2("/proc", MntFlags::MNT_DETACH)?;
        ensure(fs::read_to_string(domain)?.trim() == "new", "written")
    });
}
