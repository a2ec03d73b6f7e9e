// SPDX-License-Identifier: Apache-2.0
//! A container on disk: `ROOT/ID/` with state.json (facts only), config.json (a copy, from which
//! exec, update and the poststop hooks plan again), exec.fifo until it is started, and seccomp.bpf
//! once something was exec'ed.
//! The status is never stored: `Container::status` observes it.

pub(crate) mod remove;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use crate::bail;
use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Kind, Result};
use crate::parent::resctrl;
use crate::procstat::process_of;
use crate::sys;

const STATE: &str = "state.json";
const CONFIG: &str = "config.json";
const FILTER: &str = "seccomp.bpf";
pub(crate) const FIFO: &str = "exec.fifo";

/// What they seldom exceed, in bytes: one read, and one that finds the end.
const STATE_SIZE: usize = 4 * 1024;
const CONFIG_SIZE: usize = 16 * 1024;

/// The format of state.json; a reader takes every older one.
const VERSION: u32 = 1;

/// What is written down about a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub version: u32,
    pub id: String,
    /// As the creating process sees it; 0 until init exists.
    pub pid: i32,
    /// Of init, in clock ticks since boot: tells a reused pid.
    pub start_time: u64,
    /// RFC 3339, UTC, nanoseconds.
    pub created: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub cgroup: Cgroup,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<resctrl::Group>,
    /// Killing init then kills every process of the container.
    pub own_pid_namespace: bool,
    #[serde(default)]
    pub has_poststart: bool,
    #[serde(default)]
    pub has_poststop: bool,
    /// `--no-new-keyring`, for exec.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// The standard streams that are pipes of the host's, for checkpoint: see `criu::stdio`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipes: Vec<String>,
    /// A restored container is in a time namespace, whatever its config says: exec joins it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_time_namespace: bool,
}

/// Observed, in runc's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What a command wants to do to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Start,
    Exec,
    ExecPaused,
    Pause,
    Resume,
    Update,
    Checkpoint,
    Delete,
}

impl Status {
    /// Whether `op` is allowed now, in runc's words where not.
    pub(crate) fn allows(self, op: Op, id: &str) -> Result<()> {
        use Op::{Checkpoint, Delete, Exec, ExecPaused, Pause, Resume, Start, Update};
        use Status::{Created, Creating, Paused, Running, Stopped};
        let refusal = match (self, op) {
            (Created, Start)
            | (Created | Running, Exec | ExecPaused | Pause)
            | (Paused, ExecPaused | Resume)
            | (Created | Running | Paused, Update)
            | (Running | Paused, Checkpoint)
            | (Created | Stopped, Delete) => return Ok(()),
            (Stopped, Start) => "cannot start a container that has stopped".to_owned(),
            (Running, Start) => "cannot start an already running container".to_owned(),
            (Creating | Paused, Start) => {
                format!("cannot start a container in the {} state", self.name())
            }
            (Stopped, Exec | ExecPaused) => "cannot exec in a stopped container".to_owned(),
            (Paused, Exec) => {
                "cannot exec in a paused container (use --ignore-paused to override)".to_owned()
            }
            (Creating, Exec | ExecPaused) => {
                "cannot exec in a container that is being created".to_owned()
            }
            (Stopped | Paused | Creating, Pause) => "container not running".to_owned(),
            (Stopped | Created | Running | Creating, Resume) => "container not paused".to_owned(),
            (Stopped | Creating, Update) => "container not running".to_owned(),
            (Creating | Created | Stopped, Checkpoint) => {
                format!("container cannot be checkpointed in {} state", self.name())
            }
            (Running | Paused | Creating, Delete) => {
                format!("cannot delete container {id} that is not stopped: {}", self.name())
            }
        };
        let kind = if refusal == "container not running" { Kind::NotRunning } else { Kind::Other };
        Err(Error::text(refusal).with_kind(kind))
    }
}

/// A container's directory, open, and its facts.
#[derive(Debug)]
pub(crate) struct Container {
    pub facts: Facts,
    path: PathBuf,
    dir: OwnedFd,
}

pub(crate) const DIRECTORY: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_RDONLY).union(OFlag::O_CLOEXEC);

/// `invalid container ID format` unless the id is a plain name (runc's rule).
pub(crate) fn check_id(id: &str) -> Result<()> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    if id.is_empty() {
        bail!("container id cannot be empty");
    }
    if id == "." || id == ".." || !id.bytes().all(is_plain) {
        bail!("invalid container ID format");
    }
    Ok(())
}

