// SPDX-License-Identifier: Apache-2.0
//! checkpoint and restore with a CRIU that does nothing: what it is told, how it is answered, and that
//! whatever fails leaves what was there. A real one: tests/checkpoint.rs.

mod common;
#[path = "common/criu.rs"]
mod criu;

use std::fs;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, Value, is_root, json};
use criu::{Fake, external, lives};

/// Not a test: the program that the others call `criu`.
#[test]
fn fake_criu() {
    criu::main();
}

fn running(script: &str) -> Bundle {
    let bundle = Bundle::new(script);
    bundle.start_detached();
    bundle
}

fn checks(bundle: &Bundle) -> bool {
    let is_alive = bundle.status() == "running" && lives(bundle.pid());
    let frozen = bundle.exec(&["true"]);
    is_alive && frozen.code == 0
}

/// Each of `expected` is an option with that value.
#[track_caller]
fn has(options: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&options[name], value, "{name} in {options}");
    }
}

#[test]
fn without_criu_one_line_says_so() {
    if !is_root() {
        return;
    }
    let bundle = running("sleep 1000");
    for command in ["checkpoint", "restore"] {
        let id = if command == "restore" {
            fs::create_dir(bundle.dir.join("checkpoint")).expect("mkdir");
            "creel-test-other"
        } else {
            bundle.id()
        };
        let mut run = bundle.command(&[command, id]);
        run.env("PATH", "/nowhere");
        let run = bundle.finish(run);
        assert_eq!(run.code, 1);
        assert_eq!(run.message(), format!("{command}: criu: not found in PATH (/nowhere)"));
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        assert!(!bundle.state_root().join("creel-test-other").exists());
    }
    assert!(checks(&bundle));
    let images = fs::read_dir(bundle.dir.join("checkpoint")).expect("read");
    assert_eq!(images.count(), 0);
}

#[test]
fn a_dump_tells_what_is_the_hosts() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000")
        .patch("/annotations", json!({"org.criu.config": "/etc/criu/mine.conf"}))
        .add_mount(json!({"destination": "/link/conf", "source": ".", "options": ["rbind"]}))
        .add_mount(json!({"destination": "/dev/given", "type": "bind", "source": "config.json"}))
        .add_mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}));
    fs::create_dir(bundle.rootfs().join("real")).unwrap();
    std::os::unix::fs::symlink("/real", bundle.rootfs().join("link")).unwrap();
    bundle.start_detached();
    let pid = bundle.pid();
    let fake = Fake::new(&bundle, json!({}));
    fake.run(&["checkpoint", "--leave-running", bundle.id()]).ok();
    let options = fake.options();
    has(
        &options,
        &json!({
            "pid": pid, "root": bundle.rootfs(), "log_level": 4, "log_file": "dump.log",
            "notify_scripts": true, "orphan_pts_master": true, "leave_running": true,
            "tcp_established": false, "ext_unix_sk": false, "shell_job": false, "file_locks": false,
            "auto_dedup": false, "lazy_pages": false, "link_remap": false,
            "tcp_skip_in_flight": false, "manage_cgroups": true, "manage_cgroups_mode": 3,
            "empty_ns": libc::CLONE_NEWNET, "config_file": "/etc/criu/mine.conf",
            "network_lock": null, "ps": null, "parent_img": null, "track_mem": null,
            "status_fd": null, "external": null, "work_dir_fd": null,
        }),
    );
    let freezer = options["freeze_cgroup"].as_str().expect("a freezer");
    assert!(common::cgroups_named(bundle.id()).iter().any(|path| path.to_str() == Some(freezer)));
    let pairs = external(&options);
    for pair in ["/real/conf=/real/conf", "/dev/given=/dev/given", "/proc/keys=/dev/null"] {
        assert!(pairs.iter().any(|p| p == pair), "{pair} in {pairs:?}");
    }
    // The host's, as there is no cgroup namespace: each hierarchy of v1, or the one of v2.
    assert!(pairs.iter().any(|pair| pair.starts_with("/sys/fs/cgroup")), "{pairs:?}");
    // A masked directory is a tmpfs of the container's own.
    assert!(!pairs.iter().any(|pair| pair.contains("/sys/firmware")), "{pairs:?}");
    assert_eq!(fake.seen()["images"], json!(bundle.dir.join("checkpoint")));
    // 0 to 2, the socket, the script's own, and what reads the list.
    let fds = fake.seen()["fds"].as_array().unwrap().len();
    if common::lacks("close_range") {
        println!("SKIP: without close_range the script keeps what creel itself was started with");
    } else {
        assert!(fds <= 7, "{}", fake.seen());
    }
    assert!(checks(&bundle));
}

