// SPDX-License-Identifier: Apache-2.0
//! A bundle in a temporary directory, a runtime to run it with, and guards that clear what a failing
//! test leaves. `RUNTIME=/path` tests another runtime than creel; mode.rs has what else can be asked for.
#![allow(dead_code)] // each test file uses its own part

#[path = "mode.rs"]
mod mode;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[allow(unused_imports)] // as above
pub(crate) use mode::{can_run, cgroups_path, is_cgroupfs, is_rootless, is_systemd};
pub(crate) use serde_json::{Value, json};

/// The runtime under test.
pub(crate) fn runtime() -> PathBuf {
    match std::env::var_os("RUNTIME") {
        Some(path) => path.into(),
        None => env!("CARGO_BIN_EXE_creel").into(),
    }
}

/// Whether what only creel does can be expected.
pub(crate) fn is_creel() -> bool {
    runtime().file_name().is_some_and(|name| name == "creel")
}

/// Whether the tests that make containers can run; prints why not.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIP: containers with namespaces and cgroups of their own need root");
    }
    root
}

/// Whether the runtime is started without this system call (hack/enosys.sh).
pub(crate) fn lacks(call: &str) -> bool {
    std::env::var("ENOSYS").is_ok_and(|calls| calls.split(',').any(|c| c == call))
}

pub(crate) fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|o| o.status.success())
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A bundle, its containers' root directory, and everything a test makes; removed at the end.
pub(crate) struct Bundle {
    pub(crate) dir: PathBuf,
    pub(crate) config: Value,
    id: String,
}

