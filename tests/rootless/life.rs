// SPDX-License-Identifier: Apache-2.0
//! Every command, without any rights over cgroups.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::common::{has, json};
use crate::user::User;

#[test]
fn the_bundle_of_spec_runs_as_typed() {
    let Some(user) = User::new() else { return };
    if !has("script") {
        println!("SKIP: script, which makes a terminal, is not installed");
        return;
    }
    let bundle = user.bundle("");
    // The program of the config is a shell, which reads from the terminal.
    let script = format!(
        "cd {}; creel spec --rootless && echo 'id -u; tty; exit 5' | script -qec 'creel run typed' /dev/null",
        bundle.dir.display()
    );
    let run = user.sh(&script);
    assert_eq!(run.code, 5, "{} {}", run.out, run.err);
    let lines: Vec<&str> = run.out.lines().map(str::trim).collect();
    assert!(lines.contains(&"0") && lines.contains(&"/dev/pts/0"), "{}", run.out);
}

#[test]
fn a_life_in_every_command() {
    let Some(user) = User::new() else { return };
    let bundle = user.bundle("trap 'exit 7' TERM; echo up > /up; while :; do sleep 0.1; done");
    let bundle = bundle.patch("/root/readonly", json!(false));
    let id = bundle.id();
    user.creel(&bundle, &format!("create {id}")).ok();
    assert_eq!(user.state(&bundle)["status"], "created");
    user.sh(&format!("creel start {id}")).ok();
    assert_eq!(user.state(&bundle)["status"], "running");
    assert_eq!(user.state(&bundle)["owner"], "");
    let list = user.sh("creel list").ok().out;
    assert!(list.contains(id) && list.contains("creel-test-user"), "{list}");

    let pid = user.pid(&bundle);
    let ps = user.sh(&format!("creel ps --format json {id}")).ok().out;
    assert!(ps.contains(&pid.to_string()), "{pid} in {ps}");
    let table = user.sh(&format!("creel ps {id}")).ok().out;
    assert!(table.lines().count() >= 2 && table.contains("/bin/sh -c"), "{table}");

    let stats = user.sh(&format!("creel events --stats {id}")).ok().out;
    assert!(stats.starts_with(&format!("{{\"type\":\"stats\",\"id\":\"{id}\"")), "{stats}");

    // What takes a cgroup is refused, and says so.
    let refused = |command: &str| {
        let run = user.sh(&format!("creel {command}"));
        assert_eq!(run.code, 1, "{command}: {}", run.out);
        run.message()
    };
    assert_eq!(
        refused(&format!("pause {id}")),
        "pause: cannot toggle freezer: cgroups not configured for container"
    );
    assert_eq!(refused(&format!("resume {id}")), "container not paused");
    assert_eq!(
        refused(&format!("update --pids-limit 10 {id}")),
        "linux.resources: cannot set limits: container could not join or create cgroup"
    );
    let running = format!("cannot delete container {id} that is not stopped: running");
    assert_eq!(refused(&format!("delete {id}")), running);

    let ready = "for i in $(seq 100); do [ -e /up ] && exit; sleep 0.05; done; exit 1";
    user.exec(&bundle, &format!("sh -c '{ready}'")).ok();
    user.sh(&format!("creel kill {id} TERM")).ok();
    let stopped = format!(
        "for i in $(seq 200); do creel state {id} | grep -q stopped && exit; sleep 0.05; done; exit 1"
    );
    user.sh(&stopped).ok();
    user.sh(&format!("creel delete {id}")).ok();
    assert_eq!(user.sh("creel list --quiet").ok().out, "");
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
}

#[test]
fn the_foreground_gives_the_exit_status() {
    let Some(user) = User::new() else { return };
    let run = user.run(&user.bundle("id -u; exit 3"));
    assert_eq!((run.code, run.out.as_str()), (3, "0\n"), "{}", run.err);
    assert_eq!(user.run(&user.bundle("kill -KILL $$")).code, 0, "init is deaf to its own SIGKILL");
    assert_eq!(user.run(&user.bundle("sh -c 'kill -KILL $$'; exit $?")).code, 137);
}

#[test]
fn the_state_is_in_xdg_runtime_dir_private_and_sticky() {
    let Some(user) = User::new() else { return };
    user.sh("creel list").ok();
    let about = std::fs::metadata(user.run_dir().join("creel")).unwrap();
    assert_eq!((about.permissions().mode() & 0o7777, about.uid()), (0o1700, user.id));
}

#[test]
fn without_xdg_runtime_dir_the_default_is_out_of_reach() {
    let Some(user) = User::new() else { return };
    let bundle = user.bundle("true");
    bundle.write();
    let script = format!("cd {}; env -u XDG_RUNTIME_DIR creel run x", bundle.dir.display());
    let run = user.sh(&script);
    assert_eq!(run.code, 1);
    assert!(
        run.message().contains("/run/creel") && run.message().contains("EACCES"),
        "{}",
        run.err
    );
}

#[test]
fn devices_come_from_the_host_and_mounts_are_there() {
    let Some(user) = User::new() else { return };
    let script = "for d in null zero full random urandom tty; do stat -c '%F %t:%T' /dev/$d; done; \
                  echo x > /dev/null; head -c 3 /dev/zero | wc -c; \
                  for m in /proc /dev /dev/pts /dev/shm /dev/mqueue /sys; do \
                  cut -d' ' -f5 /proc/self/mountinfo | grep -cx $m; done";
    let run = user.run(&user.bundle(script)).ok();
    let special = "character special file";
    let devices = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"].map(|d| format!("{special} {d}\n"));
    assert_eq!(run.out, format!("{}3\n{}", devices.concat(), "1\n".repeat(6)), "{}", run.err);
}

#[test]
fn sysfs_needs_a_network_namespace_and_is_bound_without() {
    let Some(user) = User::new() else { return };
    let mut bundle = user.bundle("ls /sys | grep -c kernel").without_namespace("network");
    let sys = bundle.config["mounts"].as_array_mut().unwrap();
    sys.retain(|mount| mount["destination"] != "/sys");
    sys.push(json!({"destination": "/sys", "type": "none", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}));
    assert_eq!(user.run(&bundle).ok().out, "1\n");
}

/// The flags of a mount from outside the user namespace are locked: a bind keeps them.
#[test]
fn locked_flags_are_kept_on_binds() {
    let Some(mut user) = User::new() else { return };
    user.before = "mount -t tmpfs -o nosuid,nodev,noexec tmpfs /mnt";
    let bundle = user.bundle("grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6");
    let bind = |options: serde_json::Value| json!({"destination": "/data", "type": "bind", "source": "/mnt", "options": options});
    let run = user.run(&bundle.add_mount(bind(json!(["bind", "ro"])))).ok();
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(run.out.trim().split(',').any(|f| f == flag), "{flag}: {}", run.out);
    }
    let bundle = user.bundle("true").add_mount(bind(json!(["bind", "dev"])));
    let run = user.run(&bundle);
    assert_eq!(run.code, 1, "a locked flag was cleared");
    assert!(run.message().contains("/data") && run.message().contains("EPERM"), "{}", run.err);
}
