// SPDX-License-Identifier: Apache-2.0
//! `exec` into containers with a user namespace, by its owner and by root; into joined namespaces.

use std::fs;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::agent::{Agent, Answer};
use crate::common::{Bundle, Value, json, runtime};
use crate::user::User;

const KINDS: [&str; 6] = ["user", "pid", "mnt", "net", "ipc", "uts"];

fn running(user: &User) -> Bundle {
    let bundle = user.bundle("exec sleep 1000");
    user.start_detached(&bundle);
    bundle
}

fn namespaces(pid: i32) -> String {
    let link = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    KINDS.map(|kind| format!("{}\n", link(kind).display())).concat()
}

const SHOW: &str = "sh -c 'for n in user pid mnt net ipc uts; do readlink /proc/self/ns/$n; done'";

#[test]
fn all_namespaces_are_those_of_init() {
    let Some(user) = User::new() else { return };
    let bundle = running(&user);
    let own = namespaces(user.pid(&bundle));
    assert_eq!(user.exec(&bundle, SHOW).ok().out, own);
    // By root, who joins with the host's rights.
    let state = user.run_dir().join("creel");
    let mut root = std::process::Command::new(runtime());
    root.arg("--root").arg(state).args(["exec", bundle.id(), "sh", "-c", &SHOW[7..SHOW.len() - 1]]);
    assert_eq!(bundle.finish(root).ok().out, own);
}

/// It is hidden from the container's processes while it is made, but not from its owner.
#[test]
fn a_created_container_is_entered_too() {
    let Some(user) = User::new() else { return };
    let bundle = user.bundle("exec sleep 1000");
    user.creel(&bundle, &format!("create {}", bundle.id())).ok();
    assert_eq!(user.state(&bundle)["status"], "created");
    assert_eq!(user.exec(&bundle, SHOW).ok().out, namespaces(user.pid(&bundle)));
    let ps = user.sh(&format!("creel ps --format json {}", bundle.id())).ok().out;
    assert_eq!(ps.trim(), format!("[{}]", user.pid(&bundle)));
    user.sh(&format!("creel start {}", bundle.id())).ok();
    assert_eq!(user.exec(&bundle, "id -u").ok().out, "0\n");
}

/// The owner takes the listener out of a process that is hidden from everybody else.
#[test]
fn a_seccomp_agent_gets_its_listener() {
    let Some(user) = User::new() else { return };
    let path = user.home().join("agent");
    let agent = Agent::at(&path, |_| Answer::Errno(nix::libc::ENOMEDIUM));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let calls = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]);
    let seccomp =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": calls});
    let bundle = user.bundle("mkdir /tmp/foo; sleep 1000").patch("/linux/seccomp", seccomp);
    user.creel(&bundle, &format!("create {}", bundle.id())).ok();
    let has = |n: usize| {
        let begun = std::time::Instant::now();
        while agent.states().len() < n && begun.elapsed().as_secs() < 10 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(agent.states().len(), n);
    };
    has(1);
    user.sh(&format!("creel start {}", bundle.id())).ok();
    let run = user.exec(&bundle, "mkdir /tmp/bar");
    assert!(run.code == 1 && run.err.contains("No medium found"), "{}: {}", run.code, run.err);
    has(2);
}

#[test]
fn output_status_signals_and_errors() {
    let Some(user) = User::new() else { return };
    let bundle = running(&user);
    let run = user.exec(&bundle, "sh -c 'id -u; echo $$ >&2; exit 5'");
    assert_eq!((run.code, run.out.as_str()), (5, "0\n"));
    assert!(run.err.trim().parse::<u32>().is_ok_and(|pid| pid < 100), "{}", run.err);
    assert_eq!(user.exec(&bundle, "sh -c 'kill -KILL $$'").code, 137);
    let run = user.exec(&bundle, "nope");
    assert_eq!(run.code, 255);
    assert_eq!(run.message(), r#"exec: "nope": executable file not found in $PATH"#);
    // What creel is sent goes on to the program.
    let script = format!(
        "creel exec {} sh -c 'trap \"exit 9\" TERM; echo ready; while :; do sleep 0.1; done' > ready & \
         for i in $(seq 100); do grep -q ready ready && break; sleep 0.05; done; \
         kill -TERM $!; wait $!; exit $?",
        bundle.id()
    );
    assert_eq!(user.sh(&script).code, 9);
    let ps = user.sh(&format!("creel ps --format json {}", bundle.id())).ok().out;
    assert_eq!(ps.trim(), format!("[{}]", user.pid(&bundle)), "somebody is left");
}

#[test]
fn the_pid_file_has_the_pid_of_the_host() {
    let Some(user) = User::new() else { return };
    let bundle = running(&user);
    user.sh(&format!("creel exec --detach --pid-file pid {} sleep 500", bundle.id())).ok();
    let pid = fs::read_to_string(user.home().join("pid")).unwrap();
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line, "sleep\x00500\x00");
    assert_eq!(namespaces(pid.parse().unwrap()), namespaces(user.pid(&bundle)));
}

