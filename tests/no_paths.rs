// SPDX-License-Identifier: Apache-2.0
//! Every path that `create`, `run` and `exec` hand to the kernel, seen by strace: once the root
//! filesystem has been opened, none of them leads below it by name. What is in the root is reached
//! from descriptor to descriptor, so that nothing can be exchanged between a check and its use.
//!
//! Absolute paths that are left: sources on the host that the config names, before the root is
//! entered; after that `/` itself, and the program, which execve(2) takes by name.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, has, is_creel, is_root, json};

/// One process's calls that take paths, in order.
struct Trace(Vec<Call>);

#[derive(Debug)]
struct Call {
    name: String,
    /// The quoted arguments.
    strings: Vec<String>,
    line: String,
}

impl Call {
    /// None: a signal, an exit, or a call without its beginning.
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.split_once('(')?;
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return None;
        }
        let strings = rest.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        Some(Self { name: name.to_owned(), strings, line: line.to_owned() })
    }

    /// What the kernel looks up: not the text of a link, nor the words that a program is given.
    fn paths(&self) -> &[String] {
        let all = &self.strings[..];
        match self.name.as_str() {
            "symlink" | "symlinkat" => all.get(1..).unwrap_or_default(),
            "getcwd" => &[],
            "execve" | "execveat" | "prctl" | "readlink" | "readlinkat" => &all[..all.len().min(1)],
            _ => all,
        }
    }

    fn names(&self, path: &str) -> bool {
        self.paths().iter().any(|p| p == path)
    }

    fn enters_root(&self) -> bool {
        matches!(self.name.as_str(), "pivot_root" | "chroot" | "setns")
    }
}

/// What a container's set-up may name besides.
#[derive(Default)]
struct Allowed {
    /// On the host, before the root is entered: these and what is below them.
    host: Vec<String>,
    /// In the container: the program, and where it is looked for.
    program: Vec<String>,
}

impl Trace {
    fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("a trace");
        Self(text.lines().filter_map(Call::parse).collect())
    }

    /// Without what the container's program does.
    fn until_program(mut self) -> Self {
        let executed = |call: &Call| call.name == "execve" && call.line.ends_with(" = 0");
        if self.is_init()
            && let Some(at) = self.0.iter().position(executed)
        {
            self.0.truncate(at + 1);
        }
        self
    }

    fn is_init(&self) -> bool {
        self.0.iter().any(|call| call.name == "prctl" && call.names("creel:[init]"))
    }

    /// The calls that name something below the root after it was opened: by this process, or before
    /// it was cloned.
    fn below(&self, rootfs: &str, is_open: bool) -> Vec<&str> {
        let inside = format!("{rootfs}/");
        let from = if is_open { Some(0) } else { self.0.iter().position(|c| c.names(rootfs)) };
        let calls = self.0.iter().skip(from.unwrap_or(self.0.len()));
        calls
            .filter(|call| call.paths().iter().any(|path| path.starts_with(&inside)))
            .map(|call| call.line.as_str())
            .collect()
    }

    /// The calls of an init that name an absolute path which is not allowed where it is.
    fn absolute(&self, allowed: &Allowed) -> Vec<&str> {
        let mut bad = Vec::new();
        let mut is_inside = false;
        for call in &self.0 {
            let permitted = |path: &String| match is_inside {
                _ if path == "/" || !path.starts_with('/') => true,
                true => allowed.program.contains(path),
                false => allowed.host.iter().any(|top| {
                    path.strip_prefix(top.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                }),
            };
            if !call.paths().iter().all(permitted) {
                bad.push(call.line.as_str());
            }
            is_inside |= call.enters_root();
        }
        bad
    }
}