fn no_such_container() -> Error {
    Error::text("container does not exist").with_kind(Kind::NoSuchContainer)
}

/// state.json is there and cannot be understood.
fn damaged(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::text(format!("read {:?}: {why}", path.join(STATE))).with_kind(Kind::Damaged)
}

/// The copy of config.json in a directory whose state.json is lost or damaged.
pub(crate) fn orphaned_config(root: &Path, id: &str) -> Option<String> {
    std::fs::read_to_string(root.join(id).join(CONFIG)).ok()
}

/// What is in the place of a container's directory where no state.json can be loaded.
#[derive(Debug)]
pub(crate) enum Orphan {
    None,
    /// Somebody has it locked, or has written state.json meanwhile.
    Busy,
    /// Nobody's; the lock keeps others from it.
    Ours {
        dir: OwnedFd,
        config: Option<String>,
    },
}

/// Takes the directory at `path`, if a killed `create` has left it.
pub(crate) fn orphan(path: &Path) -> Result<Orphan> {
    let dir = match openat(AT_FDCWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(Orphan::None),
        opened => opened.context(|| format!("open {path:?}"))?,
    };
    match flock(&dir, libc::LOCK_EX | libc::LOCK_NB) {
        Err(Errno::EWOULDBLOCK) => return Ok(Orphan::Busy),
        locked => locked.context(|| format!("lock {path:?}"))?,
    }
    if !remove::is_at(&dir, path) || read(&dir, STATE).is_ok() {
        return Ok(Orphan::Busy);
    }
    let config = read(&dir, CONFIG).ok();
    Ok(Orphan::Ours { dir, config })
}

/// Facts as any creel up to this one has written them, or why they cannot be understood.
pub(crate) fn parse(text: &str) -> Result<Facts, String> {
    let facts: Facts = serde_json::from_str(text).map_err(|e| e.to_string())?;
    match facts.version {
        0..=VERSION => Ok(facts),
        version => Err(format!("format {version} is newer than this creel")),
    }
}

/// `below`, which is empty or ends in a slash, and state.json: read and understood. `path` is that of
/// `dir`, for errors.
pub(crate) fn load_at(dir: &OwnedFd, below: &str, path: &Path) -> Result<Facts> {
    let path = || path.join(below);
    let text = match read(dir, &[below, STATE].concat()) {
        Ok(text) => text,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(no_such_container()),
        Err(errno @ (Errno::EISDIR | Errno::EILSEQ)) => return Err(damaged(&path(), &errno)),
        Err(errno) => return Err(errno).context(|| format!("read {:?}", path().join(STATE))),
    };
    parse(&text).map_err(|why| damaged(&path(), &why))
}

impl Facts {
    /// See `Container::has_init`.
    fn has_init(&self) -> Result<bool> {
        if self.pid <= 0 {
            return Ok(false);
        }
        let process = process_of(Pid::from_raw(self.pid))
            .context(|| format!("read /proc/{}/stat", self.pid))?;
        Ok(process.is_some_and(|p| p.start_time == self.start_time && !p.is_dead()))
    }

    /// Of one with an init: what is observed; of its cgroup and its directory, what the caller finds.
    pub(crate) fn status(
        &self,
        is_frozen: impl FnOnce() -> Result<bool>,
        has_fifo: impl FnOnce() -> bool,
    ) -> Result<Status> {
        if is_frozen()? {
            return Ok(Status::Paused);
        }
        if !self.has_init()? {
            return Ok(Status::Stopped);
        }
        Ok(if has_fifo() { Status::Created } else { Status::Running })
    }
}

impl Container {
    /// Makes the directory and writes the first facts: from here on a killed `create` can be cleared.
    /// `check` says whether what the facts name is free, before they name it.
    ///
    /// # Errors
    /// `container with given ID already exists`; what `check` says.
    pub(crate) fn create(
        root: &Path,
        facts: Facts,
        config: &str,
        check: impl FnOnce() -> Result<()>,
    ) -> Result<Self> {
        check_id(&facts.id)?;
        let path = root.join(&facts.id);
        make_directory(root, &path)?;
        let container = Self { facts, dir: take(&path)?, path };
        let written = check()
            .and_then(|()| container.save())
            .and_then(|()| container.write_new(CONFIG, config.as_bytes()));
        if written.is_err() {
            // The error that led here is the one to report.
            let _ = container.remove();
        }
        written.map(|()| container)
    }