#[test]
fn every_option_of_checkpoint_is_told() {
    if !is_root() {
        return;
    }
    let bundle = running("sleep 1000");
    fs::create_dir_all(bundle.dir.join("before")).unwrap();
    let fake = Fake::new(&bundle, json!({}));
    let all = "checkpoint --image-path img --work-path a/work --parent-path ../before --leave-running \
        --tcp-established --tcp-skip-in-flight --link-remap --ext-unix-sk --shell-job --lazy-pages \
        --page-server [::1]:99 --file-locks --manage-cgroups-mode strict --empty-ns network \
        --auto-dedup --network-lock nftables";
    let mut args: Vec<&str> = all.split_whitespace().collect();
    args.push(bundle.id());
    fake.run(&args).ok();
    has(
        &fake.options(),
        &json!({
            "tcp_established": true, "tcp_skip_in_flight": true, "link_remap": true,
            "ext_unix_sk": true, "shell_job": true, "lazy_pages": true, "file_locks": true,
            "auto_dedup": true, "manage_cgroups_mode": 5, "network_lock": 2,
            "parent_img": "../before", "track_mem": true, "ps": {"address": "::1", "port": 99},
        }),
    );
    assert_eq!(fake.seen()["images"], json!(bundle.dir.join("img")));
    assert_eq!(fake.seen()["work"], json!(bundle.dir.join("a/work")));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(bundle.dir.join("img")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    for (mode, number) in [("soft", 3), ("full", 4), ("ignore", 0)] {
        let mode = ["checkpoint", "--leave-running", "--manage-cgroups-mode", mode, bundle.id()];
        fake.run(&mode).ok();
        has(&fake.options(), &json!({"manage_cgroups_mode": number}));
    }
    for (method, number) in [("iptables", 1), ("skip", 3)] {
        fake.run(&["checkpoint", "--leave-running", "--network-lock", method, bundle.id()]).ok();
        has(&fake.options(), &json!({"network_lock": number}));
    }
}

#[test]
fn a_checkpointed_container_is_gone_and_its_poststop_hooks_have_run() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    let hook = format!("cat >{}/stopped", bundle.dir.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", hook]}]);
    let bundle = bundle.patch("/hooks", json!({"poststop": hook}));
    bundle.start_detached();
    let fake = Fake::new(&bundle, json!({"kills": true}));
    fake.run(&["checkpoint", bundle.id()]).ok();
    assert_eq!(bundle.state(), None);
    assert_eq!(bundle.leftovers(), [""; 0]);
    let state = fs::read_to_string(bundle.dir.join("stopped")).unwrap();
    assert!(state.contains("\"status\":\"stopped\""), "{state}");
}

#[test]
fn a_pre_dump_is_of_memory_alone() {
    if !is_root() {
        return;
    }
    let bundle = running("sleep 1000");
    let fake = Fake::new(&bundle, json!({}));
    fake.run(&["checkpoint", "--pre-dump", "--image-path", "pre", bundle.id()]).ok();
    let types: Vec<_> = fake.requests().iter().map(|r| r["type"].as_i64().unwrap()).collect();
    // Version, features, the pre-dump.
    assert_eq!(types, [10, 9, 4]);
    assert_eq!(fake.requests()[1]["features"], json!({"mem_track": true}));
    assert!(fake.options()["ext_mnt"].is_null());
    assert!(!bundle.dir.join("pre/descriptors.json").exists());
    assert!(checks(&bundle));
    fake.plan(json!({"features": ["lazy_pages"]}));
    let run = fake.run(&["checkpoint", "--pre-dump", bundle.id()]);
    assert_eq!(run.message(), "checkpoint: --pre-dump: criu or the kernel lacks mem_track");
    fake.plan(json!({"features": ["mem_track"]}));
    let run = fake.run(&["checkpoint", "--lazy-pages", bundle.id()]);
    assert_eq!(run.message(), "checkpoint: --lazy-pages: criu or the kernel lacks lazy_pages");
}

#[test]
fn what_is_too_old_is_told_by_version() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    let path = "/proc/self/ns/net";
    let net = json!({"type": "network", "path": path});
    let bundle = bundle.without_namespace("network").patch("/linux/namespaces/-", net);
    bundle.start_detached();
    let fake = Fake::new(&bundle, json!({"version": [2, 12]}));
    let run = fake.run(&["checkpoint", bundle.id()]);
    let text = "checkpoint: checkpoint and restore: needs CRIU 3.0, this is 2.12";
    assert_eq!(run.message(), text);
    fake.plan(json!({"version": [3, 10, 1]}));
    let run = fake.run(&["checkpoint", bundle.id()]);
    let text = "checkpoint: a network namespace that is joined: needs CRIU 3.11, this is 3.10.1";
    assert_eq!(run.message(), text);
    fake.plan(json!({"version": [3, 14]}));
    fake.run(&["checkpoint", "--leave-running", bundle.id()]).ok();
    use std::os::unix::fs::MetadataExt;
    let inode = fs::metadata(path).unwrap().ino();
    assert_eq!(fake.options()["external"], json!(format!("net[{inode}]:extRootNetNS")));
    assert!(checks(&bundle));
}