/// The outcome of a command, as text.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// The message of the error line, without time and level.
    pub(crate) fn message(&self) -> String {
        let line = self.err.lines().last().unwrap_or_default();
        match line.split_once("level=error msg=") {
            Some((_, text)) => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
            None => line.to_owned(),
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        Self {
            code: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0)),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Bundle {
    /// A bundle with a busybox root and a config that runs `args` through `/bin/sh -c`.
    pub(crate) fn new(script: &str) -> Self {
        Self::with_args(&["/bin/sh", "-c", script])
    }

    pub(crate) fn with_args(args: &[&str]) -> Self {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("creel-test-{}-{n}", std::process::id()));
        fs::create_dir_all(dir.join("rootfs/bin")).expect("make the bundle");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("chmod");
        busybox(&dir.join("rootfs"));
        let id = format!("creel-test-{}-{n}", std::process::id());
        let mut config = config(args);
        if is_rootless() {
            mode::for_user(&mut config);
        }
        Self { dir, config, id }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Changes the config: `patch("/process/cwd", json!("/tmp"))`; missing parents are made.
    pub(crate) fn patch(mut self, pointer: &str, value: Value) -> Self {
        self.set(pointer, value);
        self
    }

    pub(crate) fn set(&mut self, pointer: &str, value: Value) {
        let mut at = &mut self.config;
        let keys: Vec<&str> = pointer.trim_start_matches('/').split('/').collect();
        for key in &keys[..keys.len() - 1] {
            at = if at.is_array() {
                &mut at[key.parse::<usize>().expect("an index")]
            } else {
                at.as_object_mut()
                    .expect("an object")
                    .entry((*key).to_owned())
                    .or_insert_with(|| json!({}))
            };
        }
        let last = keys[keys.len() - 1];
        match at {
            Value::Array(list) if last == "-" => list.push(value),
            Value::Array(list) => list[last.parse::<usize>().expect("an index")] = value,
            Value::Object(map) => {
                map.insert(last.to_owned(), value);
            }
            other => panic!("{pointer}: {other} has no members"),
        }
    }

    pub(crate) fn remove(mut self, pointer: &str) -> Self {
        let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
        let at = self.config.pointer_mut(parent).expect("the parent exists");
        at.as_object_mut().expect("an object").remove(last);
        self
    }

    pub(crate) fn add_mount(mut self, mount: Value) -> Self {
        self.config["mounts"].as_array_mut().expect("mounts").push(mount);
        self
    }

    pub(crate) fn without_namespace(mut self, kind: &str) -> Self {
        let list = self.config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        list.retain(|ns| ns["type"] != kind);
        self
    }

    pub(crate) fn write(&self) {
        let text = serde_json::to_string_pretty(&self.config).expect("JSON");
        fs::write(self.dir.join("config.json"), text).expect("write config.json");
    }

    /// The runtime with `--root` of this bundle.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(runtime());
        if is_systemd() {
            command.arg("--systemd-cgroup");
        }
        command.arg("--root").arg(self.state_root()).args(args).current_dir(&self.dir);
        command
    }

    /// Runs a command to its end. Output goes to files: a detached container may keep it open.
    pub(crate) fn runtime(&self, args: &[&str]) -> Run {
        self.finish(self.command(args))
    }

    pub(crate) fn finish(&self, mut command: Command) -> Run {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.dir.join(format!("out{n}")), self.dir.join(format!("err{n}")));
        let file = |path: &Path| fs::File::create(path).expect("an output file");
        command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        let status = started(&mut command);
        let read = |path: &Path| {
            let bytes = fs::read(path).expect("the output");
            let _ = fs::remove_file(path);
            bytes
        };
        Output { status, stdout: read(&out), stderr: read(&err) }.into()
    }

    /// `run` in the foreground.
    pub(crate) fn run(&self) -> Run {
        self.write();
        self.runtime(&["run", self.id()])
    }

    pub(crate) fn create(&self) -> Run {
        self.write();
        self.runtime(&["create", self.id()])
    }

    #[track_caller]
    pub(crate) fn start_detached(&self) -> &Self {
        self.write();
        self.runtime(&["run", "--detach", self.id()]).ok();
        self
    }

    pub(crate) fn exec(&self, args: &[&str]) -> Run {
        let mut all = vec!["exec", self.id()];
        all.extend(args);
        self.runtime(&all)
    }

    pub(crate) fn state(&self) -> Option<Value> {
        let run = self.runtime(&["state", self.id()]);
        (run.code == 0).then(|| serde_json::from_str(&run.out).expect("state is JSON"))
    }

    pub(crate) fn status(&self) -> String {
        match self.state() {
            Some(state) => state["status"].as_str().expect("a status").to_owned(),
            None => "none".to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        let pid = self.state().expect("a state")["pid"].as_i64().expect("a pid");
        i32::try_from(pid).expect("a pid")
    }

    #[track_caller]
    pub(crate) fn wait_status(&self, wanted: &str) {
        let begun = Instant::now();
        while self.status() != wanted {
            assert!(begun.elapsed() < Duration::from_secs(20), "never {wanted}: {}", self.status());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What is left of the container: processes, cgroups, state, mounts. Empty is right.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.state_root().join(self.id()).exists() {
            left.push(format!("state directory {:?}", self.state_root().join(self.id())));
        }
        left.extend(cgroups_named(self.id()).iter().map(|p| format!("cgroup {p:?}")));
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let dir = self.dir.to_str().expect("UTF-8");
        left.extend(mounts.lines().filter(|l| l.contains(dir)).map(|l| format!("mount {l}")));
        left
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.state_root().join(self.id()).exists() {
            let _ = self.runtime(&["delete", "--force", self.id()]);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// To its end. A container that tries to open the runtime's read-only view for writing makes the file
/// busy for the length of that try (docs/security.md).
fn started(command: &mut Command) -> std::process::ExitStatus {
    for _ in 0..100 {
        match command.status() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            status => return status.expect("the runtime starts"),
        }
    }
    panic!("{command:?}: busy a hundred times");
}

/// Cgroup directories of that name, or scopes that systemd has named so, anywhere below /sys/fs/cgroup.
pub(crate) fn cgroups_named(name: &str) -> Vec<PathBuf> {
    let scope = format!("*-{name}.scope");
    let words = ["/sys/fs/cgroup", "-type", "d", "(", "-name", name, "-o", "-name", &scope, ")"];
    let find = Command::new("find").args(words).output();
    let out = find.expect("find").stdout;
    String::from_utf8_lossy(&out).lines().map(PathBuf::from).collect()
}

/// A root file system made of one static program.
pub(crate) fn busybox(root: &Path) {
    let source = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find(|p| Path::new(p).exists())
        .expect("busybox-static is installed (hack/deps.sh run)");
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        fs::create_dir_all(root.join(dir)).expect("mkdir");
    }
    // A copy: what is in a container is attacked.
    fs::copy(source, root.join("bin/busybox")).expect("copy busybox");
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("symlink");
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n",
    )
    .expect("passwd");
    fs::write(root.join("etc/group"), "root:x:0:\nme:x:1000:\n").expect("group");
}

const APPLETS: [&str; 40] = [
    "sh", "cat", "echo", "ls", "true", "false", "sleep", "id", "hostname", "mount", "grep",
    "touch", "mkdir", "rm", "stat", "env", "pwd", "kill", "ps", "ip", "dd", "mknod", "chmod",
    "chown", "ln", "readlink", "tail", "head", "wc", "tr", "cut", "sed", "test", "tty", "stty",
    "dmesg", "umount", "nproc", "taskset", "seq",
];

/// A small config in the shape of `spec`'s, without a terminal.
pub(crate) fn config(args: &[&str]) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": std::env::var("OCI_VERSION").unwrap_or_else(|_| "1.3.0".to_owned()),
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "creel",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                           {"type": "mount"}],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/sys"]
        }
    })
}
