// SPDX-License-Identifier: Apache-2.0
//! create, start, run, kill, delete, state, list, ps, pause, resume: the life of a container.

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use common::{Bundle, Value, can_run, is_root, json};

#[test]
fn run_gives_output_and_exit_status() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("echo hello; echo oops >&2; exit 7");
    let run = bundle.run();
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (7, "hello\n", "oops\n"));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_signal_death_is_128_plus_n() {
    if !can_run() {
        return;
    }
    // Pid 1 ignores signals from inside unless handled, so a child dies and the shell passes it on.
    assert_eq!(Bundle::new("sh -c 'kill -KILL $$'; exit $?").run().code, 137);
    let bundle = Bundle::new("sleep 100");
    bundle.start_detached();
    bundle.runtime(&["kill", bundle.id(), "KILL"]).ok();
    bundle.wait_status("stopped");
}

#[test]
fn create_start_delete_with_every_status_on_the_way() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 100");
    let pid_file = bundle.dir.join("pid");
    bundle.write();
    bundle.runtime(&["create", "--pid-file", pid_file.to_str().unwrap(), bundle.id()]).ok();
    let state = bundle.state().unwrap();
    assert_eq!(state["status"], "created");
    if common::is_creel() {
        assert_eq!(state["ociVersion"], "1.3.0");
    }
    assert_eq!(state["id"], bundle.id());
    assert_eq!(state["bundle"], bundle.dir.to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().unwrap());
    assert_eq!(state["owner"], "");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), state["pid"].to_string());
    assert!(
        bundle
            .runtime(&["create", bundle.id()])
            .err
            .contains("container with given ID already exists")
    );

    bundle.runtime(&["start", bundle.id()]).ok();
    assert_eq!(bundle.status(), "running");
    assert!(
        bundle
            .runtime(&["start", bundle.id()])
            .err
            .contains("cannot start an already running container")
    );
    let refused = bundle.runtime(&["delete", bundle.id()]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("that is not stopped: running"), "{}", refused.err);

    bundle.runtime(&["pause", bundle.id()]).ok();
    assert_eq!(bundle.status(), "paused");
    assert!(bundle.exec(&["true"]).err.contains("cannot exec in a paused container"));
    bundle.runtime(&["resume", bundle.id()]).ok();
    assert_eq!(bundle.status(), "running");

    bundle.runtime(&["kill", bundle.id(), "9"]).ok();
    bundle.wait_status("stopped");
    assert_eq!(bundle.state().unwrap()["pid"], 0);
    assert!(bundle.runtime(&["kill", bundle.id()]).err.contains("container not running"));
    bundle.runtime(&["delete", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
    let gone = bundle.runtime(&["state", bundle.id()]);
    assert!(gone.code == 1 && gone.err.contains("container does not exist"), "{}", gone.err);
}

#[test]
fn a_created_container_is_deleted_without_force() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("true");
    bundle.create().ok();
    bundle.runtime(&["delete", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn delete_force_of_anything_or_nothing_succeeds() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("trap '' TERM; sleep 100 & sleep 100 & wait");
    bundle.start_detached();
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    bundle.runtime(&["delete", "-f", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
    assert_eq!(bundle.runtime(&["delete", bundle.id()]).code, 1);
}

#[test]
fn a_paused_container_can_be_force_deleted() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 100");
    bundle.start_detached();
    bundle.runtime(&["pause", bundle.id()]).ok();
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn start_says_why_when_the_program_cannot_be_executed() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::with_args(&["/bin/broken"]);
    fs::write(bundle.rootfs().join("bin/broken"), "\x7fELF garbage").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.rootfs().join("bin/broken"), mode).unwrap();
    bundle.create().ok();
    let start = bundle.runtime(&["start", bundle.id()]);
    assert_eq!(start.code, 1);
    assert!(start.err.contains("exec /bin/broken: exec format error"), "{}", start.err);
    bundle.wait_status("stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
}

#[test]
fn list_shows_what_is_there() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 100");
    fs::create_dir_all(bundle.state_root()).unwrap();
    assert_eq!(bundle.runtime(&["list", "--format", "json"]).ok().out.trim(), "null");
    bundle.start_detached();
    assert_eq!(bundle.runtime(&["list", "-q"]).ok().out.trim(), bundle.id());
    let table = bundle.runtime(&["list"]).ok().out;
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    assert_eq!((row[0], row[2], row[5]), (bundle.id(), "running", me.name.as_str()));
    let json: Value =
        serde_json::from_str(&bundle.runtime(&["list", "-f", "json"]).ok().out).unwrap();
    assert_eq!(json[0]["pid"], bundle.pid());
    let gone = bundle.command(&["list"]).env("X", "").output().unwrap();
    assert!(gone.status.success());
}

/// The order is that of the ids; what is no container is passed over, what is a damaged one reported.
#[test]
fn list_passes_over_what_cannot_be_read() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 100");
    bundle.start_detached();
    let root = bundle.state_root();
    for id in ["a", "zz"] {
        let copy = root.join(id);
        fs::create_dir(&copy).unwrap();
        let state = fs::read_to_string(root.join(bundle.id()).join("state.json")).unwrap();
        let state =
            state.replacen(&format!("\"id\":\"{}\"", bundle.id()), &format!("\"id\":\"{id}\""), 1);
        fs::write(copy.join("state.json"), state).unwrap();
    }
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    std::os::unix::fs::symlink("a", root.join("link")).unwrap();
    fs::create_dir(root.join("broken")).unwrap();
    fs::write(root.join("broken/state.json"), "{").unwrap();
    let run = bundle.runtime(&["list", "-q"]).ok();
    for id in ["a", "zz", "empty", "broken"] {
        fs::remove_dir_all(root.join(id)).unwrap();
    }
    let mut ids = ["a", bundle.id(), "zz"];
    ids.sort_unstable();
    assert_eq!(run.out.lines().collect::<Vec<_>>(), ids);
    assert!(run.err.contains("load container broken: "), "{}", run.err);
    assert_eq!(run.err.matches("load container").count(), 1, "{}", run.err);
}

/// Any process may call itself what it likes (prctl(2) PR_SET_NAME).
#[test]
fn an_init_whose_name_is_no_utf_8_has_a_state() {
    if !can_run() {
        return;
    }
    let script = "printf '\\377) \\377' >/proc/self/comm; echo; sleep 20; :";
    let bundle = Bundle::new(script);
    bundle.write();
    let mut run = bundle.command(&["run", bundle.id()]);
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    // Its line end comes when it has that name.
    let line = run.stdout.as_mut().unwrap().read_exact(&mut [0]);
    let state = bundle.runtime(&["state", bundle.id()]);
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    run.wait().unwrap();
    line.unwrap();
    assert!(state.ok().out.contains("\"status\": \"running\""));
}

#[test]
fn ps_lists_the_container_s_processes() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 100 & sleep 100");
    bundle.start_detached();
    let json: Value =
        serde_json::from_str(&bundle.runtime(&["ps", "--format", "json", bundle.id()]).ok().out)
            .unwrap();
    assert!(json.as_array().unwrap().contains(&json!(bundle.pid())), "{json}");
    let table = bundle.runtime(&["ps", bundle.id()]).ok().out;
    assert!(table.lines().next().unwrap().contains("PID"), "{table}");
    assert!(table.contains("sleep 100"), "{table}");
    let other = bundle.runtime(&["ps", bundle.id(), "-o", "pid,comm"]).ok().out;
    assert!(other.lines().next().unwrap().trim_start().starts_with("PID"), "{other}");
}

