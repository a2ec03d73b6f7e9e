//! config.md: hooks that fail, hooks that take too long, hooks that cannot be.
// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};

use super::hooks::{hook, labels, note, with_hooks};
use crate::case::{Case, Outcome, ensure};
use crate::stage::Stage;

pub(crate) const CASES: &[Case] = &[
    Case::run(
        "hooks-fail-prestart",
        "runtime.md#lifecycle 3: a failing prestart hook MUST error and destroy the container",
        |stage| fails_create(stage, "prestart"),
    ),
    Case::run(
        "hooks-fail-createruntime",
        "runtime.md#lifecycle 4: a failing createRuntime hook MUST error and destroy the container",
        |stage| fails_create(stage, "createRuntime"),
    ),
    Case::run(
        "hooks-fail-createcontainer",
        "runtime.md#lifecycle 5: a failing createContainer hook MUST error and destroy the container",
        |stage| fails_create(stage, "createContainer"),
    ),
    Case::run(
        "hooks-fail-startcontainer",
        "runtime.md#lifecycle 7: a failing startContainer hook MUST error and stop the container",
        |stage| fails_start(stage, "startContainer"),
    ),
    Case::run(
        "hooks-fail-poststart",
        "runtime.md#lifecycle 9: a failing poststart hook MUST error and stop the container",
        |stage| fails_start(stage, "poststart"),
    ),
    Case::run(
        "hooks-fail-create-poststop",
        "runtime.md#lifecycle 13: after a hook has failed create the poststop hooks MUST be invoked",
        failed_create_runs_poststop,
    ),
    Case::run(
        "hooks-fail-start-poststop",
        "runtime.md#lifecycle 13: after a hook has failed start the poststop hooks MUST be invoked",
        failed_start_runs_poststop,
    ),
    Case::run(
        "hooks-fail-stops-the-rest",
        "runtime.md#lifecycle 3: after a failing hook the lifecycle goes on at its end, not at the next hook",
        failure_ends_list,
    ),
    Case::run(
        "hooks-fail-poststop",
        "runtime.md#lifecycle 13: a failing poststop hook MUST only warn: the rest goes on",
        poststop_only_warns,
    ),
    Case::run("hooks-timeout", "config.md#posix-platform-hooks: timeout aborts the hook", timeout),
    Case::refused(
        "hooks-path-relative",
        "config.md#posix-platform-hooks: path MUST be absolute",
        || json!({"hooks": {"createRuntime": [{"path": "bin/true"}]}}),
    ),
    Case::refused(
        "hooks-path-absent",
        "config.md#createRuntime-hooks: path MUST resolve",
        || json!({"hooks": {"createRuntime": [{"path": "@DIR@/absent"}]}}),
    ),
    Case::refused(
        "hooks-timeout-zero",
        "config.md#posix-platform-hooks: timeout MUST be greater than zero",
        || json!({"hooks": {"createRuntime": [{"path": "@INSIDE@", "args": ["inside", "exit", "0"], "timeout": 0}]}}),
    ),
    Case::refused(
        "hooks-timeout-negative",
        "config.md#posix-platform-hooks: timeout MUST be greater than zero",
        || json!({"hooks": {"createRuntime": [{"path": "@INSIDE@", "args": ["inside", "exit", "0"], "timeout": -1}]}}),
    ),
];

fn fails_create(stage: &mut Stage, point: &str) -> Outcome {
    let hooks = json!({ point: [hook(point, "failing", &["fail"])] });
    let bundle = with_hooks(stage, hooks, &["/inside", "sleep"])?;
    stage.must_refuse_bundle(&bundle)?;
    note(stage, "failing").map(|_| ())
}

fn fails_start(stage: &mut Stage, point: &str) -> Outcome {
    let hooks = json!({ point: [hook(point, "failing", &["fail"])] });
    let bundle = with_hooks(stage, hooks, &["/inside", "sleep"])?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.rt.call(&["start", "one"])?.must_fail("the hook failed")?;
    note(stage, "failing")?;
    stage.wait_exit(pid)?;
    let answer = stage.rt.call(&["state", "one"])?;
    let state: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let gone = !answer.is_ok() || state["status"] == "stopped";
    ensure(gone, || format!("the container is not stopped: {state}"))
}

fn failed_create_runs_poststop(stage: &mut Stage) -> Outcome {
    let hooks = json!({
        "createRuntime": [hook("createRuntime", "failing", &["fail"])],
        "poststop": [hook("poststop", "poststop", &[])]
    });
    let bundle = with_hooks(stage, hooks, &["/inside", "sleep"])?;
    stage.must_refuse_bundle(&bundle)?;
    note(stage, "poststop").map(|_| ())
}

fn failed_start_runs_poststop(stage: &mut Stage) -> Outcome {
    let hooks = json!({
        "poststart": [hook("poststart", "failing", &["fail"])],
        "poststop": [hook("poststop", "poststop", &[])]
    });
    let bundle = with_hooks(stage, hooks, &["/inside", "sleep"])?;
    stage.create(&bundle, "one")?;
    let pid = stage.pid("one")?;
    stage.rt.call(&["start", "one"])?.must_fail("the hook failed")?;
    // The specification does not say who destroys; a runtime that leaves it to delete is right too.
    stage.wait_exit(pid)?;
    stage.rt.call(&["delete", "one"])?;
    note(stage, "poststop").map(|_| ())
}

fn failure_ends_list(stage: &mut Stage) -> Outcome {
    let hooks = json!({
        "createRuntime": [hook("createRuntime", "failing", &["fail"]), hook("createRuntime", "next", &[])],
        "createContainer": [hook("createContainer", "later", &[])]
    });
    let bundle = with_hooks(stage, hooks, &["/inside", "sleep"])?;
    stage.must_refuse_bundle(&bundle)?;
    let have = labels(stage);
    ensure(have == ["failing"], || format!("called: {have:?}"))
}

fn poststop_only_warns(stage: &mut Stage) -> Outcome {
    let hooks = json!({
        "poststop": [hook("poststop", "failing", &["fail"]), hook("poststop", "next", &[])]
    });
    let bundle = with_hooks(stage, hooks, &["/inside", "exit", "0"])?;
    stage.run_to_end(&bundle, "one")?;
    stage.delete("one")?;
    let have = labels(stage);
    ensure(have == ["failing", "next"], || format!("called: {have:?}"))?;
    stage.must_be_unknown("one")
}

fn timeout(stage: &mut Stage) -> Outcome {
    let hooks = json!({"createRuntime": [
        {"path": "@INSIDE@", "args": ["inside", "slowhook", "@LOG@"], "timeout": 1}
    ]});
    let bundle = with_hooks(stage, hooks, &["/inside", "sleep"])?;
    let answer = stage.try_create(&bundle, "one")?.must_fail("the hook overran its timeout")?;
    let took = answer.took.as_secs_f64();
    ensure((0.9..10.0).contains(&took), || {
        format!("create took {took:.1} s with a timeout of 1 s")
    })?;
    stage.must_be_unknown("one")
}
