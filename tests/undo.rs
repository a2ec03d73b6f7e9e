// SPDX-License-Identifier: Apache-2.0
//! Undoing is complete: whatever hook fails, every poststop hook runs and is reported, nothing is left,
//! and `delete` can be repeated.

mod common;

use std::fs;

use common::{Bundle, can_run, is_creel, json};

/// Three poststop hooks, of which the second fails; each leaves its mark.
fn with_poststop(bundle: &mut Bundle) {
    let hook = |name: &str, end: &str| {
        let script = format!("touch {}/{name}; {end}", bundle.dir.display());
        json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
    };
    let hooks =
        json!([hook("one", "true"), hook("two", "echo sorry >&2; exit 3"), hook("three", "true")]);
    bundle.set("/hooks/poststop", hooks);
}

#[track_caller]
fn all_have_run(bundle: &Bundle, errors: &str) {
    for name in ["one", "two", "three"] {
        assert!(bundle.dir.join(name).exists(), "{name}: {errors}");
        fs::remove_file(bundle.dir.join(name)).unwrap();
    }
    if is_creel() {
        let warnings = errors.lines().filter(|line| line.contains("level=warning")).count();
        assert_eq!(warnings, 1, "{errors}");
        assert!(errors.contains("error running poststop hook #1"), "{errors}");
        assert!(errors.contains("exit status 3") && errors.contains("sorry"), "{errors}");
    }
}

#[test]
fn a_hook_that_fails_in_create_and_run() {
    if !can_run() {
        return;
    }
    for point in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let mut bundle = Bundle::new("sleep 1000");
        with_poststop(&mut bundle);
        // The container's own root has a shell too.
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 7"]}]);
        bundle.set(&format!("/hooks/{point}"), hook);
        let run = bundle.run();
        assert_ne!(run.code, 0, "{point}");
        assert!(run.err.contains(&format!("{point} hook #0")), "{point}: {}", run.err);
        assert!(run.err.contains("exit status 7"), "{point}: {}", run.err);
        assert_eq!(bundle.leftovers(), [""; 0], "{point}");
        all_have_run(&bundle, &run.err);
    }
}

#[test]
fn a_hook_that_fails_in_start() {
    if !can_run() {
        return;
    }
    for point in ["startContainer", "poststart"] {
        let mut bundle = Bundle::new("sleep 1000");
        with_poststop(&mut bundle);
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 7"]}]);
        bundle.set(&format!("/hooks/{point}"), hook);
        bundle.create().ok();
        let start = bundle.runtime(&["start", bundle.id()]);
        assert_ne!(start.code, 0, "{point}");
        assert!(start.err.contains("exit status 7"), "{point}: {}", start.err);
        bundle.wait_status("stopped");
        let delete = bundle.runtime(&["delete", bundle.id()]).ok();
        assert_eq!(bundle.leftovers(), [""; 0], "{point}");
        all_have_run(&bundle, &delete.err);
    }
}

#[test]
fn delete_can_be_repeated() {
    if !can_run() {
        return;
    }
    let mut bundle = Bundle::new("sleep 1000");
    with_poststop(&mut bundle);
    bundle.create().ok();
    let first = bundle.runtime(&["delete", bundle.id()]).ok();
    all_have_run(&bundle, &first.err);
    let again = bundle.runtime(&["delete", bundle.id()]);
    assert_eq!((again.code, &*again.message()), (1, "container does not exist"));
    bundle.runtime(&["delete", "--force", bundle.id()]).ok();
    assert!(!bundle.dir.join("one").exists(), "its hooks have run already");
    assert_eq!(bundle.leftovers(), [""; 0]);
}