#[test]
fn signals_reach_the_foreground_container() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new(
        "trap 'echo got; exit 3' USR1; echo ready >/out/ready; while :; do sleep 0.05; done",
    );
    let out = bundle.dir.join("out");
    fs::create_dir(&out).unwrap();
    let bundle = bundle.add_mount(
        json!({"destination": "/out", "type": "bind", "source": out, "options": ["bind"]}),
    );
    bundle.write();
    let mut command = bundle.command(&["run", bundle.id()]);
    let child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    while !out.join("ready").exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never ready");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"got\n"[..]));
}

#[test]
fn kill_takes_names_and_numbers_and_refuses_others() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("trap 'exit 0' TERM HUP USR2; while :; do sleep 0.05; done");
    bundle.start_detached();
    let unknown = bundle.runtime(&["kill", bundle.id(), "SIGFOO"]);
    assert!(unknown.code == 1 && unknown.err.contains("unknown signal"), "{}", unknown.err);
    for signal in ["SIGWINCH", "winch", "28", "0"] {
        bundle.runtime(&["kill", bundle.id(), signal]).ok();
    }
    bundle.runtime(&["kill", "--all", bundle.id(), "KILL"]).ok();
    bundle.wait_status("stopped");
    bundle.runtime(&["kill", "--all", bundle.id(), "KILL"]).ok();
}

