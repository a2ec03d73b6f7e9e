// SPDX-License-Identifier: Apache-2.0
//! `hooks`: what is refused, what fails, what takes too long.

use super::case::{Case, case};
use crate::common::{Value, json};

fn hook(name: &'static str, point: &'static str, hook: Value) -> Case {
    case(name).set(point, json!([hook]))
}

fn sh(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

pub(crate) fn rows() -> Vec<Case> {
    let mut rows = refused();
    rows.extend(failing());
    rows
}

fn refused() -> Vec<Case> {
    vec![
        hook("hook path relative", "/hooks/prestart", json!({"path": "true"}))
            .says(r#"hooks.prestart[0].path: "true" is not absolute"#),
        hook("hook path absent", "/hooks/poststop", json!({"args": ["true"]}))
            .unlike_runc("runc finds out when the hook runs")
            .says(r#"hooks.poststop[0].path: "" is not absolute"#),
        hook("hook timeout 0", "/hooks/poststart", json!({"path": "/bin/true", "timeout": 0}))
            .unlike_runc("runc has no time limit then, or one that is over at once")
            .says("hooks.poststart[0].timeout: 0 is not greater than zero"),
        hook(
            "hook timeout -1",
            "/hooks/createRuntime",
            json!({"path": "/bin/true", "timeout": -1}),
        )
        .says("hooks.createRuntime[0].timeout: -1 is not greater than zero"),
        hook("hook missing", "/hooks/createRuntime", json!({"path": "/none"})).says(
            r#"error running createRuntime hook #0: "/none": ENOENT: no such file or directory"#,
        ),
        hook("hook not executable", "/hooks/prestart", json!({"path": "/etc/passwd"}))
            .says(r#"error running prestart hook #0: "/etc/passwd": EACCES: permission denied"#),
    ]
}

fn failing() -> Vec<Case> {
    let failing = sh("echo out; echo sorry >&2; exit 3");
    vec![
        hook("prestart fails", "/hooks/prestart", failing.clone())
            .says(r#"error running prestart hook #0: "/bin/sh": exit status 3, stdout: out, stderr: sorry"#),
        hook("createRuntime fails", "/hooks/createRuntime", failing.clone())
            .command(&["run", "{ID}"])
            .says(r#"error running createRuntime hook #0: "/bin/sh": exit status 3, stdout: out, stderr: sorry"#),
        hook("createContainer fails", "/hooks/createContainer", failing.clone())
            .says(r#"error running createContainer hook #0: "/bin/sh": exit status 3, stdout: out, stderr: sorry"#),
        hook("second hook fails", "/hooks/createRuntime", json!({"path": "/bin/true"}))
            .set("/hooks/createRuntime/-", sh("exit 1"))
            .says(r#"error running createRuntime hook #1: "/bin/sh": exit status 1"#),
        hook("hook killed", "/hooks/createRuntime", sh("kill -9 $$"))
            .says(r#"error running createRuntime hook #0: "/bin/sh": signal: killed"#),
        hook(
            "hook takes too long",
            "/hooks/createRuntime",
            json!({"path": "/bin/sh", "args": ["sh", "-c", "sleep 100 & sleep 100"], "timeout": 1}),
        )
        .unlike_runc("it waits for what the hook has started").says(r#"error running createRuntime hook #0: "/bin/sh": timed out after 1s"#),
        hook("startContainer fails at start", "/hooks/startContainer", failing.clone())
            .before(&["create", "{ID}"])
            .command(&["start", "{ID}"])
            .stays("stopped")
            .unlike_runc("its start does not wait for execve")
            .says(r#"error running startContainer hook #0: "/bin/sh": exit status 3, stdout: out, stderr: sorry"#),
        hook("startContainer fails at run", "/hooks/startContainer", failing.clone())
            .command(&["run", "{ID}"])
            .unlike_runc("255 is the status of its init")
            .says(r#"error running startContainer hook #0: "/bin/sh": exit status 3, stdout: out, stderr: sorry"#),
        hook("poststart fails at start", "/hooks/poststart", failing.clone())
            .before(&["create", "{ID}"])
            .command(&["start", "{ID}"])
            .stays("stopped")
            .says(r#"error running poststart hook #0: "/bin/sh": exit status 3, stdout: out, stderr: sorry"#),
        hook("poststart fails at run", "/hooks/poststart", failing.clone())
            .command(&["run", "{ID}"])
            .says(r#"error running poststart hook #0: "/bin/sh": exit status 3, stdout: out, stderr: sorry"#),
        hook("poststop fails", "/hooks/poststop", failing)
            .args(&["/bin/true"])
            .command(&["run", "{ID}"])
            .succeeds()
            .warns(r#"error running poststop hook #0: "/bin/sh": exit status 3, stdout: out, stderr: sorry"#),
    ]
}
