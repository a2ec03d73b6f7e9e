// SPDX-License-Identifier: Apache-2.0
//! Real cgroups: as root on the host's v1 hierarchies, and in a v2 view inside a mount namespace.
//! Every name holds this process's pid, and only what was made here is removed.

mod v1;
mod v2;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getuid};

use super::dir::Dir;
use super::join::Doors;
use super::{Cgroup, CgroupPlan, Happened, Hierarchies, Request, SubCgroups, Ways, cpuset};
use crate::error::{Error, Result};
use crate::oci::Resources;
use crate::sys::clone::{CloneRequest, Fork, clone3};
use crate::testing::inside;

/// A process that does nothing but wait for its end; killed and reaped on drop.
struct Sleeper {
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Sleeper {
    fn start(cgroup: Option<BorrowedFd<'_>>) -> Self {
        Self::start_through(cgroup, None)
    }

    fn start_through(cgroup: Option<BorrowedFd<'_>>, doors: Option<&Doors>) -> Self {
        match clone3(&CloneRequest { cgroup, ..CloneRequest::default() }).expect("clone3") {
            Fork::Child(me) => {
                if doors.is_some_and(|doors| doors.enter(&me).is_err()) {
                    crate::sys::exit(1);
                }
                loop {
                    nix::unistd::pause();
                }
            }
            Fork::Parent { child, pidfd } => Self { pid: child, pidfd, reaped: false },
        }
    }

    /// Waits for its end and says whether a signal was the cause.
    fn end(mut self) -> bool {
        let limit = Some(Duration::from_secs(10));
        let ended = crate::sys::pidfd::wait_exit(self.pidfd.as_fd(), limit).expect("poll");
        assert!(ended, "it is still there after {limit:?}");
        self.reaped = true;
        matches!(waitpid(self.pid, None).expect("waitpid"), WaitStatus::Signaled(..))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = crate::sys::pidfd::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Removes the cgroup also when a test fails half way.
struct Made(Cgroup);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.0.kill(libc::SIGKILL);
        let _ = self.0.destroy();
    }
}

const DENY_ALL: &str = r#""devices": [{"allow": false, "access": "rwm"}]"#;

fn plan(host: &Hierarchies, path: &str, json: &str) -> CgroupPlan {
    let resources: Resources<'_> = serde_json::from_str(json).expect("a test's JSON");
    let request = Request {
        id: "test",
        cgroups_path: path,
        resources: Some(&resources),
        nodes: &[],
        strict_devices: false,
        owner: None,
        systemd: false,
        rootless: false,
    };
    CgroupPlan::new(host, &request).expect("plan")
}

fn name(test: &str) -> String {
    format!("/creel-test-{}-{test}", std::process::id())
}

/// Runs the body where /sys/fs/cgroup is a v2 hierarchy and nothing else.
fn in_v2_view(body: impl FnOnce(&Hierarchies) -> Result<()>) {
    if !getuid().is_root() {
        println!("SKIP: a v2 view needs root");
        return;
    }
    inside(|_| {
        umount2("/sys/fs/cgroup", MntFlags::MNT_DETACH)?;
        let (none, flags) = (None::<&str>, MsFlags::empty());
        mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), flags, none)?;
        body(&Hierarchies::detect()?)
    });
}

fn lists(path: &str, pid: Pid) -> bool {
    let procs = std::fs::read_to_string(format!("{path}/cgroup.procs")).expect("read");
    procs.lines().any(|line| line == pid.to_string())
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read(cgroup: &Cgroup, controller: &str, file: &str) -> String {
    let path = cgroup.path(controller).expect("a path");
    std::fs::read_to_string(format!("{path}/{file}")).expect("read").trim().to_owned()
}

/// As an ordinary user without any right over cgroups.
fn as_nobody(
    body: impl FnOnce(&Hierarchies) -> Result<()>,
) -> impl FnOnce(&Hierarchies) -> Result<()> {
    |host| {
        let nobody = nix::unistd::Uid::from_raw(65534);
        nix::unistd::setresuid(nobody, nobody, nobody)?;
        body(host)
    }
}

fn rootless(host: &Hierarchies, path: &str, json: &str) -> Result<(Cgroup, Ways)> {
    let resources: Resources<'_> = serde_json::from_str(json).expect("a test's JSON");
    let request = Request {
        id: &name("rootless")[1..],
        cgroups_path: path,
        resources: Some(&resources),
        nodes: &[],
        strict_devices: false,
        owner: None,
        systemd: false,
        rootless: true,
    };
    let plan = CgroupPlan::new(host, &request)?;
    let mut cgroup = plan.place();
    let ways = cgroup.create(&plan)?;
    Ok((cgroup, ways))
}

/// What all ordinary users get: no cgroup where nothing is asked of it, else an error.
fn without_permission(host: &Hierarchies, limit: &str, words: &str) -> Result<()> {
    let (cgroup, ways) = rootless(host, "", &format!("{{{DENY_ALL}}}"))?;
    assert!(cgroup.v1.is_empty() && cgroup.unified.is_none() && !cgroup.exists());
    assert_eq!(cgroup.is_unified(), host.is_unified());
    assert!(ways.into.is_none());
    cgroup.join(getpid())?;
    cgroup.destroy()?;
    let error = rootless(host, "", limit).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
    let error = rootless(host, &name("denied"), "{}").unwrap_err().to_string();
    assert!(error.starts_with("make cgroup "), "{error}");
    assert!(error.ends_with(": EACCES: permission denied"), "{error}");
    Ok(())
}

#[test]
fn state_survives_json() {
    let plan = plan(&Hierarchies::test_v1(&["devices", "name=systemd"]), "/a", "{}");
    let cgroup = plan.place();
    let json = serde_json::to_string(&cgroup).unwrap();
    assert_eq!(serde_json::from_str::<Cgroup>(&json).unwrap(), cgroup);
    let view = cgroup.mount_view();
    assert_eq!(view.v2, None);
    assert_eq!(view.v1[1].name, "systemd");
    assert_eq!(view.v1[1].options, "name=systemd");
    assert!(view.v1[0].links.is_empty());
}
