// SPDX-License-Identifier: Apache-2.0
//! checkpoint and restore by CRIU itself, which must work on this kernel (`criu check`): in the virtual
//! machine it does. What creel says to CRIU: tests/checkpoint_rpc.rs.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Bundle, has, is_root, json};

/// Without the host's own options, which may lead the log into a file.
fn check(args: &[&str]) -> std::process::Output {
    let mut criu = Command::new("criu");
    criu.args(["check", "--no-default-config"]).args(args).output().expect("criu starts")
}

/// Whether a container can be checkpointed here; prints why not.
fn has_criu() -> bool {
    if !is_root() {
        return false;
    }
    if !has("criu") {
        println!("SKIP: criu is not installed");
        return false;
    }
    let check = check(&[]);
    if !check.status.success() {
        let said = [check.stdout, check.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let is_reason = |line: &&str| line.contains("Error") && !line.contains("exited");
        let why = said.lines().find(is_reason).unwrap_or("it does not say why");
        println!("SKIP: criu check: {}: {why}", check.status);
    }
    check.status.success()
}

const COUNTER: &str = "i=0; while true; do i=$((i+1)); echo $i >/tmp/count; sleep 0.05; done";

/// A container whose root is writable and that has no stream of ours: what CRIU can't take along.
fn bundle(script: &str) -> Bundle {
    Bundle::new(script).patch("/root/readonly", json!(false))
}

fn count(bundle: &Bundle) -> u64 {
    let text = fs::read_to_string(bundle.rootfs().join("tmp/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[track_caller]
fn wait(what: &str, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Until it has counted on from where it is now; how far it has come.
#[track_caller]
fn counts_on(bundle: &Bundle) -> u64 {
    let now = count(bundle);
    wait("it counts on", || count(bundle) > now + 1);
    count(bundle)
}

/// The container with all its streams on /dev/null.
#[track_caller]
fn start(bundle: &Bundle) {
    bundle.write();
    ok(bundle, &["run", "--detach", bundle.id()]);
}

#[track_caller]
fn ok(bundle: &Bundle, args: &[&str]) {
    let log = bundle.dir.join("log");
    let mut command = bundle.command(&["--log", log.to_str().unwrap()]);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("it starts");
    assert!(status.success(), "{args:?}: {}", fs::read_to_string(&log).unwrap_or_default());
}

#[track_caller]
fn checkpoint_and_restore(bundle: &Bundle, options: &[&str]) {
    ok(bundle, &[&["checkpoint"], options, &[bundle.id()]].concat());
    assert_eq!(bundle.leftovers(), [""; 0]);
    ok(bundle, &[&["restore", "--detach"], options, &[bundle.id()]].concat());
}

#[test]
fn a_counter_survives_ten_rounds() {
    if !has_criu() {
        return;
    }
    let bundle = bundle(COUNTER);
    start(&bundle);
    let mut last = counts_on(&bundle);
    for _ in 0..10 {
        checkpoint_and_restore(&bundle, &[]);
        assert_eq!(bundle.status(), "running");
        let now = counts_on(&bundle);
        assert!(now > last, "{now} after {last}: it began anew");
        last = now;
    }
    assert_eq!(bundle.exec(&["/bin/echo", "hi"]).ok().out, "hi\n");
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn leave_running_and_a_paused_container() {
    if !has_criu() {
        return;
    }
    let bundle = bundle(COUNTER);
    start(&bundle);
    ok(&bundle, &["checkpoint", "--leave-running", "--image-path", "one", bundle.id()]);
    assert_eq!(bundle.status(), "running");
    let at = counts_on(&bundle);
    bundle.runtime(&["pause", bundle.id()]).ok();
    ok(&bundle, &["checkpoint", "--image-path", "two", bundle.id()]);
    assert_eq!(bundle.leftovers(), [""; 0]);
    ok(&bundle, &["restore", "--detach", "--image-path", "two", bundle.id()]);
    assert_eq!(bundle.status(), "running");
    assert!(counts_on(&bundle) > at);
}

#[test]
fn the_hosts_cgroups_are_bound_anew_without_a_cgroup_namespace() {
    if !has_criu() {
        return;
    }
    let bundle = bundle(COUNTER).add_mount(json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "ro"]
    }));
    start(&bundle);
    let at = counts_on(&bundle);
    checkpoint_and_restore(&bundle, &["--manage-cgroups-mode", "ignore"]);
    assert!(counts_on(&bundle) > at);
    let seen = bundle.exec(&["/bin/ls", "/sys/fs/cgroup/cgroup.controllers"]).ok();
    assert_eq!(seen.out.trim(), "/sys/fs/cgroup/cgroup.controllers");
}

#[test]
fn exec_is_in_the_time_namespace_that_criu_restores_into() {
    if !has_criu() {
        return;
    }
    let bundle = bundle(COUNTER);
    start(&bundle);
    checkpoint_and_restore(&bundle, &[]);
    let init = fs::read_link(format!("/proc/{}/ns/time", bundle.pid())).unwrap();
    let own = bundle.exec(&["/bin/readlink", "/proc/self/ns/time"]).ok().out;
    assert_eq!(own.trim(), init.to_str().unwrap());
}

#[test]
fn pre_dumps_are_a_chain() {
    if !has_criu() {
        return;
    }
    if !check(&["--feature", "mem_dirty_track"]).status.success() {
        println!("SKIP: the kernel has no dirty memory tracking");
        return;
    }
    let bundle = bundle(COUNTER);
    start(&bundle);
    ok(&bundle, &["checkpoint", "--pre-dump", "--image-path", "pre1", bundle.id()]);
    counts_on(&bundle);
    let second = ["checkpoint", "--pre-dump", "--image-path", "pre2", "--parent-path", "../pre1"];
    ok(&bundle, &[&second[..], &[bundle.id()]].concat());
    let at = counts_on(&bundle);
    ok(&bundle, &["checkpoint", "--image-path", "img", "--parent-path", "../pre2", bundle.id()]);
    for (dir, parent) in [("img", "../pre2"), ("pre2", "../pre1")] {
        let link = fs::read_link(bundle.dir.join(dir).join("parent")).unwrap();
        assert_eq!(link, Path::new(parent));
    }
    // The last images hold what has changed, the first most of it.
    let pages = |dir: &str| -> u64 {
        let entries = fs::read_dir(bundle.dir.join(dir)).unwrap().map(Result::unwrap);
        let pages = entries.filter(|e| e.file_name().to_string_lossy().starts_with("pages-"));
        pages.map(|e| e.metadata().unwrap().len()).sum()
    };
    assert!(pages("img") < pages("pre1"), "{} < {}", pages("img"), pages("pre1"));
    ok(&bundle, &["restore", "--detach", "--image-path", "img", bundle.id()]);
    assert!(counts_on(&bundle) > at);
}

/// Killed and waited for at the end.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn memory_moves_lazily_from_one_root_to_another() {
    if !has_criu() {
        return;
    }
    if !check(&["--feature", "uffd-noncoop"]).status.success() {
        println!("SKIP: the kernel has no userfaultfd for it");
        return;
    }
    // Half a megabyte that is looked at again and again.
    let script = "i=0; x=$(dd if=/dev/zero bs=512k count=1 2>/dev/null | tr '\\0' x); \
        while true; do i=$((i+1)); echo $i ${#x} >/tmp/size; echo $i >/tmp/count; sleep 0.05; done";
    let (here, mut there) = (bundle(script), bundle("false"));
    start(&here);
    counts_on(&here);
    let at = count(&here);
    there.config = here.config.clone();
    there.write();
    let images = here.dir.join("img");
    let images = images.to_str().unwrap();
    let (mut ready, status) = std::io::pipe().unwrap();
    let status = OwnedFd::from(status);
    nix::fcntl::fcntl(&status, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let fd = status.as_raw_fd().to_string();
    let port = "27179";
    let server = format!("127.0.0.1:{port}");
    let lazy = ["checkpoint", "--lazy-pages", "--page-server", &server, "--status-fd", &fd];
    let mut dump = here.command(&lazy);
    dump.args(["--image-path", images, here.id()]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut dump = dump.spawn().unwrap();
    drop(status);
    let mut byte = [1];
    ready.read_exact(&mut byte).expect("the null byte");
    assert_eq!(byte, [0]);
    // The file systems are the user's to move; what it has counted so far goes along.
    for name in ["count", "size"] {
        fs::copy(here.rootfs().join("tmp").join(name), there.rootfs().join("tmp").join(name))
            .unwrap();
    }
    let mut pages = Command::new("criu");
    pages.args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", port]);
    pages.args(["--images-dir", images]).stdin(Stdio::null());
    let mut pages = Helper(pages.spawn().unwrap());
    wait("the socket of lazy-pages", || Path::new(images).join("lazy-pages.socket").exists());
    let restore =
        ["restore", "--detach", "--lazy-pages", "--image-path", images, "--work-path", images];
    ok(&there, &[&restore[..], &[there.id()]].concat());
    assert!(dump.wait().unwrap().success());
    assert!(pages.0.wait().unwrap().success());
    assert_eq!(here.leftovers(), [""; 0]);
    assert!(counts_on(&there) > at);
    wait("the size", || {
        let text = fs::read_to_string(there.rootfs().join("tmp/size")).unwrap_or_default();
        text.trim().ends_with(" 524288")
    });
}

#[test]
fn pipes_are_replaced_by_those_of_the_restorer() {
    if !has_criu() {
        return;
    }
    let bundle = bundle("while read line; do echo got $line; done");
    bundle.write();
    let piped = |args: &[&str]| {
        let mut command = bundle.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Before the wait, which would close it.
        let stdin = child.stdin.take().unwrap();
        assert!(child.wait().unwrap().success());
        (stdin, std::io::BufReader::new(child.stdout.take().unwrap()))
    };
    let line = |from: &mut std::io::BufReader<std::process::ChildStdout>| {
        let mut line = String::new();
        std::io::BufRead::read_line(from, &mut line).unwrap();
        line
    };
    let (mut stdin, mut stdout) = piped(&["run", "--detach", bundle.id()]);
    writeln!(stdin, "one").unwrap();
    assert_eq!(line(&mut stdout), "got one\n");
    for round in ["two", "three"] {
        bundle.runtime(&["checkpoint", bundle.id()]).ok();
        drop((stdin, stdout));
        (stdin, stdout) = piped(&["restore", "--detach", bundle.id()]);
        writeln!(stdin, "{round}").unwrap();
        assert_eq!(line(&mut stdout), format!("got {round}\n"));
    }
}

#[test]
fn a_terminal_goes_on_at_the_new_console_socket() {
    if !has_criu() {
        return;
    }
    let bundle = bundle("stty -echo; echo ready; while read line; do echo got $line; done")
        .patch("/process/terminal", json!(true));
    bundle.write();
    let path = bundle.dir.join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap();
    ok(&bundle, &["run", "--detach", "--console-socket", socket, bundle.id()]);
    let mut terminal = receive(&listener);
    until(&mut terminal, "ready");
    for word in ["one", "two"] {
        ok(&bundle, &["checkpoint", bundle.id()]);
        drop(terminal);
        ok(&bundle, &["restore", "--detach", "--console-socket", socket, bundle.id()]);
        terminal = receive(&listener);
        writeln!(terminal, "{word}").unwrap();
        until(&mut terminal, &format!("got {word}"));
    }
}

#[allow(unsafe_code)] // a descriptor that was sent
fn receive(listener: &UnixListener) -> fs::File {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let (stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 256];
    let mut into = [std::io::IoSliceMut::new(&mut buffer)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let flags = MsgFlags::empty();
    let message =
        recvmsg::<()>(stream.as_fd().as_raw_fd(), &mut into, Some(&mut space), flags).unwrap();
    let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
        panic!("no descriptor")
    };
    // SAFETY: the kernel has just made it for us.
    unsafe { OwnedFd::from_raw_fd(fds[0]) }.into()
}

#[track_caller]
fn until(terminal: &mut fs::File, wanted: &str) {
    let mut said = String::new();
    while !said.contains(wanted) {
        let mut buffer = [0; 256];
        let n = terminal.read(&mut buffer).expect("the terminal");
        said.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
}

#[test]
fn bind_mounts_are_those_of_the_restoring_bundle() {
    if !has_criu() {
        return;
    }
    let script = "cd /data; while true; do cat file >/tmp/seen; sleep 0.05; done";
    let mount =
        |source: &str| json!({"destination": "/link/data", "source": source, "options": ["rbind"]});
    let mut bundle = bundle(&script.replace("/data", "/link/data"))
        .patch("/root/readonly", json!(false))
        .add_mount(mount("./first"));
    fs::create_dir(bundle.rootfs().join("real")).unwrap();
    std::os::unix::fs::symlink("/real", bundle.rootfs().join("link")).unwrap();
    for dir in ["first", "second"] {
        fs::create_dir(bundle.dir.join(dir)).unwrap();
        fs::write(bundle.dir.join(dir).join("file"), dir).unwrap();
    }
    start(&bundle);
    let seen =
        |bundle: &Bundle| fs::read_to_string(bundle.rootfs().join("tmp/seen")).unwrap_or_default();
    wait("first", || seen(&bundle) == "first");
    ok(&bundle, &["checkpoint", bundle.id()]);
    let last = bundle.config["mounts"].as_array().unwrap().len() - 1;
    bundle.set(&format!("/mounts/{last}"), mount("second"));
    bundle.write();
    ok(&bundle, &["restore", "--detach", bundle.id()]);
    wait("second", || seen(&bundle) == "second");
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn in_the_foreground_a_restored_container_ends_with_its_status() {
    if !has_criu() {
        return;
    }
    let bundle = bundle("while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 7");
    start(&bundle);
    ok(&bundle, &["checkpoint", bundle.id()]);
    let mut restore = bundle.command(&["restore", bundle.id()]);
    restore.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut restore = restore.spawn().unwrap();
    bundle.wait_status("running");
    fs::write(bundle.rootfs().join("tmp/go"), "").unwrap();
    assert_eq!(restore.wait().unwrap().code(), Some(7));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// Two network namespaces with a cable between, for as long as two processes live.
struct Cable {
    near: Helper,
    far: Helper,
}

impl Cable {
    fn lay() -> Self {
        let end = || {
            let mut command = Command::new("unshare");
            Helper(command.args(["-n", "sleep", "1000"]).spawn().unwrap())
        };
        let cable = Self { near: end(), far: end() };
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        for helper in [&cable.near, &cable.far] {
            let path = format!("/proc/{}/ns/net", helper.0.id());
            wait("the namespace", || fs::read_link(&path).is_ok_and(|link| link != own));
        }
        let far = cable.far.0.id().to_string();
        let near = &cable.near;
        ip(near, &["link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", &far]);
        for (helper, name, address) in
            [(&cable.near, "v0", "10.79.0.1/24"), (&cable.far, "v1", "10.79.0.2/24")]
        {
            ip(helper, &["address", "add", address, "dev", name]);
            ip(helper, &["link", "set", name, "up"]);
            ip(helper, &["link", "set", "lo", "up"]);
        }
        cable
    }
}

#[track_caller]
fn ip(helper: &Helper, args: &[&str]) {
    let pid = helper.0.id().to_string();
    let status =
        Command::new("nsenter").args(["-t", &pid, "-n", "ip"]).args(args).status().unwrap();
    assert!(status.success(), "ip {args:?}");
}

#[test]
fn a_tcp_connection_survives_in_a_joined_network_namespace() {
    if !has_criu() {
        return;
    }
    let cable = Cable::lay();
    let script = "busybox nc -l -p 99 -e /bin/sh -c 'while read line; do echo got $line; done'";
    let path = format!("/proc/{}/ns/net", cable.near.0.id());
    let bundle = bundle(script)
        .without_namespace("network")
        .patch("/linux/namespaces/-", json!({"type": "network", "path": path}));
    start(&bundle);
    let far = cable.far.0.id().to_string();
    let mut client = Command::new("nsenter");
    client.args(["-t", &far, "-n", "sh", "-c"]);
    // The container may not listen yet.
    client.arg("while ! busybox nc 10.79.0.1 99; do sleep 0.1; done");
    client.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = Helper(client.spawn().unwrap());
    let mut to = client.0.stdin.take().unwrap();
    let mut from = std::io::BufReader::new(client.0.stdout.take().unwrap());
    let mut say = |word: &str| {
        writeln!(to, "{word}").unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut from, &mut line).unwrap();
        assert_eq!(line, format!("got {word}\n"));
    };
    say("one");
    let refused = bundle.runtime(&["checkpoint", bundle.id()]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("tcp-established"), "{}", refused.err);
    assert_eq!(bundle.status(), "running");
    say("two");
    checkpoint_and_restore(&bundle, &["--tcp-established"]);
    say("three");
}

#[test]
fn a_tcp_connection_inside_survives_in_a_network_namespace_of_its_own() {
    if !has_criu() {
        return;
    }
    // Without an end of its input, at which nc would close the connection.
    let script = "tail -f /dev/null | busybox nc -l -p 99 >/tmp/got & \
        i=0; while true; do i=$((i+1)); echo $i; echo $i >/tmp/count; sleep 0.05; done | \
        while ! busybox nc 127.0.0.1 99; do sleep 0.1; done";
    let bundle = bundle(script);
    start(&bundle);
    let got = || {
        let text = fs::read_to_string(bundle.rootfs().join("tmp/got")).unwrap_or_default();
        text.lines().last().and_then(|line| line.parse::<u64>().ok()).unwrap_or(0)
    };
    wait("the connection", || got() > 3);
    checkpoint_and_restore(&bundle, &["--tcp-established"]);
    let now = count(&bundle);
    wait("what is sent arrives", || got() > now + 3);
}

#[test]
fn a_restore_that_criu_fails_leaves_nothing() {
    if !has_criu() {
        return;
    }
    let bundle = bundle(COUNTER);
    start(&bundle);
    ok(&bundle, &["checkpoint", bundle.id()]);
    let images = bundle.dir.join("checkpoint");
    for entry in fs::read_dir(&images).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("pages-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let run = bundle.runtime(&["restore", "--detach", bundle.id()]);
    assert_eq!(run.code, 1);
    assert!(run.message().starts_with("restore: criu"), "{}", run.err);
    let log = images.join("restore.log");
    assert!(run.err.contains(log.to_str().unwrap()) && run.err.contains("Error"), "{}", run.err);
    assert_eq!(bundle.leftovers(), [""; 0]);
}
