// SPDX-License-Identifier: Apache-2.0
//! CRIU's messages: which field has which number, and what an answer says. The numbers are those of
//! its `images/rpc.proto`; fields that creel has no use for are left out.

use super::wire::{Field, Fields, Got, Message};
use crate::error::{Error, Result};

/// `criu_req_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

/// `criu_req`
pub(crate) mod request {
    use super::Field;

    pub(crate) const TYPE: Field = Field(1, "type");
    pub(crate) const OPTS: Field = Field(2, "opts");
    pub(crate) const NOTIFY_SUCCESS: Field = Field(3, "notify_success");
    pub(crate) const KEEP_OPEN: Field = Field(4, "keep_open");
    pub(crate) const FEATURES: Field = Field(5, "features");
}

/// `criu_opts`
pub(crate) mod opts {
    use super::Field;

    pub(crate) const IMAGES_DIR_FD: Field = Field(1, "images_dir_fd");
    pub(crate) const PID: Field = Field(2, "pid");
    pub(crate) const LEAVE_RUNNING: Field = Field(3, "leave_running");
    pub(crate) const EXT_UNIX_SK: Field = Field(4, "ext_unix_sk");
    pub(crate) const TCP_ESTABLISHED: Field = Field(5, "tcp_established");
    pub(crate) const EVASIVE_DEVICES: Field = Field(6, "evasive_devices");
    pub(crate) const SHELL_JOB: Field = Field(7, "shell_job");
    pub(crate) const FILE_LOCKS: Field = Field(8, "file_locks");
    pub(crate) const LOG_LEVEL: Field = Field(9, "log_level");
    pub(crate) const LOG_FILE: Field = Field(10, "log_file");
    pub(crate) const PS: Field = Field(11, "ps");
    pub(crate) const NOTIFY_SCRIPTS: Field = Field(12, "notify_scripts");
    pub(crate) const ROOT: Field = Field(13, "root");
    pub(crate) const PARENT_IMG: Field = Field(14, "parent_img");
    pub(crate) const TRACK_MEM: Field = Field(15, "track_mem");
    pub(crate) const AUTO_DEDUP: Field = Field(16, "auto_dedup");
    pub(crate) const WORK_DIR_FD: Field = Field(17, "work_dir_fd");
    pub(crate) const LINK_REMAP: Field = Field(18, "link_remap");
    pub(crate) const EXT_MNT: Field = Field(23, "ext_mnt");
    /// Older than `MANAGE_CGROUPS_MODE`, which overrides it.
    pub(crate) const MANAGE_CGROUPS: Field = Field(24, "manage_cgroups");
    pub(crate) const CG_ROOT: Field = Field(25, "cg_root");
    pub(crate) const RST_SIBLING: Field = Field(26, "rst_sibling");
    pub(crate) const INHERIT_FD: Field = Field(27, "inherit_fd");
    pub(crate) const MANAGE_CGROUPS_MODE: Field = Field(34, "manage_cgroups_mode");
    pub(crate) const EXTERNAL: Field = Field(37, "external");
    pub(crate) const EMPTY_NS: Field = Field(38, "empty_ns");
    pub(crate) const JOIN_NS: Field = Field(39, "join_ns");
    pub(crate) const FREEZE_CGROUP: Field = Field(44, "freeze_cgroup");
    pub(crate) const TCP_SKIP_IN_FLIGHT: Field = Field(46, "tcp_skip_in_flight");
    pub(crate) const LAZY_PAGES: Field = Field(48, "lazy_pages");
    pub(crate) const STATUS_FD: Field = Field(49, "status_fd");
    pub(crate) const ORPHAN_PTS_MASTER: Field = Field(50, "orphan_pts_master");
    pub(crate) const CONFIG_FILE: Field = Field(51, "config_file");
    pub(crate) const TCP_CLOSE: Field = Field(52, "tcp_close");
    pub(crate) const LSM_PROFILE: Field = Field(53, "lsm_profile");
    pub(crate) const LSM_MOUNT_CONTEXT: Field = Field(63, "lsm_mount_context");
    pub(crate) const NETWORK_LOCK: Field = Field(64, "network_lock");
}

/// `ext_mount_map`, `inherit_fd`: a key, and what it stands for.
pub(crate) const KEY: Field = Field(1, "key");
pub(crate) const VAL: Field = Field(2, "val");
pub(crate) const FD: Field = Field(2, "fd");
/// `cgroup_root`
pub(crate) const CTRL: Field = Field(1, "ctrl");
pub(crate) const PATH: Field = Field(2, "path");
/// `join_namespace`
pub(crate) const NS: Field = Field(1, "ns");
pub(crate) const NS_FILE: Field = Field(2, "ns_file");
/// `criu_page_server_info`
pub(crate) const ADDRESS: Field = Field(1, "address");
pub(crate) const PORT: Field = Field(2, "port");

