// SPDX-License-Identifier: Apache-2.0
//! cgroups without rights to them, and with some of them delegated.

use std::path::Path;

use crate::common::{Bundle, Value, json};
use crate::user::{Cgroups, User};

const LOOK: &str = "grep ' /sys/fs/cgroup' /proc/self/mountinfo | tail -1 | cut -d' ' -f5,6; \
                    touch /sys/fs/cgroup/x 2> /dev/null && echo writable";

fn with_cgroup_mount(bundle: Bundle, options: Value) -> Bundle {
    bundle.add_mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup",
                            "source": "cgroup", "options": options}))
}

fn is_v1() -> bool {
    let there = Path::new("/sys/fs/cgroup/devices").exists();
    if !there {
        println!("SKIP: no v1 hierarchies here");
    }
    there
}

/// The view alone, where it is not the host's.
fn v2(cgroups: Cgroups) -> Option<User> {
    let user = User::with(cgroups)?;
    let probe = user.sh("[ -e /sys/fs/cgroup/cgroup.controllers ]");
    if probe.code != 0 {
        println!("SKIP: no view of cgroup2 alone: {}", probe.err.trim());
        return None;
    }
    Some(user)
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let Some(user) = User::new() else { return };
    if !is_v1() {
        return;
    }
    let bundle = user.bundle("true").patch("/linux/resources/pids", json!({"limit": 10}));
    let run = user.run(&bundle);
    assert_eq!(run.code, 1);
    let said = "linux.resources.pids.limit: cannot set pids limit: container could not join or create cgroup";
    assert_eq!(run.message(), said);
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
}

#[test]
fn a_path_that_cannot_be_made_is_refused() {
    for cgroups in [Cgroups::Host, Cgroups::V2] {
        let Some(user) = User::with(cgroups) else { return };
        let bundle = user.bundle("true").patch("/linux/cgroupsPath", json!("/creel-none/of-mine"));
        let run = user.run(&bundle);
        assert_eq!(run.code, 1);
        let said = run.message();
        assert!(
            said.starts_with("unable to apply cgroup configuration: make cgroup /sys/fs/cgroup"),
            "{said}"
        );
        assert!(said.ends_with("creel-none/of-mine: EACCES: permission denied"), "{said}");
    }
}

/// `--rootless false`: as for root, nothing is passed over.
#[test]
fn rootless_false_takes_no_excuse() {
    let Some(user) = User::new() else { return };
    let bundle = user.bundle("echo there");
    let run = |flag: &str| user.creel(&bundle, &format!("{flag} run {}", bundle.id()));
    assert_eq!(run("--rootless true").ok().out, "there\n");
    assert_eq!(run("--rootless auto").ok().out, "there\n");
    let refused = run("--rootless false");
    assert_eq!(refused.code, 1);
    assert!(refused.message().contains("EACCES"), "{}", refused.err);
}

#[test]
fn a_v1_mount_shows_the_caller_s_cgroups_read_only() {
    let Some(user) = User::new() else { return };
    if !is_v1() {
        return;
    }
    let script = "ls /sys/fs/cgroup | tr '\\n' ' '; grep -c ' /sys/fs/cgroup/[a-z]* ro' /proc/self/mountinfo; \
                  cat /sys/fs/cgroup/pids/tasks | wc -l; mkdir /sys/fs/cgroup/pids/x 2>&1";
    for options in [json!(["ro", "nosuid"]), json!(["rw"])] {
        let run = user.run(&with_cgroup_mount(user.bundle(script), options));
        assert!(run.out.contains("pids") && run.out.contains("memory"), "{} {}", run.out, run.err);
        let end = "mkdir: can't create directory '/sys/fs/cgroup/pids/x': Read-only file system\n";
        assert!(run.out.ends_with(end), "{}", run.out);
    }
}

