// SPDX-License-Identifier: Apache-2.0
//! The command line as plain typed values; `read` makes them.

use std::path::PathBuf;
use std::time::Duration;

use crate::cgroup::Manager;
use crate::oci;
use crate::sys::regex::Regex;

/// Options before the command.
#[derive(Debug)]
pub(crate) struct Globals {
    /// Absolute, without `.` and `..`.
    pub root: PathBuf,
    /// Whether `--root` was given.
    pub root_is_explicit: bool,
    pub cgroup_manager: Manager,
    /// None: find out.
    pub rootless: Option<bool>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Create(Create),
    Run(Run),
    Start { id: String },
    Exec(Exec),
    Kill { which: Which, signal: i32, all: bool },
    Delete { which: Which, force: bool },
    State { id: String, format: Output, all_details: bool },
    List { format: Output, quiet: bool, all_details: bool },
    Ps { id: String, format: Output, args: Vec<String> },
    Mounts { id: String, change: MountChange, file: PathBuf },
    Pause { id: String },
    Resume { id: String },
    Update(Update),
    Events { id: String, interval: Duration, stats: bool },
    Top(Top),
    Spec { bundle: Option<PathBuf>, rootless: bool },
    Timings(Timings),
    Features,
    Gc(Gc),
    Check(Check),
    Checkpoint(Checkpoint),
    Restore(Restore),
}

/// Of which containers.
#[derive(Debug)]
pub(crate) enum Which {
    One(String),
    /// `--regex`: every one whose id has it.
    Matching(Regex),
}

/// `events --top`.
#[derive(Debug)]
pub(crate) struct Top {
    /// None: all.
    pub ids: Vec<String>,
    pub interval: Duration,
    /// `--stats`: one frame.
    pub once: bool,
}

/// `timings`.
#[derive(Debug)]
pub(crate) struct Timings {
    pub file: PathBuf,
    pub svg: bool,
    pub out: Option<PathBuf>,
}

/// Of `mounts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountChange {
    Add,
    Remove,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug)]
pub(crate) struct Check {
    /// None: the host alone.
    pub bundle: Option<PathBuf>,
    /// `--format json`
    pub as_json: bool,
}

#[derive(Debug)]
pub(crate) struct Gc {
    pub force: bool,
    /// Whose directory has changed since is left alone.
    pub older_than: Duration,
    pub format: Output,
}

#[derive(Debug)]
pub(crate) struct Create {
    pub id: String,
    /// None: the working directory.
    pub bundle: Option<PathBuf>,
    /// None: config.json of the bundle. Absolute.
    pub config: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    /// Absolute: the bundle becomes the working directory.
    pub pid_file: Option<PathBuf>,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    pub preserve_fds: u32,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub create: Create,
    pub detach: bool,
    pub keep: bool,
    pub no_subreaper: bool,
}

#[derive(Debug)]
pub(crate) struct Exec {
    pub id: String,
    pub process: Process,
    pub console_socket: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    pub detach: bool,
    /// Absolute.
    pub pid_file: Option<PathBuf>,
    pub preserve_fds: u32,
    /// (controller, path) pairs; a bare path has an empty controller.
    pub cgroups: Vec<(String, String)>,
    pub ignore_paused: bool,
}

/// Where the process of `exec` is described.
#[derive(Debug)]
pub(crate) enum Process {
    /// `--process`: a file, complete. As with runc, the options below have no effect then.
    File(PathBuf),
    Options(ProcessOptions),
}

/// What `exec` changes in the container's own process.
#[derive(Debug)]
pub(crate) struct ProcessOptions {
    /// The command line; not empty.
    pub args: Vec<String>,
    pub tty: bool,
    pub cwd: Option<String>,
    /// Added to the container's.
    pub env: Vec<String>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub additional_gids: Vec<u32>,
    pub process_label: Option<String>,
    pub apparmor: Option<String>,
    /// None: as in the container.
    pub no_new_privs: Option<bool>,
    pub caps: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Update {
    pub id: String,
    pub limits: Limits,
    pub l3_cache_schema: Option<String>,
    pub mem_bw_schema: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Limits {
    /// `--resources`: a file, or `-` for standard input. The other limits are ignored then.
    File(PathBuf),
    Flags(Box<oci::Resources<'static>>),
}

#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub id: String,
    pub criu: Criu,
    pub parent_path: Option<PathBuf>,
    pub leave_running: bool,
    pub tcp_skip_in_flight: bool,
    pub link_remap: bool,
    pub status_fd: Option<i32>,
    pub page_server: Option<(String, u16)>,
    pub pre_dump: bool,
}

#[derive(Debug)]
pub(crate) struct Restore {
    /// What it has in common with `run`.
    pub create: Create,
    pub criu: Criu,
    pub detach: bool,
    pub no_subreaper: bool,
    /// `--tcp-close`: connections are restored closed.
    pub tcp_close: bool,
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}

/// What checkpoint and restore have in common.
#[derive(Debug)]
pub(crate) struct Criu {
    /// None: `checkpoint` in the working directory.
    pub image_path: Option<PathBuf>,
    pub work_path: Option<PathBuf>,
    pub tcp_established: bool,
    pub ext_unix_sk: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub manage_cgroups: ManageCgroups,
    pub auto_dedup: bool,
    pub lazy_pages: bool,
    /// None: as CRIU has it, which is iptables.
    pub network_lock: Option<NetworkLock>,
}

/// How connections are kept from noticing that their process is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkLock {
    Iptables,
    Nftables,
    /// Whoever calls has seen to it.
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManageCgroups {
    Soft,
    Full,
    Strict,
    Ignore,
}