#[test]
fn a_console_socket_gets_the_terminal() {
    let Some(user) = User::new() else { return };
    let bundle = running(&user);
    let path = user.home().join("console");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let exec = "exec --tty --detach --console-socket console";
    user.sh(&format!("creel {exec} {} sh -c 'tty; id -u'", bundle.id())).ok();
    let (socket, _) = listener.accept().unwrap();
    let mut name = [0_u8; 64];
    let mut iov = [IoSliceMut::new(&mut name)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::empty());
    let ControlMessageOwned::ScmRights(fds) = message.unwrap().cmsgs().unwrap().next().unwrap()
    else {
        panic!("no descriptor")
    };
    // SAFETY: received just now, and nobody else's.
    #[allow(unsafe_code)]
    let terminal = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    let mut out = String::new();
    // EIO: the other end is closed.
    let _ = fs::File::from(terminal).read_to_string(&mut out);
    assert_eq!(out, "/dev/pts/0\r\n0\r\n");
}

/// The second container has only its mounts for itself.
#[test]
fn namespaces_joined_by_path_are_entered_by_run_and_exec() {
    let Some(user) = User::new() else { return };
    let first = running(&user);
    let pid = user.pid(&first);
    let mut second = user.bundle("ps | grep -c 'sleep 1000'; exec sleep 2000");
    let joined = [("user", "user"), ("pid", "pid"), ("network", "net"), ("ipc", "ipc")]
        .map(|(kind, file)| json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
    let new = [json!({"type": "mount"}), json!({"type": "uts"})];
    second.config["linux"]["namespaces"] = new.into_iter().chain(joined).collect::<Value>();
    let linux = second.config["linux"].as_object_mut().unwrap();
    linux.remove("uidMappings");
    linux.remove("gidMappings");
    let run = user.creel(&second, &format!("run --detach {}", second.id())).ok();
    assert!(run.err.contains("Such configuration is strongly discouraged"), "{}", run.err);
    let shown = user.exec(&second, SHOW).ok().out;
    assert_eq!(shown, namespaces(user.pid(&second)));
    let [ours, theirs] = [shown, namespaces(pid)];
    let same: Vec<bool> = ours.lines().zip(theirs.lines()).map(|(a, b)| a == b).collect();
    assert_eq!(same, [true, true, false, true, true, false], "{KINDS:?}");
    let table = user.exec(&second, "ps").ok().out;
    assert!(table.contains("sleep 1000") && table.contains("sleep 2000"), "{table}");
    // Init is all that is known of it: no cgroup, no pid namespace of its own.
    user.sh(&format!("creel kill {} KILL", second.id())).ok();
    user.sh(&format!("creel delete --force {}", second.id())).ok();
    assert_eq!(user.state(&first)["status"], "running");
}

#[test]
fn a_new_pid_namespace_in_a_joined_user_namespace() {
    let Some(user) = User::new() else { return };
    let first = running(&user);
    let path = format!("/proc/{}/ns/user", user.pid(&first));
    let mut second = user.bundle("echo $$; exec sleep 1000");
    let list = second.config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != "user");
    list.push(json!({"type": "user", "path": path}));
    let linux = second.config["linux"].as_object_mut().unwrap();
    linux.remove("uidMappings");
    linux.remove("gidMappings");
    user.start_detached(&second);
    assert_eq!(user.exec(&second, SHOW).ok().out, namespaces(user.pid(&second)));
    assert_eq!(user.exec(&second, "readlink /proc/1/exe").ok().out, "/bin/busybox\n");
}

#[test]
fn the_time_namespace_is_entered_too() {
    let Some(user) = User::new() else { return };
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        println!("SKIP: the kernel has no time namespaces");
        return;
    }
    let bundle = user
        .bundle("exec sleep 1000")
        .patch("/linux/namespaces/-", json!({"type": "time"}))
        .patch("/linux/timeOffsets", json!({"boottime": {"secs": 10_000_000}}));
    user.start_detached(&bundle);
    let uptime = user.exec(&bundle, "cat /proc/uptime").ok().out;
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 10_000_000.0, "{uptime}");
}
