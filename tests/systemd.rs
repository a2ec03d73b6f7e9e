// SPDX-License-Identifier: Apache-2.0
//! `--systemd-cgroup` under a real systemd: the system's manager as root, the user's as an ordinary
//! user. Where there is none, what creel says then.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bundle, Run, Value, is_creel, is_rootless, json};

const FLAG: &str = "--systemd-cgroup";

/// Whether systemd runs here and can be asked, by who runs the test; prints why not.
fn has_systemd(as_root: bool) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let why = match () {
        () if !is_creel() => "its words and figures are creel's",
        () if !Path::new("/run/systemd/system").is_dir() => "systemd does not run here",
        () if as_root != is_root && as_root => "the system's manager serves root",
        () if as_root != is_root => "the user's manager serves an ordinary user",
        () if !as_root && !v2 => "the user's manager needs cgroup v2",
        () if !as_root && systemctl(&["is-system-running"]).is_empty() => {
            "there is no user's manager"
        }
        () => return true,
    };
    println!("SKIP: {why}");
    false
}

fn systemctl(args: &[&str]) -> String {
    let mut command = Command::new("systemctl");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--user");
    }
    let output = command.args(args).output().expect("systemctl starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A bundle whose unit is `creel-ID.scope`.
fn bundle(script: &str) -> Bundle {
    let bundle = Bundle::new(script);
    let path = format!(":creel:{}", bundle.id());
    let mut bundle = bundle.patch("/linux/cgroupsPath", json!(path));
    let uid = nix::unistd::geteuid().as_raw();
    if uid != 0 && !is_rootless() {
        for (ids, id) in [("uidMappings", uid), ("gidMappings", nix::unistd::getegid().as_raw())] {
            bundle.config["linux"][ids] = json!([{"containerID": 0, "hostID": id, "size": 1}]);
        }
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for mount in bundle.config["mounts"].as_array_mut().unwrap() {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    }
    bundle
}

fn scope(bundle: &Bundle) -> String {
    format!("creel-{}.scope", bundle.id())
}

fn systemd(bundle: &Bundle, args: &[&str]) -> Run {
    bundle.write();
    let all: Vec<&str> = [FLAG].iter().chain(args).copied().collect();
    bundle.runtime(&all)
}

#[track_caller]
fn start(bundle: &Bundle) {
    systemd(bundle, &["run", "--detach", bundle.id()]).ok();
}

/// Properties of a unit by their names.
fn show(unit: &str, names: &[&str]) -> BTreeMap<String, String> {
    let text = systemctl(&["show", unit, "-p", &names.join(",")]);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[track_caller]
fn shows(unit: &str, wanted: &[(&str, &str)]) {
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let wanted = wanted.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    assert_eq!(show(unit, &names), wanted);
}

/// The v2 cgroup of a process, as a directory.
fn cgroup_of(pid: i32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the cgroup");
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("a v2 cgroup");
    Path::new("/sys/fs/cgroup").join(own)
}

fn is_v2() -> bool {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if !v2 {
        println!("SKIP: files of v2 are looked at");
    }
    v2
}

#[track_caller]
fn holds(dir: &Path, wanted: &[(&str, &str)]) {
    for (file, value) in wanted {
        let text = fs::read_to_string(dir.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(text.trim(), *value, "{file}");
    }
}

/// systemd knows no unit of the name, and nothing else is left.
#[track_caller]
fn is_gone(bundle: &Bundle) {
    let unit = scope(bundle);
    assert_eq!(show(&unit, &["LoadState"])["LoadState"], "not-found", "{unit}");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[track_caller]
fn delete(bundle: &Bundle) {
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    is_gone(bundle);
}

fn limits() -> Value {
    json!({"devices": [{"allow": false, "access": "rwm"}],
           "memory": {"limit": 67_108_864, "reservation": 33_554_432, "swap": 100_663_296},
           "pids": {"limit": 40},
           "unified": {"memory.high": "61440000"}})
}

#[test]
fn without_systemd_one_line_says_so_and_nothing_is_left() {
    if !is_creel() {
        println!("SKIP: its words are creel's");
        return;
    }
    let bundle = bundle("true");
    bundle.write();
    let (key, what) = match nix::unistd::geteuid().is_root() {
        true => ("DBUS_SYSTEM_BUS_ADDRESS", "system"),
        false => ("DBUS_SESSION_BUS_ADDRESS", "user"),
    };
    let mut command = bundle.command(&[FLAG, "create", bundle.id()]);
    command.env(key, "unix:path=/nonexistent/bus");
    let run = bundle.finish(command);
    let said = match Path::new("/run/systemd/system").is_dir() {
        true => {
            let cause = "connect to /nonexistent/bus: ENOENT: no such file or directory";
            format!("{FLAG}: the {what} bus: {cause}")
        }
        false => {
            format!("{FLAG}: systemd does not run on this host (there is no /run/systemd/system)")
        }
    };
    assert_eq!((run.code, run.message()), (1, said));
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn limits_are_in_the_unit_and_in_the_files() {
    if !has_systemd(true) || !is_v2() {
        return;
    }
    let mut bundle = bundle("sleep 1000")
        .patch("/linux/resources", limits())
        .patch("/annotations", json!({"org.systemd.property.TimeoutStopSec": "7"}));
    bundle.set("/linux/resources/cpu", json!({"shares": 512, "quota": 33_300, "cpus": "0"}));
    bundle.set("/linux/resources/blockIO", json!({"weight": 500}));
    bundle.set("/linux/resources/unified/memory.oom.group", json!("1"));
    systemd(&bundle, &["create", bundle.id()]).ok();
    let unit = scope(&bundle);
    shows(
        &unit,
        &[
            ("ActiveState", "active"),
            ("Slice", "system.slice"),
            ("Delegate", "yes"),
            ("DefaultDependencies", "no"),
            ("MemoryMax", "67108864"),
            ("MemoryLow", "33554432"),
            ("MemoryHigh", "61440000"),
            ("MemorySwapMax", "33554432"),
            ("CPUWeight", "59"),
            ("CPUQuotaPerSecUSec", "340ms"),
            ("CPUQuotaPeriodUSec", "100ms"),
            ("AllowedCPUs", "0"),
            ("TasksMax", "40"),
            ("IOWeight", "4950"),
            ("OOMPolicy", "kill"),
            ("DevicePolicy", "strict"),
            ("TimeoutStopUSec", "7s"),
        ],
    );
    let dir = cgroup_of(bundle.pid());
    assert!(dir.ends_with(format!("system.slice/{unit}")), "{dir:?}");
    holds(
        &dir,
        &[
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("memory.high", "61440000"),
            ("memory.swap.max", "33554432"),
            ("memory.oom.group", "1"),
            ("cpu.weight", "59"),
            ("cpu.max", "34000 100000"),
            ("cpuset.cpus", "0"),
            ("pids.max", "40"),
        ],
    );
    let state = bundle.state_root().join(bundle.id()).join("state.json");
    let state: Value = serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
    assert_eq!(state["cgroup"]["unit"]["name"], json!(unit));
    bundle.runtime(&["start", bundle.id()]).ok();
    delete(&bundle);
}

#[test]
fn update_changes_both_and_takes_both_back() {
    if !has_systemd(true) || !is_v2() {
        return;
    }
    let bundle = bundle("sleep 1000").patch("/linux/resources", limits());
    start(&bundle);
    let unit = scope(&bundle);
    let dir = cgroup_of(bundle.pid());
    let update = |args: &[&str], bus: Option<&str>| {
        let mut all = vec!["update"];
        all.extend(args);
        all.push(bundle.id());
        let mut command = bundle.command(&all);
        command.envs(bus.map(|bus| ("DBUS_SYSTEM_BUS_ADDRESS", bus)));
        bundle.finish(command)
    };
    update(&["--memory", "50M", "--memory-swap", "80M", "--pids-limit", "30"], None).ok();
    shows(&unit, &[("MemoryMax", "52428800"), ("MemorySwapMax", "31457280"), ("TasksMax", "30")]);
    let now = [("memory.max", "52428800"), ("memory.swap.max", "31457280"), ("pids.max", "30")];
    holds(&dir, &now);
    let refused = update(&["--pids-limit", "9"], Some("unix:path=/nonexistent/bus"));
    let want = format!(
        "set properties of unit {unit}: the system bus: connect to /nonexistent/bus: ENOENT: no such file or directory"
    );
    assert_eq!((refused.code, refused.message()), (1, want));
    holds(&dir, &now);
    // The first value is fine, the last is not.
    let refused = update(&["--pids-limit", "9", "--cpuset-cpus", "4000"], None);
    assert_eq!(refused.code, 1, "{}", refused.err);
    holds(&dir, &now);
    shows(&unit, &[("TasksMax", "30"), ("AllowedCPUs", "")]);
    // What systemd writes by itself is what was written.
    systemctl(&["daemon-reload"]);
    holds(&dir, &now);
    delete(&bundle);
}

/// A way to the system's bus at `socket`. The first one who takes it is cut off once `is_done` says that
/// the manager has done what that one asked for; the next is served.
#[expect(clippy::disallowed_methods)] // the other end of a conversation
fn deaf_once(socket: &Path, is_done: impl Fn() -> bool + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    let relay = |from: &UnixStream, to: &UnixStream| {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        })
    };
    std::thread::spawn(move || {
        for (client, is_first) in listener.incoming().map(Result::unwrap).zip([true, false]) {
            let bus = UnixStream::connect("/run/dbus/system_bus_socket").unwrap();
            let there = relay(&client, &bus);
            if is_first {
                while !is_done() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                client.shutdown(Shutdown::Both).unwrap();
            } else {
                relay(&bus, &client).join().unwrap();
            }
            there.join().unwrap();
        }
    });
}

/// Found by the crash matrix: the files were put back, and then systemd wrote the new values.
#[test]
fn update_takes_back_what_systemd_did_without_an_answer() {
    if !has_systemd(true) || !is_v2() {
        return;
    }
    let bundle = bundle("sleep 1000").patch("/linux/resources", limits());
    start(&bundle);
    let (unit, dir) = (scope(&bundle), cgroup_of(bundle.pid()));
    let (socket, name) = (bundle.dir.join("bus"), unit.clone());
    deaf_once(&socket, move || show(&name, &["TasksMax"])["TasksMax"] == "9");
    let mut command = bundle.command(&["update", "--pids-limit", "9", bundle.id()]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", socket.display()));
    let run = bundle.finish(command);
    assert!(run.code == 1 && run.message().contains(&unit), "{run:?}");
    shows(&unit, &[("TasksMax", "40")]);
    holds(&dir, &[("pids.max", "40")]);
    delete(&bundle);
}

#[test]
fn exec_pause_and_devices_are_as_without_systemd() {
    if !has_systemd(true) || !is_v2() {
        return;
    }
    let bundle = bundle("sleep 1000");
    start(&bundle);
    let unit = scope(&bundle);
    let dir = cgroup_of(bundle.pid());
    bundle.runtime(&["exec", "--detach", bundle.id(), "/bin/sleep", "1000"]).ok();
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
    assert_eq!(procs.lines().count(), 2, "{procs}");
    bundle.runtime(&["pause", bundle.id()]).ok();
    assert_eq!(bundle.status(), "paused");
    holds(&dir, &[("cgroup.freeze", "1")]);
    bundle.runtime(&["resume", bundle.id()]).ok();
    systemctl(&["daemon-reload"]);
    bundle.runtime(&["update", "--memory", "50M", bundle.id()]).ok();
    let run = bundle.exec(&[
        "/bin/sh",
        "-c",
        "echo x > /dev/null && mknod /dev/kmsg2 c 1 11; cat /dev/kmsg2",
    ]);
    assert!(run.err.contains("kmsg2") && run.code != 0, "{}", run.err);
    assert_eq!(bundle.exec(&["/bin/sh", "-c", "echo x > /dev/null"]).ok().code, 0);
    shows(&unit, &[("ActiveState", "active")]);
    delete(&bundle);
}

#[test]
fn exec_follows_init_into_a_cgroup_of_its_own() {
    if !has_systemd(true) || !is_v2() {
        return;
    }
    let script = "cd /sys/fs/cgroup && mkdir own && echo 1 > own/cgroup.procs && \
                  echo +memory > cgroup.subtree_control && touch /tmp/done; sleep 1000";
    let mut bundle = bundle(script)
        .add_mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                          "options": ["rw"]}))
        .add_mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    start(&bundle);
    let begun = Instant::now();
    while bundle.exec(&["/bin/test", "-e", "/tmp/done"]).code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "init made no cgroup");
        std::thread::sleep(Duration::from_millis(50));
    }
    let run = bundle.exec(&["/bin/cat", "/proc/self/cgroup"]).ok();
    assert_eq!(run.out, "0::/own\n");
    delete(&bundle);
}

