//! The cases, a table per part of the specification.
// SPDX-License-Identifier: Apache-2.0

mod cgroups;
mod config;
mod devices;
mod hook_failures;
mod hooks;
mod lifecycle;
mod limits;
mod mounts;
mod namespaces;
mod network;
mod operations;
mod process;
mod refused;
mod rootfs;
mod seccomp;
mod sockets;

use crate::case::Case;

pub(crate) const ALL: &[&[Case]] = &[
    lifecycle::CASES,
    operations::CASES,
    hooks::CASES,
    hook_failures::CASES,
    config::CASES,
    process::CASES,
    namespaces::CASES,
    mounts::CASES,
    rootfs::CASES,
    devices::CASES,
    seccomp::CASES,
    sockets::CASES,
    network::CASES,
    cgroups::CASES,
    limits::CASES,
    refused::CASES,
];

pub(crate) fn find(name: &str) -> Option<&'static Case> {
    ALL.iter().flat_map(|table| table.iter()).find(|case| case.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_clauses_name_a_document() {
        let mut seen = BTreeSet::new();
        for case in ALL.iter().flat_map(|table| table.iter()) {
            assert!(seen.insert(case.name), "{} twice", case.name);
            assert!(case.clause.contains(".md"), "{}: {}", case.name, case.clause);
            assert!(!case.name.contains(char::is_whitespace), "{}", case.name);
        }
    }
}
