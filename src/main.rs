// SPDX-License-Identifier: Apache-2.0
//! creel: a low-level OCI container runtime.
#![cfg_attr(not(test), no_main)]

mod annotations;
mod bundle;
mod cgroup;
mod check;
mod child;
mod cli;
mod commands;
mod criu;
mod error;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hooks;
mod interrupt;
mod json;
mod limits;
mod log;
mod mask;
mod namespace;
mod notify_socket;
mod oci;
mod parent;
mod pidfiles;
mod plan;
mod procfile;
mod procstat;
mod rules;
mod seal;
mod shelf;
mod signals;
mod state;
mod sync;
mod sys;
#[cfg(test)]
mod testing;
mod time;
mod timings;

#[cfg(not(any(fuzzing, sanitized, miri)))]
#[global_allocator]
static ALLOCATOR: sys::alloc::Arena = sys::alloc::Arena::new();

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitCode(pub u8);

impl ExitCode {
    pub(crate) const SUCCESS: Self = Self(0);
}

impl From<u8> for ExitCode {
    fn from(code: u8) -> Self {
        Self(code)
    }
}

/// The whole program; `sys::entry` calls it.
pub(crate) fn run() -> ExitCode {
    seal::ensure_early();
    // As Rust's own start-up has it: a hook that does not read its input must not end creel.
    let _ = sys::sigaction::ignore_sigpipe();
    cli::main()
}

/// Of the test binary, whose own `main` runs the tests: what it reaches counts as used.
#[cfg(test)]
fn main() {
    assert_eq!(run(), ExitCode::SUCCESS);
}
