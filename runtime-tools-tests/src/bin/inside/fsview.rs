//! `root.readonly`, `linux.rootfsPropagation`, `linux.maskedPaths`, `linux.readonlyPaths`.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use nix::errno::Errno;

use conformance::proc;

use crate::Facts;
use crate::report::Report;

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

pub(crate) fn root(facts: &Facts, report: &mut Report) {
    let want = facts.config["root"]["readonly"].as_bool().unwrap_or(false);
    let tried = fs::write("/.conformance-probe", "");
    match &tried {
        Ok(()) => report.equal("root.readonly", want, false),
        Err(error) if errno(error) == Some(Errno::EROFS) => {
            report.equal("root.readonly", want, true)
        }
        // An unprivileged user may not write either; then the mount flag decides.
        Err(_) => {
            let mounts = proc::mounts("self").unwrap_or_default();
            let have = proc::top(&mounts, "/").is_some_and(|mount| mount.has_flag("ro"));
            report.equal("root.readonly (mount flag)", want, have);
        }
    }
    let propagation = facts.config["linux"]["rootfsPropagation"].as_str();
    let Some(mode) = propagation else { return };
    let Some(mounts) = report.value("mountinfo", proc::mounts("self")) else { return };
    let Some(top) = proc::top(&mounts, "/") else {
        report.is(false, "/ is a mount", || "it is not in mountinfo".into());
        return;
    };
    let holds = match mode.trim_start_matches('r') {
        "shared" => top.is_tagged("shared:"),
        "slave" => !top.is_tagged("shared:"),
        "private" => !top.is_tagged("shared:") && !top.is_tagged("master:"),
        "unbindable" => top.is_tagged("unbindable"),
        _ => false,
    };
    report.is(holds, &format!("linux.rootfsPropagation {mode}"), || format!("{:?}", top.tags));
}

pub(crate) fn paths(facts: &Facts, report: &mut Report) {
    let list = |key: &str| facts.config["linux"][key].as_array().cloned().unwrap_or_default();
    for path in list("maskedPaths").iter().filter_map(|path| path.as_str()) {
        masked(Path::new(path), report);
    }
    for path in list("readonlyPaths").iter().filter_map(|path| path.as_str()) {
        readonly(Path::new(path), report);
    }
}

/// A masked path gives nothing to read: an empty file, an empty directory, or an error.
fn masked(path: &Path, report: &mut Report) {
    let what = format!("linux.maskedPaths {}", path.display());
    if path.is_dir() {
        let count = fs::read_dir(path).map_or(0, Iterator::count);
        return report.equal(&what, 0, count);
    }
    let mut first = [0_u8; 1];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut first));
    report.is(!matches!(read, Ok(1)), &what, || "it can be read".into());
}

/// Opening for writing or creating below answers EROFS. A path that is not there has no rule.
fn readonly(path: &Path, report: &mut Report) {
    if !path.exists() {
        return;
    }
    let what = format!("linux.readonlyPaths {}", path.display());
    let tried = if path.is_dir() {
        fs::write(path.join(".conformance-probe"), "")
    } else {
        fs::OpenOptions::new().write(true).open(path).map(|_| ())
    };
    // A directory of /proc answers ENOENT to any creation: then the mount flag decides.
    let mounts = proc::mounts("self").unwrap_or_default();
    let point = path.to_string_lossy();
    let flagged = proc::top(&mounts, &point).is_some_and(|mount| mount.has_flag("ro"));
    let refused = tried.as_ref().is_err_and(|error| errno(error) == Some(Errno::EROFS));
    report.is(refused || (tried.is_err() && flagged), &what, || format!("{tried:?}"));
}
