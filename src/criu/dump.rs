// SPDX-License-Identifier: Apache-2.0
//! The dump of a running container, or of its memory alone (`--pre-dump`). Whatever fails, the
//! container runs on.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, SFlag, fstatat};

use super::rpc::{self, Feature, Kind, opts, request};
use super::swrk::{self, Event, Start, Worker};
use super::wire::Message;
use super::{Directories, excerpt, external, image_path, make, stdio, tell};
use crate::bail;
use crate::child::rootfs;
use crate::cli::args;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::notify_socket::NotifySocket;
use crate::oci;
use crate::plan;
use crate::state::Container;
use crate::sys::fd;

const LOG: &str = "dump.log";

/// The first version that tells by an event that lazy pages can be fetched.
const STATUS_READY: u32 = 3_15_00;
/// The first that freezes a cgroup of v2.
const FREEZER_V2: u32 = 3_14_00;

/// # Errors
/// The container runs on, as it did before.
pub(crate) fn dump(container: &Container, checkpoint: &args::Checkpoint) -> Result<()> {
    super::warn_rootless("checkpoint");
    let criu = &checkpoint.criu;
    let program = swrk::find()?;
    let images = image_path(criu);
    make(images).context(|| format!("--image-path: make {images:?}"))?;
    check_parent_path(checkpoint, images)?;
    let directories = Directories::open(criu, LOG)?;
    let mut status = StatusFd::take(checkpoint)?;
    let mut worker = Worker::start(&program, &Start::default(), |_| Ok(()))?;
    check_features(&mut worker, checkpoint)?;
    let options = options(container, checkpoint, &directories, &worker, &status)?;
    if !checkpoint.pre_dump {
        stdio::save(&container.facts.pipes, container.facts.pid, &directories.images)?;
    }
    let kind = if checkpoint.pre_dump { Kind::PreDump } else { Kind::Dump };
    let mut message = rpc::request(kind);
    message.set(request::OPTS, options);
    let was_frozen = container.facts.cgroup.is_frozen().unwrap_or(false);
    let outcome = worker.call(&message, &mut |event| on_event(&event, &mut status));
    // CRIU has opened it again by now; as long as it is open here, its reader sees no end.
    drop(status);
    let outcome = outcome.and_then(|_| ended(worker, kind));
    outcome.inspect_err(|_| {
        excerpt::show(&directories.log);
        run_on(container, was_frozen);
    })
}

/// After a dump CRIU has nothing left to do; after a pre-dump it would wait for the next request, and
/// says of the end of the conversation that it failed.
fn ended(worker: Worker, kind: Kind) -> Result<()> {
    match worker.finish()? {
        0 => Ok(()),
        _ if kind == Kind::PreDump => Ok(()),
        status => bail!("criu ended: exit status {status}"),
    }
}

/// CRIU thaws what it has frozen; one that was killed has not.
fn run_on(container: &Container, was_frozen: bool) {
    let cgroup = &container.facts.cgroup;
    if !was_frozen
        && cgroup.is_frozen().unwrap_or(false)
        && let Err(error) = cgroup.thaw()
    {
        log::warn(&format!("thaw the container again: {error}"));
    }
}

/// `--parent-path` is relative to the images, and an earlier dump.
fn check_parent_path(checkpoint: &args::Checkpoint, images: &Path) -> Result<()> {
    let Some(parent) = &checkpoint.parent_path else { return Ok(()) };
    let parent = images.join(parent);
    let context = || format!("invalid --parent-path: {parent:?}");
    if !std::fs::metadata(&parent).context(context)?.is_dir() {
        return Err(nix::errno::Errno::ENOTDIR).context(context);
    }
    Ok(())
}

fn check_features(worker: &mut Worker, checkpoint: &args::Checkpoint) -> Result<()> {
    if checkpoint.pre_dump {
        worker.needs_feature(Feature::MemTrack, "--pre-dump")?;
    }
    if checkpoint.criu.lazy_pages {
        worker.needs_feature(Feature::LazyPages, "--lazy-pages")?;
    }
    Ok(())
}

