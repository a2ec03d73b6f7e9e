// SPDX-License-Identifier: Apache-2.0
//! A CRIU that does nothing: the test binary itself, started by a script named `criu`. It speaks CRIU's
//! RPC as a JSON plan says, and writes down what it was asked, decoded by the tables below, which were
//! made from CRIU's own `images/rpc.proto`.
#![allow(unsafe_code)]
// clone(2) with CLONE_PARENT, which makes a restored process somebody else's child

use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};

use crate::common::{Bundle, Run, Value, json};

/// The name of the test that is the program; see [`main`].
const TEST: &str = "fake_criu";

/// Field numbers with names and kinds: b(ool), n(umber), s(tring), or a message.
type Table = &'static [(u64, &'static str, Kind)];

#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Number,
    Text,
    Message(Table),
}

use Kind::{Bool, Message, Number, Text};

const REQUEST: Table = &[
    (1, "type", Number),
    (2, "opts", Message(OPTS)),
    (3, "notify_success", Bool),
    (4, "keep_open", Bool),
    (5, "features", Message(FEATURES)),
    (6, "pid", Number),
];

const FEATURES: Table =
    &[(1, "mem_track", Bool), (2, "lazy_pages", Bool), (3, "pidfd_store", Bool)];

const OPTS: Table = &[
    (1, "images_dir_fd", Number),
    (2, "pid", Number),
    (3, "leave_running", Bool),
    (4, "ext_unix_sk", Bool),
    (5, "tcp_established", Bool),
    (6, "evasive_devices", Bool),
    (7, "shell_job", Bool),
    (8, "file_locks", Bool),
    (9, "log_level", Number),
    (10, "log_file", Text),
    (
        11,
        "ps",
        Message(&[
            (1, "address", Text),
            (2, "port", Number),
            (3, "pid", Number),
            (4, "fd", Number),
        ]),
    ),
    (12, "notify_scripts", Bool),
    (13, "root", Text),
    (14, "parent_img", Text),
    (15, "track_mem", Bool),
    (16, "auto_dedup", Bool),
    (17, "work_dir_fd", Number),
    (18, "link_remap", Bool),
    (20, "cpu_cap", Number),
    (21, "force_irmap", Bool),
    (23, "ext_mnt", Message(&[(1, "key", Text), (2, "val", Text)])),
    (24, "manage_cgroups", Bool),
    (25, "cg_root", Message(&[(1, "ctrl", Text), (2, "path", Text)])),
    (26, "rst_sibling", Bool),
    (27, "inherit_fd", Message(&[(1, "key", Text), (2, "fd", Number)])),
    (28, "auto_ext_mnt", Bool),
    (29, "ext_sharing", Bool),
    (30, "ext_masters", Bool),
    (31, "skip_mnt", Text),
    (32, "enable_fs", Text),
    (34, "manage_cgroups_mode", Number),
    (35, "ghost_limit", Number),
    (37, "external", Text),
    (38, "empty_ns", Number),
    (39, "join_ns", Message(&[(1, "ns", Text), (2, "ns_file", Text), (3, "extra_opt", Text)])),
    (44, "freeze_cgroup", Text),
    (45, "timeout", Number),
    (46, "tcp_skip_in_flight", Bool),
    (47, "weak_sysctls", Bool),
    (48, "lazy_pages", Bool),
    (49, "status_fd", Number),
    (50, "orphan_pts_master", Bool),
    (51, "config_file", Text),
    (52, "tcp_close", Bool),
    (53, "lsm_profile", Text),
    (60, "cgroup_yard", Text),
    (61, "pre_dump_mode", Number),
    (63, "lsm_mount_context", Text),
    (64, "network_lock", Number),
    (65, "mntns_compat_mode", Bool),
    (67, "unprivileged", Bool),
    (68, "images_dir", Text),
];

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut n = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    n
}