#[test]
fn a_failing_dump_says_why_and_the_container_runs_on() {
    if !is_root() {
        return;
    }
    let bundle = running("sleep 1000");
    let log = "(00.01) step\n(00.02) Error (criu/x.c:1): Can't dump that\n(00.03) end\n";
    let fake = Fake::new(&bundle, json!({"fail": "Can't dump that", "log": log}));
    let run = fake.run(&["checkpoint", "--work-path", "work", bundle.id()]);
    assert_eq!(run.code, 1);
    assert_eq!(run.message(), "checkpoint: criu: Can't dump that");
    let path = bundle.dir.join("work/dump.log");
    for text in
        [format!("{path:?}").replace('"', "\\\""), "2: (00.02) Error (criu/x.c:1): Can't".into()]
    {
        assert!(run.err.contains(&text), "{text} in {}", run.err);
    }
    assert!(!run.err.contains("(00.03)"), "{}", run.err);
    assert!(checks(&bundle));
    for event in ["network-lock", "post-dump"] {
        fake.plan(json!({"die_at": event}));
        let run = fake.run(&["checkpoint", bundle.id()]);
        assert_eq!(run.message(), "checkpoint: criu ended: exit status 9");
        assert!(checks(&bundle));
    }
}

#[test]
fn a_container_that_a_dead_criu_left_frozen_is_thawed() {
    if !is_root() {
        return;
    }
    let bundle = running("sleep 1000");
    let fake = Fake::new(&bundle, json!({"die_at": "network-lock"}));
    // The fake's first event comes when the container is frozen, as with CRIU.
    let script = fs::read_to_string(bundle.dir.join("fake/criu")).unwrap();
    let freeze = format!(
        "\n{} --root {} pause {}\nexport FAKE_CRIU=",
        common::runtime().display(),
        bundle.state_root().display(),
        bundle.id()
    );
    let script = script.replacen("\nexport FAKE_CRIU=", &freeze, 1);
    // Paused only when the dump has begun: behind the first look at whether it is frozen.
    let script = script.replace("pause", "state >/dev/null; sleep 0.3; :");
    fs::write(bundle.dir.join("fake/criu"), script).unwrap();
    let run = fake.run(&["checkpoint", bundle.id()]);
    assert_eq!(run.code, 1);
    assert!(checks(&bundle));
    // A paused one stays paused.
    bundle.runtime(&["pause", bundle.id()]).ok();
    assert_eq!(fake.run(&["checkpoint", bundle.id()]).code, 1);
    assert_eq!(bundle.status(), "paused");
    bundle.runtime(&["resume", bundle.id()]).ok();
}

