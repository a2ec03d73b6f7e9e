// SPDX-License-Identifier: Apache-2.0
//! `hooks.*`: six points, each a list run in order with the container's state on standard input.
//! prestart, createRuntime, poststart and poststop run in the parent, createContainer and
//! startContainer in the clone. Output is captured and shown when a hook fails.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{SFlag, stat};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use crate::annotations::HOOKS_OUTPUT;
use crate::bail;
use crate::error::{Context, Error, Kind, Result};
use crate::{interrupt, log, oci};

/// The six points, by their names in config.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

/// Every point with its name, in the order of a container's life.
pub(crate) const POINTS: [(Point, &str); 6] = [
    (Point::Prestart, "prestart"),
    (Point::CreateRuntime, "createRuntime"),
    (Point::CreateContainer, "createContainer"),
    (Point::StartContainer, "startContainer"),
    (Point::Poststart, "poststart"),
    (Point::Poststop, "poststop"),
];

impl Point {
    pub(crate) fn name(self) -> &'static str {
        POINTS.iter().find(|(point, _)| *point == self).expect("POINTS has every point").1
    }
}

/// One hook, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    path: String,
    /// argv, argv[0] included; empty: the path alone.
    args: Vec<String>,
    /// None: the environment of who runs it.
    env: Option<Vec<(String, String)>>,
    timeout: Option<Duration>,
}

/// All hooks of a container.
#[derive(Debug, Default, Clone)]
pub(crate) struct Hooks {
    lists: [Vec<Hook>; 6],
    /// Standard output and error, where they are not captured.
    output: Output,
}

/// `run.oci.hooks.stdout` and `run.oci.hooks.stderr`: opened before the clone, which runs some of the
/// hooks and cannot reach them later.
type Output = [Option<Rc<(PathBuf, File)>>; 2];

impl Hooks {
    /// # Errors
    /// A path that is not absolute; a timeout that is not positive.
    pub(crate) fn plan(hooks: Option<&oci::Hooks<'_>>) -> Result<Self> {
        let Some(hooks) = hooks else { return Ok(Self::default()) };
        let lists = [
            &hooks.prestart,
            &hooks.create_runtime,
            &hooks.create_container,
            &hooks.start_container,
            &hooks.poststart,
            &hooks.poststop,
        ];
        let mut planned = Self::default();
        for ((list, planned), (_, name)) in lists.iter().zip(&mut planned.lists).zip(POINTS) {
            for (i, hook) in list.iter().enumerate() {
                planned.push(plan_hook(hook).context(|| format!("hooks.{name}[{i}]"))?);
            }
        }
        Ok(planned)
    }

    /// Opens the files that the annotations name, if there is a hook to write to them. Relative paths
    /// are of the bundle.
    pub(crate) fn write_to<'a>(
        &mut self,
        bundle: &Path,
        named: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<()> {
        if self.lists.iter().all(Vec::is_empty) {
            return Ok(());
        }
        for (output, name) in self.output.iter_mut().zip(HOOKS_OUTPUT) {
            let Some(path) = named(name) else { continue };
            let path = bundle.join(path);
            let mut options = OpenOptions::new();
            let file = options.create(true).append(true).mode(0o600).open(&path);
            let file = file.context(|| format!("annotations[{name}]: open {path:?}"))?;
            *output = Some(Rc::new((path, file)));
        }
        Ok(())
    }

    /// The descriptors of those files; -1 for one that is not there.
    pub(crate) fn output_numbers(&self) -> [RawFd; 2] {
        let number = |file: &Rc<(PathBuf, File)>| crate::sys::fd::number(file.1.as_fd());
        [0, 1].map(|i| self.output[i].as_ref().map_or(-1, number))
    }

    pub(crate) fn at(&self, point: Point) -> &[Hook] {
        &self.lists[point as usize]
    }

    pub(crate) fn has(&self, point: Point) -> bool {
        !self.at(point).is_empty()
    }

    /// Runs the hooks of a point in order; the first that fails ends it.
    pub(crate) fn run(&self, point: Point, state: &str, env: &DefaultEnv<'_>) -> Result<()> {
        for (i, hook) in self.at(point).iter().enumerate() {
            let begun = Instant::now();
            hook.run(state, env, &self.output).context(|| hook.clause(point, i))?;
            log::debug(|| format!("{} hook #{i}: {:?}", point.name(), begun.elapsed()));
        }
        Ok(())
    }

