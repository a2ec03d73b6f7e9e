// SPDX-License-Identifier: Apache-2.0
//! The command line: argv to an exit code. What a command does is elsewhere, except for those that
//! touch no container (`spec`).

pub(crate) mod args;
mod as_runc;
mod criu;
pub(crate) mod details;
pub(crate) mod features;
mod flags;
mod help;
pub(crate) mod output;
mod parse;
mod read;
mod root;
#[cfg(test)]
mod schema;
pub(crate) mod spec;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod values;

use std::io::Write;

use args::{Command, Globals};
use flags::{CommandSpec, GLOBAL};
use parse::{Sorted, Values, sort_command, sort_program};

use crate::ExitCode;
use crate::error::{Error, Kind, Result};
use crate::timings::{self, Step};
use crate::{interrupt, log};

/// As runc: what exec can't start is told from the program's own status.
const EXEC_FAILED: u8 = 255;

/// A command that failed.
#[derive(Debug)]
struct Refusal {
    error: Error,
    /// Shown on standard output, before the error.
    usage: String,
    status: u8,
}

impl Refusal {
    /// What is wrong with the command line, with help.
    fn usage(error: Error, help: &str) -> Self {
        let usage = format!("Incorrect Usage: {error}\n\n{help}");
        Self { error: error.with_kind(Kind::Usage), usage, status: 1 }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, usage: String::new(), status: 1 }
    }
}

/// The whole program.
pub(crate) fn main() -> ExitCode {
    let outcome = run();
    timings::step(Step::Rest);
    if let Err(error) = timings::save() {
        log::warn(&error.to_string());
    }
    match outcome {
        Ok(status) => status,
        Err(Refusal { error, usage, status }) => {
            print(&usage);
            log::fatal(&error);
            ExitCode::from(status)
        }
    }
}

/// To standard output. Whoever has closed it does not want it.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn run() -> Result<ExitCode, Refusal> {
    let argv = crate::sys::entry::args().map(|arg| {
        arg.to_owned()
            .into_string()
            .map_err(|arg| Error::text(format!("argument {arg:?} is not UTF-8")))
    });
    let argv = argv.collect::<Result<Vec<String>>>()?;
    let argv0 = argv.first().map_or("creel", String::as_str);
    let name = argv0.rsplit('/').next().unwrap_or(argv0);

    let mut top = sort_program(argv.get(1..).unwrap_or_default());
    if top.wants_version && !top.wants_help {
        print(&help::version());
        return Ok(ExitCode::SUCCESS);
    }
    let (word, rest) = match top.positionals.split_first() {
        Some((word, rest)) if !top.wants_help => (word.as_str(), rest),
        Some(_) | None => ("help", &[][..]),
    };
    if word == "help" || word == "h" {
        return show_help(name, rest.first().map(String::as_str), &top);
    }
    let Some(spec) = flags::command(word) else { return Err(unknown(word)) };
    let mut line = sort_command(spec, rest);
    if line.wants_help {
        print(&help::command(name, spec, &shown_root()));
        return Ok(ExitCode::SUCCESS);
    }
    top.flags.append(&mut line.inherited);
    let globals = set_up(&top, name, spec, &line)?;
    let command = read(spec, &line, argv0, name)?;
    timings::step(Step::CommandLine);
    let status = if matches!(command, Command::Exec(_)) { EXEC_FAILED } else { 1 };
    crate::commands::dispatch(&globals, command).map_err(|error| {
        // Some calls say EAGAIN when a signal is waiting (BPF_PROG_LOAD).
        let error = interrupt::check().err().unwrap_or(error);
        let interrupted = (error.kind() == Kind::Interrupted).then(interrupt::status).flatten();
        let error = if name == as_runc::NAME { as_runc::begin(spec.name, error) } else { error };
        Refusal { status: interrupted.unwrap_or(status), ..error.into() }
    })
}

/// The default of `--root` as help shows it.
fn shown_root() -> String {
    root::default().0.display().to_string()
}

fn unknown(word: &str) -> Refusal {
    Refusal { status: 3, ..Error::text(format!("No help topic for '{word}'")).into() }
}

/// `help`, `help COMMAND`, no command at all.
fn show_help(name: &str, topic: Option<&str>, top: &Sorted) -> Result<ExitCode, Refusal> {
    let text = match topic {
        Some(topic) => {
            let spec = flags::command(topic).ok_or_else(|| unknown(topic))?;
            help::command(name, spec, &shown_root())
        }
        None => help::program(name, &shown_root()),
    };
    if !top.wants_help {
        Values::parse(&top.flags, GLOBAL).map_err(|error| Refusal::usage(error, &text))?;
    }
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Reads the global flags and opens the log, so that all later errors reach it.
fn set_up(top: &Sorted, name: &str, spec: &CommandSpec, line: &Sorted) -> Result<Globals, Refusal> {
    let values = Values::parse(&top.flags, GLOBAL)
        .map_err(|error| Refusal::usage(error, &help::program(name, &shown_root())))?;
    let sink = values.string("log").map(|to| log::Sink::open(&to)).transpose()?;
    log::set_up(sink, read::log_format(&values)?, read::log_level(&values)?);
    if let Some(path) = values.string("timings") {
        timings::begin(&path, spec.name, line.positionals.first().map_or("", String::as_str))?;
    }
    let root = root::choose(values.given("root"))?;
    Ok(Globals::read(&values, root)?)
}

/// Reads the command's flags and arguments.
fn read(spec: &CommandSpec, line: &Sorted, argv0: &str, name: &str) -> Result<Command, Refusal> {
    let values = Values::parse(&line.flags, spec.flags)
        .map_err(|error| Refusal::usage(error, &help::command(name, spec, &shown_root())))?;
    if let Some(refusal) = help::wrong_arity(argv0, spec, &values, line.positionals.len()) {
        let help = help::command(name, spec, &shown_root());
        let usage = format!("Incorrect Usage.\n\n{help}");
        return Err(Refusal { usage, ..Error::text(refusal).with_kind(Kind::Usage).into() });
    }
    Command::read(spec, &values, &line.positionals).map_err(|error| {
        let status = if spec.name == "exec" { EXEC_FAILED } else { 1 };
        Refusal { status, ..error.into() }
    })
}
