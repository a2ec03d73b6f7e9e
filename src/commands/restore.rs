// SPDX-License-Identifier: Apache-2.0
//! `restore`: as `run`, but CRIU makes the processes, which run on from where they were.

use super::code;
use super::create::{self, clear};
use crate::ExitCode;
use crate::bundle::{self, Bundle};
use crate::cli::args::{self, Globals};
use crate::criu::restore::{self as criu, Restored};
use crate::error::{Context, Result};
use crate::oci;
use crate::parent::foreground::{self, Foreground};
use crate::pidfiles;
use crate::plan::Plan;
use crate::signals::Signals;

pub(crate) fn restore(globals: &Globals, mut restore: args::Restore) -> Result<ExitCode> {
    // The bundle becomes the working directory, but paths are of where the command was given.
    for path in [&mut restore.criu.image_path, &mut restore.criu.work_path] {
        let given = path.take().unwrap_or_default();
        if given.as_os_str().is_empty() {
            continue;
        }
        *path = Some(bundle::absolute(&given)?);
    }
    let bundle = create::open_bundle(&restore.create)?;
    if restore.detach {
        detached(globals, &restore, &bundle)
    } else {
        in_foreground(globals, &restore, &bundle)
    }
}

fn detached(globals: &Globals, restore: &args::Restore, bundle: &Bundle) -> Result<ExitCode> {
    let create = &restore.create;
    let console = |_: &oci::Process<'_>| create::console_socket(create);
    let plan = create::plan(globals, create, bundle, console, false)?;
    let (restored, mut plan) = run(globals, restore, bundle, plan, None)?;
    let notify = plan.notify.take();
    let (container, init) = restored.keep()?;
    drop(container);
    if let Some(notify) = notify {
        notify.wait(init.pid, init.pidfd())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_foreground(globals: &Globals, restore: &args::Restore, bundle: &Bundle) -> Result<ExitCode> {
    if !restore.no_subreaper {
        foreground::become_subreaper();
    }
    let create = &restore.create;
    let mut foreground = Foreground::prepare()?;
    let console =
        |process: &oci::Process<'_>| create::foreground_console(create, process, &mut foreground);
    let plan = create::plan(globals, create, bundle, console, false)?;
    let (restored, mut plan) = run(globals, restore, bundle, plan, Some(foreground.signals()))?;
    // Nobody sends a terminal any more: without one in the images there is none.
    plan.process.terminal = None;
    foreground.hold()?;
    let (container, init) = restored.keep()?;
    let status = foreground.run(init.pid, init.pidfd(), plan.notify.take());
    clear(&container);
    status.map(code)
}

fn run(
    globals: &Globals,
    restore: &args::Restore,
    bundle: &Bundle,
    plan: Plan,
    signals: Option<&Signals>,
) -> Result<(Restored, Plan)> {
    let (restored, plan) = criu::restore(plan, &globals.root, bundle.config(), restore, signals)
        .context(|| "restore")?;
    if let Some(path) = &restore.create.pid_file {
        pidfiles::write(path, restored.init.pid)?;
    }
    Ok((restored, plan))
}