    /// Finds a container.
    ///
    /// # Errors
    /// `container does not exist` (also when only its directory is there).
    pub(crate) fn load(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        let dir = match openat(AT_FDCWD, &path, DIRECTORY, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(no_such_container()),
            Err(errno) => return Err(errno).context(|| format!("open {path:?}")),
        };
        let facts = load_at(&dir, "", &path)?;
        Ok(Self { facts, path, dir })
    }

    /// First facts of a container to be.
    pub(crate) fn new_facts(id: &str, bundle: &Path, rootfs: &Path, cgroup: Cgroup) -> Facts {
        Facts {
            version: VERSION,
            id: id.to_owned(),
            pid: 0,
            start_time: 0,
            created: crate::time::Time::now().rfc3339_nano(),
            bundle: bundle.to_owned(),
            rootfs: rootfs.to_owned(),
            annotations: BTreeMap::new(),
            cgroup,
            resctrl: None,
            own_pid_namespace: true,
            has_poststart: false,
            has_poststop: false,
            no_new_keyring: false,
            pipes: Vec::new(),
            has_time_namespace: false,
        }
    }

    /// Of config.json.
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.facts.annotations.get(name).map(String::as_str)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// Writes state.json whole or not at all.
    pub(crate) fn save(&self) -> Result<()> {
        let text = serde_json::to_string(&self.facts).expect("facts are plain data");
        self.write(STATE, text.as_bytes())
    }

    /// The copy of config.json that `create` took.
    pub(crate) fn config(&self) -> Result<String> {
        config_at(&self.dir, "").context(|| format!("read {:?}", self.path.join(CONFIG)))
    }

    /// Puts another config in place of that copy, whole or not at all.
    pub(crate) fn save_config(&self, text: &str) -> Result<()> {
        self.write(CONFIG, text.as_bytes())
    }

    /// The seccomp filter that an earlier `exec` compiled; not even that it is whole is sure.
    pub(crate) fn saved_filter(&self) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = openat(&self.dir, FILTER, flags, Mode::empty()).ok()?;
        let mut bytes = Vec::with_capacity(4096);
        File::from(fd).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    pub(crate) fn save_filter(&self, bytes: &[u8]) {
        // Harmless: another exec was faster, or the next one compiles again.
        let _ = self.write_new(FILTER, bytes);
    }

    /// Records init. Before it is answered anything: a killed `create` must find it.
    pub(crate) fn record_init(&mut self, pid: Pid) -> Result<()> {
        self.facts.pid = pid.as_raw();
        self.facts.start_time = process_of(pid)
            .context(|| format!("read the start time of {pid}"))?
            .ok_or_else(|| Error::text("container init is gone"))?
            .start_time;
        self.save()
    }

