// SPDX-License-Identifier: Apache-2.0
//! Containers in a user namespace, id maps and cgroups.

use std::os::fd::OwnedFd;

use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Uid, pipe, read, setgroups, setresgid, setresuid, write};

use super::*;
use crate::sys::clone::{CloneRequest, Fork, clone3};

const MAP: &[IdMapping] = &[IdMapping { container_id: 0, host_id: 100_000, size: 65536 }];

/// In new namespaces, root being 100000 outside, as the container's set-up is.
#[track_caller]
fn inside_userns(body: impl FnOnce(&Inside) -> Result<()>) {
    let flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    let (mapped, map) = pipe().unwrap();
    match clone3(&CloneRequest { flags: flags.into(), cgroup: None }).unwrap() {
        Fork::Child(me) => {
            drop(map);
            let outcome = become_root(mapped).and_then(|()| body(&me));
            if let Err(error) = &outcome {
                eprintln!("inside_userns: {error}");
            }
            crate::sys::exit(i32::from(outcome.is_err()))
        }
        Fork::Parent { child, .. } => {
            for name in ["uid_map", "gid_map"] {
                fs::write(format!("/proc/{child}/{name}"), "0 100000 65536").unwrap();
            }
            write(&map, b"x").unwrap();
            match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, 0) => {}
                other => panic!("the body failed: {other:?}"),
            }
        }
    }
}

fn become_root(mapped: OwnedFd) -> Result<()> {
    read(&mapped, &mut [0])?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

impl Bundle {
    /// As remapped roots are: owned by the container's root.
    fn remapped(&self) -> &Self {
        std::os::unix::fs::chown(self.root(""), Some(100_000), Some(100_000)).unwrap();
        self
    }

    fn plan_userns(&self, properties: &str) -> Rootfs {
        let change = |request: &mut Request<'_>| {
            request.new_user_namespace = true;
            request.new_cgroup_namespace = true;
            (request.uid_map, request.gid_map) = (MAP, MAP);
        };
        self.plan_with(properties, change).unwrap_or_else(|error| panic!("{error}"))
    }
}

const SYS: &str = r#"{"destination": "/sys", "type": "sysfs", "source": "sysfs",
    "options": ["nosuid", "noexec", "nodev", "ro"]}"#;

#[test]
fn a_whole_container_in_a_user_namespace() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new();
    bundle.remapped();
    let mqueue = r#"{"destination": "/dev/mqueue", "type": "mqueue"}"#;
    let pts = r#"{"destination": "/dev/pts", "type": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}"#;
    let cgroup = r#"{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]}"#;
    let linux = r#""linux": {"maskedPaths": ["/proc/keys", "/proc/acpi", "/sys/firmware"],
        "readonlyPaths": ["/proc/sys", "/proc/fs"]}"#;
    let all_mounts = with_mounts(&[PROC, DEV, pts, mqueue, SYS, cgroup]);
    let rootfs = bundle.plan_userns(&format!("{all_mounts}, {linux}"));
    inside_userns(|me| {
        let entered = rootfs.enter(rootfs.assemble(me)?, me)?;
        let proc = Proc::open(me)?;
        rootfs.lock_down(&entered, me)?;
        ensure(fs::metadata("/dev/null")?.rdev() == 0x103, "bound device")?;
        fs::write("/dev/null", "x")?;
        ensure(mounted("/sys/fs/cgroup")?.contains(" - cgroup2 "), "cgroup2")?;
        has_options("/proc/sys", &["ro"])?;
        ensure(fs::read_to_string("/proc/keys")?.is_empty(), "masked")?;
        // Past the read-only /proc/sys of the container.
        proc.write("sys/net/ipv4/ip_forward", b"1")?;
        ensure(fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?.trim() == "1", "written")
    });
}

#[test]
fn a_source_that_only_the_parent_reaches() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new();
    bundle.remapped().dir("locked/src").file("locked/src/f", "text");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(bundle.0.join("locked"), closed).unwrap();
    let one =
        r#"{"destination": "/x", "source": "locked/src", "options": ["rbind", "ro", "nosuid"]}"#;
    let rootfs = bundle.plan_userns(&with_mounts(&[PROC, one]));
    inside_userns(|me| {
        all(&rootfs, me)?;
        ensure(fs::read_to_string("/x/f")? == "text", "content")?;
        has_options("/x", &["ro", "nosuid"])
    });
}

