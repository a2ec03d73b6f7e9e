//! runtime.md: the operations and what they must refuse.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use serde_json::json;

use crate::case::{Case, Outcome, ensure};
use crate::cgroupfs;
use crate::stage::{Bundle, Stage};

pub(crate) const CASES: &[Case] = &[
    Case::run("state-without-id", "runtime.md#query-state: MUST error without an ID", |stage| {
        stage.rt.call(&["state"])?.must_fail("state without an ID").map(|_| ())
    }),
    Case::run("state-unknown", "runtime.md#query-state: MUST error for an unknown ID", |stage| {
        stage.must_be_unknown("absent")
    }),
    Case::run("create-without-id", "runtime.md#create: MUST error without an ID", |stage| {
        let bundle = stage.bundle(json!({}))?;
        let path = bundle.dir.to_string_lossy().into_owned();
        stage.rt.call(&["create", "--bundle", &path])?.must_fail("create without an ID").map(|_| ())
    }),
    Case::run("create-without-bundle", "runtime.md#create: MUST error without a bundle", |stage| {
        let empty = stage.dir.join("empty");
        fs::create_dir(&empty)?;
        let bundle = Bundle { dir: empty };
        stage.must_refuse_bundle(&bundle)
    }),
    Case::run(
        "create-same-id",
        "runtime.md#create: an ID that is not unique MUST error, and no container MUST be created",
        same_id,
    ),
    Case::run(
        "create-invalid-id",
        "runtime.md#create: an ID that is not valid MUST error",
        invalid_id,
    ),
    Case::run("start-without-id", "runtime.md#start: MUST error without an ID", |stage| {
        stage.rt.call(&["start"])?.must_fail("start without an ID").map(|_| ())
    }),
    Case::run("start-unknown", "runtime.md#start: MUST error if not created", |stage| {
        stage.rt.call(&["start", "absent"])?.must_fail("start of an unknown ID").map(|_| ())
    }),
    Case::run(
        "start-running",
        "runtime.md#start: a running container MUST be left alone and MUST error",
        start_running,
    ),
    Case::run(
        "start-stopped",
        "runtime.md#start: a stopped container MUST be left alone and MUST error",
        start_stopped,
    ),
    Case::run(
        "start-without-process",
        "runtime.md#start: MUST error if process was not set",
        start_without_process,
    ),
    Case::run("kill-without-id", "runtime.md#kill: MUST error without an ID", |stage| {
        stage.rt.call(&["kill"])?.must_fail("kill without an ID").map(|_| ())
    }),
    Case::run(
        "kill-unknown",
        "runtime.md#kill: MUST error if neither created nor running",
        |stage| {
            stage
                .rt
                .call(&["kill", "absent", "KILL"])?
                .must_fail("kill of an unknown ID")
                .map(|_| ())
        },
    ),
    Case::run(
        "kill-stopped",
        "runtime.md#kill: a stopped container MUST be left alone and MUST error",
        kill_stopped,
    ),
    Case::run("kill-created", "runtime.md#kill: MUST send the signal when created", kill_created),
    Case::run(
        "kill-running",
        "runtime.md#kill: MUST send the specified signal, by name and by number",
        kill_running,
    ),
    Case::run("kill-uncaught", "runtime.md#kill: KILL ends the container process", kill_uncaught),
    Case::run("kill-unknown-signal", "runtime.md#kill: no such signal, no effect", kill_bad_signal),
    Case::run("delete-without-id", "runtime.md#delete: MUST error without an ID", |stage| {
        stage.rt.call(&["delete"])?.must_fail("delete without an ID").map(|_| ())
    }),
    Case::run("delete-unknown", "runtime.md#delete: MUST error if not stopped", |stage| {
        stage.rt.call(&["delete", "absent"])?.must_fail("delete of an unknown ID").map(|_| ())
    }),
    Case::run(
        "delete-running",
        "runtime.md#delete: a running container MUST be left alone and MUST error",
        delete_running,
    ),
    Case::run(
        "delete-created",
        "runtime.md#delete: a created container MUST be left alone and MUST error",
        delete_created,
    ),
    Case::run(
        "delete-undoes-create",
        "runtime.md#delete: MUST delete the resources that create made",
        delete_undoes_create,
    ),
    Case::run(
        "delete-keeps-others",
        "runtime.md#delete: resources not created by the container MUST NOT be deleted",
        delete_keeps_others,
    ),
    Case::run("delete-frees-the-id", "runtime.md#delete: afterwards the ID MAY be used", frees_id),
];

