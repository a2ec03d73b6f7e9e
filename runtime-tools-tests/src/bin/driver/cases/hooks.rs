//! config.md: POSIX-platform hooks.
// SPDX-License-Identifier: Apache-2.0

use std::fs;

use serde_json::{Value, json};

use conformance::names::NAMESPACES;

use crate::case::{Case, Outcome, ensure};
use crate::stage::{Bundle, Stage};

pub(crate) const CASES: &[Case] = &[
    Case::run(
        "hooks-order",
        "config.md#posix-platform-hooks: hooks MUST be called at their points, in the listed order",
        order,
    ),
    Case::run(
        "hooks-before-start",
        "config.md#createContainer-hooks: prestart, createRuntime, createContainer MUST be part of create",
        before_start,
    ),
    Case::run(
        "hooks-around-start",
        "config.md#startContainer-hooks: before the program runs; poststart after it, before start returns",
        around_start,
    ),
    Case::run(
        "hooks-poststop-in-delete",
        "config.md#poststop: MUST be called after the container is deleted, before delete returns",
        poststop_in_delete,
    ),
    Case::run(
        "hooks-state-on-stdin",
        "config.md#posix-platform-hooks: the state MUST be passed to hooks over stdin",
        state_on_stdin,
    ),
    Case::run(
        "hooks-status-create",
        "runtime.md#state: hooks within create see creating or created",
        |stage| {
            status(
                stage,
                &["prestart", "createRuntime", "createContainer"],
                &["creating", "created"],
            )
        },
    ),
    Case::run(
        "hooks-status-startcontainer",
        "runtime.md#state: until the program has executed the status is created",
        |stage| status(stage, &["startContainer"], &["created"]),
    ),
    Case::run(
        "hooks-status-poststart",
        "runtime.md#state: after the program has executed the status is running",
        |stage| status(stage, &["poststart"], &["running"]),
    ),
    Case::run(
        "hooks-status-poststop",
        "runtime.md#state: after the process has exited the status is stopped",
        |stage| status(stage, &["poststop"], &["stopped"]),
    ),
    Case::run(
        "hooks-pid-runtime-namespace",
        "runtime.md#state: in the runtime namespace pid is as the runtime sees it",
        pid_outside,
    ),
    Case::run(
        "hooks-pid-container-namespace",
        "runtime.md#state: in the container namespace pid is as the container sees it",
        pid_inside,
    ),
    Case::run(
        "hooks-runtime-namespace",
        "config.md#posix-platform-hooks: prestart, createRuntime, poststart, poststop MUST run in the runtime namespace",
        runtime_namespace,
    ),
    Case::run(
        "hooks-container-namespace",
        "config.md#posix-platform-hooks: createContainer and startContainer MUST run in the container namespace",
        container_namespace,
    ),
    Case::run(
        "hooks-namespaces-exist",
        "config.md#prestart: called after the runtime environment has been created",
        environment_exists,
    ),
    Case::run(
        "hooks-startcontainer-root",
        "config.md#startContainer-hooks: path MUST resolve in the container namespace",
        root_is_containers,
    ),
    Case::run(
        "hooks-args-and-env",
        "config.md#posix-platform-hooks: args and env as execv's",
        args_env,
    ),
];

const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that writes a line to the log. The log of startContainer is the same file, seen
/// through a bind mount at /mnt/log.
pub(super) fn hook(point: &str, label: &str, more: &[&str]) -> Value {
    let is_inside = point == "startContainer";
    let (path, log) = if is_inside { ("/inside", "/mnt/log") } else { ("@INSIDE@", "@LOG@") };
    let mut args = vec!["inside", "hook", label, log];
    args.extend(more);
    json!({"path": path, "args": args, "env": ["HOOK=yes"]})
}

pub(super) fn with_hooks(stage: &mut Stage, hooks: Value, args: &[&str]) -> Outcome<Bundle> {
    fs::write(stage.log(), "")?;
    let bundle = stage.bundle(json!({
        "process": {"args": args},
        "hooks": hooks,
        "annotations": {"org.example.hook": "seen"},
        "+mounts": [{"destination": "/mnt/log", "type": "none", "source": "@LOG@", "options": ["bind"]}]
    }))?;
    fs::write(bundle.rootfs().join("mnt/log"), "")?;
    Ok(bundle)
}