/// Runs the command under strace until it has ended, whatever it leaves running; one trace for each
/// process.
#[track_caller]
fn traced(bundle: &Bundle, command: &Command) -> Vec<Trace> {
    let dir = bundle.dir.join("traces");
    fs::create_dir_all(&dir).unwrap();
    let mut strace = Command::new("strace");
    strace.args([
        "-ff",
        "-I1",
        "-q",
        "-s",
        "4096",
        "-e",
        "trace=%file,prctl,setns,bind,connect",
        "-o",
    ]);
    strace.arg(dir.join("t")).arg(command.get_program()).args(command.get_args());
    let messages = dir.join("messages");
    let file = fs::File::create(&messages).unwrap();
    strace.current_dir(&bundle.dir).stdin(Stdio::null());
    strace.stdout(file.try_clone().unwrap()).stderr(file);
    let mut strace = strace.spawn().expect("strace");
    let begun = Instant::now();
    while strace.try_wait().unwrap().is_none() && first_has_ended(&dir).is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the command does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    // It detaches, and what it has followed goes on.
    let pid = nix::unistd::Pid::from_raw(strace.id().try_into().unwrap());
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    strace.wait().unwrap();
    let said = fs::read_to_string(&messages).unwrap();
    assert_eq!(first_has_ended(&dir).as_deref(), Some("+++ exited with 0 +++"), "{said}");
    let traces = files(&dir).iter().map(|file| Trace::read(file).until_program()).collect();
    fs::remove_dir_all(&dir).unwrap();
    traces
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all.filter(|path| path.extension().is_some()).collect();
    files.sort_by_key(|file| {
        let pid = file.extension().and_then(|pid| pid.to_str()?.parse::<i32>().ok());
        pid.expect("strace appends the pid")
    });
    files
}

/// The last line of the process that strace started: the one whose trace begins with its execve.
fn first_has_ended(dir: &Path) -> Option<String> {
    let texts = files(dir).into_iter().map(|file| fs::read_to_string(file).unwrap());
    let first = texts.into_iter().find(|text| text.starts_with("execve("))?;
    first.lines().last().filter(|line| line.starts_with("+++ ")).map(str::to_owned)
}

fn can() -> bool {
    if !is_root() {
        return false;
    }
    if !is_creel() {
        println!("SKIP: what is looked for is creel's own way");
        return false;
    }
    if !has("strace") {
        println!("SKIP: strace is not installed (hack/deps.sh test)");
        return false;
    }
    true
}

const PATH_DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A container with something of everything that touches its root.
fn everything() -> (Bundle, Allowed) {
    let mut bundle = Bundle::with_args(&["true"]);
    let root = bundle.rootfs();
    for dir in ["run", "var", "data/deep", "filled/sub", "secret"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("filled/file"), "text").unwrap();
    symlink("../run", root.join("var/run")).unwrap();
    symlink("/data/deep", root.join("link")).unwrap();
    symlink("elsewhere", root.join("pointer")).unwrap();
    let source = bundle.dir.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "text").unwrap();
    let bind = |from: &Path, to: &str, options: &[&str]| json!({"destination": to, "source": from, "type": "bind", "options": options});
    for mount in [
        bind(&source, "/new/dir", &["rbind", "ro", "nosuid"]),
        bind(&source.join("file"), "/etc/bound", &["bind", "noexec"]),
        bind(&root.join("data"), "/again", &["bind", "rprivate"]),
        bind(&root.join("pointer"), "/copied", &["bind", "copy-symlink"]),
        bind(&source, "/link/below", &["bind", "dest-nofollow", "src-nofollow"]),
        json!({"destination": "/var/run/fresh", "type": "tmpfs", "source": "tmpfs"}),
        json!({"destination": "/filled", "type": "tmpfs", "source": "t",
               "options": ["tmpcopyup", "ro"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "t"}),
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
               "options": ["nosuid", "noexec", "nodev", "ro"]}),
    ] {
        bundle = bundle.add_mount(mount);
    }
    bundle.set("/process/cwd", json!("/srv/made/here"));
    bundle.set("/root/readonly", json!(false));
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}));
    bundle
        .set("/linux/maskedPaths", json!(["/proc/keys", "/sys/firmware", "/secret", "/etc/group"]));
    bundle.set("/linux/readonlyPaths", json!(["/proc/sys", "/etc/passwd", "/data"]));
    bundle.set(
        "/linux/devices",
        json!([
            {"path": "/dev/deep/er/full", "type": "c", "major": 1, "minor": 7, "uid": 5, "gid": 6},
            {"path": "/srv/fifo", "type": "p", "fileMode": 384},
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}
        ]),
    );
    let host = [source.to_str().unwrap(), root.to_str().unwrap(), "/sys/fs/cgroup"];
    let program = PATH_DIRS.map(|dir| format!("{dir}/true")).to_vec();
    let allowed = Allowed { host: host.map(str::to_owned).to_vec(), program };
    (bundle, allowed)
}