#[test]
fn a_unit_in_use_is_refused_and_left_alone() {
    if !has_systemd(true) {
        return;
    }
    let first = bundle("sleep 1000");
    start(&first);
    let path = format!(":creel:{}", first.id());
    let second = bundle("sleep 1000").patch("/linux/cgroupsPath", json!(path));
    let run = systemd(&second, &["create", second.id()]);
    assert_eq!(run.code, 1);
    assert!(
        run.message().starts_with("linux.cgroupsPath: container's cgroup is not empty"),
        "{}",
        run.err
    );
    assert_eq!(second.leftovers(), [""; 0]);
    assert_eq!(first.status(), "running");
    shows(&scope(&first), &[("ActiveState", "active")]);
    delete(&first);
}

/// A scope that systemd ended for its time, and keeps as failed.
fn fail(unit: &str) {
    let script = format!(
        "systemd-run --quiet --scope --unit={unit} --property=RuntimeMaxSec=200ms sleep 1000"
    );
    let status = Command::new("sh").args(["-c", &script]).status().expect("systemd-run starts");
    assert!(!status.success());
    let begun = Instant::now();
    while systemctl(&["is-failed", unit]) != "failed" {
        assert!(begun.elapsed() < Duration::from_secs(20), "{unit} has not failed");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_failed_leftover_is_put_away() {
    if !has_systemd(true) {
        return;
    }
    let bundle = bundle("sleep 1000");
    fail(&scope(&bundle));
    start(&bundle);
    shows(&scope(&bundle), &[("ActiveState", "active")]);
    delete(&bundle);
}

#[test]
fn a_container_that_fails_its_unit_leaves_none() {
    if !has_systemd(true) {
        return;
    }
    let bundle = bundle("sleep 1000")
        .patch("/annotations", json!({"org.systemd.property.RuntimeMaxSec": "1"}));
    start(&bundle);
    let begun = Instant::now();
    while systemctl(&["is-failed", &scope(&bundle)]) != "failed" {
        assert!(begun.elapsed() < Duration::from_secs(20), "it has not failed");
        std::thread::sleep(Duration::from_millis(50));
    }
    bundle.wait_status("stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
    is_gone(&bundle);
}

#[test]
fn what_ended_by_itself_is_deleted_without_a_bus() {
    if !has_systemd(true) {
        return;
    }
    let bundle = bundle("true");
    start(&bundle);
    bundle.wait_status("stopped");
    let begun = Instant::now();
    while show(&scope(&bundle), &["LoadState"])["LoadState"] != "not-found" {
        assert!(begun.elapsed() < Duration::from_secs(20), "the scope stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut command = bundle.command(&["delete", bundle.id()]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    bundle.finish(command).ok();
    is_gone(&bundle);
}

#[test]
fn slices_and_slices_in_slices() {
    if !has_systemd(true) || !is_v2() {
        return;
    }
    let name = |bundle: &Bundle| format!("creelt{}", bundle.id().replace('-', ""));
    let own = bundle("sleep 1000");
    let slice = name(&own);
    let own = own.patch("/linux/cgroupsPath", json!(format!("{slice}.slice:x:{slice}-pod.slice")));
    start(&own);
    shows(
        &format!("{slice}-pod.slice"),
        &[("ActiveState", "active"), ("Slice", &format!("{slice}.slice"))],
    );
    let dir = cgroup_of(own.pid());
    assert!(dir.ends_with(format!("{slice}.slice/{slice}-pod.slice")), "{dir:?}");
    own.exec(&["/bin/true"]).ok();
    own.runtime(&["delete", "--force", own.id()]).ok();
    assert!(!dir.exists(), "{dir:?}");

    let nested = bundle("sleep 1000");
    let path = format!("{slice}-a-b.slice:creel:{}", nested.id());
    let nested = nested.patch("/linux/cgroupsPath", json!(path));
    start(&nested);
    let want = format!("{slice}.slice/{slice}-a.slice/{slice}-a-b.slice/{}", scope(&nested));
    assert!(cgroup_of(nested.pid()).ends_with(want));
    delete(&nested);
    for unit in ["-a-b", "-a", ""] {
        systemctl(&["stop", &format!("{slice}{unit}.slice")]);
    }
}

#[test]
fn what_systemd_does_not_take_ends_create() {
    if !has_systemd(true) {
        return;
    }
    for (key, value, said) in [
        ("Nonsense", "true", "PropertyReadOnly: Cannot set property Nonsense"),
        ("CollectMode", "'never'", "InvalidArgs: "),
    ] {
        let annotation = format!("org.systemd.property.{key}");
        let bundle = bundle("true").patch("/annotations", json!({annotation: value}));
        let run = systemd(&bundle, &["create", bundle.id()]);
        let want = format!("{FLAG}: start unit {}: ", scope(&bundle));
        assert!(run.message().starts_with(&want) && run.err.contains(said), "{}", run.err);
        is_gone(&bundle);
    }
    let bundle = bundle("true")
        .patch("/annotations", json!({"org.systemd.property.CollectMode": "inactive"}));
    let run = systemd(&bundle, &["create", bundle.id()]);
    let want = r#"annotations[org.systemd.property.CollectMode]: value "inactive": "inactive" is neither a value nor a type (text needs quotes)"#;
    assert_eq!(run.message(), want);
    is_gone(&bundle);
}

#[test]
fn small_limits_do_not_hinder_the_assembling() {
    if !has_systemd(true) || !is_v2() {
        return;
    }
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "/bin/true; /bin/true"]}]);
    let mut bundle = bundle("exec sleep 1000").patch("/hooks", json!({"createContainer": hook}));
    bundle.set("/linux/resources/pids", json!({"limit": 0}));
    bundle.set("/linux/resources/cpu", json!({"quota": 1000, "period": 100_000}));
    systemd(&bundle, &["create", bundle.id()]).ok();
    let dir = cgroup_of(bundle.pid());
    holds(&dir, &[("pids.max", "1"), ("cpu.max", "1000 100000")]);
    shows(&scope(&bundle), &[("TasksMax", "1"), ("CPUQuotaPerSecUSec", "10ms")]);
    delete(&bundle);
}

/// At any moment of it, also while systemd is at work.
#[test]
fn a_create_that_is_killed_leaves_nothing_that_delete_does_not_clear() {
    if !has_systemd(true) {
        return;
    }
    let mut killed = 0;
    for round in 0..12 {
        let bundle = bundle("sleep 1000");
        bundle.write();
        let mut create = bundle.command(&[FLAG, "create", bundle.id()]);
        create.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let mut create = create.stderr(std::process::Stdio::null()).spawn().expect("creel starts");
        std::thread::sleep(Duration::from_millis(15 * round));
        create.kill().expect("kill");
        if !create.wait().expect("wait").success() {
            killed += 1;
        }
        bundle.runtime(&["delete", "--force", bundle.id()]).ok();
        is_gone(&bundle);
    }
    assert!(killed > 0, "none was killed in time");
}

#[test]
fn an_ordinary_users_manager() {
    if !has_systemd(false) {
        return;
    }
    let mut bundle = bundle("sleep 1000");
    bundle.set("/linux/resources", json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 40}}));
    start(&bundle);
    let unit = scope(&bundle);
    shows(
        &unit,
        &[
            ("ActiveState", "active"),
            ("Slice", "user.slice"),
            ("Delegate", "yes"),
            ("MemoryMax", "67108864"),
            ("TasksMax", "40"),
        ],
    );
    let dir = cgroup_of(bundle.pid());
    assert!(dir.ends_with(format!("user.slice/{unit}")), "{dir:?}");
    holds(&dir, &[("memory.max", "67108864"), ("pids.max", "40")]);
    // From wherever the test is: in the manager's part of the tree, or outside it.
    bundle.runtime(&["exec", "--detach", bundle.id(), "/bin/sleep", "1000"]).ok();
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
    assert_eq!(procs.lines().count(), 2, "{procs}");
    bundle.runtime(&["update", "--memory", "50M", bundle.id()]).ok();
    shows(&unit, &[("MemoryMax", "52428800")]);
    holds(&dir, &[("memory.max", "52428800")]);
    bundle.runtime(&["pause", bundle.id()]).ok();
    assert_eq!(bundle.status(), "paused");
    bundle.runtime(&["resume", bundle.id()]).ok();
    delete(&bundle);
}