/// One hook at each point, labelled by it.
fn all_hooks() -> Value {
    POINTS.iter().map(|point| ((*point).to_owned(), json!([hook(point, point, &[])]))).collect()
}

fn notes(stage: &Stage) -> Vec<Value> {
    stage.log_lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

pub(super) fn labels(stage: &Stage) -> Vec<String> {
    stage
        .log_lines()
        .iter()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(note) => note["label"].as_str().unwrap_or("").to_owned(),
            Err(_) => line.clone(),
        })
        .collect()
}

pub(super) fn note(stage: &Stage, label: &str) -> Outcome<Value> {
    let found = notes(stage).into_iter().find(|note| note["label"] == label);
    found.ok_or_else(|| format!("the {label} hook was not called: {:?}", labels(stage)).into())
}

/// A whole life with one hook at each point; the program ends when it is killed.
fn whole_life(stage: &mut Stage) -> Outcome<(Bundle, i32)> {
    let bundle = with_hooks(stage, all_hooks(), &["/inside", "sleep"])?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.start("one")?;
    stage.wait_output("one", "inside: sleeping")?;
    stage.rt.call(&["kill", "one", "KILL"])?.must_pass()?;
    stage.wait_exit(pid)?;
    stage.delete("one")?;
    Ok((bundle, pid))
}

fn order(stage: &mut Stage) -> Outcome {
    let two = |point: &str| {
        json!([hook(point, &format!("{point}1"), &[]), hook(point, &format!("{point}2"), &[])])
    };
    let hooks: Value = POINTS.iter().map(|point| ((*point).to_owned(), two(point))).collect();
    let bundle = with_hooks(stage, hooks, &["/inside", "exit", "0"])?;
    stage.run_to_end(&bundle, "one")?;
    stage.delete("one")?;
    let want: Vec<String> =
        POINTS.iter().flat_map(|point| [format!("{point}1"), format!("{point}2")]).collect();
    // Whether startContainer is over before poststart begins is hooks-around-start's question.
    for other in ["startContainer", "poststart"] {
        let rest = |list: &[String]| -> Vec<String> {
            list.iter().filter(|label| !label.starts_with(other)).cloned().collect()
        };
        let (want, have) = (rest(&want), rest(&labels(stage)));
        ensure(have == want, || format!("want {want:?}, have {have:?}"))?;
    }
    Ok(())
}

fn before_start(stage: &mut Stage) -> Outcome {
    let bundle = with_hooks(stage, all_hooks(), &["/inside", "sleep"])?;
    stage.create(&bundle, "one")?;
    let have = labels(stage);
    ensure(have == POINTS[..3], || format!("called by create: {have:?}"))
}

fn around_start(stage: &mut Stage) -> Outcome {
    let mut hooks = all_hooks();
    hooks["startContainer"] = json!([hook("startContainer", "startContainer", &["slow"])]);
    let bundle = with_hooks(stage, hooks, &["/inside", "touch", "/mnt/log"])?;
    stage.create(&bundle, "one")?;
    fs::write(stage.log(), "")?;
    stage.start("one")?;
    let at_return = labels(stage);
    stage.wait_for("the program's line", || labels(stage).contains(&"touched".to_owned()))?;
    let have = labels(stage);
    ensure(have.first().is_some_and(|label| label == "startContainer"), || format!("{have:?}"))?;
    ensure(at_return.contains(&"poststart".to_owned()), || {
        format!("when start returned only {at_return:?} had been called")
    })
}

fn poststop_in_delete(stage: &mut Stage) -> Outcome {
    let bundle = with_hooks(stage, all_hooks(), &["/inside", "exit", "0"])?;
    stage.run_to_end(&bundle, "one")?;
    let before = labels(stage);
    ensure(!before.contains(&"poststop".to_owned()), || format!("before delete: {before:?}"))?;
    stage.delete("one")?;
    note(stage, "poststop").map(|_| ())
}

fn state_on_stdin(stage: &mut Stage) -> Outcome {
    let (bundle, _) = whole_life(stage)?;
    let dir = bundle.dir.to_string_lossy();
    let mut wrong = Vec::new();
    for point in POINTS {
        let state = &note(stage, point)?["state"];
        let holds = state["id"] == "one"
            && state["bundle"] == *dir
            && state["ociVersion"].is_string()
            && state["status"].is_string()
            && state["annotations"]["org.example.hook"] == "seen";
        if !holds {
            wrong.push(format!("{point}: {state}"));
        }
    }
    ensure(wrong.is_empty(), || wrong.join("\n"))
}

