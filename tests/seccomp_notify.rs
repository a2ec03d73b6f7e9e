// SPDX-License-Identifier: Apache-2.0
//! SCMP_ACT_NOTIFY with a real agent, and startContainer hooks under the filter.

#[path = "common/agent.rs"]
mod agent;
mod common;

use std::path::PathBuf;
use std::process::Command;

use agent::{Agent, Answer};
use common::{Bundle, Run, Value, can_run, is_root, json, runtime};

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];
const MAKES_FOO: &str = "mkdir /dev/shm/foo";
const ENOMEDIUM: i32 = 123;

#[path = "../src/child/seccomp/names/table.rs"]
#[allow(dead_code)] // the numbers
mod table;

/// Every call that there is, but write, which cannot be notified of.
fn every_call() -> Vec<&'static str> {
    let bounds = table::STARTS.windows(2);
    let all = bounds.map(|at| &table::NAMES[usize::from(at[0])..usize::from(at[1])]);
    let names: Vec<_> = all.filter(|name| *name != "write").collect();
    assert_eq!(names.len(), table::COUNT - 1);
    names
}

fn socket(bundle: &Bundle) -> PathBuf {
    bundle.dir.join("agent.sock")
}

fn notify(bundle: Bundle, names: &[&str], no_new_privileges: bool) -> Bundle {
    let path = socket(&bundle);
    bundle
        .patch("/process/noNewPrivileges", json!(no_new_privileges))
        .patch("/annotations/k", json!("v"))
        .patch(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": path,
                "listenerMetadata": "some data",
                "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]
            }),
        )
}

fn continues(_: i64) -> Answer {
    Answer::Continue
}

fn is_mkdir(number: i64) -> bool {
    #[cfg(target_arch = "x86_64")]
    if number == libc::SYS_mkdir {
        return true;
    }
    number == libc::SYS_mkdirat
}

fn no_medium_for_mkdir(number: i64) -> Answer {
    if is_mkdir(number) { Answer::Errno(ENOMEDIUM) } else { Answer::Continue }
}

/// As `Bundle::runtime`, but a hang is a failure.
fn limited(bundle: &Bundle, args: &[&str]) -> Run {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "60"]).arg(runtime()).arg("--root").arg(bundle.state_root());
    command.args(args).current_dir(&bundle.dir);
    let run = bundle.finish(command);
    assert!(run.code != 137 && run.code != -9, "{args:?} hangs: {}", run.err);
    run
}

fn run(bundle: &Bundle) -> Run {
    bundle.write();
    limited(bundle, &["run", bundle.id()])
}

fn create(bundle: &Bundle) -> Run {
    bundle.write();
    limited(bundle, &["create", bundle.id()])
}

fn create_and_start(bundle: &Bundle) -> Run {
    let run = create(bundle);
    if run.code != 0 {
        return run;
    }
    limited(bundle, &["start", bundle.id()])
}

fn exec(bundle: &Bundle, script: &str) -> Run {
    limited(bundle, &["exec", bundle.id(), "/bin/sh", "-c", script])
}

#[track_caller]
fn assert_state(state: &Value, bundle: &Bundle, status: &str, pid: i32, init: i32) {
    let version = state["ociVersion"].as_str().expect("a version");
    let expected = json!({
        "ociVersion": version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "some data",
        "state": {
            "ociVersion": version,
            "id": bundle.id(),
            "status": status,
            "pid": init,
            "bundle": bundle.dir,
            "annotations": {"k": "v"},
        }
    });
    assert_eq!(*state, expected);
}