    /// For a file that nobody looks for yet.
    fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let doing = || format!("write {:?}", self.path.join(name));
        let fd = openat(&self.dir, name, flags, mode).context(doing)?;
        std::io::Write::write_all(&mut File::from(fd), bytes).context(doing)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.dir, name, bytes)
            .context(|| format!("write {:?}", self.path.join(name)))
    }

    /// Whether init lives: the pid is there, was started when ours was, and is no zombie.
    ///
    /// # Errors
    /// What keeps from looking: "I cannot see it" is not "it is gone".
    pub(crate) fn has_init(&self) -> Result<bool> {
        self.facts.has_init()
    }

    /// A descriptor for init that cannot hit a stranger: opened first, then checked.
    ///
    /// # Errors
    /// `container not running`.
    pub(crate) fn init_pidfd(&self) -> Result<OwnedFd> {
        let gone = || Error::text("container not running").with_kind(Kind::NotRunning);
        if self.facts.pid <= 0 {
            return Err(gone());
        }
        let pidfd = match sys::pidfd::pidfd_open(Pid::from_raw(self.facts.pid)) {
            Ok(pidfd) => pidfd,
            Err(Errno::ESRCH) => return Err(gone()),
            Err(errno) => return Err(errno).context(|| format!("pidfd_open {}", self.facts.pid)),
        };
        if self.has_init()? { Ok(pidfd) } else { Err(gone()) }
    }

    /// The status, from facts: frozen, init, exec.fifo.
    pub(crate) fn status(&self) -> Result<Status> {
        let of = |facts: &Facts| facts.status(|| facts.cgroup.is_frozen(), || self.has_fifo());
        if self.facts.pid != 0 {
            return of(&self.facts);
        }
        if self.is_begun() {
            return Ok(Status::Creating);
        }
        // It may have ended well since its facts were read: with an init.
        let later = read(&self.dir, STATE).ok().and_then(|text| parse(&text).ok());
        later.filter(|facts| facts.pid != 0).map_or(Ok(Status::Stopped), |facts| of(&facts))
    }

    /// Whether the directory is still where it was: `delete` removes it last.
    pub(crate) fn is_there(&self) -> bool {
        remove::is_at(&self.dir, &self.path)
    }

    /// Whether a `create` is at work that has made no process yet.
    pub(crate) fn is_begun(&self) -> bool {
        self.facts.pid == 0 && flock(&self.dir, libc::LOCK_SH | libc::LOCK_NB).is_err()
    }

    pub(crate) fn has_fifo(&self) -> bool {
        exists_at(&self.dir, FIFO)
    }

    /// Waits for other commands that change this container; released when this process ends.
    pub(crate) fn lock(&self) -> Result<()> {
        flock(&self.dir, libc::LOCK_EX).context(|| format!("lock {:?}", self.path))
    }

    /// Removes the directory.
    pub(crate) fn remove(&self) -> Result<()> {
        // Without a look at what there is, which takes a descriptor: by name what there can be, state.json last.
        for name in [CONFIG, FIFO, FILTER, STATE] {
            // A directory of that name, say: `remove` will tell.
            let _ = unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir);
        }
        remove::remove_empty(&self.path).or_else(|_| remove::remove(&self.dir, &self.path))
    }

    /// The state as hooks and `listenerPath` get it (runtime.md#state), one line of JSON.
    pub(crate) fn oci_state(&self, status: Status, pid: i32) -> String {
        oci_state(&self.facts, status, pid)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OciState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

pub(crate) fn oci_state_of(facts: &Facts, status: Status, pid: i32) -> OciState<'_> {
    OciState {
        oci_version: crate::oci::VERSION,
        id: &facts.id,
        status: status.name(),
        pid,
        bundle: &facts.bundle,
        annotations: &facts.annotations,
    }
}

pub(crate) fn oci_state(facts: &Facts, status: Status, pid: i32) -> String {
    serde_json::to_string(&oci_state_of(facts, status, pid)).expect("plain data")
}

/// Opens and locks the directory that `create` has just made. Where that fails, it may be another's by now:
/// the same id, made after this one had been taken away.
fn take(path: &Path) -> Result<OwnedFd> {
    let taken = openat(AT_FDCWD, path, DIRECTORY, Mode::empty())
        .context(|| format!("open {path:?}"))
        .and_then(|dir| {
            // Held until `create` ends: who sees pid 0 and no lock knows that it was killed.
            flock(&dir, libc::LOCK_EX | libc::LOCK_NB).context(|| format!("lock {path:?}"))?;
            Ok(dir)
        });
    if taken.is_err() {
        // Only if nothing is in it; else it is somebody's.
        let _ = remove::remove_empty(path);
    }
    taken
}

/// Removes what a container left of its directory; missing is fine.
pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    match openat(AT_FDCWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(()),
        opened => remove::remove(opened.context(|| format!("open {path:?}"))?, path),
    }
}

fn make_directory(root: &Path, path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o711);
    let made = builder.create(path).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            std::fs::DirBuilder::new().mode(0o700).recursive(true).create(root)?;
            builder.create(path)
        }
        _ => Err(error),
    });
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::text("container with given ID already exists").with_kind(Kind::Exists))
        }
        other => other.context(|| format!("make {path:?}")),
    }
}

