// SPDX-License-Identifier: Apache-2.0
//! What the fuzz targets (fuzz/) do with one input; fuzz/'s library is this crate. Panics where anything
//! is wrong. The seeds go through the same functions as unit tests.

use std::path::PathBuf;

use crate::bundle::Bundle;
use crate::child::process::fds::Fds;
use crate::child::process::{self, ProcessRequest};
use crate::child::seccomp::Filter;
use crate::criu;
use crate::limits::Limits;
use crate::mask::Mask;
use crate::oci;
use crate::parent::affinity::Affinity;
use crate::plan::{Plan, Request};
use crate::{cgroup, child, cli, hooks, state, sync};

pub use crate::cgroup::fuzz::{cgroup_path, resources};
pub use crate::child::rootfs::fuzz::mount_options;

/// `linux.seccomp` as JSON text.
pub fn seccomp_profile(text: &str) {
    child::seccomp::fuzz::profile(text);
}

/// All names that a rule can have.
#[must_use]
pub fn system_calls() -> Vec<&'static str> {
    child::seccomp::fuzz::system_calls()
}

/// config.json, to the plan of `create`: a plan whose facts survive being written down, or an error.
pub fn config(text: &str) {
    let mut spec = match oci::parse::<oci::Spec<'_>>(text) {
        Ok(spec) => spec,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // They are opened.
    spec.annotations.retain(|name, _| !crate::annotations::HOOKS_OUTPUT.contains(&&**name));
    // A directory that is there, so that the rest is looked at too.
    if let Some(root) = &mut spec.root {
        root.path = "/".to_owned().into();
    }
    let bundle = Bundle::of(PathBuf::from("/"), String::new());
    let request = Request {
        id: "fuzz",
        no_pivot: false,
        no_new_keyring: false,
        fds: Fds::default(),
        cgroup_manager: crate::cgroup::Manager::Fs,
        rootless: Some(false),
        console: None,
        waits_for_start: true,
        is_announced: false,
        notify: None,
    };
    match Plan::create(&bundle, &spec, request) {
        Ok(plan) => is_kept(&plan.facts),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// state.json: facts that are written as they are read, or an error.
pub fn state(text: &str) {
    match state::parse(text) {
        Ok(facts) => is_kept(&facts),
        Err(why) => assert!(!why.is_empty()),
    }
}

fn is_kept(facts: &state::Facts) {
    let text = serde_json::to_string(facts).expect("plain data");
    let again = state::parse(&text).expect("what was written is read");
    assert_eq!(text, serde_json::to_string(&again).expect("plain data"));
}

/// `exec --process`: a plan, or an error.
pub fn process(text: &str) {
    let Ok(process) = oci::parse::<oci::Process<'_>>(text) else { return };
    let request = || ProcessRequest {
        has_user_namespace: false,
        keeps_groups: false,
        fds: Fds::default(),
        console: None,
        env: Vec::new(),
    };
    let refusals = [
        process::Process::plan(&process, None, request()).err(),
        Limits::plan(&process).err(),
        Affinity::plan(&process).err(),
    ];
    for error in refusals.into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
}

/// What a hook wrote: one line of it.
pub fn hook_output(bytes: &[u8]) {
    let said = hooks::said("stderr", bytes);
    assert!(!said.contains('\n'), "{said:?}");
    assert!(
        said.len() <= bytes.len() * 3 + ", stderr: ".len(),
        "{} of {}",
        said.len(),
        bytes.len()
    );
}

/// Bytes from the other side: of the clone, of CRIU, of a bus, of a filter that was saved.
pub fn message(bytes: &[u8]) {
    if !bytes.is_empty() {
        match sync::decode(bytes, None) {
            Ok(sync::Message::Tell(sync::Tell::Failed(error))) => drop(error.to_string()),
            Ok(_) => {}
            Err(error) => assert!(error.to_string().ends_with("garbled")),
        }
    }
    criu::fuzz(bytes);
    cgroup::fuzz::bus(bytes);
    if let Some(filter) = Filter::from_bytes(bytes) {
        assert_eq!(filter.to_bytes(), bytes);
    }
}

/// Small texts of the command line, of cpusets and of procfs.
pub fn texts(text: &str) {
    if let Ok(Some(mask)) = Mask::parse(text) {
        assert!(mask.count() > 0);
    }
    let _ = crate::procstat::parse_stat(text.as_bytes());
    cli::values::fuzz(text);
    let clean = crate::bundle::clean(std::path::Path::new(text));
    assert_eq!(clean, crate::bundle::clean(&clean));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Every seed of a target; there are some.
    fn seeds(target: &str, check: impl Fn(&[u8])) {
        let dir = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut count = 0;
        for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{dir}: {e}")) {
            check(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{dir}");
    }

    fn texts_of(target: &str, check: impl Fn(&str)) {
        seeds(target, |bytes| check(&String::from_utf8_lossy(bytes)));
    }

    #[test]
    fn the_seeds_pass() {
        texts_of("config", config);
        texts_of("state", state);
        texts_of("process", process);
        texts_of("resources", resources);
        texts_of("mount_options", mount_options);
        texts_of("cgroup_path", cgroup_path);
        texts_of("texts", texts);
        seeds("hook_output", hook_output);
        seeds("message", message);
    }

    /// A seed that is refused at once would begin nowhere.
    #[test]
    fn the_seeds_are_of_their_kinds() {
        texts_of("state", |text| assert!(state::parse(text).is_ok(), "{text}"));
        texts_of("config", |text| assert!(oci::parse::<oci::Spec<'_>>(text).is_ok(), "{text}"));
        texts_of("process", |text| assert!(oci::parse::<oci::Process<'_>>(text).is_ok(), "{text}"));
    }

    #[test]
    fn the_captured_bundles_pass() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bundles");
        for entry in fs::read_dir(dir).unwrap() {
            let Ok(text) = fs::read_to_string(entry.unwrap().path().join("config.json")) else {
                continue;
            };
            config(&text);
        }
    }
}
