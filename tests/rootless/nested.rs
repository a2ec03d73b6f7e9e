// SPDX-License-Identifier: Apache-2.0
//! creel in creel: root of a user namespace, who may be taken for the host's or not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::common::{Bundle, json, runtime};
use crate::user::User;

/// A bundle whose root has creel and, in /in, another bundle's root.
fn outer(user: &User, inner: &str) -> Bundle {
    let mut outer = user.bundle(inner).patch("/root/readonly", json!(false));
    let all = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_SETFCAP",
        "CAP_SYS_ADMIN",
        "CAP_SYS_CHROOT",
        "CAP_NET_ADMIN"
    ]);
    let caps = json!({"bounding": all, "effective": all, "permitted": all});
    outer.set("/process/capabilities", caps);
    // A new procfs is allowed only where none of the old one is covered.
    for paths in ["maskedPaths", "readonlyPaths"] {
        outer.config["linux"][paths] = json!([]);
    }
    let root = outer.rootfs();
    fs::copy(runtime(), root.join("bin/creel")).unwrap();
    fs::set_permissions(root.join("bin/creel"), PermissionsExt::from_mode(0o755)).unwrap();
    for dir in ["in/rootfs", "run", "xdg"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        chown(root.join(dir), Some(user.id), Some(user.id)).unwrap();
    }
    chown(root.join("in"), Some(user.id), Some(user.id)).unwrap();
    crate::common::busybox(&root.join("in/rootfs"));
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        chown(root.join("in/rootfs").join(dir), Some(user.id), Some(user.id)).unwrap();
    }
    outer
}

const INNER: &str = r#"
    cd /in && creel spec --rootless && sed -i 's/"terminal": true/"terminal": false/' config.json || exit 11
    [ "$(echo 'id -u; echo $$' | creel run i1)" = "0
1" ] || exit 12
    sed -i 's/"sh"/"sleep", "1000"/' config.json
    creel run -d i2 < /dev/null > /dev/null 2> /dev/null || exit 13
    creel exec i2 sh -c 'exit 5'; [ $? = 5 ] || exit 14
    creel state i2 | grep -q running || exit 15
    creel ps -f json i2 | grep -q '\[[0-9]' || exit 16
    creel delete --force i2 || exit 17
    creel state i2 2> /dev/null && exit 18
    ls -d /run/creel /xdg/creel 2> /dev/null; exit 0
"#;

#[test]
fn creel_runs_in_creel() {
    let Some(user) = User::new() else { return };
    let run = user.run(&outer(&user, INNER)).ok();
    // USER is not set: that is not the host's root.
    assert_eq!(run.out, "/run/creel\n", "{}", run.err);
}

/// `$XDG_RUNTIME_DIR` counts for the root of a user namespace who is not called so.
#[test]
fn root_in_a_user_namespace_goes_by_user_and_xdg_runtime_dir() {
    let Some(user) = User::new() else { return };
    let with = |name: &str| {
        let env = json!(["PATH=/bin", "XDG_RUNTIME_DIR=/xdg", format!("USER={name}")]);
        user.run(&outer(&user, INNER).patch("/process/env", env)).ok().out
    };
    assert_eq!((with("root").as_str(), with("joe").as_str()), ("/run/creel\n", "/xdg/creel\n"));
}

/// From a user namespace that does not own its pid and time namespaces (Podman's), nobody who entered
/// others for the next child could come back.
#[test]
fn root_in_a_user_namespace_enters_pid_and_time_namespaces() {
    let Some(user) = User::new() else { return };
    let mut bundle = user.bundle("exec sleep 1000");
    let linux = bundle.config["linux"].as_object_mut().unwrap();
    linux.remove("uidMappings");
    linux.remove("gidMappings");
    let list = linux["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != "user");
    list.push(json!({"type": "time"}));
    let bundle = bundle.patch("/linux/timeOffsets", json!({"boottime": {"secs": 10_000_000}}));
    bundle.write();
    let (dir, id) = (bundle.dir.display(), bundle.id());
    let script = format!(
        "cd {dir}; creel run -d {id} < /dev/null > /dev/null 2> {dir}/err || exit 11; \
         creel exec {id} sh -c 'readlink /proc/1/exe; cut -d. -f1 /proc/uptime; exit 5'; echo $?; \
         creel delete --force {id}"
    );
    std::fs::write(bundle.dir.join("err"), "").unwrap();
    chown(bundle.dir.join("err"), Some(user.id), Some(user.id)).unwrap();
    let quoted = script.replace('\'', "'\\''");
    let run = user.sh(&format!("USER=joe unshare --user --map-root-user sh -c '{quoted}'"));
    let said = fs::read_to_string(bundle.dir.join("err")).unwrap();
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!((run.code, lines.len()), (0, 3), "{} {} {said}", run.out, run.err);
    assert_eq!((lines[0], lines[2]), ("/bin/busybox", "5"));
    assert!(lines[1].parse::<u64>().is_ok_and(|seconds| seconds > 10_000_000), "{}", lines[1]);
}
