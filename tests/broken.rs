// SPDX-License-Identifier: Apache-2.0
//! Broken configs and commands: a table of rows. Each row is done once, with a JSON log, and then
//! holds: the exit code; the whole error line, once on stderr and once in the log; nothing is left.
//! Before, `check` must have said the same of it, unless unforeseen.rs says why it cannot.
//! With `RUNTIME=/path/to/runc` only exit codes and leftovers are compared, except where a row says
//! why creel differs.

mod common;

#[path = "broken/case.rs"]
mod case;
#[path = "broken/cgroups.rs"]
mod cgroups;
#[path = "broken/commands.rs"]
mod commands;
#[path = "broken/config.rs"]
mod config;
#[path = "broken/hooks.rs"]
mod hooks;
#[path = "broken/linux.rs"]
mod linux;
#[path = "broken/mounts.rs"]
mod mounts;
#[path = "broken/process.rs"]
mod process;
#[path = "broken/unforeseen.rs"]
mod unforeseen;

use case::check;

#[test]
fn the_config_itself() {
    check(config::rows());
}

#[test]
fn mounts_and_devices() {
    check(mounts::rows());
}

#[test]
fn the_process() {
    check(process::rows());
}

#[test]
fn linux_properties() {
    check(linux::rows());
}

#[test]
fn cgroups_and_their_limits() {
    if !common::is_cgroupfs() {
        return;
    }
    check(cgroups::rows());
}

#[test]
fn hooks_that_fail() {
    check(hooks::rows());
}

#[test]
fn commands_at_the_wrong_time() {
    check(commands::rows());
}

#[test]
fn the_command_line() {
    check(commands::lines());
}