    /// For `check`: hooks whose file is not there or cannot be executed, each with its point and place.
    /// Those of startContainer are in the container's root, for `in_root` to say the mode of.
    pub(crate) fn foresee(
        &self,
        in_root: impl Fn(&str) -> Option<Result<u32, Errno>>,
    ) -> Vec<(Point, usize, Error)> {
        let mut found = Vec::new();
        for (point, _) in POINTS {
            for (i, hook) in self.at(point).iter().enumerate() {
                let mode = match point {
                    Point::StartContainer => in_root(&hook.path),
                    _ => Some(stat(hook.path.as_str()).map(|stat| stat.st_mode)),
                };
                let outcome = match mode {
                    None => Ok(()),
                    Some(Err(errno)) => Err(errno),
                    Some(Ok(mode)) if is_program(mode) => Ok(()),
                    Some(Ok(_)) => Err(Errno::EACCES),
                };
                if let Err(error) = outcome.context(|| hook.clause(point, i)) {
                    found.push((point, i, error));
                }
            }
        }
        found
    }

    /// Runs every poststop hook; a failure is a warning (runtime.md#lifecycle, step 13).
    pub(crate) fn run_poststop(&self, state: &str) {
        for (i, hook) in self.at(Point::Poststop).iter().enumerate() {
            if let Err(error) = hook.run(state, &DefaultEnv::Own, &self.output) {
                log::warn(&format!("{}: {error}", hook.clause(Point::Poststop, i)));
            }
        }
    }
}

/// The environment of hooks that name none.
#[derive(Debug)]
pub(crate) enum DefaultEnv<'a> {
    /// That of this process.
    Own,
    /// The container's, as `NAME=value` (startContainer, as runc).
    Given(&'a [std::ffi::CString]),
}

/// Of a file's mode: whether somebody may execute it.
pub(crate) fn is_program(mode: u32) -> bool {
    mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits() && mode & 0o111 != 0
}

fn plan_hook(hook: &oci::Hook<'_>) -> Result<Hook> {
    if !hook.path.starts_with('/') {
        bail!(".path: {:?} is not absolute", &*hook.path);
    }
    let timeout = match hook.timeout {
        None => None,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Some(Duration::from_secs(seconds)),
            _ => bail!(".timeout: {seconds} is not greater than zero"),
        },
    };
    let pair = |text: &oci::Str<'_>| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text.to_string(), String::new()),
    };
    Ok(Hook {
        path: hook.path.to_string(),
        args: hook.args.iter().map(ToString::to_string).collect(),
        env: hook.env.as_ref().map(|env| env.iter().map(pair).collect()),
        timeout,
    })
}

impl Hook {
    /// As runc begins it, and which program that was.
    fn clause(&self, point: Point, i: usize) -> String {
        format!("error running {} hook #{i}: {:?}", point.name(), self.path)
    }

    fn run(&self, state: &str, env: &DefaultEnv<'_>, files: &Output) -> Result<()> {
        let mut child = self.command(env, files)?.spawn()?;
        let mut output = [Vec::new(), Vec::new()];
        let done = self.converse(&mut child, state.as_bytes(), &mut output);
        if done.is_err() {
            // The group: what the hook started must not outlive it and hold the pipes.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
        }
        let status = child.wait().context(|| "wait")?;
        let mut failure = match done {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => error.to_string(),
            Ok(()) if status.success() => return Ok(()),
            Ok(()) => describe(status),
        };
        for ((stream, bytes), file) in ["stdout", "stderr"].into_iter().zip(&output).zip(files) {
            failure.push_str(&match file {
                Some(file) => format!(", {stream} is in {:?}", file.0),
                None => said(stream, bytes),
            });
        }
        Err(Error::text(failure))
    }

    fn command(&self, env: &DefaultEnv<'_>, files: &Output) -> Result<Command> {
        let mut command = Command::new(&self.path);
        if let Some((first, rest)) = self.args.split_first() {
            command.arg0(first).args(rest);
        }
        match (&self.env, env) {
            (Some(pairs), _) => {
                command.env_clear().envs(pairs.iter().map(|(n, v)| (n, v)));
            }
            (None, DefaultEnv::Own) => {}
            (None, DefaultEnv::Given(list)) => {
                let pairs = list.iter().filter_map(|entry| entry.to_str().ok()?.split_once('='));
                command.env_clear().envs(pairs);
            }
        }
        let [stdout, stderr] = files.each_ref().map(|file| match file {
            Some(file) => file.1.try_clone().map(Stdio::from),
            None => Ok(Stdio::piped()),
        });
        command.stdin(Stdio::piped()).stdout(stdout?).stderr(stderr?).process_group(0);
        Ok(command)
    }

