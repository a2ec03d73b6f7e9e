// SPDX-License-Identifier: Apache-2.0
//! What crun's users know: its options and annotations beyond runc's (docs/compat.md, "crun's options").

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;

use common::{Bundle, can_run, cgroups_named, is_cgroupfs, is_root, json};

/// The container's cgroup memberships, as it says itself.
fn own_cgroup(bundle: &Bundle) -> String {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).expect("cgroup");
    text.lines().collect::<Vec<_>>().join(" ")
}

#[test]
fn config_is_of_the_caller_s_directory_and_saved() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("echo from the other file");
    fs::create_dir(bundle.dir.join("elsewhere")).unwrap();
    let text = serde_json::to_string(&bundle.config).unwrap();
    fs::write(bundle.dir.join("elsewhere/other.json"), text).unwrap();
    for flag in ["--config", "-f"] {
        let mut run = bundle.command(&["run", "--bundle", "..", flag, "other.json", bundle.id()]);
        run.current_dir(bundle.dir.join("elsewhere"));
        assert_eq!(bundle.finish(run).ok().out, "from the other file\n");
    }
    let missing = bundle.runtime(&["create", "--config", "nope.json", bundle.id()]);
    let path = bundle.dir.join("nope.json");
    let want = format!("read {path:?}: ENOENT: no such file or directory");
    assert_eq!((missing.code, missing.message()), (1, want));
    assert!(bundle.leftovers().is_empty());
}

#[test]
fn without_a_cgroup_manager_the_container_stays_in_its_caller_s_cgroups() {
    if !is_root() || !is_cgroupfs() {
        return;
    }
    let bundle = Bundle::new("sleep 60");
    bundle.write();
    let disabled = ["--cgroup-manager", "disabled"];
    let run = |args: &[&str]| bundle.runtime(&[&disabled[..], args].concat());
    run(&["run", "-d", bundle.id()]).ok();
    let mine = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(own_cgroup(&bundle), mine.lines().collect::<Vec<_>>().join(" "));
    assert!(cgroups_named(bundle.id()).is_empty());
    // What comes later finds no cgroup in the state, whatever the option says.
    assert_eq!(bundle.exec(&["echo", "in"]).ok().out, "in\n");
    let paused = bundle.runtime(&["pause", bundle.id()]);
    let want = "pause: cannot toggle freezer: cgroups not configured for container";
    assert_eq!((paused.code, paused.message()), (1, want.to_owned()));
    bundle.runtime(&["kill", bundle.id(), "KILL"]).ok();
    bundle.wait_status("stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
    assert!(bundle.leftovers().is_empty());
}

#[test]
fn a_limit_that_nobody_would_keep_is_refused() {
    if !is_root() || !is_cgroupfs() {
        return;
    }
    let bundle = Bundle::new("true").patch("/linux/resources/pids", json!({"limit": 10}));
    bundle.write();
    let run = bundle.runtime(&["--cgroup-manager=disabled", "run", bundle.id()]);
    let want = "linux.resources.pids.limit: there are no cgroups with --cgroup-manager disabled";
    assert_eq!((run.code, run.message()), (1, want.to_owned()));
    let plain = bundle.runtime(&["--cgroup-manager=cgroupfs", "run", bundle.id()]).ok();
    assert_eq!(plain.err, "");
    let bad = bundle.runtime(&["--cgroup-manager", "none", "run", bundle.id()]);
    let want =
        "invalid value \"none\" for flag -cgroup-manager: not 'cgroupfs', 'systemd' or 'disabled'";
    assert_eq!((bad.code, bad.message()), (1, want.to_owned()));
    let both = ["--systemd-cgroup", "--cgroup-manager", "cgroupfs", "list"];
    let want = "--systemd-cgroup and --cgroup-manager contradict each other";
    assert_eq!(bundle.runtime(&both).message(), want);
    assert!(bundle.leftovers().is_empty());
}

#[test]
fn kill_and_delete_by_regular_expression() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("sleep 60");
    bundle.write();
    let id = |name: &str| format!("{}-{name}", bundle.id());
    let ids = ["web-1", "web-2", "db-1"].map(id);
    for id in &ids {
        bundle.runtime(&["run", "-d", id]).ok();
    }
    let status = |id: &str| {
        let run = bundle.runtime(&["state", id]);
        let state: common::Value = serde_json::from_str(&run.out).unwrap_or_default();
        state["status"].as_str().unwrap_or("none").to_owned()
    };
    let wait_stopped = |id: &str| {
        let begun = std::time::Instant::now();
        while status(id) != "stopped" {
            assert!(begun.elapsed().as_secs() < 20, "{id} is {}", status(id));
        }
    };
    bundle.runtime(&["kill", "--regex", "web-[0-9]$", "KILL"]).ok();
    wait_stopped(&ids[0]);
    wait_stopped(&ids[1]);
    assert_eq!(status(&ids[2]), "running");
    // What has ended is passed over; nothing that matches is no error.
    bundle.runtime(&["kill", "-r", "web-", "KILL"]).ok();
    bundle.runtime(&["kill", "-r", "^nothing$"]).ok();
    let delete = bundle.runtime(&["delete", "--regex", "(web|db)-1$"]);
    assert_eq!(
        (delete.code, delete.message().as_str()),
        (1, "delete: failed for 1 of 2 containers")
    );
    let why = format!("delete {}: cannot delete container {} that is not stopped", ids[2], ids[2]);
    assert!(delete.err.contains(&why), "{}", delete.err);
    assert_eq!((status(&ids[0]), status(&ids[2])), ("none".into(), "running".into()));
    bundle.runtime(&["delete", "-f", "-r", &format!("^{}-", bundle.id())]).ok();
    assert_eq!(bundle.runtime(&["list", "-q"]).ok().out, "");
    for id in &ids {
        assert!(cgroups_named(id).is_empty());
    }
    let bad = bundle.runtime(&["delete", "--regex", "["]);
    assert_eq!(bad.code, 1);
    assert!(bad.message().starts_with("--regex: \"[\": "), "{}", bad.message());
}