fn sleeping(stage: &mut Stage, id: &str) -> Outcome<i32> {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    stage.create(&bundle, id)?;
    let pid = stage.pid(id)?;
    stage.start(id)?;
    stage.wait_output(id, "inside: sleeping")?;
    Ok(pid)
}

fn stopped(stage: &mut Stage, id: &str) -> Outcome<Bundle> {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "touch", "/tmp/ran"]}}))?;
    stage.run_to_end(&bundle, id)?;
    Ok(bundle)
}

fn same_id(stage: &mut Stage) -> Outcome {
    sleeping(stage, "one")?;
    let before = stage.state("one")?;
    let other = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    stage.try_create(&other, "one")?.must_fail("the ID is taken")?;
    let after = stage.state("one")?;
    ensure(before == after, || format!("state was {before}, is {after}"))?;
    let second = cgroupfs::left(&format!("{}/c2", stage.cgroup()));
    ensure(second.is_empty(), || format!("the refused create left {second:?}"))
}

fn invalid_id(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    for id in ["", "..", ".", "../out", "a/b"] {
        let path = bundle.dir.to_string_lossy().into_owned();
        let answer = stage.rt.call(&["create", "--bundle", &path, id])?;
        answer.must_fail(&format!("{id:?} cannot be an ID"))?;
    }
    let out = stage.rt.root.with_file_name("out");
    ensure(!out.exists(), || format!("{} was made", out.display()))
}

fn start_running(stage: &mut Stage) -> Outcome {
    let pid = sleeping(stage, "one")?;
    stage.rt.call(&["start", "one"])?.must_fail("it is running")?;
    let state = stage.state("one")?;
    ensure(state["status"] == "running" && state["pid"] == pid, || format!("{state}"))
}

fn start_stopped(stage: &mut Stage) -> Outcome {
    let bundle = stopped(stage, "one")?;
    stage.rt.call(&["start", "one"])?.must_fail("it is stopped")?;
    let text = fs::read_to_string(bundle.rootfs().join("tmp/ran"))?;
    ensure(text == "touched\n", || format!("the program ran again: {text:?}"))?;
    let status = stage.status("one")?;
    ensure(status == "stopped", || format!("status is {status}"))
}

fn start_without_process(stage: &mut Stage) -> Outcome {
    stage.must_refuse_by_start(json!({"process": null}))
}

fn kill_stopped(stage: &mut Stage) -> Outcome {
    stopped(stage, "one")?;
    let before = stage.state("one")?;
    stage.rt.call(&["kill", "one", "KILL"])?.must_fail("it is stopped")?;
    let after = stage.state("one")?;
    ensure(before == after, || format!("state was {before}, is {after}"))
}

fn kill_created(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.rt.call(&["kill", "one", "KILL"])?.must_pass()?;
    let ended = stage.wait_exit(pid)?;
    ensure(matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _)), || format!("{ended:?}"))?;
    let status = stage.status("one")?;
    ensure(status == "stopped", || format!("status is {status}"))
}

fn kill_running(stage: &mut Stage) -> Outcome {
    let names = ["SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT", "SIGTERM"];
    let mut args = vec!["/inside", "trap"];
    args.extend(names);
    let bundle = stage.bundle(json!({"process": {"args": args}}))?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_output("one", "inside: waiting")?;
    let spelt = ["SIGHUP", "INT", "10", "USR2", "WINCH", "18", "TERM"];
    for (name, spelt) in names.iter().zip(spelt) {
        stage.rt.call(&["kill", "one", spelt])?.must_pass()?;
        stage.wait_output("one", &format!("got {name}"))?;
    }
    stage.wait_exit(pid).map(|_| ())
}

