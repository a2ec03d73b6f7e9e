// SPDX-License-Identifier: Apache-2.0
//! Commands at the wrong time, and command lines.

use std::fs;
use std::os::unix::net::UnixListener;

use super::case::{Case, case, is_v1};
use crate::common::json;

pub(crate) fn rows() -> Vec<Case> {
    let mut rows = ids();
    rows.extend(life());
    rows.extend(exec());
    rows.extend(files());
    rows
}

const RUN: &[&str] = &["run", "--detach", "{ID}"];

fn running(name: &'static str) -> Case {
    case(name).before(RUN).stays("running")
}

fn stopped(name: &'static str) -> Case {
    case(name)
        .before(RUN)
        .before(&["kill", "{ID}", "KILL"])
        .before(&["wait", "stopped"])
        .stays("stopped")
}

fn paused(name: &'static str) -> Case {
    case(name).before(RUN).before(&["pause", "{ID}"]).stays("paused")
}

fn ids() -> Vec<Case> {
    vec![
        case("id with a slash").command(&["create", "a/b"]).says("invalid container ID format"),
        case("id of dots").command(&["create", ".."]).says("invalid container ID format"),
        case("id empty").command(&["create", ""]).says("container id cannot be empty"),
        running("id taken, create")
            .command(&["create", "{ID}"])
            .says("container with given ID already exists"),
        running("id taken, run")
            .command(&["run", "{ID}"])
            .says("container with given ID already exists"),
        case("state of nothing").command(&["state", "none"]).says("container does not exist"),
        case("start of nothing").command(&["start", "none"]).says("container does not exist"),
        case("kill of nothing").command(&["kill", "none"]).says("container does not exist"),
        case("delete of nothing").command(&["delete", "none"]).says("container does not exist"),
        case("exec in nothing")
            .command(&["exec", "none", "true"])
            .status(255)
            .says("container does not exist"),
        case("pause of nothing").command(&["pause", "none"]).says("container does not exist"),
        case("ps of nothing").command(&["ps", "none"]).says("container does not exist"),
        case("update of nothing").command(&["update", "none"]).says("container does not exist"),
        case("events of nothing")
            .command(&["events", "--stats", "none"])
            .says("container does not exist"),
    ]
}