#[test]
fn hooks_write_to_the_files_of_the_annotations() {
    if !can_run() {
        return;
    }
    let mut bundle = Bundle::new("true");
    for point in ["prestart", "createContainer", "startContainer", "poststart", "poststop"] {
        let shell = if point == "startContainer" { "/bin/busybox" } else { "/bin/sh" };
        let script = format!("echo {point}; echo {point}! >&2");
        let hook = json!([{"path": shell, "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
        bundle.set(&format!("/hooks/{point}"), hook);
    }
    bundle.set(
        "/annotations",
        json!({"run.oci.hooks.stdout": "hooks.out", "run.oci.hooks.stderr": bundle.dir.join("hooks.err")}),
    );
    bundle.create().ok();
    bundle.runtime(&["start", bundle.id()]).ok();
    bundle.wait_status("stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
    let read = |name| fs::read_to_string(bundle.dir.join(name)).unwrap();
    let all = "prestart\ncreateContainer\nstartContainer\npoststart\npoststop\n";
    assert_eq!(read("hooks.out"), all);
    assert_eq!(read("hooks.err"), all.replace('\n', "!\n"));
    bundle.set("/annotations", json!({"run.oci.hooks.stdout": "/nowhere/out"}));
    let refused = bundle.run();
    let want = "annotations[run.oci.hooks.stdout]: open \"/nowhere/out\": ENOENT: no such file or directory";
    assert_eq!((refused.code, refused.message()), (1, want.to_owned()));
    assert!(bundle.leftovers().is_empty());
}

#[test]
fn the_pidfd_receiver_gets_a_pidfd_of_init() {
    if !can_run() {
        return;
    }
    let mut bundle = Bundle::new("sleep 60");
    let path = bundle.dir.join("receiver");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    bundle.set("/annotations", json!({"run.oci.pidfd_receiver": path}));
    bundle.start_detached();
    let (stream, _) = listener.accept().unwrap();
    let fd = receive_fd(&stream);
    let info =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)));
    let info = info.unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd");
    assert_eq!(pid.trim(), bundle.pid().to_string());
    bundle.runtime(&["delete", "-f", bundle.id()]).ok();
    bundle.set("/annotations", json!({"run.oci.pidfd_receiver": "/nowhere"}));
    let refused = bundle.run();
    let want = "annotations[run.oci.pidfd_receiver]: connect to /nowhere: ENOENT: no such file or directory";
    assert_eq!((refused.code, refused.message()), (1, want.to_owned()));
    assert!(bundle.leftovers().is_empty());
}

fn receive_fd(stream: &std::os::unix::net::UnixStream) -> i32 {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use std::os::fd::AsRawFd;
    let mut buffer = [0_u8; 64];
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut iov = [std::io::IoSliceMut::new(&mut buffer)];
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::empty()).unwrap();
    for part in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(fds) = part {
            return fds[0];
        }
    }
    panic!("no descriptor came");
}