/// Every field must be known and of its kind. A field that comes once is a value, else a list.
fn decode(table: Table, mut bytes: &[u8]) -> Value {
    let mut fields = serde_json::Map::new();
    while !bytes.is_empty() {
        let head = varint(&mut bytes);
        let (_, name, kind) = table
            .iter()
            .find(|(number, ..)| *number == head >> 3)
            .unwrap_or_else(|| panic!("no field {}", head >> 3));
        let value = match (kind, head & 7) {
            (Bool, 0) => json!(varint(&mut bytes) != 0),
            (Number, 0) => json!(varint(&mut bytes).cast_signed()),
            (Text | Message(_), 2) => {
                let length = usize::try_from(varint(&mut bytes)).expect("a length");
                let (part, rest) = bytes.split_at(length);
                bytes = rest;
                match kind {
                    Message(table) => decode(table, part),
                    _ => json!(std::str::from_utf8(part).expect("UTF-8")),
                }
            }
            (_, wire) => panic!("{name}: wire type {wire}"),
        };
        match fields.get_mut(*name) {
            None => drop(fields.insert((*name).to_owned(), value)),
            Some(Value::Array(list)) => list.push(value),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    fields.into()
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn number(out: &mut Vec<u8>, field: u64, n: u64) {
    put(out, field << 3);
    put(out, n);
}

fn bytes(out: &mut Vec<u8>, field: u64, part: &[u8]) {
    put(out, field << 3 | 2);
    put(out, part.len() as u64);
    out.extend_from_slice(part);
}

const DUMP: u64 = 1;
const RESTORE: u64 = 2;
const PRE_DUMP: u64 = 4;
const NOTIFY: u64 = 6;
const FEATURE_CHECK: u64 = 9;
const VERSION: u64 = 10;

/// A fake in a bundle's directory.
pub(crate) struct Fake<'a> {
    bundle: &'a Bundle,
}

impl<'a> Fake<'a> {
    /// `plan`: `version` [major, minor, sublevel]; `features`; `fail`: what an answer says of a failure;
    /// `fail_after`: the event after which it fails; `die_at`: the event at which it ends at once;
    /// `log`: the text of its log; `terminal`: a restore sends one; `kills`: a dump ends its process; `script`: what a restored
    /// process runs.
    pub(crate) fn new(bundle: &'a Bundle, plan: Value) -> Self {
        let fake = Self { bundle };
        fs::create_dir_all(fake.dir()).expect("mkdir");
        let exe = std::env::current_exe().expect("the test's path");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = swrk ] || exit 64\nexport FAKE_CRIU={dir} FAKE_CRIU_FD=$2\n\
             exec {exe} --exact {TEST} --nocapture --test-threads=1 >>{dir}/out 2>&1\n",
            dir = fake.dir().display(),
            exe = exe.display(),
        );
        fs::write(fake.dir().join("criu"), script).expect("the script");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(fake.dir().join("criu"), mode).expect("chmod");
        fake.plan(plan);
        fake
    }

    pub(crate) fn plan(&self, plan: Value) {
        let _ = fs::remove_file(self.dir().join("requests"));
        fs::write(self.dir().join("plan"), plan.to_string()).expect("the plan");
    }

    fn dir(&self) -> PathBuf {
        self.bundle.dir.join("fake")
    }

    pub(crate) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.bundle.command(args);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.dir().display()));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.bundle.finish(self.command(args))
    }

    /// All requests of all runs since the last plan.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir().join("requests")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The options of the last request that has any.
    pub(crate) fn options(&self) -> Value {
        let requests = self.requests();
        let found = requests.iter().rev().find_map(|request| request.get("opts"));
        found.unwrap_or_else(|| panic!("no options in {requests:?}: {}", self.out())).clone()
    }

    /// What it has seen of itself; see `Worker::look`.
    pub(crate) fn seen(&self) -> Value {
        let text = fs::read_to_string(self.dir().join("seen")).expect("it has looked");
        serde_json::from_str(&text).expect("JSON")
    }

    pub(crate) fn out(&self) -> String {
        fs::read_to_string(self.dir().join("out")).unwrap_or_default()
    }
}