#[test]
fn locked_flags_of_the_source_are_kept_or_refused() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new();
    bundle.remapped().dir("locked");
    let source = bundle.0.join("locked");
    let mount_at = |options: &str| {
        format!(r#"{{"destination": "/x", "source": "locked", "options": ["rbind", {options}]}}"#)
    };
    let kept = bundle.plan_userns(&with_mounts(&[PROC, &mount_at(r#""ro""#)]));
    let refused = bundle.plan_userns(&with_mounts(&[PROC, &mount_at(r#""suid", "ro""#)]));
    let atime = bundle.plan_userns(&with_mounts(&[PROC, &mount_at(r#""strictatime""#)]));
    // The flags lock when the mount is copied into the user namespace's mount namespace.
    inside(|_| {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
        mount(Some("t"), &source, Some("tmpfs"), flags, None::<&str>)?;
        inside_userns(|me| {
            all(&kept, me)?;
            has_options("/x", &["ro", "nosuid", "nodev", "noatime"])
        });
        inside_userns(|me| {
            let error = kept_error(&refused, me)?;
            ensure(
                error.ends_with("cannot clear locked flags nosuid: EPERM: operation not permitted"),
                &error,
            )
        });
        inside_userns(|me| {
            let error = kept_error(&atime, me)?;
            ensure(error.contains("cannot change locked atime flags noatime: EPERM"), &error)
        });
        Ok(())
    });
}

fn kept_error(rootfs: &Rootfs, me: &Inside) -> Result<String> {
    match rootfs.assemble(me) {
        Ok(_) => bail!("not refused"),
        Err(error) => Ok(error.to_string()),
    }
}

#[test]
fn id_maps_of_bind_mounts() {
    if !is_root() || !has_mount_setattr() {
        return;
    }
    let bundle = Bundle::new();
    bundle.dir("src").file("src/f", "").file("src/g", "");
    std::os::unix::fs::chown(bundle.0.join("src/g"), Some(5), Some(6)).unwrap();
    let explicit = r#"{"destination": "/a", "source": "src", "options": ["bind"],
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
        "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 10}]}"#;
    let crun = r#"{"destination": "/b", "source": "src",
        "options": ["rbind", "ridmap=uids=0-3000-10;gids=0-4000-10"]}"#;
    let rootfs = bundle.plan(&with_mounts(&[PROC, explicit, crun]));
    let owner = |path: &str| -> Result<(u32, u32)> {
        let stat = fs::metadata(path)?;
        Ok((stat.uid(), stat.gid()))
    };
    inside(|me| {
        all(&rootfs, me)?;
        ensure(owner("/a/f")? == (1000, 2000) && owner("/a/g")? == (1005, 2006), "explicit")?;
        ensure(owner("/b/g")? == (3005, 4006), "crun's notation")
    });
    // Without maps, those of the container: the files look as they do on the host.
    let own = r#"{"destination": "/a", "source": "src", "options": ["bind", "idmap"]}"#;
    let plain = r#"{"destination": "/b", "source": "src", "options": ["bind"]}"#;
    bundle.remapped();
    let rootfs = bundle.plan_userns(&with_mounts(&[PROC, DEV, own, plain]));
    inside_userns(|me| {
        all(&rootfs, me)?;
        ensure(owner("/a/g")? == (5, 6) && owner("/b/g")? == (65534, 65534), "the container's")
    });
}

/// Later sources see earlier mounts, also where only the host's root can map ids.
#[test]
fn mounts_build_on_each_other() {
    if !is_root() || !has_mount_setattr() {
        return;
    }
    let bundle = Bundle::new();
    bundle
        .remapped()
        .dir("root/mnt")
        .dir("root/final")
        .dir("a/x")
        .file("a/f", "")
        .file("a/x/f", "");
    bundle.dir("b").file("b/g", "deep");
    for path in ["root/mnt", "root/final"] {
        std::os::unix::fs::chown(bundle.0.join(path), Some(100_000), Some(100_000)).unwrap();
    }
    let root = bundle.root("");
    let root = root.display();
    let order = |options: &str| {
        with_mounts(&[
            PROC,
            DEV,
            r#"{"destination": "/mnt", "source": "a", "options": ["rbind"]}"#,
            r#"{"destination": "/mnt/x", "source": "b", "options": ["rbind"]}"#,
            &format!(
                r#"{{"destination": "{root}/final", "source": "{root}/mnt", "options": [{options}]}}"#
            ),
            // Nobody can open this one before its parent is mounted.
            &format!(
                r#"{{"destination": "/deep", "source": "{root}/mnt/x", "options": [{options}]}}"#
            ),
        ])
    };
    let check = |owner: u32| {
        ensure(fs::read_to_string("/final/x/g")? == "deep", "the tree as it was made")?;
        ensure(fs::read_to_string("/deep/g")? == "deep", "a source on an earlier mount")?;
        ensure(fs::metadata("/final/f")?.uid() == owner, "owner")
    };
    let plain = bundle.plan(&order(r#""rbind""#));
    inside(|me| all(&plain, me).and_then(|_| check(0)));
    let mapped = bundle.plan_userns(&order(r#""rbind", "ridmap""#));
    inside_userns(|me| all(&mapped, me).and_then(|_| check(0)));
    let unmapped = bundle.plan_userns(&order(r#""rbind""#));
    inside_userns(|me| all(&unmapped, me).and_then(|_| check(65534)));
}

#[test]
fn cgroup_v2_without_a_namespace_is_the_hosts_mount() {
    let Some(own) = CgroupDir::new() else { return };
    let bundle = Bundle::new();
    let one = r#"{"destination": "/sys/fs/cgroup", "type": "cgroup",
        "options": ["ro", "nosuid", "noexec", "nodev"]}"#;
    let rootfs = bundle
        .plan_with(&with_mounts(&[PROC, one]), |r| r.cgroups.v2 = Some(own.0.clone()))
        .unwrap();
    let name = own.0.file_name().unwrap().to_owned();
    inside(|me| {
        all(&rootfs, me)?;
        has_options("/sys/fs/cgroup", &["ro", "nosuid", "noexec", "nodev"])?;
        ensure(Path::new("/sys/fs/cgroup").join(&name).is_dir(), "from the top")
    });
}

#[test]
fn cgroup_v1_is_one_bind_for_each_hierarchy() {
    let Some(own) = CgroupDir::new() else { return };
    let bundle = Bundle::new();
    let one = r#"{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]}"#;
    let v1 = V1Mount {
        dir: "cpu,cpuacct".to_owned(),
        links: vec!["cpu".to_owned(), "cpuacct".to_owned()],
        host: own.0.clone(),
        instead: None,
        optional: false,
    };
    let rootfs = bundle.plan_with(&with_mounts(&[PROC, one]), |r| r.cgroups.v1 = vec![v1]).unwrap();
    inside(|me| {
        all(&rootfs, me)?;
        ensure(mounted("/sys/fs/cgroup")?.contains(" - tmpfs "), "tmpfs")?;
        has_options("/sys/fs/cgroup/cpu,cpuacct", &["ro"])?;
        ensure(Path::new("/sys/fs/cgroup/cpu/cgroup.procs").exists(), "through a link")
    });
}

/// Rootless: the container's own could not be made.
#[test]
fn cgroup_v1_shows_the_caller_s_read_only_instead_of_what_is_not_there() {
    let Some(own) = CgroupDir::new() else { return };
    let bundle = Bundle::new();
    let one = r#"{"destination": "/sys/fs/cgroup", "type": "cgroup"}"#;
    let missing = |name: &str, instead: Option<PathBuf>| V1Mount {
        dir: name.to_owned(),
        links: Vec::new(),
        host: own.0.join("none"),
        instead,
        optional: true,
    };
    let v1 = vec![missing("pids", Some(own.0.clone())), missing("systemd", None)];
    let rootfs = bundle.plan_with(&with_mounts(&[PROC, one]), |r| r.cgroups.v1 = v1).unwrap();
    inside(|me| {
        all(&rootfs, me)?;
        has_options("/sys/fs/cgroup/pids", &["ro"])?;
        ensure(Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists(), "the caller's")?;
        ensure(fs::read_dir("/sys/fs/cgroup/systemd")?.next().is_none(), "nothing to show")
    });
}

/// A cgroup of our own in the host's cgroup2, removed at the end.
struct CgroupDir(PathBuf);

impl CgroupDir {
    fn new() -> Option<Self> {
        let top = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .find(|top| Path::new(top).join("cgroup.controllers").exists());
        let made = top.map(|top| Path::new(top).join(format!("creel-test-{}", unique())));
        match made {
            Some(dir) if fs::create_dir(&dir).is_ok() => Some(Self(dir)),
            _ => {
                println!("SKIP: no writable cgroup2");
                None
            }
        }
    }
}

impl Drop for CgroupDir {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).expect("nothing is in it");
    }
}
