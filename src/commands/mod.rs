// SPDX-License-Identifier: Apache-2.0
//! What each command does, from typed arguments to an exit code.

mod check;
mod checkpoint;
pub(crate) mod create;
pub(crate) mod delete;
mod details;
mod events;
mod exec;
mod features;
mod gc;
mod list;
mod mounts;
mod pause;
mod ps;
mod restore;
mod start;
mod state;
mod timings;
mod top;
mod update;

use std::io::Write;

use crate::ExitCode;
use crate::bail;
use crate::cli::args::{Command, Globals, Which};
use crate::error::{Context, Result};
use crate::log;
use crate::state::Container;

/// One arm per command.
pub(crate) fn dispatch(globals: &Globals, command: Command) -> Result<ExitCode> {
    match command {
        Command::Create(create) => create::create(globals, &create),
        Command::Run(run) => create::run(globals, &run),
        Command::Start { id } => start::start(globals, &id),
        Command::Exec(exec) => exec::exec(globals, &exec),
        Command::Kill { which, signal, all } => start::kill(globals, &which, signal, all),
        Command::Delete { which, force } => delete::delete(globals, &which, force),
        Command::State { id, format, all_details } => {
            state::state(globals, &id, format, all_details)
        }
        Command::List { format, quiet, all_details } => {
            list::list(globals, format, quiet, all_details)
        }
        Command::Ps { id, format, args } => ps::ps(globals, &id, format, &args),
        Command::Mounts { id, change, file } => mounts::mounts(globals, &id, change, &file),
        Command::Pause { id } => pause::pause(globals, &id),
        Command::Resume { id } => pause::resume(globals, &id),
        Command::Update(update) => update::update(globals, &update),
        Command::Events { id, interval, stats } => events::events(globals, &id, interval, stats),
        Command::Top(args) => top::top(globals, &args),
        Command::Spec { bundle, rootless } => {
            crate::cli::spec::write(bundle.as_deref(), rootless).map(|()| ExitCode::SUCCESS)
        }
        Command::Timings(args) => timings::timings(&args),
        Command::Features => features::features(),
        Command::Gc(gc) => gc::gc(globals, &gc),
        Command::Check(check) => check::check(globals, &check),
        Command::Checkpoint(checkpoint) => checkpoint::checkpoint(globals, &checkpoint),
        Command::Restore(restore) => restore::restore(globals, restore),
    }
}

fn load(globals: &Globals, id: &str) -> Result<Container> {
    Container::load(&globals.root, id)
}

/// Does it to the container; or to each whose id matches, where a failure is a warning until all have
/// had their turn.
fn each(
    globals: &Globals,
    which: &Which,
    doing: &str,
    mut one: impl FnMut(&str) -> Result<()>,
) -> Result<ExitCode> {
    let regex = match which {
        Which::One(id) => return one(id).map(|()| ExitCode::SUCCESS),
        Which::Matching(regex) => regex,
    };
    let ids: Vec<String> = list::ids(globals)?.into_iter().filter(|id| regex.is_in(id)).collect();
    let mut failed = 0;
    for id in &ids {
        if let Err(error) = one(id) {
            log::warn(&format!("{doing} {id}: {error}"));
            failed += 1;
        }
    }
    if failed != 0 {
        bail!("{doing}: failed for {failed} of {} containers", ids.len());
    }
    Ok(ExitCode::SUCCESS)
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