#[test]
fn killing_without_a_pid_namespace_kills_every_process() {
    // An ordinary user cannot mount the proc of the host's processes.
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 321 & sleep 321").without_namespace("pid");
    bundle.start_detached();
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn keep_leaves_the_container_for_delete() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("exit 4");
    bundle.write();
    assert_eq!(bundle.runtime(&["run", "--keep", bundle.id()]).code, 4);
    assert_eq!(bundle.status(), "stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
}

/// Managers read what `create` says until its end; the container's init must not keep that open.
#[test]
fn create_with_a_terminal_lets_go_of_stderr() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("true").patch("/process/terminal", json!(true));
    bundle.write();
    let console = bundle.dir.join("console.sock");
    let _socket = std::os::unix::net::UnixListener::bind(&console).expect("bind");
    let script = format!(
        "(timeout 30 {} --debug --root {} create --console-socket {} {}; echo status $?) 2>&1 | cat",
        common::runtime().display(),
        bundle.state_root().display(),
        console.display(),
        bundle.id()
    );
    let mut command = std::process::Command::new("timeout");
    command.args(["--signal=KILL", "20", "sh", "-c", &script]).current_dir(&bundle.dir);
    let run = bundle.finish(command);
    assert_eq!(run.code, 0, "the pipe stays open");
    assert!(run.out.contains("status 0"), "{}", run.out);
    assert_eq!(bundle.status(), "created");
}

#[test]
fn under_the_name_runc_errors_begin_as_its_errors_do() {
    if !can_run() || !common::is_creel() {
        return;
    }
    let mut bundle = Bundle::with_args(&["nope"]);
    bundle.write();
    let as_runc = |name: &str, bundle: &Bundle, args: &[&str]| {
        let mut command = bundle.command(args);
        command.arg0(name);
        bundle.finish(command)
    };
    let not_found = "exec: \"nope\": executable file not found in $PATH";
    let init = "unable to start container process: error during container init";
    let run = as_runc("/usr/sbin/runc", &bundle, &["run", bundle.id()]);
    assert_eq!(run.message(), format!("runc run failed: {init}: {not_found}"));
    assert_eq!(bundle.run().message(), not_found, "under its own name");

    bundle.set("/process/args", json!(["/bin/sleep", "100"]));
    bundle.start_detached();
    let taken = as_runc("runc", &bundle, &["create", bundle.id()]).message();
    assert!(taken.starts_with("runc create failed: container "), "{taken}");
    let run = as_runc("runc", &bundle, &["exec", bundle.id(), "nope"]);
    let unable = "exec failed: unable to start container process";
    assert_eq!((run.code, run.message()), (255, format!("{unable}: {not_found}")));

    bundle.runtime(&["delete", "--force", bundle.id()]).ok();

    let other = Bundle::new("true")
        .add_mount(json!({"destination": "/m", "type": "nofs", "source": "none"}));
    other.write();
    let message = as_runc("runc", &other, &["run", other.id()]).message();
    let begin = format!("runc run failed: {init}: error mounting nofs at /m: ");
    assert!(message.starts_with(&begin), "{message}");
    assert_eq!((bundle.leftovers(), other.leftovers()), (vec![], vec![]));
}
