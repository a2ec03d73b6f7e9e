// SPDX-License-Identifier: Apache-2.0
//! `--log`, `--log-format`, `--debug`: lines as logrus writes them, which managers parse.
//! One append-only descriptor, opened once, shared with the clone; without `--log` it is stderr. As with
//! crun it can be a socket of journald's or syslog's, which take one line a datagram.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use crate::error::{Context, Error, Result};
use crate::json::Json;
use crate::time::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug)]
struct Log {
    /// None: stderr.
    file: Option<File>,
    /// The file is a copy of the runtime's stderr, from when stderr became the container's.
    is_copy: bool,
    target: Target,
    format: Format,
    /// The least urgent that is written.
    level: Level,
    /// For lines on a terminal, which show seconds since the start.
    start: Option<Instant>,
}

impl Log {
    const STDERR: Self = Self {
        file: None,
        is_copy: false,
        target: Target::Lines,
        format: Format::Text,
        level: Level::Warning,
        start: None,
    };
}

/// Who reads what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// Lines in `Log::format`.
    Lines,
    /// journald, under this name.
    Journald(String),
    Syslog(String),
}

/// Where `--log` leads.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    target: Target,
}

impl Sink {
    /// `[file:]PATH`, `journald:NAME`, `syslog:NAME`.
    pub(crate) fn open(to: &str) -> Result<Self> {
        let named = |name: &str| if name.is_empty() { "creel".to_owned() } else { name.to_owned() };
        let (path, target) = match to.split_once(':') {
            Some(("journald", name)) => (JOURNALD, Target::Journald(named(name))),
            Some(("syslog", name)) => (SYSLOG, Target::Syslog(named(name))),
            Some(("file", path)) => (path, Target::Lines),
            _ => (to, Target::Lines),
        };
        let file = match target {
            Target::Lines => open(Path::new(path))?,
            Target::Journald(_) | Target::Syslog(_) => {
                connect(path).context(|| format!("--log {to}"))?
            }
        };
        Ok(Self { file, target })
    }
}

const JOURNALD: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

fn connect(path: &str) -> Result<File> {
    let doing = || format!("connect to {path}");
    let socket = UnixDatagram::unbound().context(doing)?;
    socket.connect(path).context(doing)?;
    Ok(OwnedFd::from(socket).into())
}

thread_local! {
    // Without destructors: to have them called, the C library's allocator would be started.
    static LOG: RefCell<ManuallyDrop<Log>> =
        const { RefCell::new(ManuallyDrop::new(Log::STDERR)) };
    static COLLECTED: RefCell<ManuallyDrop<Option<Vec<String>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Opens the file of `--log`, made 0644 if absent. Each line reaches the disk before the next step,
/// because a manager reads the file after the process is gone.
fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o644).custom_flags(libc::O_SYNC);
    options.open(path).context(|| format!("open {}", path.display()))
}

/// Sets where lines go; called once, before anything can log.
pub(crate) fn set_up(sink: Option<Sink>, format: Format, level: Level) {
    let start = Some(Instant::now());
    let (file, target) = match sink {
        Some(Sink { file, target }) => (Some(file), target),
        None => (None, Target::Lines),
    };
    let log = Log { file, target, format, level, start, ..Log::STDERR };
    LOG.with_borrow_mut(|old| **old = log);
}

/// Whether lines go to stderr (and an error need not be printed there again).
pub(crate) fn is_stderr() -> bool {
    LOG.with_borrow(|log| log.file.is_none())
}

/// In the clone, before standard error becomes the container's: lines go on to the runtime's own.
pub(crate) fn leave_stderr(_: &crate::sys::Inside) {
    LOG.with_borrow_mut(|log| {
        if log.file.is_none() {
            // Without a copy, lines reach the container's terminal: better than nowhere.
            log.file = std::io::stderr().as_fd().try_clone_to_owned().ok().map(File::from);
            log.is_copy = log.file.is_some();
        }
    });
}

