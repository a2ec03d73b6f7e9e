// SPDX-License-Identifier: Apache-2.0
//! Containers on a real distribution: a Debian root file system with a dynamic linker, bash, coreutils
//! and perl, made once by hack/debian-root.sh, or as CREEL_TEST_DEBIAN_ROOT names it.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Bundle, has, is_root, json};

/// The root, or None with the reason printed.
fn debian() -> Option<PathBuf> {
    if !is_root() {
        return None;
    }
    if let Some(root) = std::env::var_os("CREEL_TEST_DEBIAN_ROOT") {
        return Some(root.into());
    }
    if !has("debootstrap") {
        println!("SKIP: debootstrap is not installed (hack/deps.sh test)");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/debian-root.sh");
    let made = Command::new(script).output().expect("hack/debian-root.sh starts");
    let error = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "hack/debian-root.sh: {error}");
    Some(PathBuf::from(String::from_utf8_lossy(&made.stdout).trim()))
}

/// Its `/bin/bash` with a writable /tmp; the root itself stays as it is.
fn bash(root: &std::path::Path, script: &str) -> Bundle {
    Bundle::with_args(&["/bin/bash", "-ec", script])
        .patch("/root/path", json!(root))
        .add_mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
                          "options": ["nosuid", "nodev", "mode=1777"]}))
}

#[test]
fn programs_of_a_distribution_run() {
    let Some(root) = debian() else { return };
    let bundle = bash(
        &root,
        "grep -q ^ID=debian /etc/os-release; perl -e 'print 6 * 7, \"\\n\"'; seq 3 | sort -r | tr '\\n' ' '; \
         echo; id -u; cat <(echo substituted); test -c /dev/null; [[ -L /dev/fd ]]; \
         echo data >/tmp/file; stat -c %s /tmp/file; touch /usr/x 2>/dev/null || echo read-only",
    );
    let run = bundle.run().ok();
    assert_eq!(run.out, "42\n3 2 1 \n0\nsubstituted\n5\nread-only\n", "{}", run.err);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn an_ordinary_user_and_exec_in_a_user_namespace() {
    let Some(root) = debian() else { return };
    let mut bundle = bash(&root, "exec sleep 1000")
        .patch("/process/user", json!({"uid": 33, "gid": 33}))
        .patch("/linux/uidMappings", json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]))
        .patch("/linux/gidMappings", json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]));
    bundle.set("/linux/namespaces/-", json!({"type": "user"}));
    // Both the bundle and the tree above the root must let the mapped root through.
    bundle.start_detached();
    let run =
        bundle.exec(&["/bin/bash", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '; echo $HOME"]);
    // Configured, Debian knows this user; after the first stage it knows nobody.
    let users = std::fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
    let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|u| u[2] == "33");
    let home = user.map_or("/", |fields| fields[5]);
    assert_eq!(run.ok().out, format!("33\n 0 200000 65536\n{home}\n"));
    let root_there = bundle.runtime(&["exec", "--user", "0", bundle.id(), "id", "-u"]).ok();
    assert_eq!(root_there.out, "0\n");
}

#[test]
fn seccomp_and_limits_of_docker_on_a_distribution() {
    let Some(root) = debian() else { return };
    let captured =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bundles/docker-default/config.json");
    let text = std::fs::read_to_string(captured).expect("the captured config");
    let docker: common::Value = serde_json::from_str(&text).expect("JSON");
    let bundle = bash(&root, "unshare -U true && echo unshared || echo refused; ulimit -n; perl -e 'fork or exit; wait; print \"forked\\n\"'")
        .patch("/linux/seccomp", docker["linux"]["seccomp"].clone())
        .patch("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}]));
    let run = bundle.run().ok();
    assert_eq!(run.out, "refused\n512\nforked\n", "{}", run.err);
}