#[test]
fn a_v2_mount_that_would_not_be_the_container_s_is_empty() {
    let Some(user) = v2(Cgroups::V2) else { return };
    for options in [json!(["ro"]), json!(["rw"])] {
        let bundle = user.bundle(&format!("ls /sys/fs/cgroup; {LOOK}; true"));
        let bundle = bundle.patch("/linux/namespaces/-", json!({"type": "cgroup"}));
        let run = user.run(&with_cgroup_mount(bundle, options)).ok();
        assert!(run.out.starts_with("/sys/fs/cgroup ro"), "{}", run.out);
        assert!(!run.out.contains("writable"), "{}", run.out);
    }
}

/// CVE-2023-25809
#[test]
fn a_v2_mount_without_a_cgroup_namespace_is_read_only() {
    for cgroups in [Cgroups::V2, Cgroups::Delegated] {
        let Some(user) = v2(cgroups) else { return };
        let bundle = with_cgroup_mount(user.bundle(&format!("{LOOK}; true")), json!(["ro"]));
        let run = user.run(&bundle).ok();
        assert_eq!(run.out.lines().count(), 1, "{}", run.out);
        assert!(run.out.starts_with("/sys/fs/cgroup ro,"), "{}", run.out);
    }
}

#[test]
fn delegated_cgroups_are_used_below_the_caller_s_parent() {
    let Some(user) = v2(Cgroups::Delegated) else { return };
    let bundle = user.bundle("exec sleep 1000");
    let bundle = bundle.patch("/linux/namespaces/-", json!({"type": "cgroup"}));
    let bundle = with_cgroup_mount(bundle, json!(["rw", "nosuid"]));
    user.start_detached(&bundle);
    let id = bundle.id();
    let pid = user.pid(&bundle);
    let own = user.sh("grep ^0: /proc/self/cgroup").ok().out;
    let parent = own.trim().strip_suffix("/user").expect("in the delegated one").to_owned();
    let cgroup = user.sh(&format!("grep ^0: /proc/{pid}/cgroup")).ok().out;
    assert_eq!(cgroup.trim(), format!("{parent}/{id}"));
    // The namespace's root, from inside.
    assert_eq!(user.exec(&bundle, "grep ^0: /proc/self/cgroup").ok().out, "0::/\n");
    let script = "sh -c 'mkdir /sys/fs/cgroup/sub && echo 0 > /sys/fs/cgroup/sub/cgroup.procs && grep ^0: /proc/self/cgroup'";
    assert_eq!(user.exec(&bundle, script).ok().out, "0::/sub\n");

    user.sh(&format!("creel pause {id}")).ok();
    assert_eq!(user.state(&bundle)["status"], "paused");
    user.sh(&format!("creel resume {id}")).ok();
    assert_eq!(user.sh(&format!("creel ps -f json {id}")).ok().out.trim(), format!("[{pid}]"));
    let stats = user.sh(&format!("creel events --stats {id}")).ok().out;
    assert!(stats.contains("\"cpu\":{\"usage\":{\"total\":"), "{stats}");
    user.sh(&format!("creel exec -d --cgroup sub {id} sleep 1000")).ok();
    let procs = user.sh(&format!("cat /sys/fs/cgroup{}/{id}/sub/cgroup.procs", &parent[3..]));
    assert_eq!(procs.ok().out.lines().count(), 1);
    user.sh(&format!("creel delete --force {id}")).ok();
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
}

/// A cgroup of the user's, but out of a part of the tree that is not.
#[test]
fn a_cgroup_that_cannot_be_entered_is_an_error() {
    let Some(user) = v2(Cgroups::Delegated) else { return };
    let own = user.sh("grep ^0: /proc/self/cgroup").ok().out;
    let top = own.trim().trim_start_matches("0::").trim_end_matches("/user").to_owned();
    let bundle = user.bundle("true").patch("/linux/cgroupsPath", json!(format!("{top}/mine")));
    bundle.write();
    let script = format!("cd {}; creel run {}", bundle.dir.display(), bundle.id());
    // Another user namespace and cgroup2 view do not matter; the caller's place does.
    let mut command = user.command(&script);
    command.env("LEAVE", "1");
    let run = bundle.finish(command);
    assert_eq!(run.code, 1);
    assert!(
        run.message().contains(&format!("into cgroup /sys/fs/cgroup{top}/mine: EACCES")),
        "{}",
        run.err
    );
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
}