#[test]
fn a_mount_label_is_given_by_the_option_that_is_named() {
    if !can_run() {
        return;
    }
    // The effect takes SELinux; without it the word is checked all the same.
    let mut bundle = Bundle::new("true");
    bundle.set("/annotations", json!({"run.oci.mount_context_type": "rootcontext"}));
    bundle.run().ok();
    bundle.set("/annotations", json!({"run.oci.mount_context_type": "kontext"}));
    let refused = bundle.run();
    let want = "annotations[run.oci.mount_context_type]: \"kontext\" is not context, fscontext, defcontext or rootcontext";
    assert_eq!((refused.code, refused.message()), (1, want.to_owned()));
}

#[test]
fn handlers_and_plugins_are_refused_by_name() {
    if !can_run() {
        return;
    }
    let mut bundle = Bundle::new("true");
    for (name, value, why) in [
        (
            "run.oci.handler",
            "wasmedge",
            "creel has no handlers for virtual machines or WebAssembly",
        ),
        (
            "run.oci.seccomp.plugins",
            "a.so",
            "creel loads no plugins; use linux.seccomp.listenerPath",
        ),
        ("module.wasm.image/variant", "compat", "creel has no handler for WebAssembly"),
    ] {
        bundle.set("/annotations", json!({name: value}));
        let run = bundle.run();
        let want = format!("annotations[{name}]: {value:?}: {why}");
        assert_eq!((run.code, run.message()), (1, want));
    }
    // A setting of a handler that is not asked for, and Kubernetes' own word, say nothing.
    let harmless = json!({"krun.cpus": "2", "io.kubernetes.cri.container-type": "container"});
    bundle.set("/annotations", harmless);
    bundle.run().ok();
    assert!(bundle.leftovers().is_empty());
}

/// `ret ALLOW` unless it is mkdir, then ERRNO(EROFS); as bytes in base64.
fn program() -> String {
    let instruction = |code: u16, jt: u8, jf: u8, k: u32| {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([jt, jf]);
        bytes.extend(k.to_ne_bytes());
        bytes
    };
    let mkdir = u32::try_from(nix::libc::SYS_mkdirat).unwrap();
    let plain = if cfg!(target_arch = "x86_64") { 83 } else { mkdir };
    let program = [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 1, 0, plain),
        instruction(0x15, 0, 1, mkdir),
        instruction(0x06, 0, 0, 0x0005_0000 | 30),
        instruction(0x06, 0, 0, 0x7fff_0000),
    ]
    .concat();
    let encoder = Command::new("python3")
        .args([
            "-c",
            "import base64,sys; print(base64.b64encode(bytes.fromhex(sys.argv[1])).decode())",
        ])
        .arg(program.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        .output();
    String::from_utf8(encoder.expect("python3").stdout).unwrap().trim().to_owned()
}

#[test]
fn a_finished_seccomp_filter_is_for_the_container_and_for_exec() {
    if !can_run() {
        return;
    }
    let script = "grep Seccomp: /proc/self/status; mkdir /tmp/x; sleep 60";
    let mut bundle = Bundle::new(script)
        .add_mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    bundle.set("/annotations", json!({"run.oci.seccomp_bpf_data": program()}));
    bundle.start_detached();
    for _ in 0..2 {
        let exec = bundle.exec(&["mkdir", "/tmp/y"]);
        assert!(exec.code != 0 && exec.err.contains("Read-only file system"), "{}", exec.err);
    }
    let exec = bundle.exec(&["grep", "Seccomp:", "/proc/self/status"]).ok();
    assert_eq!(exec.out.split_whitespace().last(), Some("2"));
    assert!(!bundle.exec(&["test", "-e", "/tmp/x"]).out.contains('x'));
}

