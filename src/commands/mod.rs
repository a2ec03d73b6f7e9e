// SPDX-License-Identifier: Apache-2.0
//! What each command does, from typed arguments to an exit code.

mod checkpoint;
pub(crate) mod create;
pub(crate) mod delete;
mod events;
mod exec;
mod features;
mod list;
mod pause;
mod ps;
mod restore;
mod start;
mod state;
mod update;

use std::io::Write;

use crate::ExitCode;
use crate::cli::args::{Command, Globals};
use crate::error::{Context, Result};
use crate::state::Container;

/// One arm per command.
pub(crate) fn dispatch(globals: &Globals, command: Command) -> Result<ExitCode> {
    match command {
        Command::Create(create) => create::create(globals, &create),
        Command::Run(run) => create::run(globals, &run),
        Command::Start { id } => start::start(globals, &id),
        Command::Exec(exec) => exec::exec(globals, &exec),
        Command::Kill { id, signal, all } => start::kill(globals, &id, signal, all),
        Command::Delete { id, force } => delete::delete(globals, &id, force),
        Command::State { id } => state::state(globals, &id),
        Command::List { format, quiet } => list::list(globals, format, quiet),
        Command::Ps { id, format, args } => ps::ps(globals, &id, format, &args),
        Command::Pause { id } => pause::pause(globals, &id),
        Command::Resume { id } => pause::resume(globals, &id),
        Command::Update(update) => update::update(globals, &update),
        Command::Events { id, interval, stats } => events::events(globals, &id, interval, stats),
        Command::Spec { bundle, rootless } => {
            crate::cli::spec::write(bundle.as_deref(), rootless).map(|()| ExitCode::SUCCESS)
        }
        Command::Features => features::features(),
        Command::Checkpoint(checkpoint) => checkpoint::checkpoint(globals, &checkpoint),
        Command::Restore(restore) => restore::restore(globals, restore),
    }
}

fn load(globals: &Globals, id: &str) -> Result<Container> {
    Container::load(&globals.root, id)
}

/// To standard output, whole.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context(|| "write to standard output")
}

/// An exit code from a process's status.
fn code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(255))
}