    /// Feeds the state, collects the output, until both output pipes close or time is up. A hook that
    /// leaves a daemon behind with its pipes is done when it has ended itself, unless the container's
    /// seccomp filter, under which startContainer hooks run, keeps us from seeing its end.
    fn converse(&self, child: &mut Child, state: &[u8], output: &mut [Vec<u8>; 2]) -> Result<()> {
        let deadline = self.timeout.map(|t| Instant::now() + t);
        let pid = Pid::from_raw(child.id().cast_signed());
        let pidfd = match crate::sys::pidfd::pidfd_open(pid) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::ENOSYS | Errno::EPERM) => None,
            Err(errno) => return Err(errno).context(|| "pidfd_open"),
        };
        let held = interrupt::Held::if_caught()?;
        let mut stdin = child.stdin.take();
        let mut stdout = child.stdout.take();
        let mut stderr = child.stderr.take();
        let mut left = state;
        loop {
            let open = [
                (pidfd.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
                (stdin.as_ref().map(AsFd::as_fd), PollFlags::POLLOUT),
                (stdout.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
                (stderr.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
            ];
            let Some([ended, takes, has_out, has_err]) = ready(open, deadline, held.as_ref())?
            else {
                bail!("timed out after {:?}", self.timeout.expect("only a timeout ends the wait"));
            };
            if takes {
                left = feed(&mut stdin, left);
            }
            collect(&mut stdout, has_out, &mut output[0]);
            collect(&mut stderr, has_err, &mut output[1]);
            let is_quiet = stdout.is_none() && stderr.is_none();
            if ended && (is_quiet || !has_out && !has_err) || is_quiet && pidfd.is_none() {
                return Ok(());
            }
        }
    }
}

/// Which of the open ones are ready; None when time is up.
fn ready(
    open: [(Option<BorrowedFd<'_>>, PollFlags); 4],
    deadline: Option<Instant>,
    held: Option<&interrupt::Held>,
) -> Result<Option<[bool; 4]>> {
    let fds = open.iter().filter_map(|(fd, flag)| fd.map(|fd| PollFd::new(fd, *flag)));
    let mut fds: Vec<_> = fds.collect();
    if wait(&mut fds, deadline, held)? == 0 {
        return Ok(None);
    }
    let mut events = fds.iter().map(|fd| fd.revents().is_some_and(|r| !r.is_empty()));
    let mut next = || events.next().expect("one of each open descriptor");
    Ok(Some(open.map(|(fd, _)| fd.is_some() && next())))
}

fn wait(
    fds: &mut [PollFd<'_>],
    deadline: Option<Instant>,
    held: Option<&interrupt::Held>,
) -> Result<i32> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let polled = match held {
            Some(held) => ppoll(fds, left.map(TimeSpec::from_duration), Some(held.mask())),
            // In the clone: the container's seccomp filter may not know ppoll.
            None => poll(
                fds,
                left.map_or(PollTimeout::NONE, |left| {
                    PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
                }),
            ),
        };
        match polled {
            Err(Errno::EINTR) => interrupt::check()?,
            Ok(0) if deadline.is_some_and(|at| Instant::now() < at) => {}
            other => return other.context(|| "poll"),
        }
    }
}

/// Writes what the pipe takes; a hook need not read its input.
fn feed<'a>(stdin: &mut Option<std::process::ChildStdin>, left: &'a [u8]) -> &'a [u8] {
    let pipe = stdin.as_mut().expect("checked by the caller");
    // A pipe that polls writable takes a page without blocking.
    match pipe.write(&left[..left.len().min(4096)]) {
        Ok(n) if n < left.len() => &left[n..],
        _ => {
            *stdin = None;
            &[]
        }
    }
}

fn collect(pipe: &mut Option<impl Read>, is_ready: bool, into: &mut Vec<u8>) {
    let Some(open) = pipe.as_mut().filter(|_| is_ready) else { return };
    let mut buffer = [0_u8; 4096];
    match open.read(&mut buffer) {
        Ok(n) if n > 0 => into.extend_from_slice(&buffer[..n]),
        _ => *pipe = None,
    }
}