fn options(
    container: &Container,
    checkpoint: &args::Checkpoint,
    directories: &Directories,
    worker: &Worker,
    status: &StatusFd,
) -> Result<Message> {
    let facts = &container.facts;
    let text = container.config()?;
    let spec: oci::Spec<'_> = oci::parse(&text)?;
    let mut options = Message::default();
    directories.tell(&mut options, LOG);
    tell(&mut options, &checkpoint.criu, facts);
    options
        .set(opts::ROOT, facts.rootfs.as_path())
        .set(opts::PID, facts.pid)
        .set(opts::LEAVE_RUNNING, checkpoint.leave_running)
        .set(opts::TCP_SKIP_IN_FLIGHT, checkpoint.tcp_skip_in_flight)
        .set(opts::LINK_REMAP, checkpoint.link_remap);
    if let Some(freezer) = facts.cgroup.freezer_path()
        && (!facts.cgroup.is_unified() || worker.is_at_least(FREEZER_V2))
    {
        options.set(opts::FREEZE_CGROUP, freezer);
    }
    if let Some((address, port)) = &checkpoint.page_server {
        let server =
            [(rpc::ADDRESS, address.as_str().into()), (rpc::PORT, i32::from(*port).into())];
        options.set(opts::PS, Message::of(server));
    }
    if let Some(parent) = &checkpoint.parent_path {
        options.set(opts::PARENT_IMG, parent.as_path()).set(opts::TRACK_MEM, true);
    }
    if let Some(fd) = status.for_criu(worker) {
        options.set(opts::STATUS_FD, fd);
    }
    if let Some(linux) = &spec.linux {
        external::tell_dump(&mut options, linux, facts.pid, worker)?;
    }
    if !checkpoint.pre_dump {
        mounts(&mut options, container, &spec)?;
    }
    Ok(options)
}

fn mounts(options: &mut Message, container: &Container, spec: &oci::Spec<'_>) -> Result<()> {
    let facts = &container.facts;
    let path = format!("/proc/{}/root", facts.pid);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(path.as_str(), flags, Mode::empty()).context(|| format!("open {path}"))?;
    let extra: Vec<_> = has_notify(container).then(NotifySocket::place).into_iter().collect();
    let view = (!facts.cgroup.is_unified()).then(|| plan::view(&facts.cgroup));
    for (key, value) in rootfs::of_running(spec, &extra, root, view.as_ref())? {
        let pair = [(rpc::KEY, key.as_str().into()), (rpc::VAL, value.as_path().into())];
        options.set(opts::EXT_MNT, Message::of(pair));
    }
    Ok(())
}

/// Whether it was made with a notify socket.
fn has_notify(container: &Container) -> bool {
    let about = fstatat(container.dir(), "notify", nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
    about.is_ok_and(|about| about.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
}

fn on_event(event: &Event, status: &mut StatusFd) -> Result<()> {
    if event.notify.script == "status-ready" {
        status.say_ready();
    }
    Ok(())
}

/// `--status-fd`: gets a null byte when lazy pages can be fetched.
struct StatusFd(Option<OwnedFd>);

impl StatusFd {
    fn take(checkpoint: &args::Checkpoint) -> Result<Self> {
        let Some(number) = checkpoint.status_fd.filter(|_| checkpoint.criu.lazy_pages) else {
            return Ok(Self(None));
        };
        let context = || format!("invalid --status-fd argument {number}");
        if number < 3 {
            return Err(Error::text("standard streams are taken")).context(context);
        }
        let fd = fd::inherited(number).context(context)?;
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL).context(context)?);
        if flags & OFlag::O_ACCMODE == OFlag::O_RDONLY {
            return Err(Error::text("not writable")).context(context);
        }
        fd::set_cloexec(fd.as_fd(), true).context(context)?;
        Ok(Self(Some(fd)))
    }

    /// Its number for a CRIU that writes it itself.
    fn for_criu(&self, worker: &Worker) -> Option<i32> {
        let fd = self.0.as_ref().filter(|_| !worker.is_at_least(STATUS_READY))?;
        Some(fd::number(fd.as_fd()))
    }

    fn say_ready(&mut self) {
        if let Some(fd) = self.0.take()
            && let Err(errno) = nix::unistd::write(&fd, b"\0")
        {
            log::warn(&format!("--status-fd: {}", crate::error::describe(errno)));
        }
    }
}