/// In the clone that waits for `start`: lets go of the copy of stderr, whose end the caller of `create`
/// may wait for; nobody reads it any more. The number of the log file's descriptor; -1 for none.
pub(crate) fn outlive_create(_: &crate::sys::Inside) -> i32 {
    LOG.with_borrow_mut(|log| {
        if log.is_copy {
            log.file = None;
        }
        log.file.as_ref().map_or(-1, |file| crate::sys::fd::number(file.as_fd()))
    })
}

/// The one report of a failed command: a line in the log and, where that is a file, the message on
/// stderr too.
pub(crate) fn fatal(failure: &Error) {
    let message = failure.to_string();
    error(&message);
    if !is_stderr() {
        // stderr may be closed; the log has the message.
        let _ = writeln!(std::io::stderr(), "{message}");
    }
}

pub(crate) fn error(message: &str) {
    line(Level::Error, message);
}

pub(crate) fn warn(message: &str) {
    let collect = |list: &mut Vec<String>| list.push(message.to_owned());
    if COLLECTED.with_borrow_mut(|list| list.as_mut().map(collect)).is_none() {
        line(Level::Warning, message);
    }
}

/// For `check`: the warnings of `body`, which are not logged.
pub(crate) fn collect<T>(body: impl FnOnce() -> T) -> (T, Vec<String>) {
    COLLECTED.with_borrow_mut(|list| **list = Some(Vec::new()));
    let outcome = body();
    (outcome, COLLECTED.with_borrow_mut(|list| list.take()).unwrap_or_default())
}

/// The closure is only called if somebody wants to know.
pub(crate) fn debug(message: impl FnOnce() -> String) {
    if LOG.with_borrow(|log| log.level == Level::Debug) {
        line(Level::Debug, &message());
    }
}

fn line(level: Level, message: &str) {
    LOG.with_borrow(|log| {
        if log.is_copy && log.file.is_none() || level > log.level {
            // stderr is the container's, and the copy is gone.
            return;
        }
        let line = match &log.target {
            Target::Journald(name) => journald(level, message, name),
            Target::Syslog(name) => syslog(level, message, name, Time::now()),
            Target::Lines if log.format == Format::Text && log.is_terminal() => {
                let secs = log.start.map_or(0, |start| start.elapsed().as_secs());
                render_terminal(level, message, secs)
            }
            Target::Lines => render(log.format, level, message, &Time::now().rfc3339()),
        };
        // A log that cannot be written must not fail the command. One write keeps lines whole.
        let _ = match &log.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    });
}

impl Log {
    fn is_terminal(&self) -> bool {
        match &self.file {
            Some(file) => file.is_terminal(),
            None => std::io::stderr().is_terminal(),
        }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Debug => "debug",
        }
    }

    /// syslog(3)'s number.
    fn priority(self) -> i32 {
        match self {
            Self::Error => libc::LOG_ERR,
            Self::Warning => libc::LOG_WARNING,
            Self::Debug => libc::LOG_DEBUG,
        }
    }

    /// Four letters and an ANSI colour.
    fn badge(self) -> (&'static str, u8) {
        match self {
            Self::Error => ("ERRO", 31),
            Self::Warning => ("WARN", 33),
            Self::Debug => ("DEBU", 37),
        }
    }
}

/// journald's own protocol: `NAME=value` lines.
fn journald(level: Level, message: &str, name: &str) -> String {
    let mut text = format!(
        "PRIORITY={}\nSYSLOG_IDENTIFIER={}\nSYSLOG_PID={}\n",
        level.priority(),
        one_line(name),
        std::process::id()
    );
    text += &format!("MESSAGE={}\n", one_line(message));
    text
}

