//! The runtime's command line, and how long it may take.
// SPDX-License-Identifier: Apache-2.0

use std::env;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Outcome, Stop};

/// No command of a runtime takes this long; one that does is killed and the case fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// `RUNTIME` as a path or a name, else creel beside this program or in PATH.
pub(crate) fn find() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os("RUNTIME").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        return if named.components().count() > 1 {
            std::path::absolute(&named).map_err(|error| format!("{}: {error}", named.display()))
        } else {
            in_path(&named).ok_or_else(|| format!("{} is not in PATH", named.display()))
        };
    }
    let own = env::current_exe().map_err(|error| format!("/proc/self/exe: {error}"))?;
    let beside = own.with_file_name("creel");
    let found = if beside.is_file() { Some(beside) } else { in_path(Path::new("creel")) };
    found.ok_or_else(|| "no creel beside this program or in PATH: set RUNTIME".into())
}

fn in_path(name: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    words: String,
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.status.success()
    }

    pub(crate) fn must_pass(self) -> Outcome<Answer> {
        if self.is_ok() { Ok(self) } else { Err(Stop::Failed(self.tell())) }
    }

    /// An error is a plain exit status other than 0 and a word about it: death by a signal is a
    /// crash, not an answer.
    pub(crate) fn must_fail(self, rule: &str) -> Outcome<Answer> {
        if let Some(signal) = self.status.signal() {
            return Err(Stop::Failed(format!("{}: killed by signal {signal}", self.words)));
        }
        if self.is_ok() {
            Err(Stop::Failed(format!("`{}` passed: {rule}", self.words)))
        } else if self.stderr.trim().is_empty() && self.stdout.trim().is_empty() {
            Err(Stop::Failed(format!("`{}` failed without a word", self.words)))
        } else {
            Ok(self)
        }
    }

    fn tell(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        format!("`{}`: {}: {}", self.words, self.status, text.trim())
    }
}

#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) program: PathBuf,
    /// Of this case alone, so that nothing else's containers are seen or touched.
    pub(crate) root: PathBuf,
    pub(crate) logs: PathBuf,
    count: usize,
}

impl Runtime {
    pub(crate) fn new(program: PathBuf, dir: &Path) -> Runtime {
        Runtime { program, root: dir.join("state"), logs: dir.join("logs"), count: 0 }
    }

    pub(crate) fn call(&mut self, words: &[&str]) -> Outcome<Answer> {
        self.count += 1;
        let label = format!("{}-{}", self.count, words.first().unwrap_or(&"none"));
        self.call_named(&label, words, None)
    }

    /// Output goes to files: a container that keeps a pipe open could otherwise hang the driver.
    pub(crate) fn call_named(
        &mut self,
        label: &str,
        words: &[&str],
        cwd: Option<&Path>,
    ) -> Outcome<Answer> {
        let (out, err) = self.streams(label);
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).args(words).stdin(Stdio::null());
        command.stdout(File::create_new(&out)?).stderr(File::create_new(&err)?);
        if let Some(cwd) = cwd {
            command.current_dir(cwd);
        }
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                return Err(Stop::Failed(format!("`{}` took over {LIMIT:?}", words.join(" "))));
            }
            thread::sleep(Duration::from_millis(2));
        };
        let read =
            |path: &Path| fs::read(path).map(|data| String::from_utf8_lossy(&data).into_owned());
        Ok(Answer {
            status,
            stdout: read(&out)?,
            stderr: read(&err)?,
            took: begun.elapsed(),
            words: words.join(" "),
        })
    }

    /// The files of one command, which a container keeps writing to after it.
    pub(crate) fn streams(&self, label: &str) -> (PathBuf, PathBuf) {
        (self.logs.join(format!("{label}.out")), self.logs.join(format!("{label}.err")))
    }
}
