// SPDX-License-Identifier: Apache-2.0
//! Plans by value, and their effects in a real mount namespace. What the tests share is here.

mod attacks;
mod mounts;
mod plans;
mod userns;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::getuid;

use super::*;
use crate::bail;
use crate::testing::inside;

/// A bundle with an empty root, removed at the end.
struct Bundle(PathBuf);

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Bundle {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("creel-rootfs-{}", unique()));
        fs::create_dir_all(dir.join("root")).expect("temporary directory");
        Self(dir)
    }

    fn root(&self, path: &str) -> PathBuf {
        self.0.join("root").join(path)
    }

    fn dir(&self, path: &str) -> &Self {
        fs::create_dir_all(self.0.join(path)).expect("directory");
        self
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        fs::write(self.0.join(path), text).expect("file");
        self
    }

    fn link(&self, path: &str, target: impl AsRef<Path>) -> &Self {
        symlink(target, self.0.join(path)).expect("link");
        self
    }

    /// `properties` come after `root`.
    fn try_plan(&self, properties: &str) -> Result<Rootfs> {
        self.plan_with(properties, |_| ())
    }

    fn plan_with(&self, properties: &str, change: impl FnOnce(&mut Request<'_>)) -> Result<Rootfs> {
        self.plan_text(&format!(r#"{{"root": {{"path": "root"}}, {properties}}}"#), change)
    }

    /// Of a whole config.
    fn plan_text(&self, text: &str, change: impl FnOnce(&mut Request<'_>)) -> Result<Rootfs> {
        let spec: oci::Spec<'_> = oci::parse(text).expect("valid JSON");
        let root = HostRoot::open(&spec, &self.0)?;
        let mut request = Request {
            bundle: &self.0,
            root: &root,
            new_user_namespace: false,
            joined_user_namespace: None,
            new_cgroup_namespace: false,
            mount_namespace: true,
            no_pivot: false,
            cgroups: CgroupView::default(),
            uid_map: &[],
            gid_map: &[],
            extra_mounts: &[],
        };
        change(&mut request);
        Rootfs::plan(&spec, &request)
    }

    #[track_caller]
    fn plan(&self, properties: &str) -> Rootfs {
        self.try_plan(properties).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(&self, properties: &str) -> String {
        self.try_plan(properties).expect_err("to be refused").to_string()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("nothing is mounted outside the child");
    }
}

const PROC: &str = r#"{"destination": "/proc", "type": "proc", "source": "proc"}"#;
const DEV: &str = r#"{"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}"#;

fn with_mounts(mounts: &[&str]) -> String {
    format!(r#""mounts": [{}]"#, mounts.join(","))
}

fn is_root() -> bool {
    let is = getuid().is_root();
    if !is {
        println!("SKIP: needs root");
    }
    is
}

/// Linux 5.12.
fn has_mount_setattr() -> bool {
    use crate::sys::mount::{Depth, Setattr, mount_setattr};
    let has = mount_setattr(std::io::stdin().as_fd(), Depth::One, &Setattr::default())
        != Err(Errno::ENOSYS);
    if !has {
        println!("SKIP: needs mount_setattr");
    }
    has
}

fn all(rootfs: &Rootfs, me: &Inside) -> Result<Entered> {
    let entered = rootfs.enter(rootfs.assemble(me)?, me)?;
    rootfs.lock_down(&entered, me)?;
    Ok(entered)
}

#[track_caller]
fn ensure(is: bool, what: &str) -> Result<()> {
    if is {
        return Ok(());
    }
    bail!("{}: not so: {what}", std::panic::Location::caller())
}

/// The last mount at `path`, as mountinfo has it.
fn mounted(path: &str) -> Result<String> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(path));
    Ok(line.unwrap_or_default().to_owned())
}

fn has_options(path: &str, options: &[&str]) -> Result<()> {
    let line = mounted(path)?;
    let has: Vec<&str> = line.split(' ').nth(5).unwrap_or_default().split(',').collect();
    ensure(options.iter().all(|option| has.contains(option)), &format!("{options:?} in {line}"))
}

fn lacks_options(path: &str, options: &[&str]) -> Result<()> {
    let line = mounted(path)?;
    let has: Vec<&str> = line.split(' ').nth(5).unwrap_or_default().split(',').collect();
    ensure(!options.iter().any(|option| has.contains(option)), &format!("no {options:?} in {line}"))
}

#[track_caller]
fn refused_in_child(rootfs: &Rootfs, expected: &str) {
    inside(|me| {
        let error = match all(rootfs, me) {
            Ok(_) => bail!("not refused"),
            Err(error) => error.to_string(),
        };
        ensure(error.contains(expected), &format!("{expected:?} in {error:?}"))
    });
}