/// As syslog(3) sends it: facility "user", local time, which here is UTC.
fn syslog(level: Level, message: &str, name: &str, now: Time) -> String {
    let priority = libc::LOG_USER | level.priority();
    let (at, pid) = (now.syslog(), std::process::id());
    format!("<{priority}>{at} {}[{pid}]: {}", one_line(name), one_line(message))
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn render(format: Format, level: Level, message: &str, time: &str) -> String {
    let level = level.name();
    match format {
        Format::Json => {
            let (level, msg, time) = (Json::Text(level), Json::Text(message), Json::Text(time));
            Json::Object(vec![("level", level), ("msg", msg), ("time", time)]).compact() + "\n"
        }
        Format::Text if message.is_empty() => format!("time=\"{time}\" level={level}\n"),
        Format::Text => format!("time=\"{time}\" level={level} msg={}\n", text_value(message)),
    }
}

/// `ERRO[0000] message`, coloured and padded as logrus does it.
fn render_terminal(level: Level, message: &str, secs: u64) -> String {
    let (badge, colour) = level.badge();
    let message = message.strip_suffix('\n').unwrap_or(message);
    format!("\x1b[{colour}m{badge}\x1b[0m[{secs:04}] {message:<44} \n")
}

/// Bare if it has only characters that logrus leaves bare, else quoted as Go's `%q`.
fn text_value(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if text.chars().all(bare) { text.to_owned() } else { go_quote(text) }
}

/// Go's `%q`: printable characters as they are, others as an escape sequence.
pub(crate) fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c != ' ' && (c.is_control() || c.is_whitespace()) => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-24T11:36:33Z";

    #[test]
    fn text_lines_are_those_of_logrus() {
        let text = |level, message| render(Format::Text, level, message, AT);
        assert_eq!(
            text(Level::Error, "runc: \"start\" requires exactly 1 argument(s)"),
            "time=\"2026-11-24T11:36:33Z\" level=error msg=\"runc: \\\"start\\\" requires exactly 1 argument(s)\"\n"
        );
        assert_eq!(
            text(Level::Warning, "plain/word"),
            format!("time=\"{AT}\" level=warning msg=plain/word\n")
        );
        assert_eq!(
            text(Level::Warning, "a=b\n"),
            format!("time=\"{AT}\" level=warning msg=\"a=b\\n\"\n")
        );
        assert_eq!(text(Level::Debug, ""), format!("time=\"{AT}\" level=debug\n"));
    }

    #[test]
    fn datagrams_of_journald_and_syslog() {
        let pid = std::process::id();
        assert_eq!(
            journald(Level::Error, "a\nb", "web"),
            format!("PRIORITY=3\nSYSLOG_IDENTIFIER=web\nSYSLOG_PID={pid}\nMESSAGE=a b\n")
        );
        let at = Time::of(1_795_520_193);
        assert_eq!(
            syslog(Level::Warning, "a b", "web", at),
            format!("<12>Nov 24 11:36:33 web[{pid}]: a b")
        );
        assert_eq!(Time::of(951_868_800).syslog(), "Mar  1 00:00:00");
    }

    #[test]
    fn a_log_that_is_not_there_is_named() {
        let refusal = Sink::open("file:/nowhere/log").unwrap_err().to_string();
        assert_eq!(refusal, "open /nowhere/log: ENOENT: no such file or directory");
        if !Path::new(JOURNALD).exists() {
            let refusal = Sink::open("journald:x").unwrap_err().to_string();
            let why = "connect to /run/systemd/journal/socket: ENOENT: no such file or directory";
            assert_eq!(refusal, format!("--log journald:x: {why}"));
        }
    }

    #[test]
    fn json_lines_have_logrus_keys_in_its_order() {
        let line = render(Format::Json, Level::Error, "a \"b\" <c>", AT);
        assert_eq!(
            line,
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\" \\u003cc\\u003e\",\"time\":\"2026-11-24T11:36:33Z\"}\n"
        );
    }

    #[test]
    fn a_terminal_gets_a_badge() {
        let line = render_terminal(Level::Error, "no such container", 7);
        assert_eq!(
            line,
            format!("\x1b[31mERRO\x1b[0m[0007] no such container{} \n", " ".repeat(27))
        );
    }

    #[test]
    fn quoting_is_go_s() {
        assert_eq!(go_quote("é\u{7f}\u{a0}\\\0"), "\"é\\x7f\\u00a0\\\\\\x00\"");
    }
}