#[test]
fn syslog_and_journald_get_the_error_line() {
    if !is_root() {
        return;
    }
    // In a mount namespace of its own both sockets can be there, whatever the machine has.
    let bundle = Bundle::new("true");
    let dir = bundle.dir.clone();
    let socket = |name: &str| UnixDatagram::bind(dir.join(name)).expect("a socket");
    let (log, journal) = (socket("log.sock"), socket("journal.sock"));
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && : >/run/systemd/journal/socket && \
         mount --bind {dir}/journal.sock /run/systemd/journal/socket && \
         mount -t tmpfs tmpfs /dev && : >/dev/log && mount --bind {dir}/log.sock /dev/log && \
         {runtime} --root {dir}/state --log syslog:web state nobody; \
         {runtime} --root {dir}/state --log journald: --log-level error state nobody",
        dir = dir.display(),
        runtime = common::runtime().display(),
    );
    let run = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .output()
        .expect("unshare");
    let err = String::from_utf8_lossy(&run.stderr);
    // The message goes to standard error as well, as with a file.
    assert_eq!(err, "container does not exist\n".repeat(2));
    let read = |socket: &UnixDatagram| {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let line = read(&log);
    assert!(line.starts_with("<11>") && line.contains(" web["), "{line}");
    assert!(line.ends_with("]: container does not exist"), "{line}");
    let line = read(&journal);
    assert!(line.starts_with("PRIORITY=3\nSYSLOG_IDENTIFIER=creel\n"), "{line}");
    assert!(line.ends_with("\nMESSAGE=container does not exist\n"), "{line}");
}

#[test]
fn log_level_leaves_the_less_urgent_out() {
    if !can_run() {
        return;
    }
    let bundle = Bundle::new("true").patch("/linux/resources/memory", json!({"kernel": 1_000_000}));
    bundle.write();
    let warned = |level: &[&str]| {
        let run = bundle.runtime(&[level, &["run", bundle.id()]].concat()).ok();
        (run.err.contains("level=warning"), run.err.contains("level=debug"))
    };
    assert_eq!(warned(&[]), (true, false));
    assert_eq!(warned(&["--log-level", "error"]), (false, false));
    assert_eq!(warned(&["--log-level", "debug"]), (true, true));
    let bad = bundle.runtime(&["--log-level", "loud", "list"]);
    let want = "invalid value \"loud\" for flag -log-level: not 'error', 'warning' or 'debug'";
    assert_eq!((bad.code, bad.message()), (1, want.to_owned()));
}

#[test]
fn v1_s_systemd_hierarchy_on_a_host_with_v2_alone() {
    if !is_root() || !is_cgroupfs() {
        return;
    }
    if !fs::read_to_string("/proc/self/cgroup").unwrap().contains("name=systemd") {
        println!("SKIP: the machine has no hierarchy name=systemd that could be mounted again");
        return;
    }
    let mut bundle = Bundle::new("cat /proc/self/mountinfo; ls /sys/fs/cgroup/systemd")
        .add_mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}));
    bundle.set("/annotations", json!({"run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup"}));
    bundle.write();
    let view = |bundle: &Bundle| {
        let script = format!(
            "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec {} --root {} run {}",
            common::runtime().display(),
            bundle.state_root().display(),
            bundle.id()
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script]);
        bundle.finish({
            command.current_dir(&bundle.dir);
            command
        })
    };
    let seen = view(&bundle).ok().out;
    let systemd = seen.lines().find(|line| line.contains(" /sys/fs/cgroup/systemd ")).expect(&seen);
    assert!(systemd.contains("name=systemd"), "{systemd}");
    assert!(seen.lines().any(|line| line == "cgroup.procs"), "{seen}");
    bundle.set("/annotations", json!({"run.oci.systemd.force_cgroup_v1": "/elsewhere"}));
    bundle.write();
    let refused = view(&bundle);
    let want = "annotations[run.oci.systemd.force_cgroup_v1]: \"/elsewhere\" is the destination of no mount";
    assert_eq!((refused.code, refused.message()), (1, want.to_owned()));
    assert!(bundle.leftovers().is_empty());
}

