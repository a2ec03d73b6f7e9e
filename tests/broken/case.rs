// SPDX-License-Identifier: Apache-2.0
//! One row: what is broken, what is done, what must come of it; and the check of all of them.

use std::fs;
use std::process::Command;

use crate::common::{Bundle, Run, Value, has, is_creel, is_root, is_systemd, runtime};

type Prepare = fn(&mut Bundle);
type Holds = fn() -> bool;
type Args = &'static [&'static str];

/// `{ID}`, `{DIR}` and `{ROOT}` in arguments and messages are the container's id, the bundle and `--root`.
pub(crate) struct Case {
    name: &'static str,
    args: Args,
    patches: Vec<(&'static str, Option<Value>)>,
    prepare: Option<Prepare>,
    before: Vec<Args>,
    command: Args,
    /// Where the row does not fit, and why.
    only_if: Option<(Holds, &'static str)>,
    config: Option<&'static [u8]>,
    status: i32,
    message: String,
    warnings: Vec<&'static str>,
    /// The status afterwards, of a container that was there before.
    stays: Option<&'static str>,
    unlike_runc: bool,
    is_logged: bool,
}

/// A row: `create` of the base bundle, refused with status 1.
pub(crate) fn case(name: &'static str) -> Case {
    Case {
        name,
        args: &["/bin/sleep", "100"],
        patches: Vec::new(),
        prepare: None,
        before: Vec::new(),
        command: &["create", "{ID}"],
        only_if: None,
        config: None,
        status: 1,
        message: String::new(),
        warnings: Vec::new(),
        stays: None,
        unlike_runc: false,
        is_logged: true,
    }
}

impl Case {
    /// Puts a value in at a JSON pointer.
    pub(crate) fn set(mut self, pointer: &'static str, value: Value) -> Self {
        self.patches.push((pointer, Some(value)));
        self
    }

    pub(crate) fn remove(mut self, pointer: &'static str) -> Self {
        self.patches.push((pointer, None));
        self
    }

    /// The program and its arguments.
    pub(crate) fn args(mut self, args: Args) -> Self {
        self.args = args;
        self
    }

    /// Changes what JSON patches cannot: files, lists.
    pub(crate) fn prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// The text of config.json, instead of the base.
    pub(crate) fn config(mut self, text: &'static [u8]) -> Self {
        self.config = Some(text);
        self
    }

    /// A command that must succeed before; `["wait", STATUS]` waits.
    pub(crate) fn before(mut self, command: Args) -> Self {
        self.before.push(command);
        self
    }

    /// What is refused, instead of `create {ID}`.
    pub(crate) fn command(mut self, command: Args) -> Self {
        self.command = command;
        self
    }

    pub(crate) fn only_if(mut self, holds: Holds, else_why: &'static str) -> Self {
        self.only_if = Some((holds, else_why));
        self
    }

    pub(crate) fn status(mut self, status: i32) -> Self {
        self.status = status;
        self
    }

    /// The whole error line.
    pub(crate) fn says(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// A warning in the log, besides.
    pub(crate) fn warns(mut self, warning: &'static str) -> Self {
        self.warnings.push(warning);
        self
    }

    /// No error: the command succeeds.
    pub(crate) fn succeeds(self) -> Self {
        self.status(0)
    }

    pub(crate) fn stays(mut self, status: &'static str) -> Self {
        self.stays = Some(status);
        self
    }

    /// Refused before the log is known: one line on stderr, as text.
    pub(crate) fn unlogged(mut self) -> Self {
        self.is_logged = false;
        self
    }

    /// The exit code is not runc's; the reason is for the reader.
    pub(crate) fn unlike_runc(mut self, _reason: &'static str) -> Self {
        self.unlike_runc = true;
        self
    }
}

/// Does every row and reports all that went wrong together.
pub(crate) fn check(rows: Vec<Case>) {
    if !is_root() {
        return;
    }
    let only = std::env::var("ROW").unwrap_or_default();
    let mut wrong = Vec::new();
    for case in rows.iter().filter(|case| case.name.contains(&only)) {
        if let Some((holds, why)) = case.only_if
            && !holds()
        {
            println!("SKIP: {}: {why}", case.name);
            continue;
        }
        wrong.extend(row(case).iter().map(|what| format!("{}: {what}\n", case.name)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.concat());
}

/// What is wrong with a row's outcome.
fn row(case: &Case) -> Vec<String> {
    let bundle = broken(case);
    let fill = |text: &str| fill(text, &bundle);
    let run = |args: Args| done(&bundle, &args.iter().map(|arg| fill(arg)).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for step in &case.before {
        if let ["wait", status] = step {
            bundle.wait_status(status);
            continue;
        }
        let run = run(step);
        if run.code != 0 {
            wrong.push(format!("before: {step:?}: {}: {}", run.code, run.err));
        }
    }
    if is_creel() && matches!(case.command[0], "create" | "run") {
        wrong.extend(checked(case, &bundle));
    }
    let log = bundle.dir.join("log.json");
    // What the commands before have logged is not looked at.
    let _ = fs::remove_file(&log);
    let run = run(case.command);
    let compares = !is_creel();
    if compares && case.unlike_runc {
        return wrong;
    }
    if run.code != case.status {
        wrong.push(format!("exit code {}, not {}: {}", run.code, case.status, run.err.trim()));
    }
    if !compares {
        let logged = fs::read_to_string(&log).unwrap_or_default();
        let warnings: Vec<String> = case.warnings.iter().map(|w| fill(w)).collect();
        wrong.extend(match case.is_logged {
            true => reported(&run, &logged, &fill(&case.message), &warnings),
            false => told(&run, &logged, &fill(&case.message)),
        });
    }
    wrong.extend(end(case, &bundle));
    wrong
}

/// What is wrong with `check`'s words about a config that is refused, or accepted.
fn checked(case: &Case, bundle: &Bundle) -> Vec<String> {
    let dir = match case.command {
        [_, "--bundle", dir, ..] => fill(dir, bundle),
        _ => fill("{DIR}", bundle),
    };
    let before = files(bundle);
    let run = bundle.runtime(&["check", "--format", "json", &dir]);
    let mut wrong = Vec::new();
    if files(bundle) != before {
        wrong.push("check has made something in the bundle".to_owned());
    }
    let Ok(report) = serde_json::from_str::<Value>(&run.out) else {
        wrong.push(format!("check: {} {}", run.out, run.err));
        return wrong;
    };
    let has = |level: &str, text: &str| {
        let list = report["findings"].as_array().expect("findings");
        list.iter().any(|f| f["level"] == level && f["found"] == text)
    };
    let is_ok = run.code == 0 && report["ok"] == true;
    let unforeseen = super::unforeseen::reason(case.name);
    match (case.status != 0, unforeseen) {
        (true, None) if is_ok || !has("error", &fill(&case.message, bundle)) => {
            wrong.push(format!("check does not say so: {}", run.out));
        }
        (true, Some(_)) if has("error", &fill(&case.message, bundle)) => {
            wrong.push(format!(
                "check says so, though unforeseen.rs has it: {}",
                unforeseen.unwrap_or_default()
            ));
        }
        (false, _) if !is_ok => wrong.push(format!("check refuses it: {}", run.out)),
        _ => {}
    }
    for warning in &case.warnings {
        if unforeseen.is_none() && !has("warning", &fill(warning, bundle)) {
            wrong.push(format!("check does not warn: {warning}"));
        }
    }
    wrong
}

/// All below the bundle.
fn files(bundle: &Bundle) -> String {
    let mut find = Command::new("find");
    find.arg(&bundle.dir).args(["-not", "-name", "out*"]);
    let find = find.args(["-not", "-name", "err*", "-printf", "%p %y %m %s %T@\\n"]).output();
    let out = String::from_utf8_lossy(&find.expect("find").stdout).into_owned();
    // Its own change of time is that of the files that take the output.
    out.lines()
        .filter(|l| !l.starts_with(&format!("{} d", bundle.dir.display())))
        .collect::<String>()
}

/// What is left, after the end of a container that was to live on.
fn end(case: &Case, bundle: &Bundle) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(status) = case.stays
        && bundle.status() != status
    {
        wrong.push(format!("is {}, not {status}", bundle.status()));
    }
    if case.stays.is_some() || case.status == 0 {
        let run = bundle.runtime(&["delete", "--force", bundle.id()]);
        if run.code != 0 {
            wrong.push(format!("delete --force: {}: {}", run.code, run.err));
        }
    }
    wrong.extend(left(bundle).iter().map(|what| format!("left: {what}")));
    wrong
}

fn fill(text: &str, bundle: &Bundle) -> String {
    let dir = bundle.dir.to_str().expect("UTF-8");
    text.replace("{ROOT}", &format!("{dir}/state"))
        .replace("{DIR}", dir)
        .replace("{ID}", bundle.id())
        .replace("{CREEL}", runtime().to_str().expect("UTF-8"))
}

/// The bundle with the row's changes, written.
fn broken(case: &Case) -> Bundle {
    let mut bundle = Bundle::with_args(case.args);
    for (pointer, value) in &case.patches {
        match value {
            Some(value) => bundle.set(pointer, value.clone()),
            None => bundle = bundle.remove(pointer),
        }
    }
    // First the file, so that `prepare` can take it away.
    bundle.write();
    if let Some(prepare) = case.prepare {
        let config = bundle.config.clone();
        prepare(&mut bundle);
        if bundle.config != config {
            bundle.write();
        }
    }
    if let Some(text) = case.config {
        fs::write(bundle.dir.join("config.json"), text).expect("write config.json");
    }
    bundle
}

/// Runs a command with a JSON log, and a mark in its environment by which its processes are found.
fn done(bundle: &Bundle, args: &[String]) -> Run {
    let log = bundle.dir.join("log.json");
    // Descriptors that whoever runs the tests left open are not for the runtime.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        r#"exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec timeout --foreground 60 "$0" "$@""#,
    ]);
    command.arg(runtime());
    if is_systemd() {
        command.arg("--systemd-cgroup");
    }
    command.arg("--root").arg(bundle.state_root());
    command.arg("--log").arg(log).args(["--log-format", "json"]).args(args);
    command.current_dir(&bundle.dir).env("CREEL_TEST_MARK", bundle.id());
    bundle.finish(command)
}

/// The one report: the message on stderr, the same in the log.
fn reported(run: &Run, log: &str, message: &str, warnings: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    let expected = if message.is_empty() { String::new() } else { format!("{message}\n") };
    if run.err != expected {
        wrong.push(format!("stderr:\n  {}\nnot\n  {message}", run.err.trim_end()));
    }
    let mut errors = Vec::new();
    let mut warned = Vec::new();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or(Value::Null);
        let keys: Vec<&String> = entry.as_object().into_iter().flat_map(|o| o.keys()).collect();
        let time = entry["time"].as_str().unwrap_or_default();
        if keys != ["level", "msg", "time"] || time.len() != 20 || !time.ends_with('Z') {
            wrong.push(format!("not a line of the log: {line}"));
        }
        let text = entry["msg"].as_str().unwrap_or_default().to_owned();
        match entry["level"].as_str() {
            Some("error") => errors.push(text),
            Some("warning") => warned.push(text),
            _ => wrong.push(format!("unexpected line in the log: {line}")),
        }
    }
    if errors != expected.lines().collect::<Vec<_>>() {
        wrong.push(format!("errors in the log: {errors:?}"));
    }
    if warned != warnings {
        wrong.push(format!("warnings in the log: {warned:?}"));
    }
    wrong
}

/// The one report where there is no log yet.
fn told(run: &Run, log: &str, message: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if run.message() != message || !run.err.starts_with("time=") || run.err.lines().count() != 1 {
        wrong.push(format!("stderr:\n  {}\nnot\n  {message}", run.message()));
    }
    if !log.is_empty() {
        wrong.push(format!("in the log: {log}"));
    }
    wrong
}

/// Besides what `leftovers` finds: anything below `--root`, and processes.
fn left(bundle: &Bundle) -> Vec<String> {
    let mut left = bundle.leftovers();
    let below = fs::read_dir(bundle.state_root()).into_iter().flatten().flatten();
    left.extend(below.map(|entry| format!("{:?}", entry.path())));
    left.extend(processes(bundle).iter().map(|process| format!("process {process}")));
    left
}

/// Processes that have the mark, live in the bundle, or are in a cgroup of the container's name.
fn processes(bundle: &Bundle) -> Vec<String> {
    let mark = format!("CREEL_TEST_MARK={}", bundle.id());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_err() {
            continue;
        }
        let text = |file: &str| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let is_in = |link: &str| {
            fs::read_link(entry.path().join(link)).is_ok_and(|to| to.starts_with(&bundle.dir))
        };
        let in_cgroup = text("cgroup").lines().any(|l| l.ends_with(&format!("/{}", bundle.id())));
        if in_cgroup || text("environ").contains(&mark) || is_in("root") || is_in("cwd") {
            found.push(format!("{name} {:?}", text("cmdline")));
        }
    }
    found
}

/// Whether the host's limits are those of cgroup v1.
pub(crate) fn is_v1() -> bool {
    fs::metadata("/sys/fs/cgroup/pids").is_ok()
}

pub(crate) fn has_ip() -> bool {
    has("ip")
}
