// SPDX-License-Identifier: Apache-2.0
//! `timings`: shows what `--timings` has written.

use std::path::Path;

use super::print;
use crate::ExitCode;
use crate::cli::args::Timings;
use crate::cli::trace::Steps;
use crate::error::{Context, Result};

pub(crate) fn timings(args: &Timings) -> Result<ExitCode> {
    let named = |path: &Path| format!("{}", path.display());
    let text =
        std::fs::read_to_string(&args.file).context(|| format!("read {}", named(&args.file)))?;
    let steps = Steps::read(&text).context(|| named(&args.file))?;
    let shown = if args.svg { steps.svg() } else { steps.table() };
    match &args.out {
        Some(out) => std::fs::write(out, shown).context(|| format!("write {}", named(out)))?,
        None => print(&shown)?,
    }
    Ok(ExitCode::SUCCESS)
}
