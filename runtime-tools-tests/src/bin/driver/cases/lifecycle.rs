//! runtime.md: state and lifecycle.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::case::{Case, Outcome, Stop, ensure};
use crate::cgroupfs;
use crate::stage::Stage;

pub(crate) const CASES: &[Case] = &[
    Case::run(
        "create-is-created",
        "runtime.md#state: after create the status is created and pid names a live process",
        is_created,
    ),
    Case::run(
        "create-does-not-run-args",
        "runtime.md#create: process.args MUST NOT be applied until start",
        args_wait_for_start,
    ),
    Case::run(
        "start-runs-args",
        "runtime.md#start: MUST run the user-specified program; then the status is running",
        start_runs,
    ),
    Case::run(
        "exit-is-stopped",
        "runtime.md#state: once the process has exited the status is stopped",
        exit_is_stopped,
    ),
    Case::run(
        "state-fields",
        "runtime.md#state: ociVersion, id, status, pid and bundle are REQUIRED, of their types",
        state_fields,
    ),
    Case::run(
        "state-bundle-is-absolute",
        "runtime.md#state: bundle is the absolute path to the bundle directory",
        bundle_is_absolute,
    ),
    Case::run(
        "state-annotations",
        "runtime.md#state: annotations are those of the configuration",
        annotations,
    ),
    Case::run(
        "config-change-has-no-effect",
        "runtime.md#lifecycle 2: updates to config.json after create MUST NOT affect the container",
        config_change,
    ),
    Case::run(
        "config-removal-has-no-effect",
        "runtime.md#create: changes made to config.json after create have no effect",
        config_removal,
    ),
    Case::run(
        "resources-exist-before-start",
        "runtime.md#lifecycle 2: the resources requested MUST be created by create",
        resources_before_start,
    ),
    Case::run(
        "errors-leave-nothing",
        "runtime.md#errors: an error MUST leave the environment as if never attempted",
        errors_leave_nothing,
    ),
    Case::run(
        "exit-status-reaches-the-parent",
        "runtime.md#lifecycle 8: the program's own exit status is what its process ends with",
        exit_status,
    ),
];

fn is_created(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    stage.create(&bundle, "one")?;
    let status = stage.status("one")?;
    ensure(status == "created", || format!("status after create is {status}"))?;
    let pid = stage.pid("one")?;
    ensure(Path::new(&format!("/proc/{pid}")).exists(), || format!("no process {pid}"))
}

fn args_wait_for_start(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "touch", "/tmp/ran"]}}))?;
    stage.create(&bundle, "one")?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    ensure(!bundle.rootfs().join("tmp/ran").exists(), || "the program ran before start".into())?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_exit(pid)?;
    ensure(bundle.rootfs().join("tmp/ran").exists(), || "the program did not run".into())
}

fn start_runs(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_output("one", "inside: sleeping")?;
    let state = stage.state("one")?;
    ensure(state["status"] == "running", || format!("status after start is {state}"))?;
    ensure(state["pid"] == pid, || format!("pid was {pid}, state is {state}"))
}

fn exit_is_stopped(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "exit", "0"]}}))?;
    stage.run_to_end(&bundle, "one")?;
    let status = stage.status("one")?;
    ensure(status == "stopped", || format!("status after the end is {status}"))
}

fn exit_status(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "exit", "41"]}}))?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    let ended = stage.wait_exit(pid)?;
    let wanted = matches!(ended, nix::sys::wait::WaitStatus::Exited(_, 41));
    ensure(wanted, || format!("the program exits 41, its process ended with {ended:?}"))
}

fn state_fields(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    stage.create(&bundle, "one")?;
    let state = stage.state("one")?;
    let version = state["ociVersion"].as_str().unwrap_or("");
    let core = version.split(['-', '+']).next().unwrap_or("");
    let numbers: Vec<Result<u64, _>> = core.split('.').map(str::parse).collect();
    ensure(numbers.len() == 3 && numbers.iter().all(Result::is_ok), || {
        format!("ociVersion {version:?} is no SemVer 2.0.0 version")
    })?;
    ensure(state["id"] == "one", || format!("id: {state}"))?;
    ensure(state["status"].is_string(), || format!("status: {state}"))?;
    ensure(state["pid"].is_u64(), || format!("pid: {state}"))?;
    let annotations = &state["annotations"];
    ensure(annotations.is_null() || annotations.is_object(), || format!("annotations: {state}"))
}