/// Root there, an ordinary user outside: the bus knows him by his own id.
#[test]
fn an_ordinary_users_manager_from_within_a_user_namespace() {
    if !has_systemd(false) {
        return;
    }
    let mut bundle = bundle("sleep 1000");
    for ids in ["uidMappings", "gidMappings"] {
        bundle.set(&format!("/linux/{ids}"), json!([{"containerID": 0, "hostID": 0, "size": 1}]));
    }
    for mount in bundle.config["mounts"].as_array_mut().expect("a list") {
        // Not mapped.
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
    bundle.write();
    // One namespace for all: a process of another is out of reach.
    let script = r#"
        creel() { "$RUNTIME" --root "$ROOT" "$@"; }
        creel --systemd-cgroup run --detach "$ID"
        systemctl --user show "creel-$ID.scope" -p ActiveState -p Slice
        creel exec "$ID" /bin/echo in it
        creel delete --force "$ID"
    "#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-ec", script]).current_dir(&bundle.dir);
    command.env("RUNTIME", common::runtime()).env("ROOT", bundle.state_root());
    command.env("ID", bundle.id());
    let run = bundle.finish(command).ok();
    assert_eq!(run.out, "Slice=user.slice\nActiveState=active\nin it\n");
    is_gone(&bundle);
}