#[track_caller]
fn check(bundle: &Bundle, traces: &[Trace], allowed: &Allowed) {
    let rootfs = bundle.rootfs();
    let rootfs = rootfs.to_str().unwrap();
    let inits: Vec<&Trace> = traces.iter().filter(|trace| trace.is_init()).collect();
    assert!(!inits.is_empty(), "no init in the trace");
    for trace in traces {
        let below = trace.below(rootfs, trace.is_init());
        assert!(below.is_empty(), "below the root by name:\n{}", below.join("\n"));
    }
    for init in inits {
        assert!(init.0.iter().any(Call::enters_root), "an init that never entered the root");
        let absolute = init.absolute(allowed);
        assert!(absolute.is_empty(), "absolute paths:\n{}", absolute.join("\n"));
    }
}

#[test]
fn run_and_create_name_nothing_below_the_root() {
    if !can() {
        return;
    }
    let (bundle, allowed) = everything();
    bundle.write();
    let traces = traced(&bundle, &bundle.command(&["run", bundle.id()]));
    check(&bundle, &traces, &allowed);
    // Again, with what the first one made in the way.
    let traces = traced(&bundle, &bundle.command(&["create", bundle.id()]));
    check(&bundle, &traces, &allowed);
}

#[test]
fn nor_does_a_container_in_a_user_namespace() {
    if !can() {
        return;
    }
    let (mut bundle, mut allowed) = everything();
    let chown = Command::new("chown").args(["-R", "100000:100000"]).arg(bundle.rootfs()).status();
    assert!(chown.unwrap().success());
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.extend([json!({"type": "user"}), json!({"type": "cgroup"})]);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    // Bound from the host's.
    bundle.set(
        "/linux/devices",
        json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]),
    );
    let nodes = ["null", "zero", "full", "random", "urandom", "tty", "fuse"];
    allowed.host.extend(nodes.map(|node| format!("/dev/{node}")));
    bundle.write();
    let traces = traced(&bundle, &bundle.command(&["run", bundle.id()]));
    check(&bundle, &traces, &allowed);
}

#[test]
fn nor_does_a_terminal_or_exec() {
    if !can() {
        return;
    }
    let (mut bundle, allowed) = everything();
    bundle.set("/process/args", json!(["sleep", "60"]));
    bundle.set("/process/terminal", json!(true));
    let socket = bundle.dir.join("console");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    bundle.write();
    let option = format!("--console-socket={}", socket.display());
    let detached = ["run", "--detach", &option, bundle.id()];
    let program = PATH_DIRS.map(|dir| format!("{dir}/sleep")).to_vec();
    let allowed = Allowed { program, ..allowed };
    check(&bundle, &traced(&bundle, &bundle.command(&detached)), &allowed);
    let program = PATH_DIRS.map(|dir| format!("{dir}/true")).to_vec();
    // It joins, and has no business on the host.
    let allowed = Allowed { program, host: Vec::new() };
    for extra in [&["--cwd", "/data"][..], &["--tty", &option, "--detach"]] {
        let mut args = vec!["exec"];
        args.extend(extra);
        args.extend([bundle.id(), "true"]);
        let traces = traced(&bundle, &bundle.command(&args));
        check(&bundle, &traces, &allowed);
    }
}

/// The eyes of this test, on commands that do what creel must not.
#[test]
fn a_path_below_the_root_would_be_seen() {
    if !can() {
        return;
    }
    let bundle = Bundle::new("true");
    let rootfs = bundle.rootfs().to_str().unwrap().to_owned();
    let by_name = |script: &str| {
        let mut command = Command::new("/bin/busybox");
        command.args(["sh", "-c", script, "sh", &rootfs]);
        traced(&bundle, &command)
    };
    let seen =
        |traces: &[Trace]| traces.iter().map(|t| t.below(&rootfs, false).len()).sum::<usize>();
    // In one process: opened, then looked into by name.
    assert!(seen(&by_name(r#"cd "$1"; : >"$1/made""#)) > 0, "a file made by name is not seen");
    assert_eq!(seen(&by_name(r#": >"$1/made"; cd "$1"; : >made"#)), 0, "before, and relative");
    let traces = by_name(r#"exec chroot "$1" /bin/busybox cat /etc/passwd"#);
    let allowed =
        Allowed { host: vec![rootfs.clone(), "/bin".into()], program: vec!["/bin/busybox".into()] };
    let absolute: BTreeSet<&str> = traces.iter().flat_map(|t| t.absolute(&allowed)).collect();
    assert!(absolute.iter().any(|l| l.contains("\"/etc/passwd\"")), "not seen in {absolute:?}");
}