#[test]
fn only_what_runs_is_checkpointed() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    bundle.create().ok();
    let fake = Fake::new(&bundle, json!({}));
    let run = fake.run(&["checkpoint", bundle.id()]);
    assert_eq!(run.message(), "container cannot be checkpointed in created state");
    let run = fake.run(&["checkpoint", "nobody"]);
    assert_eq!(run.message(), "container does not exist");
    assert!(fake.requests().is_empty());
}

#[test]
fn parent_paths_are_earlier_images() {
    if !is_root() {
        return;
    }
    let bundle = running("sleep 1000");
    let fake = Fake::new(&bundle, json!({}));
    for (path, text) in
        [("/tmp", "must be relative"), ("../none", "ENOENT"), ("../file", "ENOTDIR")]
    {
        fs::write(bundle.dir.join("file"), "").unwrap();
        let run = fake.run(&["checkpoint", "--parent-path", path, bundle.id()]);
        assert_eq!(run.code, 1);
        let message = run.message();
        assert!(message.contains("--parent-path") && message.contains(text), "{message}");
    }
    assert!(fake.requests().is_empty());
}

#[test]
fn the_status_descriptor_gets_a_null_byte() {
    if !is_root() {
        return;
    }
    let bundle = running("sleep 1000");
    let fake = Fake::new(&bundle, json!({}));
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = std::os::fd::OwnedFd::from(writer);
    let number = writer.as_raw_fd();
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let number = number.to_string();
    let lazy =
        ["checkpoint", "--leave-running", "--lazy-pages", "--status-fd", &number, bundle.id()];
    fake.run(&lazy).ok();
    assert!(fake.options()["status_fd"].is_null());
    fake.plan(json!({"version": [3, 14]}));
    fake.run(&lazy).ok();
    assert_eq!(fake.options()["status_fd"].to_string(), number);
    drop(writer);
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut { reader }, &mut said).unwrap();
    assert_eq!(said, b"\0");
    let bad = ["checkpoint", "--lazy-pages", "--status-fd", "77", bundle.id()];
    let text = "checkpoint: invalid --status-fd argument 77: EBADF: bad file number";
    assert_eq!(fake.run(&bad).message(), text);
}

/// A bundle with images as a dump by creel leaves them.
fn with_images(bundle: &Bundle, pipes: [&str; 3]) {
    let images = bundle.dir.join("checkpoint");
    fs::create_dir_all(&images).unwrap();
    fs::write(images.join("descriptors.json"), json!(pipes).to_string()).unwrap();
    bundle.write();
}

const NO_PIPES: [&str; 3] = ["/dev/null", "/dev/null", "/dev/null"];

/// With mounts of every kind that a restore has to prepare.
fn with_mounts() -> Bundle {
    let bundle = Bundle::new("sleep 1000")
        .add_mount(json!({"destination": "/link/conf", "source": "./alias", "options": ["bind"]}))
        .add_mount(
            json!({"destination": "/link/conf/in/it", "source": "inner", "options": ["bind"]}),
        )
        .add_mount(json!({"destination": "/new/point", "type": "tmpfs", "source": "tmpfs"}))
        .add_mount(
            json!({"destination": "/dev/given", "source": "config.json", "options": ["bind"]}),
        );
    for dir in ["rootfs/real", "outer", "inner"] {
        fs::create_dir(bundle.dir.join(dir)).unwrap();
    }
    std::os::unix::fs::symlink("/real", bundle.rootfs().join("link")).unwrap();
    std::os::unix::fs::symlink("outer", bundle.dir.join("alias")).unwrap();
    bundle
}