fn status(stage: &mut Stage, points: &[&str], wanted: &[&str]) -> Outcome {
    whole_life(stage)?;
    for point in points {
        let state = &note(stage, point)?["state"];
        let have = state["status"].as_str().unwrap_or("");
        ensure(wanted.contains(&have), || format!("{point}: want {wanted:?}, have {have:?}"))?;
    }
    Ok(())
}

fn pid_outside(stage: &mut Stage) -> Outcome {
    let (_, pid) = whole_life(stage)?;
    for point in ["prestart", "createRuntime", "poststart"] {
        let state = &note(stage, point)?["state"];
        ensure(state["pid"] == pid, || format!("{point}: want pid {pid}, have {state}"))?;
    }
    Ok(())
}

fn pid_inside(stage: &mut Stage) -> Outcome {
    whole_life(stage)?;
    for point in ["createContainer", "startContainer"] {
        let state = &note(stage, point)?["state"];
        ensure(state["pid"] == 1, || format!("{point}: want pid 1, have {state}"))?;
    }
    Ok(())
}

fn runtime_namespace(stage: &mut Stage) -> Outcome {
    whole_life(stage)?;
    for point in ["prestart", "createRuntime", "poststart", "poststop"] {
        let note = note(stage, point)?;
        for (kind, file) in NAMESPACES {
            let own = conformance::proc::namespace("self", file)?;
            let have = &note["namespaces"][kind];
            ensure(*have == own, || format!("{point}: {kind} namespace is {have}, not {own}"))?;
        }
    }
    Ok(())
}

fn container_namespace(stage: &mut Stage) -> Outcome {
    whole_life(stage)?;
    for point in ["createContainer", "startContainer"] {
        let note = note(stage, point)?;
        for (kind, file) in [("mount", "mnt"), ("uts", "uts"), ("ipc", "ipc"), ("pid", "pid")] {
            let own = conformance::proc::namespace("self", file)?;
            let have = &note["namespaces"][kind];
            let is_container =
                have.as_str().is_some_and(|have| have.starts_with(file) && have != own);
            ensure(is_container, || format!("{point}: {kind} namespace is {have}"))?;
        }
    }
    Ok(())
}

/// The hook looks at the mount namespace of the pid that it was told.
fn environment_exists(stage: &mut Stage) -> Outcome {
    whole_life(stage)?;
    let own = conformance::proc::namespace("self", "mnt")?;
    for point in ["prestart", "createRuntime"] {
        let note = note(stage, point)?;
        let peer = note["container_mount_namespace"].as_str().unwrap_or("");
        let is_new = peer.starts_with("mnt:") && peer != own;
        ensure(is_new, || format!("{point}: the process's mount namespace is {peer:?}"))?;
    }
    Ok(())
}

fn root_is_containers(stage: &mut Stage) -> Outcome {
    let hooks = json!({"startContainer": [
        {"path": "/inside", "args": ["inside", "touch", "/tmp/by-hook"]}
    ]});
    let bundle = with_hooks(stage, hooks, &["/inside", "exit", "0"])?;
    stage.run_to_end(&bundle, "one")?;
    ensure(bundle.rootfs().join("tmp/by-hook").exists(), || "it did not run in the root".into())
}

fn args_env(stage: &mut Stage) -> Outcome {
    let hooks = json!({"createRuntime": [{
        "path": "@INSIDE@",
        "args": ["another name", "hook", "args", "@LOG@", "last"],
        "env": ["ONE=1", "TWO=a=b", "EMPTY="]
    }]});
    let bundle = with_hooks(stage, hooks, &["/inside", "sleep"])?;
    stage.create(&bundle, "one")?;
    let note = note(stage, "args")?;
    let log = stage.log().to_string_lossy().into_owned();
    let args = json!(["another name", "hook", "args", log, "last"]);
    ensure(note["args"] == args, || format!("args: {}", note["args"]))?;
    let env = json!({"EMPTY": "", "ONE": "1", "TWO": "a=b"});
    ensure(note["env"] == env, || format!("env: {}", note["env"]))
}
