// SPDX-License-Identifier: Apache-2.0
//! SIGINT, SIGTERM, SIGHUP while a command waits for something: undone at once, or finished, and told by
//! the exit status. The crash matrix sends them at every system call; here is what it cannot reach, waits.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, Value, is_creel, is_root, json};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A hook that says that it has begun, and does not end by itself.
fn hanging(bundle: &Bundle) -> Value {
    let script = format!("touch {}; exec sleep 1000", began(bundle).display());
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
}

fn began(bundle: &Bundle) -> PathBuf {
    bundle.dir.join("began")
}

fn can_run() -> bool {
    if is_root() && !is_creel() {
        println!("SKIP: what a signal does to a command is creel's");
    }
    is_root() && is_creel()
}

/// What is ignored stays ignored, and below nohup or a shell's `&` some of them are.
fn begin(bundle: &Bundle, args: &[&str]) -> Child {
    let inner = bundle.command(args);
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,TERM").arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(inner.get_current_dir().unwrap_or(Path::new(".")));
    let errors = fs::File::create(bundle.dir.join("errors")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    command.spawn().unwrap()
}

fn wait_for(mut what: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The command's exit status after that signal, which it must heed soon, and its error lines.
#[track_caller]
fn signalled(bundle: &Bundle, mut command: Child, signal: Signal) -> (Option<i32>, String) {
    wait_for(|| began(bundle).exists());
    kill(Pid::from_raw(command.id().cast_signed()), signal).unwrap();
    wait_for(|| command.try_wait().unwrap().is_some());
    (command.wait().unwrap().code(), fs::read_to_string(bundle.dir.join("errors")).unwrap())
}

#[test]
fn create_and_run_are_undone_while_a_hook_hangs() {
    if !can_run() {
        return;
    }
    for (args, point, signal, status) in [
        (&["create"][..], "createRuntime", Signal::SIGINT, 130),
        (&["create"], "createContainer", Signal::SIGTERM, 143),
        (&["run"], "prestart", Signal::SIGTERM, 143),
        (&["run", "--detach"], "poststart", Signal::SIGHUP, 129),
    ] {
        let mut bundle = Bundle::new("sleep 1000");
        let mark = bundle.dir.join("poststop");
        let hook = hanging(&bundle);
        bundle.set(&format!("/hooks/{point}"), hook);
        let poststop = format!("touch {}", mark.display());
        bundle.set("/hooks/poststop", json!([{"path": "/bin/sh", "args": ["sh", "-c", poststop]}]));
        bundle.write();
        let id = bundle.id().to_owned();
        let command = begin(&bundle, &[args, &[&id]].concat());
        let (code, errors) = signalled(&bundle, command, signal);
        assert_eq!(code, Some(status), "{point}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{point}: {errors}");
        assert!(errors.contains(&format!("interrupted by {signal}")), "{point}: {errors}");
        assert_eq!(bundle.leftovers(), [""; 0], "{point}");
        assert!(mark.exists(), "{point}: its poststop hooks run");
    }
}

/// As of a poststart hook that fails: the container has been killed.
#[test]
fn start_ends_the_container_while_a_poststart_hook_hangs() {
    if !can_run() {
        return;
    }
    let mut bundle = Bundle::new("sleep 1000");
    let hook = hanging(&bundle);
    bundle.set("/hooks/poststart", hook);
    bundle.create().ok();
    let command = begin(&bundle, &["start", bundle.id()]);
    let (code, errors) = signalled(&bundle, command, Signal::SIGTERM);
    assert_eq!(code, Some(143), "{errors}");
    bundle.wait_status("stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// Whoever is told to start starts, also if nobody waits for it any more.
#[test]
fn a_start_that_is_killed_leaves_a_running_container() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    let dir = bundle.dir.clone();
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "touch /log/began; sleep 1"]}]);
    let bundle = bundle
        .add_mount(
            json!({"destination": "/log", "type": "bind", "source": dir, "options": ["bind"]}),
        )
        .patch("/hooks/startContainer", hook);
    bundle.create().ok();
    let command = begin(&bundle, &["start", bundle.id()]);
    let (code, errors) = signalled(&bundle, command, Signal::SIGTERM);
    assert_eq!((code, &*errors), (None, ""));
    assert_eq!(bundle.status(), "running");
    let again = bundle.runtime(&["start", bundle.id()]);
    assert_eq!(again.message(), "cannot start an already running container");
}

/// A hook that hangs is ended, the next one runs, the rest is gone.
#[test]
fn delete_goes_on_behind_a_poststop_hook_that_hangs() {
    if !can_run() {
        return;
    }
    let mut bundle = Bundle::new("sleep 1000");
    let mut hooks = hanging(&bundle);
    let mark = bundle.dir.join("second");
    let second = format!("touch {}", mark.display());
    hooks.as_array_mut().unwrap().push(json!({"path": "/bin/sh", "args": ["sh", "-c", second]}));
    bundle.set("/hooks/poststop", hooks);
    bundle.create().ok();
    let command = begin(&bundle, &["delete", bundle.id()]);
    let (code, errors) = signalled(&bundle, command, Signal::SIGINT);
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("interrupted by SIGINT"), "{errors}");
    assert!(mark.exists());
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// The container's program gets what creel got, once it runs.
#[test]
fn in_the_foreground_they_are_passed_on() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("trap 'exit 7' TERM; touch /log/began; while :; do sleep 0.1; done");
    let dir = bundle.dir.clone();
    let bundle = bundle.add_mount(
        json!({"destination": "/log", "type": "bind", "source": dir, "options": ["bind"]}),
    );
    bundle.write();
    let command = begin(&bundle, &["run", bundle.id()]);
    let (code, errors) = signalled(&bundle, command, Signal::SIGTERM);
    assert_eq!(code, Some(7), "{errors}");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// nohup, and a shell's `&`: what was ignored stays ignored, for creel and for the program.
#[test]
fn what_is_ignored_stays_ignored() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("grep SigIgn /proc/self/status");
    bundle.write();
    let runtime = bundle.command(&["run", bundle.id()]);
    let words = [runtime.get_program()].into_iter().chain(runtime.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).args(words).current_dir(&bundle.dir);
    let run = bundle.finish(shell).ok();
    let mask = u64::from_str_radix(run.out.trim().rsplit('\t').next().unwrap(), 16).unwrap();
    assert_eq!(mask & 1, 1, "SIGHUP: {}", run.out);
}