/// What `FeatureCheck` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    MemTrack = 1,
    LazyPages = 2,
}

impl Feature {
    pub(crate) fn field(self) -> Field {
        match self {
            Self::MemTrack => Field(1, "mem_track"),
            Self::LazyPages => Field(2, "lazy_pages"),
        }
    }
}

/// `criu_req` of a kind, without more.
pub(crate) fn request(kind: Kind) -> Message {
    Message::of([(request::TYPE, (kind as i32).into())])
}

/// `criu_resp`
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub kind: i64,
    pub is_success: bool,
    pub notify: Option<Notify>,
    /// Of a restore: the container's init, as CRIU sees it.
    pub pid: Option<i32>,
    pub errno: i64,
    pub message: String,
    /// The features that CRIU says it has.
    pub features: Vec<u32>,
    pub version: Option<Version>,
}

/// `criu_notify`: CRIU waits at this point until it is answered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Notify {
    pub script: String,
    pub pid: Option<i32>,
}

/// `criu_version`
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    sublevel: u32,
    is_from_git: bool,
}

impl Version {
    /// 4.1.1 is 40101; a build from git counts as the minor version to come.
    pub(crate) fn number(self) -> u32 {
        let minor = if self.is_from_git { self.minor + 1 } else { self.minor };
        self.major * 10_000 + minor * 100 + if self.is_from_git { 0 } else { self.sublevel }
    }
}

impl Response {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut response = Self::default();
        let mut fields = Fields::new(bytes);
        for (number, got) in &mut fields {
            match (number, got) {
                (1, Got::Number(kind)) => response.kind = kind,
                (2, Got::Number(success)) => response.is_success = success != 0,
                (4, Got::Bytes(restore)) => response.pid = number_in(restore, 1),
                (5, Got::Bytes(notify)) => response.notify = Some(notify_of(notify)),
                (7, Got::Number(errno)) => response.errno = errno,
                (8, Got::Bytes(features)) => response.features = features_of(features),
                (9, Got::Bytes(text)) => response.message = text_of(text),
                (10, Got::Bytes(version)) => response.version = Some(version_of(version)),
                // What later versions add.
                _ => {}
            }
        }
        if !fields.is_whole() {
            return Err(Error::text("a message from CRIU is garbled"));
        }
        Ok(response)
    }

    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == kind as i64
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number_in(message: &[u8], wanted: u32) -> Option<i32> {
    Fields::new(message).find_map(|(number, got)| match got {
        Got::Number(n) if number == wanted => i32::try_from(n).ok(),
        _ => None,
    })
}

fn notify_of(message: &[u8]) -> Notify {
    let script = Fields::new(message).find_map(|(number, got)| match got {
        Got::Bytes(text) if number == 1 => Some(text_of(text)),
        _ => None,
    });
    Notify { script: script.unwrap_or_default(), pid: number_in(message, 2) }
}

fn features_of(message: &[u8]) -> Vec<u32> {
    let is_set = |(number, got)| (got != Got::Number(0)).then_some(number);
    Fields::new(message).filter_map(is_set).collect()
}

fn version_of(message: &[u8]) -> Version {
    let number = |wanted| number_in(message, wanted).and_then(|n| u32::try_from(n).ok());
    Version {
        major: number(1).unwrap_or(0),
        minor: number(2).unwrap_or(0),
        sublevel: number(4).unwrap_or(0),
        is_from_git: Fields::new(message).any(|(number, _)| number == 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_and_a_build_from_git() {
        let bytes = b"\x08\x0a\x10\x01\x52\x06\x08\x04\x10\x01\x20\x01";
        let response = Response::decode(bytes).unwrap();
        assert!(response.is(Kind::Version) && response.is_success);
        assert_eq!(response.version.unwrap().number(), 40_101);
        let git = Version { major: 3, minor: 17, sublevel: 1, is_from_git: true };
        assert_eq!(git.number(), 31_800);
    }

    #[test]
    fn a_notification_and_a_failure() {
        let bytes = b"\x08\x06\x10\x01\x2a\x10\x0a\x0cpost-restore\x10\x2a";
        let notify = Response::decode(bytes).unwrap().notify.unwrap();
        assert_eq!((notify.script.as_str(), notify.pid), ("post-restore", Some(42)));
        let failure = Response::decode(b"\x08\x01\x10\x00\x38\x34\x4a\x04oops").unwrap();
        assert!(!failure.is_success);
        assert_eq!((failure.errno, failure.message.as_str()), (52, "oops"));
    }

    #[test]
    fn garbled_messages_are_refused() {
        let error = Response::decode(b"\x08").unwrap_err();
        assert_eq!(error.to_string(), "a message from CRIU is garbled");
    }
}