fn bundle_is_absolute(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    let parent = bundle.dir.parent().unwrap_or(Path::new("/")).to_owned();
    let name = bundle.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let words = ["create", "--bundle", &name, "one"];
    stage.rt.call_named("create-one", &words, Some(&parent))?.must_pass()?;
    let state = stage.state("one")?;
    let want = bundle.dir.to_string_lossy();
    ensure(state["bundle"] == *want, || format!("want {want}, have {}", state["bundle"]))
}

fn annotations(stage: &mut Stage) -> Outcome {
    let wanted = json!({"org.example.key": "value", "org.example.empty": ""});
    let patch = json!({"annotations": wanted, "process": {"args": ["/inside", "sleep"]}});
    let bundle = stage.bundle(patch)?;
    stage.create(&bundle, "one")?;
    let state = stage.state("one")?;
    ensure(state["annotations"] == wanted, || format!("{}", state["annotations"]))
}

fn config_change(stage: &mut Stage) -> Outcome {
    let groups = "args,env,cwd,names,rlimits,umask";
    let patch = json!({
        "hostname": "before",
        "process": {
            "args": ["/inside", "check", groups],
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]
        }
    });
    let bundle = stage.bundle(patch)?;
    stage.create(&bundle, "one")?;
    let mut config = bundle.config()?;
    config["hostname"] = "after".into();
    config["process"]["args"] = json!(["/inside", "exit", "9"]);
    config["process"]["env"] = json!(["CHANGED=yes"]);
    config["process"]["cwd"] = "/tmp".into();
    config["process"]["rlimits"][0]["soft"] = 32.into();
    bundle.write_config(&config)?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_exit(pid)?;
    crate::stage::verdict(&stage.output("one"))
}

fn config_removal(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    stage.create(&bundle, "one")?;
    fs::remove_file(bundle.dir.join("config.json"))?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_output("one", "inside: sleeping")?;
    stage.rt.call(&["kill", "one", "KILL"])?.must_pass()?;
    stage.wait_exit(pid)?;
    stage.delete("one")?;
    stage.must_be_unknown("one")
}

/// Namespaces, mounts and the cgroup are there while the program still waits.
fn resources_before_start(stage: &mut Stage) -> Outcome {
    let patch = json!({
        "process": {"args": ["/inside", "sleep"]},
        "+mounts": [{"destination": "/mnt/early", "type": "tmpfs", "source": "tmpfs"}]
    });
    let bundle = stage.bundle(patch)?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?.to_string();
    for file in ["pid", "ipc", "uts", "mnt"] {
        let (own, its) = (ns("self", file)?, ns(&pid, file)?);
        ensure(own != its, || format!("{file} namespace is the runtime's"))?;
    }
    let mounts = conformance::proc::mounts(&pid)?;
    ensure(mounts.iter().any(|mount| mount.point == "/mnt/early"), || "no /mnt/early yet".into())?;
    let cgroups = cgroupfs::left(&format!("{}/c1", stage.cgroup()));
    let held = cgroups.iter().any(|dir| cgroupfs::pids(dir).contains(&pid.parse().unwrap_or(0)));
    ensure(held, || format!("{pid} is in none of {cgroups:?}"))
}

fn ns(pid: &str, file: &str) -> Outcome<String> {
    Ok(conformance::proc::namespace(pid, file)?)
}

/// A create that fails late leaves its ID free, and a good create with that ID passes.
fn errors_leave_nothing(stage: &mut Stage) -> Outcome {
    let missing = json!({"+mounts": [
        {"destination": "/mnt/x", "type": "none", "source": "@DIR@/absent", "options": ["bind"]}
    ]});
    let bad = stage.bundle(missing)?;
    stage.must_refuse_bundle(&bad)?;
    let good = stage.bundle(json!({"process": {"args": ["/inside", "sleep"]}}))?;
    let answer = stage.rt.call(&["create", "--bundle", &good.dir.to_string_lossy(), "refused"])?;
    answer.must_pass().map(|_| ()).map_err(|stop| match stop {
        Stop::Failed(text) => Stop::Failed(format!("the ID is not free again: {text}")),
        other => other,
    })
}
