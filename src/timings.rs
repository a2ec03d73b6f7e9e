// SPDX-License-Identifier: Apache-2.0
//! `--timings FILE`: when each step of a command ended, as Chrome's trace events, with a lane for the
//! parent and one for the clone. Without the option a step costs one look at a thread-local pointer.
//! What `creel timings` makes of such a file is in cli/trace.rs.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Seek, Write};

use crate::error::{Context, Result};
use crate::json::quote;
use crate::sys::marks::{Marks, now};

/// The steps of docs/architecture.md#lives-of-commands. A mark says that one has ended, which began
/// where the one before in its lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// A lane begins.
    Begun,
    CommandLine,
    Seal,
    Bundle,
    Plan,
    StateDirectory,
    Cgroup,
    Clone,
    Record,
    Maps,
    Place,
    ParentHooks,
    LateLimits,
    Listener,
    Wait,
    PidFiles,
    Executed,
    Poststart,
    Life,
    Load,
    Release,
    Kill,
    DestroyCgroup,
    RemoveState,
    Poststop,
    Rest,
    Namespaces,
    Placed,
    Session,
    Root,
    Mount,
    Devices,
    AskedHooks,
    ChildHooks,
    Pivot,
    Names,
    LockDown,
    Limits,
    User,
    Capabilities,
    Program,
    Ready,
    Seccomp,
    StartHooks,
}

/// Every step with its name, in the order of the enumeration.
const NAMES: [(Step, &str); 44] = [
    (Step::Begun, "begun"),
    (Step::CommandLine, "command line"),
    (Step::Seal, "seal: creel executes itself from a read-only mount"),
    (Step::Bundle, "bundle: config.json read"),
    (Step::Plan, "plan"),
    (Step::StateDirectory, "state directory"),
    (Step::Cgroup, "cgroup"),
    (Step::Clone, "clone"),
    (Step::Record, "init recorded"),
    (Step::Maps, "answer Map: id maps"),
    (Step::Place, "answer Placed: cgroup joined"),
    (Step::ParentHooks, "answer Hooks: net devices, prestart, createRuntime"),
    (Step::LateLimits, "late limits"),
    (Step::Listener, "answer Listener: seccomp agent"),
    (Step::Wait, "wait for the child"),
    (Step::PidFiles, "pid files"),
    (Step::Executed, "wait for execve"),
    (Step::Poststart, "poststart hooks"),
    (Step::Life, "the program's life"),
    (Step::Load, "container loaded"),
    (Step::Release, "exec.fifo: init released and executed"),
    (Step::Kill, "processes killed"),
    (Step::DestroyCgroup, "cgroup removed"),
    (Step::RemoveState, "state directory removed"),
    (Step::Poststop, "poststop hooks"),
    (Step::Rest, "rest"),
    (Step::Namespaces, "namespaces"),
    (Step::Placed, "ask Placed"),
    (Step::Session, "session, cgroup namespace, keyring, loopback"),
    (Step::Root, "root bound"),
    (Step::Mount, "mounts"),
    (Step::Devices, "devices"),
    (Step::AskedHooks, "ask Hooks"),
    (Step::ChildHooks, "createContainer hooks"),
    (Step::Pivot, "pivot_root"),
    (Step::Names, "terminal, names, labels, sysctls"),
    (Step::LockDown, "read-only and masked paths"),
    (Step::Limits, "scheduler, memory policy, rlimits, HOME"),
    (Step::User, "chdir, no_new_privs, bounding set, user"),
    (Step::Capabilities, "capabilities, umask"),
    (Step::Program, "program found, descriptors closed"),
    (Step::Ready, "ask Ready"),
    (Step::Seccomp, "seccomp filter"),
    (Step::StartHooks, "startContainer hooks"),
];

/// Which side a mark is of.
const PARENT: u64 = 0;
const CHILD: u64 = 1;

/// How a command that executes itself anew tells its successor when it began.
pub(crate) const BEGUN: &str = "_CREEL_TIMINGS_BEGUN";

thread_local! {
    static MARKS: Cell<Option<&'static Marks>> = const { Cell::new(None) };
    static LANE: Cell<u64> = const { Cell::new(PARENT) };
    static CLONED: Cell<i32> = const { Cell::new(0) };
    static TRACE: RefCell<Option<(File, String)>> = const { RefCell::new(None) };
}

/// A step has ended.
#[inline]
pub(crate) fn step(step: Step) {
    if let Some(marks) = MARKS.get() {
        mark(marks, step, 0);
    }
}

/// One of several: `mounts[3]`.
#[inline]
pub(crate) fn step_at(step: Step, index: usize) {
    if let Some(marks) = MARKS.get() {
        mark(marks, step, index + 1);
    }
}

#[cold]
fn mark(marks: &Marks, step: Step, number: usize) {
    marks.push(now(), (number as u64) << 16 | LANE.get() << 8 | step as u64);
}

/// In the clone: its marks are a lane of their own.
#[inline]
pub(crate) fn enter_child() {
    if MARKS.get().is_some() {
        LANE.set(CHILD);
        step(Step::Begun);
    }
}

/// In the clone: who reads the marks has gone.
#[inline]
pub(crate) fn leave() {
    MARKS.set(None);
}

/// In the parent: the process that the other lane is of.
#[inline]
pub(crate) fn cloned(pid: nix::unistd::Pid) {
    if MARKS.get().is_some() {
        CLONED.set(pid.as_raw());
    }
}

/// When the command began, for what it becomes by executing itself; None without `--timings`.
pub(crate) fn begun() -> Option<u64> {
    MARKS.get().and_then(|marks| marks.all().first().map(|(at, _)| *at))
}

