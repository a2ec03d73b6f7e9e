// SPDX-License-Identifier: Apache-2.0
//! A runtime in a user namespace, a container without a cgroup namespace: /sys/fs/cgroup was the
//! host's and writable, although the config wanted it read-only.

use super::arena::{AS_USER, Arena, control, rootless, without_gid, wrapped};
use super::case::{Case, Outcome, Stop, vulnerable};
use super::common::{Bundle, Run, Value, json};

pub(crate) const CASE: Case = Case {
    id: "CVE-2023-25809",
    who: "runc",
    attack: "rootless, the host's cgroup namespace: writes below /sys/fs/cgroup",
    run,
    weaken: |weak| {
        if weak.args[0] == "run" {
            weak.keep_mounts(|mount| mount["destination"] != "/sys/fs/cgroup");
            let host = json!({"destination": "/sys/fs/cgroup", "type": "bind",
                              "source": "/sys/fs/cgroup", "options": ["rbind", "rw"]});
            weak.config["mounts"].as_array_mut().expect("mounts").push(host);
        }
    },
};

/// Root of a user namespace in which the host's root files are its own.
const IN_USER_NAMESPACE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

/// Which mounts of cgroups take a new time stamp, if of nobody else's directory, and which files can be
/// opened for writing: opened only.
const TRY: &str = "grep -E ' - cgroup2? ' /proc/self/mountinfo | while read -r _ _ _ _ at _; do \
     [ -e $at ] || continue; case $(busybox touch -c $at 2>&1) in \
       *Read-only*) echo seen $at;; *) echo writable mount $at;; \
     esac; \
   done; \
   for file in $(busybox find /sys/fs/cgroup -name cgroup.procs -o -name tasks | head -n 40); do \
     ( : >>$file ) 2>/dev/null && echo writable file $file; \
   done; echo done";

fn run(_: &Arena) -> Outcome {
    control(&Bundle::with_args(&["/bin/true"]));
    let mut notes = Vec::new();
    for kind in ["cgroup", "bind"] {
        let mut bundle = Bundle::new(TRY).add_mount(cgroup_mount(kind));
        without_gid(&mut bundle);
        bundle.write();
        let run = wrapped(&bundle, &IN_USER_NAMESPACE, &["run", bundle.id()]);
        notes.push(read(&format!("{kind}, in a user namespace"), &run)?);
    }
    // As an unprivileged user, /sys being the host's with all that is mounted in it.
    let mut bundle = Bundle::new(TRY);
    rootless(&mut bundle);
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list")
        .retain(|ns| ns["type"] != "network");
    for mount in bundle.config["mounts"].as_array_mut().expect("mounts") {
        if mount["destination"] == "/sys" {
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        }
    }
    bundle.set("/mounts/-", cgroup_mount("cgroup"));
    bundle.write();
    let run = wrapped(&bundle, &AS_USER, &["run", bundle.id()]);
    notes.push(read("as a user", &run)?);
    if notes.iter().all(|note| note.contains("refused")) {
        return super::case::skipped(notes.join("; "));
    }
    Ok(notes.join("; "))
}

fn cgroup_mount(kind: &str) -> Value {
    match kind {
        "cgroup" => json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                           "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
        _ => json!({"destination": "/sys/fs/cgroup", "type": "bind", "source": "/sys/fs/cgroup",
                    "options": ["rbind", "rro", "nosuid", "noexec", "nodev", "ro"]}),
    }
}

fn read(what: &str, run: &Run) -> Result<String, Stop> {
    if let Some(line) = run.out.lines().find(|line| line.starts_with("writable")) {
        return vulnerable(format!("{what}: {line}"));
    }
    if !run.out.contains("done") {
        return Ok(format!("{what}: refused ({})", run.message()));
    }
    let seen = run.out.lines().filter(|line| line.starts_with("seen")).count();
    Ok(format!("{what}: {seen} mounts read-only"))
}
