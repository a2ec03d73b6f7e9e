// SPDX-License-Identifier: Apache-2.0
//! exec: what it inherits from the saved config, and what its flags change.

mod common;

use std::fs;

use common::{Bundle, can_run, is_root, json};

fn running() -> Bundle {
    let bundle = Bundle::new("sleep 1000");
    bundle.start_detached();
    bundle
}

#[test]
fn exec_passes_output_and_status() {
    if !can_run() {
        return;
    }
    let bundle = running();
    let run = bundle.exec(&["sh", "-c", "echo out; echo err >&2; exit 5"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (5, "out\n", "err\n"));
    assert_eq!(bundle.exec(&["sh", "-c", "kill -KILL $$"]).code, 137);
}

#[test]
fn exec_inherits_everything_from_the_config() {
    // Groups: not an ordinary user's to give.
    if !is_root() {
        return;
    }
    let caps = json!(["CAP_KILL"]);
    let bundle = Bundle::new("sleep 1000")
        .patch(
            "/process/user",
            json!({"uid": 1000, "gid": 1000, "additionalGids": [7], "umask": 0o27}),
        )
        .patch("/process/cwd", json!("/tmp"))
        .patch("/process/env/-", json!("FOO=bar"))
        .patch("/process/capabilities", json!({"bounding": caps}))
        .patch("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 1536, "hard": 1536}]));
    bundle.start_detached();
    let script = "id -u; id -g; id -G; umask; pwd; echo $FOO; ulimit -c; \
                  grep -E '^(CapBnd|CapEff|NoNewPrivs)' /proc/self/status | tr -d '\\t'";
    let run = bundle.exec(&["sh", "-c", script]).ok();
    assert_eq!(
        run.out.split_whitespace().collect::<Vec<_>>().join(" "),
        "1000 1000 1000 7 0027 /tmp bar 3 CapEff:0000000000000000 CapBnd:0000000000000020 NoNewPrivs:1"
    );
}

#[test]
fn later_edits_of_config_json_do_not_leak_into_exec() {
    if !can_run() {
        return;
    }
    let mut bundle = running();
    bundle.set("/process/cwd", json!("/tmp"));
    bundle.write();
    assert_eq!(bundle.exec(&["pwd"]).ok().out, "/\n");
}

#[test]
fn flags_override_the_config() {
    // Groups: not an ordinary user's to give.
    if !is_root() {
        return;
    }
    let bundle = running();
    let run = |args: &[&str]| bundle.runtime(args).ok().out;
    let id = bundle.id();
    assert_eq!(run(&["exec", "--cwd", "/tmp", id, "pwd"]), "/tmp\n");
    assert_eq!(
        run(&["exec", "--env", "A=b c", "-e", "D=e", id, "sh", "-c", "echo $A,$D"]),
        "b c,e\n"
    );
    assert_eq!(
        run(&["exec", "--user", "5:6", "-g", "9", id, "sh", "-c", "id -u; id -G"]),
        "5\n6 9\n"
    );
    assert_eq!(run(&["exec", "-u", "1000", id, "sh", "-c", "echo $HOME"]), "/home/me\n");
    let caps = run(&[
        "exec",
        "--cap",
        "CAP_SYS_PTRACE",
        id,
        "grep",
        "-E",
        "CapInh|CapEff|CapAmb",
        "/proc/self/status",
    ]);
    let words: Vec<&str> = caps.split_whitespace().collect();
    // AUDIT_WRITE, KILL, NET_BIND_SERVICE and SYS_PTRACE; nothing inheritable or ambient.
    let none = "0000000000000000";
    assert_eq!(words, ["CapInh:", none, "CapEff:", "0000000020080420", "CapAmb:", none]);
}

#[test]
fn process_json_replaces_the_process() {
    if !can_run() {
        return;
    }
    let bundle = running();
    let process = json!({
        "user": {"uid": 3, "gid": 4}, "args": ["/bin/sh", "-c", "id -u; pwd; echo $X; exit 9"],
        "env": ["X=y"], "cwd": "/tmp"
    });
    let path = bundle.dir.join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    let run = bundle.runtime(&["exec", "--process", path.to_str().unwrap(), bundle.id()]);
    assert_eq!((run.code, run.out.as_str()), (9, "3\n/tmp\ny\n"), "{}", run.err);
}

#[test]
fn a_missing_program_is_255_and_named() {
    if !can_run() {
        return;
    }
    let bundle = running();
    let run = bundle.exec(&["nope"]);
    assert_eq!(run.code, 255);
    assert!(run.err.contains("executable file not found in $PATH"), "{}", run.err);
    let run = bundle.exec(&["/nope"]);
    assert!(run.code == 255 && run.err.contains("no such file or directory"), "{}", run.err);
    let run = bundle.exec(&["/tmp"]);
    assert!(run.code == 255 && run.err.contains("permission denied"), "{}", run.err);
}

#[test]
fn detached_exec_writes_its_pid_file() {
    if !can_run() {
        return;
    }
    let bundle = running();
    let pid_file = bundle.dir.join("exec.pid");
    bundle
        .runtime(&[
            "exec",
            "-d",
            "--pid-file",
            pid_file.to_str().unwrap(),
            bundle.id(),
            "sleep",
            "500",
        ])
        .ok();
    let pid: i32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line, "sleep\x00500\x00");
    let ps = bundle.runtime(&["ps", "--format", "json", bundle.id()]).ok().out;
    assert!(ps.contains(&pid.to_string()), "{ps}");
}

#[test]
fn preserved_descriptors_arrive_and_others_do_not() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("ls /proc/self/fd | tr '\\n' ' '; cat <&3");
    bundle.write();
    fs::write(bundle.dir.join("three"), "three\n").unwrap();
    let creel = common::runtime();
    let script = format!(
        "exec {} --root {} run --preserve-fds 1 {} 3<three 4<three 9<three",
        creel.display(),
        bundle.state_root().display(),
        bundle.id()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).current_dir(&bundle.dir);
    let run = bundle.finish(command).ok();
    // ls itself opens one more.
    assert_eq!(run.out, "0 1 2 3 4 three\n");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script.replace("3<three 4<three", "").replace("fds 1", "fds 2")]);
    command.current_dir(&bundle.dir);
    let run = bundle.finish(command);
    assert!(run.code == 1 && run.err.contains("preserved-fd"), "{}", run.err);
}

#[test]
fn exec_enters_the_pid_and_mount_namespaces_of_init() {
    if !can_run() {
        return;
    }
    let bundle = running();
    let inside = bundle
        .exec(&["sh", "-c", "for n in pid mnt net ipc uts; do readlink /proc/self/ns/$n; done"])
        .ok()
        .out;
    let pid = bundle.pid();
    let outside: String = ["pid", "mnt", "net", "ipc", "uts"]
        .map(|n| {
            fs::read_link(format!("/proc/{pid}/ns/{n}")).unwrap().to_str().unwrap().to_owned()
                + "\n"
        })
        .concat();
    assert_eq!(inside, outside);
}