/// From here on steps are marked. `%c` in the path is the command, `%p` its process id.
pub(crate) fn begin(path: &str, command: &str, id: &str) -> Result<()> {
    let path = path.replace("%c", command).replace("%p", &std::process::id().to_string());
    let file = File::create(&path).context(|| format!("--timings: open {path}"))?;
    let marks = Marks::new().context(|| "--timings: mmap")?;
    MARKS.set(Some(marks));
    match std::env::var(BEGUN).ok().and_then(|text| text.parse().ok()) {
        Some(at) => {
            crate::sys::entry::forget_variable(BEGUN);
            marks.push(at, Step::Begun as u64);
            step(Step::Seal);
        }
        None => step(Step::Begun),
    }
    let title = format!("creel {command} {id}").trim_end().to_owned();
    TRACE.with_borrow_mut(|trace| *trace = Some((file, title)));
    Ok(())
}

/// Writes what there is so far; the last call has it all.
pub(crate) fn save() -> Result<()> {
    let Some(marks) = MARKS.get() else { return Ok(()) };
    TRACE.with_borrow_mut(|trace| {
        let Some((file, title)) = trace else { return Ok(()) };
        let text = render(&marks.all(), title, std::process::id().cast_signed(), CLONED.get());
        let written = file
            .rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(text.as_bytes()));
        written.context(|| "--timings")
    })
}

/// One event a line: the lanes' names, then the steps by their beginning.
fn render(marks: &[(u64, u64)], title: &str, parent: i32, child: i32) -> String {
    let first = marks.iter().map(|(at, _)| *at).min().unwrap_or(0);
    let mut named = String::new();
    quote(&mut named, title);
    let mut lines = vec![meta("process_name", &named, parent, parent)];
    lines.push(meta("thread_name", "\"parent\"", parent, parent));
    if marks.iter().any(|(_, what)| lane(*what) == CHILD) {
        lines.push(meta("thread_name", "\"child\"", parent, child));
    }
    let mut steps = Vec::new();
    for (own, tid, category) in [(PARENT, parent, "parent"), (CHILD, child, "child")] {
        let mut own: Vec<_> = marks.iter().filter(|(_, what)| lane(*what) == own).collect();
        own.sort();
        for pair in own.windows(2) {
            let (begun, (ended, what)) = (pair[0].0, *pair[1]);
            let (ts, dur) = (micros(begun - first), micros(ended - begun));
            let name = name(what);
            steps.push((
                begun,
                format!(
                    "{{\"name\":\"{name}\",\"cat\":\"{category}\",\"ph\":\"X\",\"ts\":{ts},\"dur\":{dur},\"pid\":{parent},\"tid\":{tid}}}"
                ),
            ));
        }
    }
    steps.sort_by_key(|(begun, _)| *begun);
    lines.extend(steps.into_iter().map(|(_, line)| line));
    format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n", lines.join(",\n"))
}

fn meta(what: &str, name: &str, pid: i32, tid: i32) -> String {
    format!(
        "{{\"name\":\"{what}\",\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"name\":{name}}}}}"
    )
}

fn lane(what: u64) -> u64 {
    what >> 8 & 0xff
}

fn name(what: u64) -> String {
    let name = NAMES.get((what & 0xff) as usize).map_or("?", |row| row.1);
    match what >> 16 {
        0 => name.to_owned(),
        number => format!("{name}[{}]", number - 1),
    }
}

/// Microseconds, as trace events have them.
fn micros(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_name() {
        for (i, (step, name)) in NAMES.iter().enumerate() {
            assert_eq!(*step as usize, i, "{name}");
        }
        assert_eq!(NAMES.len(), Step::StartHooks as usize + 1);
    }

    #[test]
    fn steps_run_from_mark_to_mark_in_their_lane() {
        let mark =
            |at, lane: u64, step: Step, number: u64| (at, number << 16 | lane << 8 | step as u64);
        let marks = [
            mark(1000, PARENT, Step::Begun, 0),
            mark(3500, PARENT, Step::Plan, 0),
            mark(4000, CHILD, Step::Begun, 0),
            mark(4001, PARENT, Step::Clone, 0),
            mark(9000, CHILD, Step::Mount, 3),
        ];
        let want = r#"{"displayTimeUnit":"ms","traceEvents":[
{"name":"process_name","ph":"M","pid":7,"tid":7,"args":{"name":"creel run \"x\""}},
{"name":"thread_name","ph":"M","pid":7,"tid":7,"args":{"name":"parent"}},
{"name":"thread_name","ph":"M","pid":7,"tid":8,"args":{"name":"child"}},
{"name":"plan","cat":"parent","ph":"X","ts":0.000,"dur":2.500,"pid":7,"tid":7},
{"name":"clone","cat":"parent","ph":"X","ts":2.500,"dur":0.501,"pid":7,"tid":7},
{"name":"mounts[2]","cat":"child","ph":"X","ts":3.000,"dur":5.000,"pid":7,"tid":8}
]}
"#;
        assert_eq!(render(&marks, "creel run \"x\"", 7, 8), want);
        assert!(serde_json::from_str::<serde_json::Value>(want).is_ok());
    }

    #[test]
    fn without_the_option_nothing_is_marked() {
        step(Step::Plan);
        step_at(Step::Mount, 1);
        enter_child();
        assert_eq!((begun(), LANE.get()), (None, PARENT));
        save().unwrap();
        assert_eq!(
            begin("/nowhere/%c", "run", "x").unwrap_err().to_string(),
            "--timings: open /nowhere/run: ENOENT: no such file or directory"
        );
    }
}
