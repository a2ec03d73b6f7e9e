//! Runs the already built programs of the upstream validation suite and holds their outcome
//! against expected.txt. A surprise in either direction fails.
//!
//! `upstream DIR [FILTER...]`: DIR is laid out as upstream's Makefile leaves it. The runtime comes
//! from `RUNTIME`, the expectations from `EXPECTED` (default: expected.txt beside Cargo.toml).
// SPDX-License-Identifier: Apache-2.0

mod expect;
mod tap;

use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use expect::{Expectation, Expectations};

/// Several programs wait for ten seconds more than once.
const LIMIT: Duration = Duration::from_secs(150);

/// validation/NAME/NAME.t, by name.
fn programs(dir: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let folder = dir.join("validation");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let program = entry.path().join(format!("{name}.t"));
            program.is_file().then_some((name, program))
        })
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(format!("{} has no built programs", folder.display()));
    }
    for needed in ["runtimetest", "rootfs-amd64.tar.gz"] {
        if cfg!(target_arch = "x86_64") && !dir.join(needed).is_file() {
            return Err(format!("{} is missing", dir.join(needed).display()));
        }
    }
    Ok(found)
}

/// One of the programs makes a container without a mount namespace and leaves its mounts.
fn leave_mounts() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| format!("unshare: {errno}"))?;
    let none = None::<&str>;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, flags, none).map_err(|errno| format!("make / private: {errno}"))
}

struct Runner {
    dir: PathBuf,
    runtime: PathBuf,
    /// Bundles and outputs; removed at the end.
    scratch: PathBuf,
}

impl Runner {
    /// The strict outcome: None for a pass, else why not.
    fn run(&self, name: &str, program: &Path) -> Result<Option<String>, String> {
        let path = |kind: &str| self.scratch.join(format!("{name}.{kind}"));
        let open =
            |kind: &str| File::create(path(kind)).map_err(|error| format!("{kind}: {error}"));
        let mut child = Command::new(program)
            .current_dir(&self.dir)
            .env("RUNTIME", &self.runtime)
            .env("TMPDIR", &self.scratch)
            .stdin(Stdio::null())
            .stdout(open("out")?)
            .stderr(open("err")?)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                break status;
            }
            if begun.elapsed() > LIMIT {
                // The group is the program and the runtime's commands that it started.
                let group = i32::try_from(child.id()).map_err(|error| error.to_string())?;
                killpg(Pid::from_raw(group), Signal::SIGKILL).map_err(|errno| errno.to_string())?;
                child.wait().map_err(|error| error.to_string())?;
                return Ok(Some(format!("ran over {LIMIT:?}")));
            }
            thread::sleep(Duration::from_millis(5));
        };
        let text = |kind: &str| fs::read_to_string(path(kind)).unwrap_or_default();
        Ok(tap::judge(status.code(), &text("out"), &text("err")))
    }
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
    really_passed: usize,
}

fn tally(name: &str, outcome: Option<String>, expected: Option<&Expectation>, counts: &mut Counts) {
    counts.really_passed += usize::from(outcome.is_none());
    let surprise = match (&outcome, expected) {
        (None, Some(Expectation::Pass)) => {
            println!("ok {name}");
            None
        }
        (Some(why), Some(Expectation::Fail(reason))) => {
            println!("ok {name}: fails as expected ({why}): {reason}");
            None
        }
        (outcome, Some(Expectation::Either(reason))) => {
            let seen = outcome.as_deref().unwrap_or("passed");
            println!("ok {name}: {seen} this time: {reason}");
            None
        }
        (None, Some(Expectation::Fail(reason))) => {
            Some(format!("passes, expected to fail: {reason}"))
        }
        (Some(why), Some(Expectation::Pass)) => Some(why.clone()),
        (_, Some(Expectation::Skip(_)) | None) => Some("not in the expectations".to_owned()),
    };
    match surprise {
        None => counts.passed += 1,
        Some(text) => {
            println!("not ok {name}: {text}");
            counts.failed += 1;
        }
    }
}

fn run(dir: &Path, filters: &[String]) -> Result<bool, String> {
    let programs = programs(dir)?;
    let file = env::var_os("EXPECTED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("expected.txt"), PathBuf::from);
    let expectations = Expectations::load(&file)?;
    expectations.check_names(programs.iter().map(|(name, _)| name.as_str()))?;
    let runtime = env::var_os("RUNTIME").map(PathBuf::from).ok_or("RUNTIME is not set")?;
    // The programs run in DIR, where a relative path would lead elsewhere; a bare name is looked up.
    let runtime = if runtime.components().count() > 1 {
        std::path::absolute(&runtime).map_err(|error| error.to_string())?
    } else {
        runtime
    };
    leave_mounts()?;
    let scratch = env::temp_dir().join(format!("upstream-{}", std::process::id()));
    fs::create_dir(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    let dir = std::path::absolute(dir).map_err(|error| error.to_string())?;
    let runner = Runner { dir, runtime, scratch };
    let mut counts = Counts::default();
    let cgroups_before = cgroups();
    for (name, program) in &programs {
        if !filters.is_empty() && !filters.iter().any(|word| name.contains(word)) {
            continue;
        }
        if let Some(Expectation::Skip(reason)) = expectations.of(name) {
            println!("ok {name} # SKIP {reason}");
            counts.skipped += 1;
            continue;
        }
        let outcome = runner.run(name, program)?;
        tally(name, outcome, expectations.of(name), &mut counts);
    }
    remove_cgroups(&cgroups_before);
    unmount_below(&runner.scratch)?;
    fs::remove_dir_all(&runner.scratch)
        .map_err(|error| format!("{}: {error}", runner.scratch.display()))?;
    println!(
        "# {} programs passed by strict counting, of {}",
        counts.really_passed,
        programs.len()
    );
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    Ok(counts.failed == 0)
}

/// The parents of the suite's own cgroup paths, which runtimes leave as they leave any parent.
const CGROUPS: [&str; 3] = ["testdir/cgrouptest", "testdir", "cgrouptest"];

/// Those of them that are there, in every hierarchy.
fn cgroups() -> Vec<PathBuf> {
    let mounts = conformance::proc::mounts("self").unwrap_or_default();
    let is_cgroup = |kind: &str| matches!(kind, "cgroup" | "cgroup2");
    let hierarchies = mounts.iter().filter(|mount| is_cgroup(&mount.fstype));
    let dirs = hierarchies.flat_map(|mount| CGROUPS.map(|name| Path::new(&mount.point).join(name)));
    dirs.filter(|dir| dir.is_dir()).collect()
}

/// Removes what the run has brought; a directory in use stays, and is told.
fn remove_cgroups(before: &[PathBuf]) {
    for dir in cgroups().iter().filter(|dir| !before.contains(dir)) {
        if let Err(error) = fs::remove_dir(dir) {
            eprintln!("upstream: {}: {error}", dir.display());
        }
    }
}

/// In this program's own mount namespace.
fn unmount_below(dir: &Path) -> Result<(), String> {
    let mounts = conformance::proc::mounts("self").map_err(|error| error.to_string())?;
    for mount in mounts.iter().rev().filter(|mount| Path::new(&mount.point).starts_with(dir)) {
        nix::mount::umount2(mount.point.as_str(), nix::mount::MntFlags::MNT_DETACH)
            .map_err(|errno| format!("unmount {}: {errno}", mount.point))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some((dir, filters)) = args.split_first() else {
        eprintln!("upstream: usage: upstream DIR [FILTER...]");
        return ExitCode::from(2);
    };
    match run(Path::new(dir), filters) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("upstream: {error}");
            ExitCode::from(2)
        }
    }
}
