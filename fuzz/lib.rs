// SPDX-License-Identifier: Apache-2.0
//! Those of creel's files that the fuzz targets are about, as they stand, with what these need of
//! the rest around them: creel is a program and has no library to link to.
#![allow(dead_code, unused_imports)] // each file has more than what is fuzzed

#[path = "../src/error.rs"]
mod error;
#[path = "../src/oci/mod.rs"]
mod oci;

#[path = "../src/child"]
mod child {
    pub(crate) mod seccomp;
}

#[path = "../src/sys"]
mod sys {
    pub(crate) mod seccomp;

    /// Never made: no fuzz target loads a filter.
    #[derive(Debug)]
    pub(crate) struct Inside(());
}

mod log {
    pub(crate) fn debug(_: impl FnOnce() -> String) {}
}

/// `linux.seccomp` as JSON text: see src/child/seccomp/fuzz.rs.
pub fn seccomp_profile(text: &str) {
    child::seccomp::fuzz::profile(text);
}

/// All names that a rule can have.
pub fn system_calls() -> Vec<&'static str> {
    child::seccomp::fuzz::system_calls()
}