fn kill_uncaught(stage: &mut Stage) -> Outcome {
    let pid = sleeping(stage, "one")?;
    stage.rt.call(&["kill", "one", "KILL"])?.must_pass()?;
    let ended = stage.wait_exit(pid)?;
    ensure(matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _)), || format!("{ended:?}"))
}

fn kill_bad_signal(stage: &mut Stage) -> Outcome {
    let pid = sleeping(stage, "one")?;
    for signal in ["SIGNONE", "9999", "-1"] {
        stage.rt.call(&["kill", "one", signal])?.must_fail("no such signal")?;
    }
    let state = stage.state("one")?;
    ensure(state["status"] == "running" && state["pid"] == pid, || format!("{state}"))
}

fn delete_running(stage: &mut Stage) -> Outcome {
    let pid = sleeping(stage, "one")?;
    stage.rt.call(&["delete", "one"])?.must_fail("it is running")?;
    let state = stage.state("one")?;
    ensure(state["status"] == "running" && state["pid"] == pid, || format!("{state}"))
}

fn delete_created(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    stage.create(&bundle, "one")?;
    stage.rt.call(&["delete", "one"])?.must_fail("it is created, not stopped")?;
    let status = stage.status("one")?;
    ensure(status == "created", || format!("status is {status}"))
}

fn delete_undoes_create(stage: &mut Stage) -> Outcome {
    let mounts_before = conformance::proc::mounts("self")?;
    stopped(stage, "one")?;
    stage.delete("one")?;
    stage.must_be_unknown("one")?;
    ensure(!stage.rt.root.join("one").exists(), || "its state directory is still there".into())?;
    let cgroups = cgroupfs::left(&format!("{}/c1", stage.cgroup()));
    ensure(cgroups.is_empty(), || format!("{cgroups:?} still there"))?;
    let mounts = conformance::proc::mounts("self")?;
    ensure(mounts == mounts_before, || "the host's mount table has changed".into())
}

fn delete_keeps_others(stage: &mut Stage) -> Outcome {
    let source = stage.dir.join("volume");
    fs::create_dir(&source)?;
    fs::write(source.join("kept"), "data")?;
    let other = sleeping(stage, "other")?;
    let patch = json!({
        "process": {"args": ["/inside", "exit", "0"]},
        "+mounts": [{"destination": "/mnt/volume", "type": "none",
                     "source": "@DIR@/volume", "options": ["rbind"]}],
        "linux": {"namespaces": [
            {"type": "mount"}, {"type": "pid"}, {"type": "uts"},
            {"type": "ipc", "path": format!("/proc/{other}/ns/ipc")}
        ]}
    });
    let bundle = stage.bundle(patch)?;
    stage.run_to_end(&bundle, "one")?;
    stage.delete("one")?;
    ensure(source.join("kept").exists(), || "the volume's file is gone".into())?;
    ensure(bundle.rootfs().join("inside").exists(), || "the root filesystem is gone".into())?;
    ensure(bundle.dir.join("config.json").exists(), || "config.json is gone".into())?;
    let state = stage.state("other")?;
    let lives = state["status"] == "running" && Path::new(&format!("/proc/{other}")).exists();
    ensure(lives, || format!("the container whose namespace was joined: {state}"))
}

fn frees_id(stage: &mut Stage) -> Outcome {
    stopped(stage, "one")?;
    stage.delete("one")?;
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    let path = bundle.dir.to_string_lossy().into_owned();
    stage.rt.call(&["create", "--bundle", &path, "one"])?.must_pass()?;
    let status = stage.status("one")?;
    ensure(status == "created", || format!("status is {status}"))
}
