//! One process per case: the parent limits its time, and cleans up after any end of it.
// SPDX-License-Identifier: Apache-2.0

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, sigprocmask};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::case::{Case, Stop};
use crate::cases;
use crate::cgroupfs;
use crate::runtime::Runtime;
use crate::stage::Stage;

const CASE_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

#[derive(Debug)]
pub(crate) struct Supervisor {
    runtime: PathBuf,
    base: PathBuf,
    stops: SigSet,
}

fn is_static(program: &Path) -> Result<bool, String> {
    let mut head = vec![0_u8; 4096];
    let read = fs::File::open(program).and_then(|mut file| file.read(&mut head));
    read.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(is_without_interp(&head))
}

/// Looks for PT_INTERP in the program headers of a 64-bit little-endian ELF file.
fn is_without_interp(data: &[u8]) -> bool {
    let word = |at: usize, size: usize| {
        let bytes = data.get(at..at + size).unwrap_or(&[]);
        bytes.iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (start, size, count) = (word(32, 8), word(54, 2), word(56, 2));
    data.starts_with(b"\x7fELF") && !(0..count).any(|index| word(start + index * size, 4) == 3)
}

/// Whatever a runtime does to mounts outside its container stays with this program.
fn leave_mounts() -> Result<(), String> {
    let none = None::<&str>;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| format!("unshare: {errno}"))?;
    mount(none, "/", none, flags, none).map_err(|errno| format!("make / private: {errno}"))
}

/// The checker that was built with this program.
pub(crate) fn inside() -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| format!("/proc/self/exe: {error}"))?;
    let program = env::var_os("INSIDE").map_or_else(|| own.with_file_name("inside"), PathBuf::from);
    if is_static(&program)? {
        Ok(program)
    } else {
        Err(format!(
            "{} is not static: build with -C target-feature=+crt-static",
            program.display()
        ))
    }
}

impl Supervisor {
    pub(crate) fn new(runtime: PathBuf) -> Result<Supervisor, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("the cases need root".into());
        }
        inside()?;
        leave_mounts()?;
        let mut stops = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            stops.add(signal);
        }
        // Looked at between polls, so that an interrupted run cleans up too.
        stops.thread_block().map_err(|errno| errno.to_string())?;
        let base = env::temp_dir().join(format!("conformance-{}", std::process::id()));
        Ok(Supervisor { runtime, base, stops })
    }

    pub(crate) fn run(&self, case: &Case) -> Result<Verdict, String> {
        fs::create_dir(&self.base).map_err(|error| format!("{}: {error}", self.base.display()))?;
        let ended = self.spawn(case).and_then(|child| self.wait(child));
        let verdict = fs::read_to_string(self.base.join("verdict"));
        let left = clean(&self.runtime, &self.base);
        if let Some(text) = ended? {
            return Ok(Verdict::Failed(text));
        }
        let verdict: Value = verdict
            .map_err(|error| error.to_string())
            .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()))
            .unwrap_or_else(|error| json!({"failed": format!("no verdict: {error}")}));
        let text = |key: &str| verdict[key].as_str().map(str::to_owned);
        Ok(match (text("failed"), text("skipped")) {
            (Some(why), _) => Verdict::Failed(why),
            (None, Some(why)) => Verdict::Skipped(why),
            (None, None) if left.is_empty() => Verdict::Passed,
            (None, None) => Verdict::Failed(format!("left behind: {}", left.join(", "))),
        })
    }

    fn spawn(&self, case: &Case) -> Result<Child, String> {
        let own = env::current_exe().map_err(|error| format!("/proc/self/exe: {error}"))?;
        let mut command = Command::new(own);
        command.arg("--case").arg(case.name).arg(&self.runtime).arg(&self.base);
        command.stdin(Stdio::null()).process_group(0);
        command.spawn().map_err(|error| format!("start {}: {error}", case.name))
    }

    /// None if the case ended by itself, else what stopped it.
    fn wait(&self, mut child: Child) -> Result<Option<String>, String> {
        let begun = Instant::now();
        let stop = |child: &mut Child| {
            // The group has the runtime's commands of this case and nothing else.
            let _ =
                i32::try_from(child.id()).map(|pid| killpg(Pid::from_raw(pid), Signal::SIGKILL));
            let _ = child.wait();
        };
        loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(None),
                Some(status) => return Ok(Some(format!("the case ended with {status}"))),
                None => {}
            }
            if begun.elapsed() > CASE_LIMIT {
                stop(&mut child);
                return Ok(Some(format!("the case took over {CASE_LIMIT:?}")));
            }
            if self.is_interrupted() {
                stop(&mut child);
                clean(&self.runtime, &self.base);
                return Err("interrupted".into());
            }
            thread::sleep(Duration::from_millis(3));
        }
    }

    fn is_interrupted(&self) -> bool {
        let pending = conformance::proc::status("self", "ShdPnd").unwrap_or_default();
        let pending = u64::from_str_radix(&pending, 16).unwrap_or(0);
        self.stops.iter().any(|signal| pending & 1 << (signal as u64 - 1) != 0)
    }
}

/// Deletes the case's containers by the runtime, then whatever that left, and tells what it was.
fn clean(runtime: &Path, dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    let mut runtime = Runtime::new(runtime.to_owned(), dir);
    for entry in fs::read_dir(&runtime.root).into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().is_dir() || id.starts_with('.') {
            continue;
        }
        let label = format!("clean-{id}");
        // A failure shows in what is left.
        let _ = runtime.call_named(&label, &["delete", "--force", &id], None);
        if entry.path().exists() {
            left.push(format!("state of {id}"));
        }
    }
    for cgroup in cgroupfs::left(&cgroup_name(dir)) {
        let used = fs::read_dir(&cgroup).into_iter().flatten().flatten();
        let below = used.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        left.extend(below.map(|entry| format!("cgroup {}", entry.path().display())));
        cgroupfs::remove(&cgroup);
    }
    left.extend(unmount(dir));
    if let Err(error) = fs::remove_dir_all(dir) {
        left.push(format!("{}: {error}", dir.display()));
    }
    left
}

/// Mounts of the host's namespace below the case's directory.
fn unmount(dir: &Path) -> Vec<String> {
    let mounts = conformance::proc::mounts("self").unwrap_or_default();
    let below = mounts.iter().rev().filter(|mount| Path::new(&mount.point).starts_with(dir));
    below
        .map(|mount| {
            let done = nix::mount::umount2(mount.point.as_str(), nix::mount::MntFlags::MNT_DETACH);
            format!("mount {} ({done:?})", mount.point)
        })
        .collect()
}

/// The cgroup that holds all of a case's containers.
pub(crate) fn cgroup_name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The process of one case.
pub(crate) fn case_main(name: &str, runtime: PathBuf, dir: PathBuf) -> Result<(), String> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|errno| errno.to_string())?;
    // Containers become children of this process: it sees them end.
    nix::sys::prctl::set_child_subreaper(true).map_err(|errno| errno.to_string())?;
    let case = cases::find(name).ok_or_else(|| format!("no case {name}"))?;
    let mut stage = Stage::new(runtime, dir.clone())?;
    let verdict = match case.perform(&mut stage) {
        Ok(()) => json!({}),
        Err(Stop::Failed(why)) => json!({"failed": why}),
        Err(Stop::Skipped(why)) => json!({"skipped": why}),
    };
    fs::write(dir.join("verdict"), verdict.to_string()).map_err(|error| error.to_string())
}