#[allow(clippy::disallowed_methods)] // the test harness would have its say
/// The program, if this process was started as it. To be called by a test of the name `fake_criu`.
pub(crate) fn main() {
    let Some(dir) = std::env::var_os("FAKE_CRIU").map(PathBuf::from) else { return };
    let fd: RawFd = std::env::var("FAKE_CRIU_FD").expect("a number").parse().expect("a number");
    // SAFETY: whoever started this process has left it open under that number, for this.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let plan = fs::read_to_string(dir.join("plan")).expect("a plan");
    let plan = serde_json::from_str(&plan).expect("JSON");
    let status = Worker { dir, socket, plan, restored: 0 }.work();
    std::process::exit(status)
}

struct Worker {
    dir: PathBuf,
    socket: OwnedFd,
    plan: Value,
    restored: i32,
}

impl Worker {
    fn work(&mut self) -> i32 {
        while let Some(request) = self.receive() {
            let kind = request["type"].as_u64().expect("a type");
            match kind {
                VERSION => self.version(),
                FEATURE_CHECK => self.features(),
                DUMP | PRE_DUMP | RESTORE => return self.operate(kind, &request["opts"]),
                other => panic!("request of type {other}"),
            }
            assert_eq!(request["keep_open"], true, "CRIU would end here");
        }
        1
    }

