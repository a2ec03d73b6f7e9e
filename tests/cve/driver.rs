// SPDX-License-Identifier: Apache-2.0
//! Runs the cases one after the other, each as a process of its own: in a mount namespace of its own,
//! for a limited time, in an arena that is removed whatever has happened.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::arena::{self, Arena};
use super::case::{Case, Stop};
use super::{common, weak};

/// Set where the hybrid machine's cgroup2 has to be hidden from the runtime.
const V1_VIEW: &str = "E2E_CGROUPS";

pub(crate) struct Options {
    pub(crate) filter: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) rounds: Option<u64>,
    /// Beyond the race's seconds.
    pub(crate) limit: Duration,
    pub(crate) markdown: bool,
    /// The runtime as it is.
    pub(crate) real: bool,
    /// The runtime weakened.
    pub(crate) weak: bool,
}

impl Options {
    /// From the command line; `seconds` and `limit` are what counts without a word.
    pub(crate) fn parse(args: &[String], seconds: f64, limit: Duration) -> Self {
        let (real, weak) = (true, true);
        let mut options =
            Self { filter: None, seconds, rounds: None, limit, markdown: false, real, weak };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|text| text.parse::<f64>().ok());
            match arg.as_str() {
                "--seconds" => options.seconds = number().expect("--seconds N"),
                "--rounds" => options.rounds = Some(number().expect("--rounds N") as u64),
                "--limit" => {
                    options.limit = Duration::from_secs_f64(number().expect("--limit N"));
                }
                "--no-weak" => options.weak = false,
                "--only-weak" => options.real = false,
                "--markdown" => options.markdown = true,
                // Options of the other test programs, which cargo hands to all.
                option if option.starts_with('-') => {}
                text => options.filter = Some(text.to_owned()),
            }
        }
        options
    }
}

enum Ending {
    Safe(String),
    Vulnerable(String),
    Skipped(String),
    Broken(String),
}

#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

pub(crate) fn run(cases: &[Case], options: &Options) -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIP: containers with namespaces and cgroups of their own need root");
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    }
    // What a case leaves running becomes a child of this process, and is killed as such.
    nix::sys::prctl::set_child_subreaper(true).expect("prctl PR_SET_CHILD_SUBREAPER");
    let wanted = |case: &&Case| options.filter.as_ref().is_none_or(|text| case.id.contains(text));
    let cases: Vec<&Case> = cases.iter().filter(wanted).collect();
    let mut count = Count::default();
    if cases.is_empty() {
        println!("0 passed, 0 failed, 0 skipped");
        return ExitCode::SUCCESS;
    }
    let Some(view) = probe(options) else { return ExitCode::FAILURE };
    if options.real {
        println!("== {} ({view})", common::runtime().display());
        for case in &cases {
            let (ending, _) = run_one(case.id, false, options, view);
            report(case, &ending, options, &mut count);
        }
    }
    if options.weak {
        println!("== the same runtime with each case's flaw: every case must notice");
        for case in &cases {
            let (ending, _) = run_one(case.id, true, options, view);
            notice(case, ending, &mut count);
        }
    }
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the runtime can run a plain container here, and with which view of cgroups.
fn probe(options: &Options) -> Option<&'static str> {
    let views = match std::env::var(V1_VIEW).as_deref() {
        Ok("v1") => &["v1 view of cgroups"][..],
        _ => &["the machine's cgroups", "v1 view of cgroups"][..],
    };
    let mut why = String::new();
    for view in views {
        match run_one("probe", false, options, view) {
            (Ending::Safe(_), _) => return Some(view),
            (_, output) => why = output,
        }
    }
    println!("{} runs no plain container here: {why}", common::runtime().display());
    None
}

fn report(case: &Case, ending: &Ending, options: &Options, count: &mut Count) {
    let (word, text) = match ending {
        Ending::Safe(note) => ("safe", note),
        Ending::Vulnerable(why) => ("VULNERABLE", why),
        Ending::Skipped(why) => ("skipped", why),
        Ending::Broken(why) => ("ERROR", why),
    };
    match ending {
        Ending::Safe(_) => count.passed += 1,
        Ending::Skipped(_) => count.skipped += 1,
        Ending::Vulnerable(_) | Ending::Broken(_) => count.failed += 1,
    }
    if options.markdown {
        println!("| {} | {} | {} | {word} |", case.id, case.who, case.attack);
    } else {
        let text = if text.is_empty() { String::new() } else { format!(": {text}") };
        println!("{:<15} {word}{text}", case.id);
    }
}

fn notice(case: &Case, ending: Ending, count: &mut Count) {
    match ending {
        Ending::Vulnerable(why) => {
            count.passed += 1;
            println!("{:<15} noticed: {why}", case.id);
        }
        Ending::Skipped(why) => {
            count.skipped += 1;
            println!("{:<15} skipped: {why}", case.id);
        }
        Ending::Safe(note) | Ending::Broken(note) => {
            count.failed += 1;
            println!("{:<15} NOT NOTICED: {note}", case.id);
        }
    }
}

