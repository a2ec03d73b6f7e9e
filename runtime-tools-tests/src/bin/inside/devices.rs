//! `linux.devices`, the default devices, and the default links.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::Value;

use conformance::names::{DEFAULT_DEVICES, DEFAULT_LINKS};

use crate::Facts;
use crate::report::Report;

fn numbers(meta: &fs::Metadata) -> (u64, u64) {
    (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()))
}

pub(crate) fn devices(facts: &Facts, report: &mut Report) {
    for (path, major, minor) in DEFAULT_DEVICES {
        let Some(meta) = report.value(path, fs::metadata(path)) else { continue };
        let holds = meta.file_type().is_char_device() && numbers(&meta) == (major, minor);
        report.is(holds, &format!("default device {path}"), || format!("{meta:?}"));
    }
    let opened = fs::OpenOptions::new().read(true).write(true).open("/dev/null").map(|_| ());
    report.is(opened.is_ok(), "/dev/null can be opened", || format!("{opened:?}"));
    let ptmx = fs::metadata("/dev/ptmx").map(|meta| numbers(&meta));
    report.is(matches!(ptmx, Ok((5, 2))), "default device /dev/ptmx", || format!("{ptmx:?}"));
    for device in facts.config["linux"]["devices"].as_array().into_iter().flatten() {
        configured(device, report);
    }
}

fn configured(device: &Value, report: &mut Report) {
    let path = device["path"].as_str().unwrap_or("");
    let Some(meta) = report.value(path, fs::metadata(path)) else { return };
    let kind = meta.file_type();
    let want = device["type"].as_str().unwrap_or("");
    let is_kind = match want {
        "b" => kind.is_block_device(),
        "p" => kind.is_fifo(),
        _ => kind.is_char_device(),
    };
    report.is(is_kind, &format!("{path} has type {want}"), || format!("{kind:?}"));
    if want != "p" {
        let number = |key: &str| device[key].as_u64().unwrap_or(u64::MAX);
        let wanted = (number("major"), number("minor"));
        report.equal(&format!("{path} has its numbers"), wanted, numbers(&meta));
    }
    if let Some(mode) = device["fileMode"].as_u64() {
        report.equal(
            &format!("{path} has its fileMode"),
            mode & 0o777,
            u64::from(meta.mode() & 0o777),
        );
    }
    for (key, have) in [("uid", meta.uid()), ("gid", meta.gid())] {
        if let Some(id) = device[key].as_u64() {
            report.equal(&format!("{path} has its {key}"), id, have.into());
        }
    }
}

pub(crate) fn links(_: &Facts, report: &mut Report) {
    for (path, target) in DEFAULT_LINKS {
        if Path::new("/proc/self/fd").exists() {
            let have = fs::read_link(path).map(|link| link.to_string_lossy().into_owned());
            let holds = have.as_ref().is_ok_and(|link| link == target);
            report.is(holds, &format!("{path} leads to {target}"), || format!("{have:?}"));
        }
    }
}
