// SPDX-License-Identifier: Apache-2.0
//! `list`.

use std::os::unix::fs::MetadataExt;

use super::{details, print, state};
use crate::ExitCode;
use crate::cli::args::{Globals, Output};
use crate::cli::output::{self, StateView};
use crate::error::{Context, Kind, Result};
use crate::log;
use crate::state::{Container, Status};

pub(crate) fn list(
    globals: &Globals,
    format: Output,
    quiet: bool,
    all_details: bool,
) -> Result<ExitCode> {
    let found = find(globals)?;
    let details: Vec<_> = match all_details && !quiet {
        true => found.iter().map(|(c, status, _)| Some(details::of(c, *status))).collect(),
        false => found.iter().map(|_| None).collect(),
    };
    let views = found.iter().zip(&details).map(|((container, status, owner), details)| StateView {
        details: details.as_ref(),
        ..state::view(container, *status, owner)
    });
    let views: Vec<_> = views.collect();
    print(&match (quiet, format) {
        (true, _) => output::list_quiet(&views),
        (false, Output::Json) => output::list_json(&views),
        (false, Output::Table) if all_details => crate::cli::details::list_table(&views),
        (false, Output::Table) => output::list_table(&views),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The ids of all containers, whatever state they are in, sorted.
pub(super) fn ids(globals: &Globals) -> Result<Vec<String>> {
    let mut ids: Vec<String> = directories(globals)?.into_iter().map(|(id, _)| id).collect();
    ids.sort();
    Ok(ids)
}

/// Every container that can be read, by id. One that cannot is reported and passed over, as by runc.
fn find(globals: &Globals) -> Result<Vec<(Container, Status, String)>> {
    let root = &globals.root;
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut found = Vec::new();
    for (id, uid) in directories(globals)? {
        match Container::load(root, &id).and_then(|c| Ok((c.status()?, c))) {
            Ok((status, container)) => found.push((container, status, owner(&passwd, uid))),
            // Deleted meanwhile, or not a container.
            Err(error) if error.kind() == Kind::NoSuchContainer => {}
            Err(error) => log::warn(&format!("load container {id}: {error}")),
        }
    }
    found.sort_by(|a, b| a.0.facts.id.cmp(&b.0.facts.id));
    Ok(found)
}

/// The names of the state directories, and whose they are.
fn directories(globals: &Globals) -> Result<Vec<(String, u32)>> {
    let root = &globals.root;
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        // Nothing was ever created in the default root; one that was named should be there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !globals.root_is_explicit => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).context(|| format!("open {root:?}")),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.context(|| format!("read {root:?}"))?;
        let Ok(id) = entry.file_name().into_string() else { continue };
        match entry.metadata() {
            Ok(about) if about.is_dir() => found.push((id, about.uid())),
            _ => {}
        }
    }
    Ok(found)
}

/// The user's name by /etc/passwd, else `#UID`. (The C library's look-up loads plugins.)
fn owner(passwd: &str, uid: u32) -> String {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}