#[test]
fn a_restore_tells_where_things_are_now() {
    if !is_root() {
        return;
    }
    let bundle = with_mounts();
    with_images(&bundle, ["/dev/null", "pipe:[7]", "pipe:[8]"]);
    let fake = Fake::new(&bundle, json!({}));
    let pid_file = bundle.dir.join("pid");
    let pid_text = pid_file.to_str().unwrap();
    fake.run(&["restore", "--detach", "--pid-file", pid_text, bundle.id()]).ok();
    let options = fake.options();
    let root = bundle.state_root().join(bundle.id()).join("criu-root");
    has(
        &options,
        &json!({
            "root": root, "rst_sibling": true, "evasive_devices": true, "log_file": "restore.log",
            "notify_scripts": true, "orphan_pts_master": true, "empty_ns": libc::CLONE_NEWNET,
            "tcp_close": null, "lsm_profile": null, "join_ns": null, "pid": null,
            "inherit_fd": [{"key": "pipe:[7]", "fd": 1}, {"key": "pipe:[8]", "fd": 2}],
        }),
    );
    let dir = bundle.dir.display();
    let expected = [
        format!("/real/conf={dir}/outer"),
        format!("/real/conf/in/it={dir}/inner"),
        format!("/dev/given={dir}/config.json"),
        "/dev/null=/dev/null".to_owned(),
    ];
    assert_eq!(external(&options), expected);
    assert!(bundle.rootfs().join("new/point").is_dir());
    assert!(bundle.rootfs().join("real/conf").is_dir());
    assert!(bundle.dir.join("outer/in/it").is_dir(), "a mount point inside of a bind mount");

    let seen = fake.seen();
    assert_eq!(seen["root_is_mounted"], true);
    assert!(!criu::exists(&root));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&dir.to_string()), "{mounts}");
    let cgroups = seen["cgroup"].as_str().unwrap();
    assert!(cgroups.contains(bundle.id()), "{cgroups}");
    let roots = options["cg_root"].as_array().cloned();
    for root in roots.unwrap_or_else(|| vec![options["cg_root"].clone()]) {
        let (ctrl, path) = (root["ctrl"].as_str().unwrap(), root["path"].as_str().unwrap());
        let is_line = |line: &str| {
            line.split(':').nth(1).unwrap().split(',').any(|c| c == ctrl) && line.ends_with(path)
        };
        assert!(cgroups.lines().any(is_line), "{root} in {cgroups}");
    }
    let pid = bundle.pid();
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid.to_string());
    assert_eq!(bundle.status(), "running");
    let mut lo = Command::new("nsenter");
    lo.args(["-t", &pid.to_string(), "-n", "ip", "link", "show", "lo"]);
    let lo = String::from_utf8(lo.output().unwrap().stdout).unwrap();
    assert!(lo.lines().next().is_some_and(|line| line.contains("UP")), "{lo}");
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert!(!lives(pid));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn every_option_of_restore_is_told() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    bundle.write();
    let images = bundle.dir.join("elsewhere/img");
    fs::create_dir_all(&images).unwrap();
    fs::write(images.join("descriptors.json"), json!(NO_PIPES).to_string()).unwrap();
    let fake = Fake::new(&bundle, json!({}));
    let all = "restore --detach --image-path img --work-path work --tcp-established --ext-unix-sk \
        --shell-job --file-locks --manage-cgroups-mode full --empty-ns network --auto-dedup \
        --lazy-pages --lsm-profile apparmor:x --lsm-mount-context system_u:x --tcp-close \
        --network-lock skip -no-subreaper --bundle";
    let mut args: Vec<&str> = all.split_whitespace().collect();
    args.extend([bundle.dir.to_str().unwrap(), bundle.id()]);
    // Paths are of where the command is given, not of the bundle.
    let mut command = fake.command(&args);
    command.current_dir(bundle.dir.join("elsewhere"));
    bundle.finish(command).ok();
    has(
        &fake.options(),
        &json!({
            "tcp_established": true, "ext_unix_sk": true, "shell_job": true, "file_locks": true,
            "manage_cgroups_mode": 4, "auto_dedup": true, "lazy_pages": true,
            "lsm_profile": "apparmor:x", "lsm_mount_context": "system_u:x", "tcp_close": true,
            "network_lock": 3,
        }),
    );
    assert_eq!(fake.seen()["images"], json!(images));
    assert_eq!(fake.seen()["work"], json!(bundle.dir.join("elsewhere/work")));
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();

    fake.plan(json!({"version": [3, 15]}));
    let run = fake.run(&[
        "restore",
        "-d",
        "--image-path",
        "elsewhere/img",
        "--lsm-profile",
        "a:b",
        bundle.id(),
    ]);
    assert_eq!(run.message(), "restore: --lsm-profile: needs CRIU 3.16, this is 3.15");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn joined_namespaces_are_handed_in() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    let mut bundle = bundle.without_namespace("network").without_namespace("ipc");
    for kind in ["net", "ipc"] {
        let name = if kind == "net" { "network" } else { kind };
        let entry = json!({"type": name, "path": format!("/proc/self/ns/{kind}")});
        bundle.set("/linux/namespaces/-", entry);
    }
    with_images(&bundle, NO_PIPES);
    let fake = Fake::new(&bundle, json!({}));
    fake.run(&["restore", "--detach", bundle.id()]).ok();
    let options = fake.options();
    assert_eq!(options["inherit_fd"]["key"], "extRootNetNS");
    assert!(fake.seen()["fds"].as_array().unwrap().contains(&options["inherit_fd"]["fd"]));
    assert_eq!(options["join_ns"]["ns"], "ipc");
    let file = options["join_ns"]["ns_file"].as_str().unwrap();
    assert!(file.starts_with("/proc/"), "{file}");
}