#[test]
fn the_process_starts_in_the_delegated_cgroup() {
    if !is_root() || !is_cgroupfs() {
        return;
    }
    let mut bundle = Bundle::new("cat /proc/self/cgroup; sleep 60");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    bundle.set("/linux/cgroupsPath", json!(format!("/creel-test/{}", bundle.id())));
    bundle.set("/annotations", json!({"run.oci.delegate-cgroup": "a/b"}));
    bundle.write();
    let id = bundle.id();
    let creel = format!("{} --root {}", common::runtime().display(), bundle.state_root().display());
    // All in one mount namespace, where creel finds v2 alone.
    let script = format!(
        "if ! [ -e /sys/fs/cgroup/cgroup.controllers ]; then umount -R /sys/fs/cgroup; \
           mount -t cgroup2 none /sys/fs/cgroup || exit 9; fi; \
         {creel} run -d {id} >{dir}/said && {creel} exec {id} cat /proc/self/cgroup >{dir}/exec && \
         pid=$({creel} state {id} | sed -n 's/.*\"pid\": \\([0-9]*\\),/\\1/p') && \
         cat /proc/$pid/cgroup >{dir}/host && cat {dir}/said && \
         {creel} kill {id} KILL && sleep 0.2; {creel} delete -f {id}; \
         [ ! -e /sys/fs/cgroup/creel-test/{id} ] && echo gone; rmdir /sys/fs/cgroup/creel-test",
        dir = bundle.dir.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", &script]);
    command.current_dir(&bundle.dir);
    let run = bundle.finish(command);
    if run.code == 9 {
        println!("SKIP: cgroup2 cannot be mounted: {}", run.err);
        return;
    }
    let v2 = |text: &str| text.lines().find_map(|l| l.strip_prefix("0::").map(str::to_owned));
    // Below the root of its cgroup namespace, which is the container's own cgroup.
    assert_eq!(v2(&run.out).as_deref(), Some("/a/b"), "{}\n{}", run.out, run.err);
    assert!(run.out.ends_with("gone\n"), "{}\n{}", run.out, run.err);
    let host = fs::read_to_string(bundle.dir.join("host")).unwrap();
    assert_eq!(v2(&host), Some(format!("/creel-test/{id}/a/b")), "{host}");
    // Where the container's cgroup hands controllers down it takes no process: exec follows init.
    let exec = v2(&fs::read_to_string(bundle.dir.join("exec")).unwrap()).expect("v2");
    assert!(exec == "/a/b" || exec == "/", "{exec}");
}

#[test]
fn extra_cgroups_need_v2() {
    if !is_root() || !is_cgroupfs() {
        return;
    }
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        println!("SKIP: the machine has cgroup v2 alone");
        return;
    }
    let mut bundle = Bundle::new("true");
    bundle.set("/annotations", json!({"run.oci.delegate-cgroup": "x"}));
    let run = bundle.run();
    let want = "annotations[run.oci.delegate-cgroup]: \"x\": needs a host with cgroup v2 alone";
    assert_eq!((run.code, run.message()), (1, want.to_owned()));
    // An empty one is none, and without systemd there is no unit that a subgroup could be below.
    let none = json!({"run.oci.delegate-cgroup": "", "run.oci.systemd.subgroup": "x"});
    bundle.set("/annotations", none);
    bundle.run().ok();
    assert!(bundle.leftovers().is_empty());
}

#[test]
fn the_version_also_by_crun_s_letter() {
    let mut out = String::new();
    let child =
        Command::new(common::runtime()).arg("-V").stdout(std::process::Stdio::piped()).spawn();
    child.unwrap().stdout.unwrap().read_to_string(&mut out).unwrap();
    assert!(out.starts_with("creel version "), "{out}");
}