/// The case in an arena of its own, which is gone afterwards.
fn run_one(id: &str, is_weak: bool, options: &Options, view: &str) -> (Ending, String) {
    let dir = std::env::temp_dir().join(format!("creel-cve-{}", std::process::id()));
    fs::create_dir(&dir).expect("make the arena");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    Arena::set_up(&dir);
    let runtime = copy_runtime(&dir, is_weak);
    let output = dir.join("output");
    let file = || fs::File::options().append(true).create(true).open(&output).expect("output");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["case", id]).stdin(Stdio::null()).stdout(file()).stderr(file());
    command
        .env("TMPDIR", &dir)
        .env(arena::DIR, &dir)
        .env("RUNTIME", &runtime)
        .env("RUST_BACKTRACE", "0");
    // Old runtimes know no later one.
    command.env("OCI_VERSION", "1.0.2");
    command.env(weak::CASE, id).env(weak::REAL, dir.join("runtime").join(name_of_runtime()));
    command.env(arena::SECONDS, options.seconds.to_string());
    if let Some(rounds) = options.rounds {
        command.env(arena::ROUNDS, rounds.to_string());
    }
    if view.starts_with("v1") {
        command.env(V1_VIEW, "v1");
    }
    let mut child = command.process_group(0).spawn().expect("start the case");
    let limit = options.limit + Duration::from_secs_f64(options.seconds * 3.0);
    let is_over = wait(&mut child, limit);
    let text = fs::read_to_string(&output).unwrap_or_default();
    let left = clear(&dir, &runtime, child.id());
    let ending = match (is_over, left) {
        (false, _) => Ending::Broken(format!("not over after {} s", limit.as_secs())),
        (true, Some(left)) => Ending::Broken(format!("left behind: {left}")),
        (true, None) => read(&text),
    };
    (ending, text)
}

fn name_of_runtime() -> std::ffi::OsString {
    common::runtime().file_name().expect("a file").to_owned()
}

/// The copy that is attacked, under its own name.
fn copy_runtime(dir: &Path, is_weak: bool) -> PathBuf {
    let copies = dir.join("runtime");
    fs::create_dir(&copies).expect("mkdir");
    let copy = copies.join(name_of_runtime());
    fs::copy(common::runtime(), &copy).expect("copy the runtime");
    if !is_weak {
        return copy;
    }
    let weak = copies.join(weak::NAME);
    symlink(std::env::current_exe().expect("this program"), &weak).expect("symlink");
    weak
}

/// The last line that `print` has written.
fn read(text: &str) -> Ending {
    let verdict = text.lines().rev().find_map(|line| line.strip_prefix("verdict "));
    let (word, rest) = verdict.and_then(|line| line.split_once(' ')).unwrap_or_default();
    let rest = rest.to_owned();
    match word {
        "safe" => Ending::Safe(rest),
        "vulnerable" => Ending::Vulnerable(rest),
        "skipped" => Ending::Skipped(rest),
        _ => Ending::Broken(text.trim().replace('\n', " / ")),
    }
}

/// In the case's process: prepares the mount namespace, runs it, prints what `read` reads.
pub(crate) fn case(run: fn(&Arena) -> super::case::Outcome) -> ExitCode {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
    if std::env::var(V1_VIEW).as_deref() == Ok("v1") {
        for place in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/hybrid"] {
            if Path::new(place).exists() {
                umount2(place, MntFlags::MNT_DETACH).expect("hide cgroup2");
            }
        }
    }
    let line = match run(&Arena::open()) {
        Ok(note) => format!("safe {note}"),
        Err(Stop::Vulnerable(why)) => format!("vulnerable {why}"),
        Err(Stop::Skipped(why)) => format!("skipped {why}"),
    };
    println!("\nverdict {}", line.replace('\n', " / "));
    ExitCode::SUCCESS
}

/// Whether it ended by itself.
fn wait(child: &mut Child, limit: Duration) -> bool {
    let begun = Instant::now();
    while child.try_wait().expect("wait").is_none() {
        if begun.elapsed() > limit {
            let _ = child.kill();
            child.wait().expect("wait");
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Deletes containers, kills processes, removes cgroups and the arena; tells what resisted.
fn clear(dir: &Path, runtime: &Path, case: u32) -> Option<String> {
    for (root, id) in containers(dir) {
        let mut delete = Command::new(runtime);
        delete.arg("--root").arg(root).args(["delete", "--force", &id]).current_dir(dir);
        delete.env(arena::DIR, dir).stdout(Stdio::null()).stderr(Stdio::null());
        delete.env(weak::REAL, dir.join("runtime").join(name_of_runtime()));
        delete.env(weak::CASE, "none");
        if let Ok(mut child) = delete.spawn() {
            wait(&mut child, Duration::from_secs(30));
        }
    }
    kill_children();
    for cgroup in cgroups(&format!("creel-test-{case}-")) {
        // Busy for a moment, until the kernel has let the last process go.
        for _ in 0..100 {
            match fs::remove_dir(&cgroup) {
                Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => break,
            }
        }
    }
    if let Err(error) = fs::remove_dir_all(dir) {
        return Some(format!("{}: {error}", dir.display()));
    }
    cgroups(&format!("creel-test-{case}-")).first().map(|path| path.display().to_string())
}

/// Root directory and id of each state directory that is left.
fn containers(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for bundle in fs::read_dir(dir).into_iter().flatten().flatten() {
        let root = bundle.path().join("state");
        for state in fs::read_dir(&root).into_iter().flatten().flatten() {
            found.push((root.clone(), state.file_name().to_string_lossy().into_owned()));
        }
    }
    found
}

/// Those that lost their parent in the case are this process's children by now.
fn kill_children() {
    for _ in 0..1000 {
        let path = format!("/proc/self/task/{}/children", std::process::id());
        let children = fs::read_to_string(path).unwrap_or_default();
        for pid in children.split_whitespace() {
            // ESRCH: it has ended by itself.
            let _ = kill(Pid::from_raw(pid.parse().expect("a pid")), Signal::SIGKILL);
        }
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(_) => return,
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(5)),
            Ok(_) => {}
        }
    }
}

fn cgroups(prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let pattern = format!("{prefix}*");
    let find = Command::new("find")
        .args(["/sys/fs/cgroup", "-depth", "-type", "d", "-name", &pattern])
        .output()
        .expect("find");
    found.extend(String::from_utf8_lossy(&find.stdout).lines().map(PathBuf::from));
    found
}
