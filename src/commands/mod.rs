// SPDX-License-Identifier: Apache-2.0
//! What each command does, from typed arguments to an exit code.

pub(crate) mod create;
pub(crate) mod delete;
mod events;
mod exec;
mod features;
mod list;
mod pause;
mod ps;
mod start;
mod state;
mod update;

use std::io::Write;
use std::path::Path;

use crate::ExitCode;
use crate::bail;
use crate::cli::args::{self, Command, Globals};
use crate::error::{Context, Error, Result};
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
        Command::Checkpoint(checkpoint) => {
            load(globals, &checkpoint.id)?;
            check_parent_path(&checkpoint)?;
            Err(Error::text("checkpoint: not supported yet (CRIU)"))
        }
        Command::Restore(_) => Err(Error::text("restore: not supported yet (CRIU)")),
    }
}

/// `--parent-path` is relative to the images, and an earlier dump.
fn check_parent_path(checkpoint: &args::Checkpoint) -> Result<()> {
    let Some(parent) = &checkpoint.parent_path else { return Ok(()) };
    if parent.is_absolute() {
        bail!("--parent-path: {parent:?} must be relative to --image-path");
    }
    let images = checkpoint.criu.image_path.as_deref().unwrap_or(Path::new("checkpoint"));
    std::fs::metadata(images.join(parent)).context(|| format!("--parent-path {parent:?}"))?;
    Ok(())
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