/// What the hook wrote, as part of the one line: line ends are shown as they are written in C.
pub(crate) fn said(stream: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.trim() {
        "" => String::new(),
        text => format!(", {stream}: {}", text.replace('\n', "\\n")),
    }
}

/// As Go words it: `exit status 1`, `signal: killed`, `signal: bad system call (core dumped)`.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => {
            let core = if status.core_dumped() { " (core dumped)" } else { "" };
            format!("signal: {}{core}", uncapitalized(crate::sys::strsignal(signal)))
        }
        (None, None) => Error::text("ended").to_string(),
    }
}

/// `Killed` to `killed`, but neither `I/O possible` nor `CPU time limit exceeded`.
fn uncapitalized(mut text: String) -> String {
    if text.as_bytes().get(1).is_some_and(u8::is_ascii_lowercase) {
        text[..1].make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(json: &str) -> Result<Hooks> {
        Hooks::plan(Some(&oci::parse::<oci::Hooks<'_>>(json).unwrap()))
    }

    fn run(json: &str) -> Result<()> {
        hooks(json)?.run(Point::Prestart, r#"{"id":"x"}"#, &DefaultEnv::Own)
    }

    #[test]
    fn relative_paths_and_zero_timeouts_are_refused_by_name() {
        let error = |json| hooks(json).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"poststop":[{"path":"a"}]}"#),
            "hooks.poststop[0].path: \"a\" is not absolute"
        );
        assert_eq!(
            error(r#"{"prestart":[{"path":"/a"},{"path":"/b","timeout":0}]}"#),
            "hooks.prestart[1].timeout: 0 is not greater than zero"
        );
    }

    #[test]
    fn the_state_arrives_and_output_is_shown_on_failure() {
        let sh = r#"{"prestart":[{"path":"/bin/sh","args":["sh","-c","cat; (echo no; echo no) >&2; exit 3"]}]}"#;
        assert_eq!(
            run(sh).unwrap_err().to_string(),
            "error running prestart hook #0: \"/bin/sh\": exit status 3, stdout: {\"id\":\"x\"}, stderr: no\\nno"
        );
    }

    #[test]
    fn output_goes_to_the_files_that_the_annotations_name() {
        let dir = std::env::temp_dir().join(format!("creel-hooks-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let sh = r#"{"poststart":[{"path":"/bin/sh","args":["sh","-c","echo out; echo err >&2; exit 3"]}]}"#;
        let mut hooks = hooks(sh).unwrap();
        let named = |name: &str| Some(if name == HOOKS_OUTPUT[0] { "out" } else { "err" });
        hooks.write_to(&dir, named).unwrap();
        for _ in 0..2 {
            let error = hooks.run(Point::Poststart, "{}", &DefaultEnv::Own).unwrap_err();
            let files =
                format!("stdout is in {:?}, stderr is in {:?}", dir.join("out"), dir.join("err"));
            assert!(error.to_string().ends_with(&format!("exit status 3, {files}")), "{error}");
        }
        let read = |name| std::fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!((read("out").as_str(), read("err").as_str()), ("out\nout\n", "err\nerr\n"));
        std::fs::remove_dir_all(&dir).unwrap();
        let error = hooks.write_to(&dir, named).unwrap_err().to_string();
        assert!(error.starts_with("annotations[run.oci.hooks.stdout]: open "), "{error}");
        assert!(Hooks::default().write_to(&dir, named).is_ok(), "without hooks nothing is opened");
    }

    #[test]
    fn a_hook_may_ignore_its_input_and_leave_a_daemon_behind() {
        run(r#"{"prestart":[{"path":"/bin/true"}]}"#).unwrap();
        run(r#"{"prestart":[{"path":"/bin/sh","args":["sh","-c","sleep 1 &"]}]}"#).unwrap();
    }

    #[test]
    fn a_timeout_kills_the_hook_and_what_it_started() {
        let begun = Instant::now();
        let sh =
            r#"{"prestart":[{"path":"/bin/sh","args":["sh","-c","sleep 60; true"],"timeout":1}]}"#;
        let error = run(sh).unwrap_err().to_string();
        assert!(error.contains("timed out after 1s"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn env_is_exactly_what_the_hook_names() {
        let sh = r#"{"prestart":[{"path":"/usr/bin/env","env":["A=b"]}, {"path":"/bin/false"}]}"#;
        let error = run(sh).unwrap_err().to_string();
        assert_eq!(error, "error running prestart hook #1: \"/bin/false\": exit status 1");
    }
}
