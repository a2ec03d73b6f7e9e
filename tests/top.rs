// SPDX-License-Identifier: Apache-2.0
//! `events --top`.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, can_run, has, is_creel, is_rootless, json, runtime};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn can_look() -> bool {
    if !is_creel() {
        println!("SKIP: events --top is creel's");
    }
    is_creel() && can_run() && !is_rootless()
}

/// Of two containers below one root, the second of which is busy.
fn two() -> (Bundle, Bundle) {
    let idle = Bundle::new("sleep 60").patch("/linux/resources/pids", json!({"limit": 50}));
    let busy = Bundle::new("while :; do :; done")
        .patch("/linux/resources/memory", json!({"limit": 67_108_864}));
    idle.start_detached();
    busy.write();
    let bundle = busy.dir.to_str().unwrap();
    idle.runtime(&["run", "--detach", "--bundle", bundle, busy.id()]).ok();
    (idle, busy)
}

fn delete(idle: &Bundle, busy: &Bundle) {
    idle.runtime(&["delete", "--force", busy.id()]).ok();
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn wait_for(mut what: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_busiest_container_is_the_first_of_the_table() {
    if !can_look() {
        return;
    }
    let (idle, busy) = two();
    std::thread::sleep(Duration::from_millis(500));
    let all = idle.runtime(&["events", "--top", "--stats"]);
    let one = idle.runtime(&["events", "--top", "--stats", idle.id()]);
    let unknown = idle.runtime(&["events", "--top", idle.id(), "no-such"]);
    let none = idle.runtime(&["events"]);
    delete(&idle, &busy);

    let out = all.ok().out;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert_eq!(words(lines[0])[..6], ["ID", "STATUS", "PID", "CPU%", "MEMORY", "PIDS"]);
    let (first, second) = (words(lines[1]), words(lines[2]));
    assert_eq!((first[0], first[1]), (busy.id(), "running"), "{out}");
    assert_eq!((second[0], second[1]), (idle.id(), "running"), "{out}");
    assert_eq!(second[2], idle.pid().to_string());
    let cpu = |words: &[&str]| words[3].parse::<f64>().expect("CPU");
    assert!(cpu(&first) > 5.0 && cpu(&second) < cpu(&first), "{out}");
    assert!(lines[1].contains(" / 64.0M ") && lines[2].contains(" 1 / 50 "), "{out}");

    let out = one.ok().out;
    assert!(out.lines().count() == 2 && !out.contains(busy.id()), "{out}");
    assert_eq!((unknown.code, unknown.message().as_str()), (1, "container does not exist"));
    assert_eq!(none.code, 1);
    assert!(none.message().ends_with("\"events\" requires exactly 1 argument(s)"));
}

/// Frames until the containers that were named are gone; CPU is that since the frame before.
#[test]
fn frames_follow_one_another_until_the_container_is_deleted() {
    if !can_look() {
        return;
    }
    let (idle, busy) = two();
    let file = idle.dir.join("frames");
    let read = || fs::read_to_string(&file).unwrap();
    let mut command =
        idle.command(&["events", "--top", "--interval", "200ms", idle.id(), busy.id()]);
    command.stdin(Stdio::null()).stdout(fs::File::create(&file).unwrap());
    let mut top = command.spawn().unwrap();
    wait_for(|| read().matches("STATUS").count() > 2);
    delete(&idle, &busy);
    wait_for(|| read().rsplit("\n\n").next().is_some_and(|frame| !frame.contains(busy.id())));
    assert!(top.try_wait().unwrap().is_none());
    idle.runtime(&["delete", "--force", idle.id()]).ok();
    wait_for(|| top.try_wait().unwrap().is_some());
    assert_eq!(top.wait().unwrap().code(), Some(0));
    let out = read();
    let frames: Vec<&str> = out.split("\n\n").collect();
    let row = frames[2].lines().nth(1).expect(&out);
    assert!(row.starts_with(busy.id()) && !out.contains('\x1b'), "{out}");
    assert!(words(row)[3].parse::<f64>().unwrap() > 5.0, "{row}");
}

#[test]
fn a_terminal_is_restored_when_a_signal_ends_it() {
    if !can_look() {
        return;
    }
    if !has("script") {
        println!("SKIP: script(1) is not installed");
        return;
    }
    let bundle = Bundle::new("sleep 60");
    bundle.start_detached();
    let (pid, out) = (bundle.dir.join("pid"), bundle.dir.join("screen"));
    let line = format!(
        "stty cols 30 rows 10; echo $$ >{}; exec env TERM=xterm --default-signal=TERM {} --root {} \
         events --top --interval 100ms",
        pid.display(),
        runtime().display(),
        bundle.state_root().display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).env("SHELL", "/bin/sh");
    let mut script = script.stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
    let screen = || String::from_utf8_lossy(&fs::read(&out).unwrap()).into_owned();
    wait_for(|| screen().matches("\x1b[H").count() > 2);
    let number = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(number), Signal::SIGTERM).unwrap();
    wait_for(|| script.try_wait().unwrap().is_some());
    assert_eq!(script.wait().unwrap().code(), Some(0), "{}", screen());
    let screen = screen();
    assert!(screen.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{screen:?}");
    assert!(screen.ends_with("\x1b[?25h\x1b[?1049l"), "{screen:?}");
    let frame = screen.split("\x1b[H").nth(1).unwrap();
    let lines: Vec<&str> = frame.split("\x1b[K\r\n").collect();
    assert!(lines.len() == 2 && lines[0].chars().count() == 30, "{frame:?}");
}
