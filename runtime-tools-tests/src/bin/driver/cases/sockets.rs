//! What a runtime sends over a socket: the terminal, and the listener of a seccomp filter.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use serde_json::{Value, json};

use conformance::sys;

use crate::case::{Case, Outcome, Stop, ensure};
use crate::stage::{Stage, verdict};

pub(crate) const CASES: &[Case] = &[
    Case::run(
        "process-terminal",
        "config.md#process: with terminal a pseudoterminal is on the standard streams and /dev/console",
        |stage| terminal(stage, json!({"process": {"terminal": true}})),
    ),
    Case::run(
        "process-console-size",
        "config.md#process: consoleSize is the size of the terminal",
        |stage| {
            let size = json!({"height": 33, "width": 77});
            terminal(stage, json!({"process": {"terminal": true, "consoleSize": size}}))
        },
    ),
    Case::run(
        "seccomp-listener",
        "config-linux.md#seccomp: the runtime MUST send the state and the descriptor to listenerPath",
        listener,
    ),
    Case::refused(
        "seccomp-listener-absent",
        "config-linux.md#seccomp: MUST error if sending to listenerPath fails",
        || notify("@DIR@/absent.sock"),
    ),
];

fn listen(stage: &Stage, name: &str) -> Outcome<(UnixListener, PathBuf)> {
    let path = stage.dir.join(name);
    let socket = UnixListener::bind(&path)?;
    socket.set_nonblocking(true)?;
    Ok((socket, path))
}

fn accept(stage: &Stage, socket: &UnixListener) -> Outcome<UnixStream> {
    let mut stream = None;
    stage.wait_for("a connection from the runtime", || {
        stream = socket.accept().ok().map(|(stream, _)| stream);
        stream.is_some()
    })?;
    let stream = stream.ok_or_else(|| Stop::Failed("no connection".into()))?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    Ok(stream)
}

fn terminal(stage: &mut Stage, patch: Value) -> Outcome {
    let (socket, path) = listen(stage, "console.sock")?;
    let args = json!({"process": {"args": ["/inside", "check", "terminal,args"]}});
    let bundle = stage.bundle_of([args, patch])?;
    let (dir, path) = (bundle.dir.to_string_lossy(), path.to_string_lossy());
    let words = ["create", "--console-socket", &path, "--bundle", &dir, "one"];
    stage.rt.call_named("create-one", &words, None)?.must_pass()?;
    let stream = accept(stage, &socket)?;
    let (_, mut fds) = sys::receive(stream.as_fd()).map_err(std::io::Error::from)?;
    let master = fds.pop().ok_or_else(|| Stop::Failed("no descriptor was sent".into()))?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_exit(pid)?;
    verdict(&drain(master).replace('\r', ""))
}

/// All that was written to the terminal: reading ends with EIO once its last user has gone.
fn drain(master: OwnedFd) -> String {
    let mut master = File::from(master);
    let (mut text, mut part) = (Vec::new(), [0_u8; 4096]);
    while let Ok(count @ 1..) = master.read(&mut part) {
        text.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A filter that would ask about a call which nothing makes.
fn notify(path: &str) -> Value {
    json!({
        "process": {"args": ["/inside", "exit", "0"]},
        "annotations": {"org.example.key": "value"},
        "linux": {"seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "listenerPath": path,
            "listenerMetadata": "opaque text",
            "syscalls": [{"names": ["setfsuid"], "action": "SCMP_ACT_NOTIFY"}]
        }}
    })
}

fn listener(stage: &mut Stage) -> Outcome {
    let (socket, path) = listen(stage, "seccomp.sock")?;
    let bundle = stage.bundle(notify(&path.to_string_lossy()))?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    let mut stream = accept(stage, &socket)?;
    let (mut data, fds) = sys::receive(stream.as_fd()).map_err(std::io::Error::from)?;
    // The runtime closes the connection after one state.
    stream.read_to_end(&mut data)?;
    stage.wait_exit(pid)?;
    let sent: Value = serde_json::from_slice(&data)?;
    ensure(sent["ociVersion"].is_string(), || format!("ociVersion: {sent}"))?;
    ensure(sent["fds"] == json!(["seccompFd"]), || format!("fds: {sent}"))?;
    ensure(sent["pid"] == pid, || format!("want pid {pid}: {sent}"))?;
    ensure(sent["metadata"] == "opaque text", || format!("metadata: {sent}"))?;
    let state = &sent["state"];
    let named = state["id"] == "one" && state["bundle"] == *bundle.dir.to_string_lossy();
    ensure(named && state["status"].is_string(), || format!("state: {sent}"))?;
    let kinds: Vec<String> = fds
        .iter()
        .filter_map(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    ensure(kinds == ["anon_inode:seccomp notify"], || format!("descriptors: {kinds:?}"))
}
