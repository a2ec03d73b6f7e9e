// SPDX-License-Identifier: Apache-2.0
//! Configs as Docker, containerd and Podman wrote them (tests/data/bundles), run as they are: only
//! the root file system, the bind sources and the command are ours.

mod common;

use std::fs;
use std::path::Path;

use common::{Bundle, Value, is_root, json};

/// The captured config in a bundle of its own; `args` replaces the command.
fn captured(name: &str, args: &[&str]) -> Bundle {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bundles").join(name);
    let text = fs::read_to_string(path.join("config.json")).expect("the captured config");
    let mut bundle = Bundle::with_args(args);
    bundle.config = serde_json::from_str(&text).expect("JSON");
    bundle.set("/process/args", json!(args));
    bundle.set("/linux/cgroupsPath", json!(common::cgroups_path(bundle.id())));
    // Docker's own init is not on every host.
    for mount in bundle.config["mounts"].as_array_mut().expect("mounts") {
        if mount["source"] == "/usr/bin/docker-init" {
            mount["source"] = json!("sources/docker.init");
        }
    }
    for mount in bundle.config["mounts"].as_array().expect("mounts") {
        let source = mount["source"].as_str().unwrap_or_default();
        let Some(source) = source.strip_prefix("sources/") else { continue };
        let path = bundle.dir.join("sources").join(source);
        let is_file = source.contains('.') || source.starts_with("host");
        fs::create_dir_all(if is_file { path.parent().unwrap() } else { &path }).unwrap();
        if is_file {
            fs::write(&path, format!("{source}\n")).unwrap();
        }
    }
    // Relative sources are relative to the bundle, where the runtime runs.
    bundle
}

/// What the container is told about itself.
const REPORT: &str = "hostname; id -u; id -g; pwd; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' \
                      /proc/self/status | tr -d '\\t'; cat /proc/self/oom_score_adj";

/// `creel check` has nothing to say but notes: of what is accepted and without effect on this host.
fn is_clean(bundle: &Bundle) {
    let run = bundle.runtime(&["check", "--format", "json", "."]).ok();
    let report: Value = serde_json::from_str(&run.out).expect("JSON");
    let list = report["findings"].as_array().expect("findings");
    assert!(list.iter().all(|f| f["level"] == "note"), "{}", run.out);
}

/// Runs `REPORT` in a captured config; every line that the config decides is compared with it.
#[track_caller]
fn check(name: &str) {
    if !is_root() {
        return;
    }
    let bundle =
        captured(name, &["/bin/sh", "-c", REPORT]).patch("/process/terminal", json!(false));
    if common::is_creel() {
        bundle.write();
        is_clean(&bundle);
    }
    let run = bundle.run().ok();
    let lines: Vec<&str> = run.out.lines().collect();
    let config = &bundle.config;
    let process = &config["process"];
    if let Some(hostname) = config["hostname"].as_str() {
        assert_eq!(lines[0], hostname);
    }
    assert_eq!(lines[1], process["user"]["uid"].as_u64().unwrap_or(0).to_string());
    assert_eq!(lines[2], process["user"]["gid"].as_u64().unwrap_or(0).to_string());
    assert_eq!(lines[3], process["cwd"].as_str().unwrap());
    let is_root_user = process["user"]["uid"].as_u64().unwrap_or(0) == 0;
    if is_root_user {
        assert_eq!(
            lines[4],
            format!("CapEff:{:016x}", mask(&process["capabilities"]["effective"]))
        );
    }
    assert_eq!(lines[5], format!("CapBnd:{:016x}", mask(&process["capabilities"]["bounding"])));
    let nnp = u8::from(process["noNewPrivileges"].as_bool().unwrap_or(false));
    assert_eq!(lines[6], format!("NoNewPrivs:{nnp}"));
    let seccomp = if config["linux"]["seccomp"].is_null() { 0 } else { 2 };
    if std::env::var_os("ENOSYS").is_some() {
        println!("SKIP: the line Seccomp: tells of the filter that hack/enosys.c has put there");
    } else {
        assert_eq!(lines[7], format!("Seccomp:{seccomp}"));
    }
    if let Some(score) = process["oomScoreAdj"].as_i64() {
        assert_eq!(lines[8], score.to_string());
    }
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// The kernel's number of each capability in the captured configs, less what this host lacks.
fn mask(names: &Value) -> u64 {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap();
    let host = u64::from_str_radix(line, 16).unwrap();
    let bit = |name: &Value| {
        let name = name.as_str().unwrap().strip_prefix("CAP_").unwrap();
        1_u64 << NAMES.iter().position(|n| *n == name).expect("a known capability")
    };
    names.as_array().map_or(0, |list| list.iter().map(bit).fold(0, |a, b| a | b)) & host
}

#[test]
fn docker_default() {
    check("docker-default");
}

#[test]
fn docker_init() {
    check("docker-init");
}

#[test]
fn docker_limits() {
    check("docker-limits");
}

#[test]
fn docker_privileged_like() {
    check("docker-privileged-like");
}

#[test]
fn docker_read_only_tmpfs() {
    check("docker-read-only-tmpfs");
}

#[test]
fn docker_user_groups() {
    check("docker-user-groups");
}

#[test]
fn docker_volumes() {
    check("docker-volumes");
}

#[test]
fn ctr_default() {
    check("ctr-default");
}

#[test]
fn ctr_seccomp() {
    check("ctr-seccomp");
}

#[test]
fn ctr_tty() {
    check("ctr-tty");
}

#[test]
fn cri_container() {
    check("cri-container");
}

#[test]
fn cri_sandbox() {
    check("cri-sandbox");
}

#[test]
fn podman_default() {
    check("podman-default");
}

#[test]
fn podman_tty() {
    check("podman-tty");
}