/// A hook that appends its name and the container's status and pid to a file.
fn hook(bundle: &Bundle, name: &str) -> Value {
    let file = bundle.dir.join("hooks");
    let script = format!(
        r#"s=$(cat); echo "{name} $(echo "$s" | grep -o '"status":"[a-z]*"') $(echo "$s" | grep -o '"pid":[0-9]*')" >>{}"#,
        file.display()
    );
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
}

#[test]
fn hooks_find_the_namespaces_and_no_other_runs() {
    if !is_root() {
        return;
    }
    let mut bundle = Bundle::new("sleep 1000");
    for name in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        let hook = hook(&bundle, name);
        bundle.set(&format!("/hooks/{name}"), hook);
    }
    with_images(&bundle, NO_PIPES);
    let fake = Fake::new(&bundle, json!({}));
    fake.run(&["restore", "--detach", bundle.id()]).ok();
    let pid = bundle.pid();
    let ran = |name: &str| fs::read_to_string(bundle.dir.join(name)).unwrap();
    let created = |name| format!("{name} \"status\":\"created\" \"pid\":{pid}\n");
    assert_eq!(ran("hooks"), created("prestart") + &created("createRuntime"));
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert!(ran("hooks").ends_with("poststop \"status\":\"stopped\" \n"), "{}", ran("hooks"));
}