#[test]
fn run_gets_its_answers_from_the_agent() {
    if !can_run() {
        return;
    }
    for no_new_privileges in [true, false] {
        let bundle = notify(Bundle::new(MAKES_FOO), &MKDIR, no_new_privileges);
        let agent = Agent::at(&socket(&bundle), no_medium_for_mkdir);
        let run = run(&bundle);
        assert!(run.code == 1 && run.err.contains("No medium found"), "{}: {}", run.code, run.err);
        let calls = agent.calls();
        assert!(calls.len() == 1 && is_mkdir(calls[0]), "{calls:?}");
        let states = agent.states();
        assert_eq!(states.len(), 1);
        let pid = i32::try_from(states[0]["pid"].as_i64().expect("a pid")).expect("a pid");
        assert!(pid > 1);
        assert_state(&states[0], &bundle, "creating", pid, pid);
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn create_hands_the_listener_over_before_it_returns() {
    if !can_run() {
        return;
    }
    for no_new_privileges in [true, false] {
        let bundle = notify(Bundle::new(MAKES_FOO), &MKDIR, no_new_privileges);
        let agent = Agent::at(&socket(&bundle), continues);
        create(&bundle).ok();
        let pid = bundle.pid();
        assert_eq!(bundle.status(), "created");
        let states = agent.states();
        assert_eq!(states.len(), 1);
        assert_state(&states[0], &bundle, "creating", pid, pid);
        assert!(agent.calls().is_empty());
        limited(&bundle, &["start", bundle.id()]).ok();
        bundle.wait_status("stopped");
        assert_eq!(agent.calls().len(), 1);
        bundle.runtime(&["delete", bundle.id()]).ok();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn exec_has_a_listener_of_its_own() {
    if !can_run() {
        return;
    }
    for no_new_privileges in [true, false] {
        let bundle = notify(Bundle::new("sleep 1000"), &MKDIR, no_new_privileges);
        let agent = Agent::at(&socket(&bundle), no_medium_for_mkdir);
        bundle.write();
        limited(&bundle, &["run", "--detach", bundle.id()]).ok();
        let run = exec(&bundle, MAKES_FOO);
        assert!(run.code == 1 && run.err.contains("No medium found"), "{}: {}", run.code, run.err);
        let states = agent.states();
        assert_eq!(states.len(), 2);
        let init = bundle.pid();
        let pid = i32::try_from(states[1]["pid"].as_i64().expect("a pid")).expect("a pid");
        assert_ne!(pid, init);
        assert_state(&states[1], &bundle, "running", pid, init);
    }
}

#[test]
fn no_call_that_the_runtime_makes_itself_hangs() {
    if !can_run() {
        return;
    }
    for no_new_privileges in [true, false] {
        let script = format!("{MAKES_FOO} && echo made");
        let bundle = notify(Bundle::new(&script), &every_call(), no_new_privileges);
        let agent = Agent::at(&socket(&bundle), continues);
        assert_eq!(run(&bundle).ok().out, "made\n");
        create_and_start(&bundle).ok();
        bundle.wait_status("stopped");
        bundle.runtime(&["delete", bundle.id()]).ok();
        assert!(agent.calls().contains(&libc::SYS_execve));

        let bundle = notify(Bundle::new("sleep 1000"), &every_call(), no_new_privileges);
        let agent = Agent::at(&socket(&bundle), continues);
        bundle.write();
        limited(&bundle, &["run", "--detach", bundle.id()]).ok();
        assert_eq!(exec(&bundle, &script).ok().out, "made\n");
        assert_eq!(agent.states().len(), 2);
        assert_eq!(exec(&bundle, "nope").code, 127);
        let run = limited(&bundle, &["exec", bundle.id(), "/tmp"]);
        assert!(run.code == 255 && run.err.contains("permission denied"), "{}", run.err);
    }
}

#[test]
fn each_call_of_the_runtime_s_own_alone() {
    if !can_run() {
        return;
    }
    for name in ["sendmsg", "recvmsg", "read", "close", "poll", "fcntl", "execve"] {
        let bundle = notify(Bundle::new("true"), &[name], true);
        let agent = Agent::at(&socket(&bundle), continues);
        run(&bundle).ok();
        create_and_start(&bundle).ok();
        bundle.wait_status("stopped");
        assert_eq!(agent.states().len(), 2, "{name}");
        bundle.runtime(&["delete", bundle.id()]).ok();
    }
}

/// Neither the closing nor the sending of anything is needed to get to the program.
#[test]
fn an_agent_may_refuse_what_need_not_be() {
    fn refuses(number: i64) -> Answer {
        match number {
            libc::SYS_close | libc::SYS_sendmsg | libc::SYS_recvmsg => Answer::Errno(libc::EPERM),
            _ => Answer::Continue,
        }
    }
    if !can_run() {
        return;
    }
    let names = ["close", "sendmsg", "recvmsg", "mkdir", "mkdirat"];
    let bundle = notify(Bundle::new("exec sleep 0"), &names, true);
    let _agent = Agent::at(&socket(&bundle), refuses);
    run(&bundle).ok();
    create_and_start(&bundle).ok();
}

#[test]
fn a_container_with_a_user_namespace_has_an_agent_too() {
    if !is_root() {
        return;
    }
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mut bundle = notify(Bundle::new(MAKES_FOO), &MKDIR, false)
        .patch("/linux/uidMappings", map.clone())
        .patch("/linux/gidMappings", map)
        .patch("/linux/namespaces/-", json!({"type": "user"}));
    bundle.set("/process/user/uid", json!(7));
    let agent = Agent::at(&socket(&bundle), no_medium_for_mkdir);
    let run = run(&bundle);
    assert!(run.code == 1 && run.err.contains("No medium found"), "{}: {}", run.code, run.err);
    assert_eq!(agent.states().len(), 1);
}

#[test]
fn waits_can_be_killed_only() {
    if !can_run() {
        return;
    }
    let bundle = notify(Bundle::new(MAKES_FOO), &MKDIR, false)
        .patch("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
    let _agent = Agent::at(&socket(&bundle), no_medium_for_mkdir);
    bundle.write();
    let run = limited(&bundle, &["--debug", "run", bundle.id()]);
    if run.err.contains("this kernel does not support") {
        println!("SKIP: {}", run.err);
        return;
    }
    assert!(run.code == 1 && run.err.contains("No medium found"), "{}: {}", run.code, run.err);
    // NEW_LISTENER is 8, WAIT_KILLABLE_RECV 32.
    assert!(run.err.contains("\"seccomp filter flags: 40\""), "{}", run.err);
}

#[test]
fn an_abstract_name_begins_with_at() {
    if !can_run() {
        return;
    }
    let bundle = notify(Bundle::new(MAKES_FOO), &MKDIR, true);
    let name = format!("{}-agent", bundle.id());
    let bundle = bundle.patch("/linux/seccomp/listenerPath", json!(format!("@{name}")));
    let agent = Agent::at_abstract(&name, continues);
    run(&bundle).ok();
    assert_eq!(agent.calls().len(), 1);
}

/// crun's annotation, or its variable, names the agent that the config does not.
#[test]
fn crun_s_receiver_is_an_agent() {
    if !can_run() {
        return;
    }
    for by_variable in [false, true] {
        let mut bundle = notify(Bundle::new(MAKES_FOO), &MKDIR, true)
            .remove("/linux/seccomp/listenerPath")
            .remove("/linux/seccomp/listenerMetadata");
        let path = socket(&bundle);
        let agent = Agent::at(&path, continues);
        let run = match by_variable {
            false => {
                bundle.set("/annotations/run.oci.seccomp.receiver", json!(path));
                run(&bundle)
            }
            true => {
                bundle.write();
                let mut command = bundle.command(&["run", bundle.id()]);
                command.env("RUN_OCI_SECCOMP_RECEIVER", path);
                bundle.finish(command)
            }
        };
        run.ok();
        assert_eq!(agent.calls().len(), 1);
    }
}

#[test]
fn without_an_agent_nothing_starts_and_nothing_is_left() {
    if !can_run() {
        return;
    }
    let bundle = notify(Bundle::new("true"), &MKDIR, true);
    for run in [run(&bundle), create(&bundle)] {
        assert_eq!(run.code, 1);
        let path = socket(&bundle);
        let expected = format!(
            "linux.seccomp.listenerPath: failed to connect with seccomp agent {path:?}: \
             ENOENT: no such file or directory"
        );
        assert!(run.err.contains(&expected.replace('"', "\\\"")), "{}", run.err);
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
    let bundle = notify(Bundle::new("sleep 1000"), &MKDIR, true);
    let mut agent = Agent::at(&socket(&bundle), continues);
    bundle.write();
    limited(&bundle, &["run", "--detach", bundle.id()]).ok();
    agent.end();
    let run = exec(&bundle, "true");
    assert_eq!(run.code, 255);
    assert!(run.err.contains("failed to connect with seccomp agent"), "{}", run.err);
    assert_eq!(bundle.status(), "running");
}

#[test]
fn when_the_agent_has_ended_the_call_is_not_implemented() {
    if !can_run() {
        return;
    }
    for no_new_privileges in [true, false] {
        let script = format!("{MAKES_FOO} 2>/log/err");
        let bundle = notify(Bundle::new(&script), &MKDIR, no_new_privileges);
        let log = bundle.dir.join("log");
        std::fs::create_dir(&log).expect("mkdir");
        let bundle = bundle.add_mount(
            json!({"destination": "/log", "type": "bind", "source": log, "options": ["bind"]}),
        );
        let mut agent = Agent::at(&socket(&bundle), continues);
        create(&bundle).ok();
        agent.end();
        limited(&bundle, &["start", bundle.id()]).ok();
        bundle.wait_status("stopped");
        let err = std::fs::read_to_string(log.join("err")).expect("the log");
        assert!(err.contains("Function not implemented"), "{err}");
    }
}

#[test]
fn a_listener_path_without_notify_is_ignored() {
    if !can_run() {
        return;
    }
    let bundle = notify(Bundle::new(MAKES_FOO), &MKDIR, true)
        .patch("/linux/seccomp/syscalls", json!([]))
        .patch("/linux/seccomp/listenerPath", json!("/nobody/listens"));
    run(&bundle).ok();
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    if !can_run() {
        return;
    }
    let refused = |pointer: &str, value: Value, text: &str| {
        let bundle = notify(Bundle::new("true"), &MKDIR, true).patch(pointer, value);
        assert_eq!(run(&bundle).message(), text);
        assert_eq!(bundle.leftovers(), [""; 0]);
    };
    refused(
        "/linux/seccomp/syscalls/0/names/-",
        json!("write"),
        "linux.seccomp.syscalls[0].names[2]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
    );
    refused(
        "/linux/seccomp/defaultAction",
        json!("SCMP_ACT_NOTIFY"),
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
    );
    refused(
        "/linux/seccomp/listenerPath",
        json!(""),
        "linux.seccomp.listenerMetadata: set without listenerPath",
    );
    let bundle = notify(Bundle::new("true"), &MKDIR, true)
        .remove("/linux/seccomp/listenerPath")
        .remove("/linux/seccomp/listenerMetadata");
    let text = "linux.seccomp.listenerPath: not set, but a rule has SCMP_ACT_NOTIFY";
    assert_eq!(run(&bundle).message(), text);
}

/// Without read the clone cannot wait for its parent: an error, and no hang.
#[test]
fn a_filter_that_denies_read_beside_notify_is_an_error() {
    if !can_run() {
        return;
    }
    let rule = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO"});
    let bundle = notify(Bundle::new("true"), &MKDIR, true).patch("/linux/seccomp/syscalls/-", rule);
    let _agent = Agent::at(&socket(&bundle), continues);
    let run = run(&bundle);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("wait for the parent: EPERM"), "{}", run.err);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

fn start_hook(bundle: Bundle, script: &str) -> Bundle {
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    bundle.patch("/hooks/startContainer", hook)
}

#[test]
fn startcontainer_hooks_are_under_the_filter() {
    if !can_run() {
        return;
    }
    for no_new_privileges in [true, false] {
        let bundle = start_hook(Bundle::new("true"), MAKES_FOO)
            .patch("/process/noNewPrivileges", json!(no_new_privileges))
            .patch("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]))
            .patch(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [
                        {"names": MKDIR, "action": "SCMP_ACT_KILL_PROCESS"},
                        {"names": ["pidfd_open"], "action": "SCMP_ACT_ERRNO"},
                    ]
                }),
            );
        let killed = "error running startContainer hook #0: \"/bin/sh\": signal: bad system call";
        let ran = run(&bundle);
        assert!(ran.code == 1 && ran.message().contains(killed), "{}: {}", ran.code, ran.err);
        assert_eq!(bundle.leftovers(), [""; 0]);
        let started = create_and_start(&bundle);
        assert!(started.code == 1 && started.message().contains(killed), "{}", started.err);
        bundle.wait_status("stopped");
        bundle.runtime(&["delete", bundle.id()]).ok();
        run_with_a_hook_that_may(&bundle);
    }
}

/// The same filter, which also keeps the runtime from opening a pidfd of the hook.
fn run_with_a_hook_that_may(bundle: &Bundle) {
    let mut allowed = Bundle::new("true");
    allowed.config["linux"]["seccomp"] = bundle.config["linux"]["seccomp"].clone();
    let script = "grep -q 'Seccomp:.2' /proc/self/status && cat >/dev/null";
    run(&start_hook(allowed, script)).ok();
}

/// They have the container's capabilities: none is left over from the load.
#[test]
fn a_startcontainer_hook_has_no_capability_more_than_the_program() {
    if !can_run() {
        return;
    }
    let mut bundle = start_hook(
        notify(Bundle::new("true"), &MKDIR, false),
        "grep -q 'CapEff:.0000000020000420' /proc/self/status",
    );
    let _agent = Agent::at(&socket(&bundle), continues);
    run(&bundle).ok();
    create_and_start(&bundle).ok();
    bundle.wait_status("stopped");
    bundle.runtime(&["delete", bundle.id()]).ok();
    bundle.set("/linux/seccomp/syscalls/0/action", json!("SCMP_ACT_LOG"));
    run(&bundle).ok();
}

#[test]
fn a_startcontainer_hook_s_calls_go_to_the_agent_and_it_gets_no_descriptor() {
    if !can_run() {
        return;
    }
    for no_new_privileges in [true, false] {
        let bundle = notify(Bundle::new("true"), &every_call(), no_new_privileges);
        // ls has its own besides the standard three.
        let bundle = start_hook(bundle, "test $(ls /proc/self/fd | wc -l) = 4");
        let agent = Agent::at(&socket(&bundle), continues);
        run(&bundle).ok();
        create_and_start(&bundle).ok();
        bundle.wait_status("stopped");
        bundle.runtime(&["delete", bundle.id()]).ok();
        assert_eq!(agent.states().len(), 2);

        let bundle = notify(Bundle::new("true"), &MKDIR, no_new_privileges);
        let bundle = start_hook(bundle, MAKES_FOO);
        let _agent = Agent::at(&socket(&bundle), no_medium_for_mkdir);
        for run in [run(&bundle), create_and_start(&bundle)] {
            let text = "error running startContainer hook #0: \"/bin/sh\": exit status 1";
            assert!(run.code == 1 && run.message().contains(text), "{}: {}", run.code, run.err);
            assert!(run.err.contains("No medium found"), "{}", run.err);
        }
    }
}
