// SPDX-License-Identifier: Apache-2.0
//! How the tests are run, by the environment: who makes the cgroups, and whether as an ordinary user.

use std::fs;

use nix::unistd::{User, getegid, geteuid};

use super::{Value, is_root, json};

fn is(name: &str, value: &str) -> bool {
    std::env::var_os(name).is_some_and(|have| have == value)
}

/// `CREEL_TEST_CGROUP_DRIVER=systemd`: every command has `--systemd-cgroup`.
pub(crate) fn is_systemd() -> bool {
    is("CREEL_TEST_CGROUP_DRIVER", "systemd")
}

/// `CREEL_TEST_ROOTLESS=1`: an ordinary user's containers, in a cgroup that is delegated to him.
pub(crate) fn is_rootless() -> bool {
    is("CREEL_TEST_ROOTLESS", "1") && !geteuid().is_root()
}

/// Whether the tests of what an ordinary user can do too can run; prints why not.
pub(crate) fn can_run() -> bool {
    is_rootless() || is_root()
}

/// Whether the tests that name places of cgroupfs can run; prints why not.
pub(crate) fn is_cgroupfs() -> bool {
    if is_systemd() {
        println!("SKIP: it names a place as the cgroupfs driver has it");
    }
    !is_systemd()
}

/// `linux.cgroupsPath` for a cgroup that ends in this name.
pub(crate) fn cgroups_path(name: &str) -> String {
    match (is_systemd(), is_rootless()) {
        (true, _) => format!(":creel-test:{name}"),
        (false, true) => name.to_owned(),
        (false, false) => format!("/{name}"),
    }
}

/// The config of a user: what `spec --rootless` changes, and the subordinate ids that the user has.
pub(crate) fn for_user(config: &mut Value) {
    let linux = config["linux"].as_object_mut().expect("linux");
    linux.remove("resources");
    linux["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
    linux.insert("uidMappings".into(), map(geteuid().as_raw(), "/etc/subuid"));
    linux.insert("gidMappings".into(), map(getegid().as_raw(), "/etc/subgid"));
}

fn map(own: u32, file: &str) -> Value {
    let mut lines = vec![json!({"containerID": 0, "hostID": own, "size": 1})];
    let name = User::from_uid(geteuid()).ok().flatten().map(|user| user.name).unwrap_or_default();
    let known = fs::read_to_string(file).unwrap_or_default();
    let fields: Option<Vec<&str>> =
        known.lines().map(|line| line.split(':').collect()).find(|f: &Vec<&str>| f[0] == name);
    if let Some([_, start, count]) = fields.as_deref() {
        let number = |text: &str| text.parse::<u32>().expect("a number");
        lines.push(json!({"containerID": 1, "hostID": number(start), "size": number(count)}));
    }
    json!(lines)
}
