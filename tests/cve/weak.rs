// SPDX-License-Identifier: Apache-2.0
//! A runtime that has been given a flaw: a case that calls it safe could not have failed.
//!
//! This program under the name `weak` stands in for the runtime, changes what it is told (or the host,
//! as the attack would) and executes the real one.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use super::arena;
use super::common::Value;

pub(crate) const NAME: &str = "weak";
/// The runtime that is weakened.
pub(crate) const REAL: &str = "CREEL_CVE_REAL";
/// The case whose flaw it gets.
pub(crate) const CASE: &str = "CREEL_CVE_CASE";

pub(crate) struct Weak {
    /// What follows `--root DIR`.
    pub(crate) args: Vec<String>,
    /// The bundle's config.json, or null.
    pub(crate) config: Value,
    pub(crate) bundle: PathBuf,
    pub(crate) arena: PathBuf,
}

impl Weak {
    /// Whether this is one of the commands that put a process into a container.
    pub(crate) fn is_entering(&self) -> bool {
        ["create", "run", "exec"].contains(&self.args[0].as_str())
    }

    pub(crate) fn decoy(&self, name: &str) -> PathBuf {
        self.arena.join("decoy").join(name)
    }

    /// The effect on the host, where the flaw itself is not at hand.
    pub(crate) fn breach(&mut self, name: &str) {
        if self.is_entering() {
            fs::write(self.decoy(name), "overwritten from a container").expect("write the decoy");
        }
    }

    /// Gives every process these capabilities in a set.
    pub(crate) fn add_capability(&mut self, set: &str, name: &str) {
        if let Some(sets) = self.config["process"]["capabilities"].as_object_mut() {
            sets.entry(set).or_insert_with(|| Value::Array(Vec::new()));
            sets[set].as_array_mut().expect("a list").push(name.into());
        }
    }

    /// Takes away the mounts that `keep` does not want.
    pub(crate) fn keep_mounts(&mut self, keep: impl Fn(&Value) -> bool) {
        if let Some(mounts) = self.config["mounts"].as_array_mut() {
            mounts.retain(keep);
        }
    }
}

/// The weakened runtime's whole life.
pub(crate) fn main(weaken: fn(&mut Weak)) -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let real = std::env::var_os(REAL).expect("the real runtime");
    let bundle = std::env::current_dir().expect("a directory");
    let config = fs::read_to_string(bundle.join("config.json")).ok();
    // The directory of `--root` is the first word that is no option, and the last of the global ones.
    let globals = args.iter().position(|arg| !arg.starts_with("--")).map_or(0, |dir| dir + 1);
    let mut weak = Weak {
        args: args.split_off(globals),
        config: config.map_or(Value::Null, |text| serde_json::from_str(&text).expect("JSON")),
        bundle,
        arena: std::env::var_os(arena::DIR).expect("an arena").into(),
    };
    let before = weak.config.clone();
    weaken(&mut weak);
    if before != Value::Null && weak.config != before {
        fs::write(weak.bundle.join("config.json"), weak.config.to_string()).expect("write");
    }
    let error = Command::new(real).args(args).args(weak.args).exec();
    eprintln!("execute the real runtime: {error}");
    ExitCode::FAILURE
}
