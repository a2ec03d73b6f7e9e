// SPDX-License-Identifier: Apache-2.0
//! `list`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::errno::Errno;

use super::{details, print};
use crate::ExitCode;
use crate::cli::args::{Globals, Output};
use crate::cli::output::{self, Details, StateView};
use crate::error::{Context, Kind, Result};
use crate::log;
use crate::shelf::{Place, Shelf};
use crate::state::{Facts, Status};

/// Of a container, what is shown: the rest of its state is not kept for hundreds of them.
#[derive(Debug)]
pub(super) struct Seen {
    id: String,
    pid: i32,
    status: Status,
    bundle: PathBuf,
    rootfs: PathBuf,
    created: String,
    annotations: BTreeMap<String, String>,
    owner: String,
    details: Option<Details>,
}

impl Seen {
    pub(super) fn new(
        facts: Facts,
        status: Status,
        owner: String,
        details: Option<Details>,
    ) -> Self {
        let Facts { id, pid, bundle, rootfs, created, annotations, .. } = facts;
        Self { id, pid, status, bundle, rootfs, created, annotations, owner, details }
    }

    pub(super) fn view(&self) -> StateView<'_> {
        StateView {
            oci_version: crate::oci::VERSION,
            id: &self.id,
            pid: if self.status == Status::Stopped { 0 } else { self.pid },
            status: self.status.name(),
            bundle: self.bundle.to_str().unwrap_or_default(),
            rootfs: self.rootfs.to_str().unwrap_or_default(),
            created: &self.created,
            annotations: &self.annotations,
            owner: &self.owner,
            details: self.details.as_ref(),
        }
    }
}

pub(crate) fn list(
    globals: &Globals,
    format: Output,
    quiet: bool,
    all_details: bool,
) -> Result<ExitCode> {
    let found = find(globals, all_details && !quiet)?;
    let views: Vec<_> = found.iter().map(Seen::view).collect();
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
    let Some(shelf) = open(globals)? else { return Ok(Vec::new()) };
    let mut ids: Vec<String> = shelf.places()?.into_iter().map(|place| place.id).collect();
    ids.sort();
    Ok(ids)
}

/// Every container that can be read, by id. One that cannot is reported and passed over, as by runc.
fn find(globals: &Globals, with_details: bool) -> Result<Vec<Seen>> {
    let Some(mut shelf) = open(globals)? else { return Ok(Vec::new()) };
    let passwd = crate::file::read("/etc/passwd".as_ref()).unwrap_or_default();
    let mut places = shelf.places()?;
    places.sort_by(|a, b| a.id.cmp(&b.id));
    let mut found = Vec::with_capacity(places.len());
    for Place { id, uid } in places {
        match shelf.look(&id) {
            Ok((facts, status)) => {
                let details =
                    with_details.then(|| details::of(&facts, shelf.config(&id).as_deref(), status));
                found.push(Seen::new(facts, status, owner(&passwd, uid), details));
            }
            // Deleted meanwhile, or not a container.
            Err(error) if error.kind() == Kind::NoSuchContainer => {}
            Err(error) => log::warn(&format!("load container {id}: {error}")),
        }
    }
    Ok(found)
}

/// None: nothing was ever created in the default root; one that was named should be there.
fn open(globals: &Globals) -> Result<Option<Shelf>> {
    match Shelf::open(&globals.root) {
        Err(Errno::ENOENT) if !globals.root_is_explicit => Ok(None),
        opened => opened.map(Some).context(|| format!("open {:?}", globals.root)),
    }
}

/// The user's name by /etc/passwd, else `#UID`. (The C library's look-up loads plugins.)
fn owner(passwd: &[u8], uid: u32) -> String {
    let name = passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let is_it = std::str::from_utf8(fields.nth(1)?).ok()?.parse() == Ok(uid);
        is_it.then(|| String::from_utf8_lossy(name).into_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}