fn life() -> Vec<Case> {
    vec![
        running("start of a running one")
            .command(&["start", "{ID}"])
            .says("cannot start an already running container"),
        stopped("start of a stopped one")
            .command(&["start", "{ID}"])
            .says("cannot start a container that has stopped"),
        paused("start of a paused one")
            .command(&["start", "{ID}"])
            .says("cannot start a container in the paused state"),
        running("delete of a running one")
            .command(&["delete", "{ID}"])
            .says("cannot delete container {ID} that is not stopped: running"),
        paused("delete of a paused one")
            .command(&["delete", "{ID}"])
            .says("cannot delete container {ID} that is not stopped: paused"),
        stopped("kill of a stopped one").command(&["kill", "{ID}"]).says("container not running"),
        stopped("pause of a stopped one").command(&["pause", "{ID}"]).says("container not running"),
        running("resume of a running one")
            .command(&["resume", "{ID}"])
            .says("container not paused"),
        stopped("update of a stopped one")
            .command(&["update", "--pids-limit", "5", "{ID}"])
            .says("container not running"),
        stopped("events of a stopped one")
            .command(&["events", "--stats", "{ID}"])
            .says("container with id {ID} is not running"),
        running("kill with an unknown signal")
            .command(&["kill", "{ID}", "SIGFOO"])
            .says(r#"unknown signal "SIGFOO""#),
        running("kill with a number too high")
            .command(&["kill", "{ID}", "99"])
            .says(r#"unknown signal "99""#),
        running("update with a bad file")
            .command(&["update", "--resources", "{DIR}/none.json", "{ID}"])
            .says(r#"--resources "{DIR}/none.json": ENOENT: no such file or directory"#),
        running("update with a bad value").command(&["update", "--cpuset-cpus", "x", "{ID}"]).says(
            r#"linux.resources.cpu.cpus: write "x" to cpuset.cpus: EINVAL: invalid argument"#,
        ),
    ]
}

fn exec() -> Vec<Case> {
    let exec = |name, command| running(name).command(command).status(255);
    vec![
        stopped("exec in a stopped one").command(&["exec", "{ID}", "true"]).status(255)
            .says("cannot exec in a stopped container"),
        paused("exec in a paused one").command(&["exec", "{ID}", "true"]).status(255)
            .says("cannot exec in a paused container (use --ignore-paused to override)"),
        exec("exec not in PATH", &["exec", "{ID}", "nope"])
            .says(r#"exec: "nope": executable file not found in $PATH"#),
        exec("exec missing", &["exec", "{ID}", "/bin/nope"])
            .says(r#"exec: "/bin/nope": stat /bin/nope: no such file or directory"#),
        exec("exec missing, detached", &["exec", "--detach", "{ID}", "/bin/nope"])
            .says(r#"exec: "/bin/nope": stat /bin/nope: no such file or directory"#),
        exec("exec not executable", &["exec", "{ID}", "/etc/passwd"])
            .says(r#"exec: "/etc/passwd": permission denied"#),
        exec("exec of a directory", &["exec", "{ID}", "/tmp"])
            .says(r#"exec: "/tmp": is a directory: permission denied"#),
        exec("exec without a program", &["exec", "{ID}"]).says("exec args cannot be empty"),
        exec("exec with a bad user", &["exec", "--user", "me", "{ID}", "true"])
            .says(r#"bad uid: "me" is not a number from 0 to 4294967294"#),
        exec("exec with a bad group", &["exec", "--user", "1:x", "{ID}", "true"])
            .says(r#"bad gid: "x" is not a number from 0 to 4294967294"#),
        exec("exec in a missing directory", &["exec", "--cwd", "/none", "{ID}", "true"])
            .says(r#"process.cwd: chdir to "/none": ENOENT: no such file or directory"#),
        exec("exec in a relative directory", &["exec", "--cwd", "tmp", "{ID}", "true"])
            .says(r#"process.cwd: "tmp" is not an absolute path"#),
        exec("exec with a bad variable", &["exec", "--env", "PLAIN", "{ID}", "true"])
            .says(r#"process.env: invalid environment variable "PLAIN": missing '='"#),
        exec("exec of a missing file", &["exec", "--process", "{DIR}/none.json", "{ID}"])
            .says(r#"--process "{DIR}/none.json": ENOENT: no such file or directory"#),
        exec("exec of a wrong type", &["exec", "--process", "{DIR}/process.json", "{ID}"])
            .prepare(|bundle| {
                fs::write(bundle.dir.join("process.json"), "{\"args\": \"sh\"}").unwrap();
            })
            .says(r#"--process "{DIR}/process.json": args: invalid type: string "sh", expected a list (line 1 column 13)"#),
        exec("exec of no arguments", &["exec", "--process", "{DIR}/process.json", "{ID}"])
            .prepare(|bundle| fs::write(bundle.dir.join("process.json"), "{}").unwrap())
            .says("process.args: must not be empty"),
        exec("exec in a cgroup that is not there", &["exec", "--cgroup", "nope", "{ID}", "true"])
            .only_if(is_v1, "this host has no v1 controllers")
            .says("--cgroup: adding pid to a sub-cgroup: open /sys/fs/cgroup/systemd/{ID}/nope/tasks: ENOENT: no such file or directory"),
        exec("exec with a terminal, detached", &["exec", "--detach", "--tty", "{ID}", "true"])
            .says("process.terminal: cannot allocate tty if creel will detach without setting console socket"),
        exec(
            "exec with its pid file nowhere",
            &["exec", "--pid-file", "{DIR}/none/pid", "{ID}", "true"],
        )
        .says(r#"--pid-file "{DIR}/none/pid": ENOENT: no such file or directory"#),
        exec(
            "exec with descriptors that are not open",
            &["exec", "--preserve-fds", "2", "{ID}", "true"],
        )
        .unlike_runc("its own descriptors are open at those numbers").says("--preserve-fds: unable to stat preserved-fd 0 (of 2)"),
    ]
}

fn files() -> Vec<Case> {
    vec![
        case("pid file nowhere")
            .command(&["create", "--pid-file", "{DIR}/none/pid", "{ID}"])
            .says(r#"--pid-file "{DIR}/none/pid": ENOENT: no such file or directory"#),
        case("pid file a directory")
            .command(&["run", "--pid-file", "{DIR}/rootfs", "{ID}"])
            .says(r#"--pid-file "{DIR}/rootfs": EISDIR: is a directory"#),
        case("pidfd socket missing")
            .command(&["create", "--pidfd-socket", "{DIR}/none.sock", "{ID}"])
            .says("--pidfd-socket: connect to {DIR}/none.sock: ENOENT: no such file or directory"),
        case("pidfd socket that nobody listens at")
            .command(&["create", "--pidfd-socket", "{DIR}/dead.sock", "{ID}"])
            .prepare(|bundle| drop(UnixListener::bind(bundle.dir.join("dead.sock")).unwrap()))
            .says("--pidfd-socket: connect to {DIR}/dead.sock: ECONNREFUSED: connection refused"),
        case("descriptors that are not open")
            .command(&["create", "--preserve-fds", "2", "{ID}"])
            .unlike_runc("its own descriptors are open at those numbers").says("--preserve-fds: unable to stat preserved-fd 0 (of 2)"),
        case("state that is garbled")
            .prepare(|bundle| {
                let dir = bundle.state_root().join(bundle.id());
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join("state.json"), "{").unwrap();
            })
            .command(&["state", "{ID}"])
            .stays("none")
            .unlike_runc("its delete --force needs a whole state").says(
                r#"read "{DIR}/state/{ID}/state.json": EOF while parsing an object at line 1 column 1"#,
            ),
    ]
}

pub(crate) fn lines() -> Vec<Case> {
    vec![
        case("unknown command")
            .command(&["launch", "{ID}"])
            .unlogged()
            .status(3)
            .says("No help topic for 'launch'"),
        case("unknown flag")
            .command(&["create", "--fast", "{ID}"])
            .says("flag provided but not defined: -fast"),
        case("unknown global flag")
            .command(&["--fast", "create", "{ID}"])
            .unlogged()
            .says("flag provided but not defined: -fast"),
        case("flag without its value")
            .command(&["create", "{ID}", "--bundle"])
            .says("flag needs an argument: --bundle"),
        case("flag that wants a number")
            .command(&["create", "--preserve-fds", "x", "{ID}"])
            .says(r#"invalid value "x" for flag -preserve-fds: parse error"#),
        case("missing argument")
            .command(&["start"])
            .says(r#"{CREEL}: "start" requires exactly 1 argument(s)"#),
        case("one argument too many")
            .command(&["start", "a", "b"])
            .says(r#"{CREEL}: "start" requires exactly 1 argument(s)"#),
        case("unknown format").command(&["list", "--format", "yaml"]).says("invalid format option"),
        case("unknown log format")
            .command(&["--log-format", "xml", "state", "{ID}"])
            .unlogged()
            .says("invalid log-format: xml"),
        case("systemd-cgroup")
            .set("/linux/cgroupsPath", json!("/docker/x"))
            .command(&["--systemd-cgroup", "create", "{ID}"])
            .says(
                r#"linux.cgroupsPath: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/docker/x" instead"#,
            ),
        case("restore without images")
            .command(&["restore", "{ID}"])
            .says(r#"restore: --image-path: open "checkpoint": ENOENT: no such file or directory"#),
        case("update with a size that is none")
            .command(&["update", "--memory", "lots", "{ID}"])
            .says(r#"invalid value "lots" for flag -memory: invalid size: 'lots'"#),
        case("events without an interval")
            .command(&["events", "--interval", "0s", "{ID}"])
            .says("duration interval must be greater than 0"),
        case("seccomp agent")
            .set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": "/none.sock",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}),
            )
            .says("linux.seccomp.listenerPath: failed to connect with seccomp agent \"/none.sock\": ENOENT: no such file or directory"),
    ]
}