/// Not by faccessat with a flag: that is a call of Linux 5.8, which filters refuse.
pub(crate) fn exists_at(dir: &OwnedFd, path: &str) -> bool {
    fstatat(dir, path, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
}

fn flock(dir: &OwnedFd, operation: i32) -> Result<(), Errno> {
    sys::fd::flock(dir.as_fd(), operation)
}

/// A file in a directory, as text. EILSEQ: no UTF-8.
pub(crate) fn read(dir: &OwnedFd, name: &str) -> Result<String, Errno> {
    text_at(dir, name, STATE_SIZE)
}

/// The copy of config.json; `below` is empty or ends in a slash.
pub(crate) fn config_at(dir: &OwnedFd, below: &str) -> Result<String, Errno> {
    text_at(dir, &[below, CONFIG].concat(), CONFIG_SIZE)
}

fn text_at(dir: &OwnedFd, name: &str, size: usize) -> Result<String, Errno> {
    let bytes = crate::file::read_at(dir, name, size)?;
    String::from_utf8(bytes).map_err(|_| Errno::EILSEQ)
}

/// A temporary file and a rename: readers see the old or the new content.
pub(crate) fn write_atomically(dir: &OwnedFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    use std::io::Write;
    let temporary = format!(".{name}.tmp");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o600);
    let fd = openat(dir, temporary.as_str(), flags | OFlag::O_NOFOLLOW, mode)?;
    let written = File::from(fd)
        .write_all(bytes)
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
        .and_then(|()| nix::fcntl::renameat(dir, temporary.as_str(), dir, name));
    if written.is_err() {
        let _ = unlinkat(dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an older creel has written is read, and written again without losing anything.
    #[test]
    fn files_of_every_form_so_far_are_read() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state");
        let mut count = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let facts = parse(&text).unwrap_or_else(|why| panic!("{path:?}: {why}"));
            let old: serde_json::Value = serde_json::from_str(&text).unwrap();
            let new = serde_json::to_value(&facts).unwrap();
            for (name, value) in old.as_object().unwrap() {
                assert_eq!(&new[name], value, "{path:?}: {name}");
            }
            count += 1;
        }
        assert!(count >= 4);
        let newer = parse(
            r#"{"version":9,"id":"","pid":0,"start_time":0,"created":"","bundle":"","rootfs":"",
            "cgroup":{"driver":"cgroupfs","v2":true,"rootless":false,"lenient":false},"own_pid_namespace":true}"#,
        );
        assert_eq!(newer.unwrap_err(), "format 9 is newer than this creel");
    }

    #[test]
    fn a_create_whose_directory_is_another_s_by_now_leaves_it() {
        let path = std::env::temp_dir().join(format!("creel-taken-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let held = take(&path).unwrap();
        std::fs::write(path.join(STATE), "its").unwrap();
        let error = take(&path).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EAGAIN), "{error}");
        assert_eq!(read(&held, STATE).unwrap(), "its");
        remove::remove(&held, &path).unwrap();
        assert_eq!(take(&path).unwrap_err().errno(), Some(Errno::ENOENT));
    }

    /// `state` beside a `create` said "stopped" when that one was done between two of its looks.
    #[test]
    fn a_create_that_ends_well_meanwhile_is_not_stopped() {
        let root = std::env::temp_dir().join(format!("creel-begun-{}", std::process::id()));
        let text = include_str!("../tests/data/state/1-first-v2.json");
        let facts = Facts { id: "x".to_owned(), pid: 0, ..parse(text).unwrap() };
        let mut made = Container::create(&root, facts, "{}", || Ok(())).unwrap();
        let seen = Container::load(&root, "x").unwrap();
        assert_eq!(seen.status().unwrap(), Status::Creating);
        made.record_init(nix::unistd::getpid()).unwrap();
        drop(made);
        assert_eq!(seen.status().unwrap(), Status::Running);
        seen.remove().unwrap();
        std::fs::remove_dir(root).unwrap();
    }

    #[test]
    fn ids_are_plain_names() {
        for good in ["a", "A-b_c+d.e", "0", "..."] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in [".", "..", "a/b", "a b", "ä", "a:b"] {
            assert_eq!(check_id(bad).unwrap_err().to_string(), "invalid container ID format");
        }
        assert_eq!(check_id("").unwrap_err().to_string(), "container id cannot be empty");
    }

    #[test]
    fn the_transition_table_refuses_in_runc_words() {
        let refusal = |status: Status, op| status.allows(op, "x").unwrap_err().to_string();
        assert_eq!(
            refusal(Status::Stopped, Op::Start),
            "cannot start a container that has stopped"
        );
        assert_eq!(
            refusal(Status::Running, Op::Start),
            "cannot start an already running container"
        );
        assert_eq!(
            refusal(Status::Running, Op::Delete),
            "cannot delete container x that is not stopped: running"
        );
        assert_eq!(refusal(Status::Stopped, Op::Pause), "container not running");
        assert_eq!(
            refusal(Status::Created, Op::Checkpoint),
            "container cannot be checkpointed in created state"
        );
        assert!(Status::Paused.allows(Op::Checkpoint, "x").is_ok());
        assert!(Status::Created.allows(Op::Delete, "x").is_ok());
    }
}