    fn receive(&self) -> Option<Value> {
        let mut buffer = vec![0; 1 << 16];
        let n = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("recv");
        let request = (n > 0).then(|| decode(REQUEST, &buffer[..n]))?;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("requests"));
        // At once: somebody may be reading.
        log.expect("requests").write_all(format!("{request}\n").as_bytes()).expect("write");
        Some(request)
    }

    fn send(&self, message: &[u8], fd: Option<RawFd>) {
        let fds = fd.map(|fd| [fd]);
        let rights: Vec<_> = fds.iter().map(|fds| ControlMessage::ScmRights(fds)).collect();
        let iov = [std::io::IoSlice::new(message)];
        // A client that is gone has no use for it.
        let flags = MsgFlags::MSG_NOSIGNAL;
        let _ = sendmsg::<()>(self.socket.as_raw_fd(), &iov, &rights, flags, None);
    }

    fn version(&self) {
        let part = |i: usize| self.plan["version"][i].as_u64();
        let mut version = Vec::new();
        number(&mut version, 1, part(0).unwrap_or(4));
        number(&mut version, 2, part(1).unwrap_or(1));
        number(&mut version, 4, part(2).unwrap_or(0));
        let mut answer = head(VERSION, true);
        bytes(&mut answer, 10, &version);
        self.send(&answer, None);
    }

    fn features(&self) {
        let mut features = Vec::new();
        for (i, name) in ["mem_track", "lazy_pages"].into_iter().enumerate() {
            let has = self.plan["features"].as_array().is_none_or(|l| l.contains(&json!(name)));
            number(&mut features, i as u64 + 1, has.into());
        }
        let mut answer = head(FEATURE_CHECK, true);
        bytes(&mut answer, 8, &features);
        self.send(&answer, None);
    }

    fn operate(&mut self, kind: u64, opts: &Value) -> i32 {
        let events: &[&str] = match kind {
            DUMP => &["network-lock", "status-ready", "post-dump"],
            PRE_DUMP => &[],
            _ => &["setup-namespaces", "post-setup-namespaces", "post-restore", "pre-resume"],
        };
        self.look(opts);
        self.write_log(opts);
        if kind == RESTORE {
            self.restored = self.clone_init();
        }
        if self.plan["terminal"] == true {
            let pty = nix::pty::openpty(None, None).expect("openpty");
            self.event("orphan-pts-master", Some(pty.master.as_raw_fd()));
        }
        let mut is_good = self.plan["fail"].is_null() || !self.plan["fail_after"].is_null();
        for event in events {
            if *event == "status-ready" && self.plan["version"][1].as_u64() == Some(14) {
                continue;
            }
            if self.plan["die_at"] == *event {
                self.kill_init();
                return 9;
            }
            is_good = is_good && self.event(event, None) && self.plan["fail_after"] != *event;
            if !is_good {
                break;
            }
        }
        if self.plan["kills"] == true {
            kill(i32::try_from(opts["pid"].as_i64().expect("a pid")).expect("a pid"));
        }
        let mut answer = head(kind, is_good);
        if is_good && kind == RESTORE {
            let mut restored = Vec::new();
            number(&mut restored, 1, u64::try_from(self.restored).expect("a pid"));
            bytes(&mut answer, 4, &restored);
        }
        if !is_good {
            self.kill_init();
            number(&mut answer, 7, 52);
            bytes(&mut answer, 9, self.plan["fail"].as_str().unwrap_or_default().as_bytes());
        }
        self.send(&answer, None);
        if kind == PRE_DUMP && is_good {
            // CRIU waits for the next request of a series, and fails when there is none.
            assert_eq!(self.receive(), None);
            return 1;
        }
        if is_good { 0 } else { 1 }
    }

    /// Whether the client says that it has done its part.
    fn event(&self, script: &str, fd: Option<RawFd>) -> bool {
        let mut notify = Vec::new();
        bytes(&mut notify, 1, script.as_bytes());
        if matches!(script, "setup-namespaces" | "post-restore") {
            number(&mut notify, 2, u64::try_from(self.restored).expect("a pid"));
        }
        let mut message = head(NOTIFY, true);
        bytes(&mut message, 5, &notify);
        self.send(&message, fd);
        let answer = self.receive();
        answer.is_some_and(|answer| answer["notify_success"] == true)
    }

    /// Writes down where this process is and what it has open.
    fn look(&self, opts: &Value) {
        let link = |fd: &Value| {
            let path = format!("/proc/{}/fd/{fd}", nix::unistd::getppid());
            fs::read_link(path).ok().map(|path| path.display().to_string())
        };
        let fds: Vec<i32> = fs::read_dir("/proc/self/fd")
            .expect("fds")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let root = opts["root"].as_str().unwrap_or("-");
        let is_mounted = mounts.lines().any(|line| line.split(' ').nth(4) == Some(root));
        let seen = json!({
            "cgroup": fs::read_to_string("/proc/self/cgroup").expect("cgroup"),
            "images": link(&opts["images_dir_fd"]),
            "work": link(&opts["work_dir_fd"]),
            "root_is_mounted": is_mounted,
            "fds": fds,
        });
        fs::write(self.dir.join("seen"), seen.to_string()).expect("seen");
    }

    /// As CRIU, below the descriptors that it was given.
    fn write_log(&self, opts: &Value) {
        let Some(text) = self.plan["log"].as_str() else { return };
        let dir = if opts["work_dir_fd"].is_null() { "images_dir_fd" } else { "work_dir_fd" };
        let parent = nix::unistd::getppid();
        let log = opts["log_file"].as_str().expect("a log file");
        let path = format!("/proc/{parent}/fd/{}/{log}", opts[dir]);
        fs::write(path, text).expect("the log");
    }

    /// A child of our parent, in a network namespace of its own.
    fn clone_init(&self) -> i32 {
        let script = self.plan["script"].as_str().unwrap_or("exec sleep 1000");
        let script = std::ffi::CString::new(script).expect("no null byte");
        let flags = libc::CLONE_PARENT | libc::CLONE_NEWNET | libc::SIGCHLD;
        // SAFETY: as fork(2); the child calls nothing but execv before it has another program.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        if pid == 0 {
            let args = [c"sh".as_ptr(), c"-c".as_ptr(), script.as_ptr(), std::ptr::null()];
            // SAFETY: a terminated list of terminated strings, which live until it returns, if it does.
            unsafe {
                libc::execv(c"/bin/sh".as_ptr(), args.as_ptr());
                libc::_exit(127);
            }
        }
        assert!(pid > 0, "clone: {}", std::io::Error::last_os_error());
        i32::try_from(pid).expect("a pid")
    }

    fn kill_init(&self) {
        if self.restored > 0 {
            kill(self.restored);
        }
    }
}

fn kill(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

fn head(kind: u64, success: bool) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, 1, kind);
    number(&mut out, 2, success.into());
    out
}

/// The pairs of `ext_mnt`, as `key=val`.
pub(crate) fn external(options: &Value) -> Vec<String> {
    let list = match &options["ext_mnt"] {
        Value::Array(list) => list.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    list.iter().map(|pair| format!("{}={}", text(&pair["key"]), text(&pair["val"]))).collect()
}

/// Whether a process lives.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
