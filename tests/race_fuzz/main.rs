// SPDX-License-Identifier: Apache-2.0
//! A racing fuzzer of the root file system: creel sets up containers whose roots are random trees of
//! links, files, fifos and directories that another process keeps exchanging, with random mounts,
//! devices, masks and working directories. Nothing outside of the root may change: the decoy's files by
//! content, inode and time, the runtime's own, the host's mounts; and no command may hang.
//!
//! `cargo test --test race_fuzz -- --seconds 1200`; `FUZZ_SEED=N` repeats a run's trees and configs.

#[path = "../cve/arena.rs"]
#[allow(dead_code)]
mod arena;
#[path = "../cve/case.rs"]
#[allow(dead_code)]
mod case;
#[path = "../common/mod.rs"]
mod common;
mod config;
#[path = "../cve/driver.rs"]
mod driver;
mod fuzz;
mod random;
mod tree;
#[path = "../cve/weak.rs"]
#[allow(dead_code)]
mod weak;

use std::process::ExitCode;
use std::time::Duration;

use case::Case;

const CASES: &[Case] = &[fuzz::CASE];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args[0].ends_with(weak::NAME) {
        return weak::main(match std::env::var(weak::CASE).as_deref() == Ok(fuzz::CASE.id) {
            true => fuzz::CASE.weaken,
            false => |_| {},
        });
    }
    match args.get(1..).unwrap_or_default() {
        [word, id] if word == "case" && id == "probe" => driver::case(|_| {
            arena::control(&common::Bundle::with_args(&["/bin/true"]));
            Ok(String::new())
        }),
        [word, _] if word == "case" => driver::case(fuzz::CASE.run),
        [word, seed] if word == "swap" => {
            tree::keep_swapping(seed.parse().expect("a seed"));
            ExitCode::SUCCESS
        }
        options => outside(options),
    }
}

fn outside(args: &[String]) -> ExitCode {
    if args.iter().any(|arg| arg == "--list") {
        println!("{}", fuzz::CASE.id);
        return ExitCode::SUCCESS;
    }
    let options = driver::Options::parse(args, 5.0, Duration::from_secs(120));
    driver::run(CASES, &options)
}
