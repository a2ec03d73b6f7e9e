// SPDX-License-Identifier: Apache-2.0
//! `checkpoint` and `restore`: CRIU does the work, asked over its RPC; creel tells it what of the
//! container is the host's (mounts, namespaces, cgroups, pipes) and answers where CRIU waits. What
//! one of the two tells CRIU is in dump.rs or restore.rs, what both tell it is here.

pub(crate) mod dump;
mod excerpt;
mod external;
pub(crate) mod restore;
mod root;
mod rpc;
pub(crate) mod stdio;
mod swrk;
mod wire;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::bundle;
use crate::cli::args::{self, ManageCgroups, NetworkLock};
use crate::error::{Context, Result};
use crate::state::Facts;
use crate::sys::fd;

use nix::unistd::Pid;

use rpc::opts;
use wire::Message;

/// Which log lines CRIU writes: all but debugging.
const LOG_LEVEL: i32 = 4;

/// The annotation that names a file of CRIU options; empty: none is to be read.
pub(crate) const CONFIG_ANNOTATION: &str = "org.criu.config";
/// Read by CRIU without the annotation, the first that there is. runc's is the last resort, so that
/// hosts which were set up for runc stay so.
const CONFIG_FILES: [&str; 2] = ["/etc/criu/creel.conf", "/etc/criu/runc.conf"];

/// Where images and logs are.
#[derive(Debug)]
struct Directories {
    images: OwnedFd,
    work: Option<OwnedFd>,
    log: PathBuf,
}

impl Directories {
    /// Opens `--image-path` and `--work-path`; the latter is made if it is not there.
    fn open(criu: &args::Criu, log: &str) -> Result<Self> {
        let images = image_path(criu);
        let open = |path: &Path| swrk::directory(path);
        let logs = bundle::absolute(criu.work_path.as_deref().unwrap_or(images))?;
        let work = criu.work_path.as_deref().map(|path| {
            make(path).context(|| format!("--work-path: make {path:?}"))?;
            open(path).context(|| format!("--work-path: open {path:?}"))
        });
        Ok(Self {
            log: logs.join(log),
            images: open(images).context(|| format!("--image-path: open {images:?}"))?,
            work: work.transpose()?,
        })
    }

    /// The same directories in the mount namespace of `worker`: CRIU makes mounts in them, which the
    /// kernel refuses where the mount below is of another namespace.
    fn of(self, worker: Pid) -> Result<Self> {
        let again = |fd: &OwnedFd| -> Result<OwnedFd> {
            // By the path that the kernel has for it, in which no link is left.
            let link = format!("/proc/self/fd/{}", fd::number(fd.as_fd()));
            let path = std::fs::read_link(&link).context(|| format!("read {link}"))?;
            let there = format!("/proc/{worker}/root{}", path.display());
            swrk::directory(Path::new(&there)).context(|| format!("open {there}"))
        };
        let work = self.work.as_ref().map(again).transpose()?;
        Ok(Self { images: again(&self.images)?, work, log: self.log })
    }

    fn tell(&self, message: &mut Message, log: &str) {
        message.set(opts::IMAGES_DIR_FD, fd::number(self.images.as_fd()));
        if let Some(work) = &self.work {
            message.set(opts::WORK_DIR_FD, fd::number(work.as_fd()));
        }
        message.set(opts::LOG_LEVEL, LOG_LEVEL).set(opts::LOG_FILE, log);
    }
}

fn image_path(criu: &args::Criu) -> &Path {
    criu.image_path.as_deref().unwrap_or(Path::new("checkpoint"))
}

/// A directory for nobody but root: images hold the memory of a program.
fn make(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
}

/// What a dump and a restore tell CRIU alike.
fn tell(message: &mut Message, criu: &args::Criu, facts: &Facts) {
    message
        .set(opts::NOTIFY_SCRIPTS, true)
        .set(opts::ORPHAN_PTS_MASTER, true)
        .set(opts::TCP_ESTABLISHED, criu.tcp_established)
        .set(opts::EXT_UNIX_SK, criu.ext_unix_sk)
        .set(opts::SHELL_JOB, criu.shell_job)
        .set(opts::FILE_LOCKS, criu.file_locks)
        .set(opts::AUTO_DEDUP, criu.auto_dedup)
        .set(opts::LAZY_PAGES, criu.lazy_pages)
        .set(opts::MANAGE_CGROUPS, true)
        .set(opts::MANAGE_CGROUPS_MODE, cgroup_mode(criu.manage_cgroups))
        // With or without `--empty-ns network`, as runc: interfaces and addresses are not CRIU's but
        // the manager's, which makes them anew when namespaces are there.
        .set(opts::EMPTY_NS, libc::CLONE_NEWNET);
    if let Some(method) = criu.network_lock {
        message.set(opts::NETWORK_LOCK, network_lock(method));
    }
    if let Some(file) = config_file(facts) {
        message.set(opts::CONFIG_FILE, file);
    }
}

/// `criu_cg_mode`
fn cgroup_mode(mode: ManageCgroups) -> i32 {
    match mode {
        ManageCgroups::Ignore => 0,
        ManageCgroups::Soft => 3,
        ManageCgroups::Full => 4,
        ManageCgroups::Strict => 5,
    }
}

/// `criu_network_lock_method`
fn network_lock(method: NetworkLock) -> i32 {
    match method {
        NetworkLock::Iptables => 1,
        NetworkLock::Nftables => 2,
        NetworkLock::Skip => 3,
    }
}

fn config_file(facts: &Facts) -> Option<&str> {
    match facts.annotations.get(CONFIG_ANNOTATION) {
        Some(file) => Some(file.as_str()).filter(|file| !file.is_empty()),
        None => CONFIG_FILES.into_iter().find(|file| Path::new(file).exists()),
    }
}

/// As runc; CRIU itself wants root, or CAP_CHECKPOINT_RESTORE and its own option for it.
fn warn_rootless(command: &str) {
    if !nix::unistd::geteuid().is_root() {
        crate::log::warn(&format!("{command} is untested with rootless containers"));
    }
}

/// For the fuzz targets: a message of CRIU's ends, whatever is in it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut fields = wire::Fields::new(bytes);
    assert!(fields.by_ref().count() <= bytes.len());
}