#[test]
fn a_failing_restore_leaves_nothing() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    with_images(&bundle, NO_PIPES);
    let log = "(00.1) Error (criu/y.c:2): Can't restore that\n";
    let fake = Fake::new(&bundle, json!({}));
    let events =
        [Value::Null, "setup-namespaces".into(), "post-restore".into(), "pre-resume".into()];
    for event in events {
        fake.plan(json!({"fail": "Can't restore that", "fail_after": event, "log": log}));
        let run = fake.run(&["restore", "--detach", bundle.id()]);
        assert_eq!((run.code, run.message().as_str()), (1, "restore: criu: Can't restore that"));
        assert!(
            run.err.contains("1: (00.1) Error (criu/y.c:2): Can't restore that"),
            "{}",
            run.err
        );
        assert_eq!(bundle.leftovers(), [""; 0]);
        fake.plan(json!({"die_at": event}));
        if !event.is_null() {
            let run = fake.run(&["restore", bundle.id()]);
            assert_eq!(run.message(), "restore: criu ended: exit status 9");
            assert_eq!(bundle.leftovers(), [""; 0]);
        }
    }
    let run = fake.run(&["restore", "--image-path", "none", bundle.id()]);
    let text = format!(
        "restore: --image-path: open \"{}/none\": ENOENT: no such file or directory",
        bundle.dir.display()
    );
    assert_eq!(run.message(), text);
    fs::remove_file(bundle.dir.join("checkpoint/descriptors.json")).unwrap();
    let run = fake.run(&["restore", bundle.id()]);
    assert!(run.message().contains("read descriptors.json: ENOENT"), "{}", run.message());
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_failing_hook_is_the_reason_and_criu_is_told() {
    if !is_root() {
        return;
    }
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 3"]}]);
    let bundle = Bundle::new("sleep 1000").patch("/hooks", json!({"createRuntime": hook}));
    with_images(&bundle, NO_PIPES);
    let fake = Fake::new(&bundle, json!({}));
    let run = fake.run(&["restore", "--detach", bundle.id()]);
    assert!(run.message().starts_with("restore: error running createRuntime hook #0: \"/bin/sh\""));
    let answers: Vec<_> = fake.requests().into_iter().filter(|r| r["type"] == 6).collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["notify_success"], false);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn in_the_foreground_its_exit_status_is_ours() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    with_images(&bundle, NO_PIPES);
    let fake = Fake::new(&bundle, json!({"script": "sleep 0.2; exit 7"}));
    assert_eq!(fake.run(&["restore", bundle.id()]).code, 7);
    assert_eq!(bundle.leftovers(), [""; 0]);
    fake.plan(json!({"script": "trap 'kill $!; exit 9' USR1; sleep 1000 & wait"}));
    let mut command = fake.command(&["restore", bundle.id()]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    bundle.wait_status("running");
    // The trap is set soon after the process is there.
    std::thread::sleep(Duration::from_millis(300));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn the_terminal_goes_to_the_console_socket() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000")
        .patch("/process/terminal", json!(true))
        .patch("/process/consoleSize", json!({"height": 11, "width": 22}));
    with_images(&bundle, NO_PIPES);
    let fake = Fake::new(&bundle, json!({"terminal": true}));
    let path = bundle.dir.join("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap();
    fake.run(&["restore", "--detach", "--console-socket", socket, bundle.id()]).ok();
    let (stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 64];
    let mut into = [std::io::IoSliceMut::new(&mut buffer)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let flags = nix::sys::socket::MsgFlags::empty();
    let fd = stream.as_raw_fd();
    let got = nix::sys::socket::recvmsg::<()>(fd, &mut into, Some(&mut space), flags).unwrap();
    let is_fd =
        |m| matches!(m, nix::sys::socket::ControlMessageOwned::ScmRights(f) if f.len() == 1);
    assert!(got.cmsgs().unwrap().any(is_fd));
    // Without a socket, and not in the foreground, there is nobody to give it to.
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    let run = fake.run(&["restore", "--detach", bundle.id()]);
    assert!(run.message().contains("process.terminal: cannot allocate tty"), "{}", run.message());
}

#[test]
fn after_kill_9_a_forced_delete_clears_the_rest() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new("sleep 1000");
    let pid = bundle.dir.join("hook.pid");
    let script = format!("echo $$ >'{}'; exec sleep 1000", pid.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 30}]);
    let bundle = bundle.patch("/hooks", json!({"createRuntime": hook}));
    with_images(&bundle, NO_PIPES);
    fs::write(bundle.rootfs().join("precious"), "x").unwrap();
    let fake = Fake::new(&bundle, json!({}));
    let mut command = fake.command(&["restore", "--detach", bundle.id()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let reached = || fake.requests().iter().any(|request| request["type"] == 2);
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never reached: {}", fake.out());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(100));
    child.kill().unwrap();
    child.wait().unwrap();
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
    assert!(bundle.rootfs().join("precious").exists(), "the root was a mount below the state");
    // The hook is the host's, and goes on.
    let hook: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let comm = fs::read_to_string(format!("/proc/{hook}/comm")).unwrap();
    assert_eq!(comm, "sleep\n");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(hook), nix::sys::signal::SIGKILL).unwrap();
}