/// crun's annotation: one more cgroup below the scope, which then is the container's.
#[test]
fn a_subgroup_of_the_unit_is_the_container_s_cgroup() {
    if !has_systemd(true) || !is_v2() {
        return;
    }
    let bundle = bundle("cat /proc/self/cgroup; sleep 60")
        .patch("/linux/resources", limits())
        .patch("/annotations/run.oci.systemd.subgroup", json!("container"))
        .patch("/annotations/run.oci.delegate-cgroup", json!("inner"));
    start(&bundle);
    let dir = cgroup_of(bundle.pid());
    let name = scope(&bundle);
    assert!(dir.ends_with(format!("{name}/container/inner")), "{dir:?}");
    let own = dir.parent().expect("the container's");
    holds(own, &[("pids.max", "40"), ("memory.max", "67108864"), ("memory.high", "61440000")]);
    shows(&name, &[("TasksMax", "40"), ("MemoryMax", "67108864")]);
    bundle.runtime(&["update", "--pids-limit", "50", bundle.id()]).ok();
    holds(own, &[("pids.max", "50")]);
    shows(&name, &[("TasksMax", "50")]);
    bundle.exec(&["true"]).ok();
    bundle.runtime(&["pause", bundle.id()]).ok();
    assert_eq!(bundle.status(), "paused");
    bundle.runtime(&["resume", bundle.id()]).ok();
    delete(&bundle);
}
