// SPDX-License-Identifier: Apache-2.0
//! What `features` claims: each item of each list is made to happen, or shown to be refused with a
//! reason where this host lacks what it takes. An item that nobody knows how to try fails its test.

#[path = "common/agent.rs"]
#[allow(dead_code)] // what it was asked is looked at elsewhere
mod agent;
mod common;

use std::fs;
use std::process::Command;

use agent::{Agent, Answer};
use common::{Bundle, Run, Value, has, is_creel, is_root, is_systemd, json, lacks, runtime};

/// What the runtime says; None where it cannot be held to it.
fn features() -> Option<Value> {
    if !is_root() || !is_creel() {
        return None;
    }
    let output = Command::new(runtime()).arg("features").output().expect("the runtime starts");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn claimed(pointer: &str) -> Vec<String> {
    let Some(features) = features() else { return Vec::new() };
    let list = features.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    let list = list.as_array().expect("a list").iter();
    let list: Vec<String> = list.map(|item| item.as_str().expect("text").to_owned()).collect();
    assert!(!list.is_empty(), "{pointer} is empty");
    list
}

/// The refusal of what this host lacks: it must name the property.
#[track_caller]
fn refused(item: &str, run: &Run, property: &str) {
    assert_ne!(run.code, 0, "{item}: {}", run.out);
    assert!(run.message().starts_with(property), "{item}: {}", run.err);
    println!("SKIP: {item}: refused here: {}", run.message());
}

/// The structure of features.md, and the specification's own schema where it is at hand.
#[test]
fn the_document_has_the_specification_s_structure() {
    let Some(features) = features() else { return };
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/schema");
    let schema = std::env::var("OCI_SCHEMA").unwrap_or_else(|_| schema.to_owned());
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(format!("{schema}/{name}")).expect("a schema");
        serde_json::from_str(&text).expect("JSON")
    };
    struct Files(String);
    impl jsonschema::Retrieve for Files {
        fn retrieve(
            &self,
            uri: &jsonschema::Uri<String>,
        ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
            let name = uri.path().as_str().rsplit('/').next().unwrap_or("");
            Ok(serde_json::from_str(&fs::read_to_string(format!("{}/{name}", self.0))?)?)
        }
    }
    let options = jsonschema::options().with_base_uri("json-schema:///");
    let options = options.with_retriever(Files(schema.clone()));
    let validator = options.build(&read("features-schema.json")).expect("a schema");
    let wrong: Vec<String> = validator.iter_errors(&features).map(|e| e.to_string()).collect();
    assert_eq!(wrong, [""; 0]);
    for key in ["ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations"] {
        assert!(!features[key].is_null(), "{key}");
    }
    let version = Command::new(runtime()).arg("--version").output().expect("the runtime starts");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let of = |key: &str| features["annotations"][key].as_str().expect("text").to_owned();
    assert!(version.starts_with(&format!("creel version {}\n", of("io.github.creel.version"))));
    assert!(version.contains(&format!("spec: {}\n", features["ociVersionMax"].as_str().unwrap())));
}

#[test]
fn hooks_run_in_the_order_of_the_list() {
    let points = claimed("/hooks");
    let mut bundle = Bundle::new("true");
    let ran = bundle.dir.join("ran");
    fs::write(&ran, "").expect("write");
    // startContainer runs in the container, where the file is mounted.
    bundle = bundle.add_mount(json!({"destination": "/ran", "source": ran, "options": ["bind"]}));
    for point in &points {
        let file = if point == "startContainer" { "/ran" } else { ran.to_str().unwrap() };
        let script = format!("echo {point} >>{file}");
        bundle.set(
            &format!("/hooks/{point}"),
            json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]),
        );
    }
    if points.is_empty() {
        return;
    }
    bundle.run().ok();
    let ran = fs::read_to_string(&ran).expect("the list");
    assert_eq!(ran.lines().collect::<Vec<_>>(), points);
}

/// How an option shows in the line of /proc/self/mountinfo.
enum Shows {
    /// Among the options of the mount.
    Is(&'static str),
    Not(&'static str),
    /// Among those of the filesystem.
    Of(&'static str),
    NotOf(&'static str),
    /// Nowhere: the kernel takes it, and the mount is there.
    Nowhere,
}

/// The options to mount with, which may begin with the opposite, and what must show.
fn shows(option: &str) -> Option<(&'static [&'static str], Shows)> {
    use Shows::{Is, Not, NotOf, Nowhere, Of};
    Some(match option {
        "ro" | "rro" => (&[], Is("ro")),
        "rw" => (&["ro"], Not("ro")),
        "rrw" => (&["rro"], Not("ro")),
        "nosuid" | "rnosuid" => (&[], Is("nosuid")),
        "suid" => (&["nosuid"], Not("nosuid")),
        "rsuid" => (&["rnosuid"], Not("nosuid")),
        "nodev" | "rnodev" => (&[], Is("nodev")),
        "dev" => (&["nodev"], Not("nodev")),
        "rdev" => (&["rnodev"], Not("nodev")),
        "noexec" | "rnoexec" => (&[], Is("noexec")),
        "exec" => (&["noexec"], Not("noexec")),
        "rexec" => (&["rnoexec"], Not("noexec")),
        "nosymfollow" | "rnosymfollow" => (&[], Is("nosymfollow")),
        "symfollow" => (&["nosymfollow"], Not("nosymfollow")),
        "rsymfollow" => (&["rnosymfollow"], Not("nosymfollow")),
        "noatime" | "rnoatime" => (&[], Is("noatime")),
        "atime" => (&["noatime"], Not("noatime")),
        "ratime" => (&["rnoatime"], Not("noatime")),
        "nodiratime" | "rnodiratime" => (&[], Is("nodiratime")),
        "diratime" => (&["nodiratime"], Not("nodiratime")),
        "rdiratime" => (&["rnodiratime"], Not("nodiratime")),
        "relatime" | "rrelatime" => (&[], Is("relatime")),
        "strictatime" | "rstrictatime" => (&[], Not("relatime")),
        // The kernel's own choice.
        "nostrictatime" => (&["strictatime"], Is("relatime")),
        "rnostrictatime" => (&["rstrictatime"], Is("relatime")),
        "norelatime" => (&["noatime"], Nowhere),
        "rnorelatime" => (&["rrelatime"], Nowhere),
        "sync" => (&[], Of("sync")),
        "async" => (&["sync"], NotOf("sync")),
        "dirsync" => (&[], Of("dirsync")),
        "lazytime" => (&[], Of("lazytime")),
        "nolazytime" => (&["lazytime"], NotOf("lazytime")),
        // Linux 5.15 has dropped mandatory locks; the others say how, and not what.
        "mand" | "nomand" | "iversion" | "noiversion" | "silent" | "loud" | "defaults" => {
            (&[], Nowhere)
        }
        "shared" | "rshared" => (&[], Is("shared:")),
        "unbindable" | "runbindable" => (&[], Is("unbindable")),
        "private" | "rprivate" | "slave" | "rslave" => (&["shared"], Not("shared:")),
        _ => return None,
    })
}

/// Whether this is the form of another option for a mount and all below it: `rro`, `rnoexec`.
fn claims_recursive(option: &str) -> bool {
    claimed("/mountOptions").iter().any(|other| *other == option[1..])
        && !["rprivate", "rshared", "rslave", "runbindable"].contains(&option)
}

#[test]
fn mount_options() {
    for option in claimed("/mountOptions") {
        let run = match option.as_str() {
            "bind" | "rbind" | "remount" | "tmpcopyup" => {
                other_mount(&option);
                continue;
            }
            _ => &option,
        };
        let Some((before, shows)) = shows(run) else {
            panic!("{option}: nobody knows what it does")
        };
        let mut options = before.to_vec();
        options.push(&option);
        let is_recursive = option.starts_with('r') && claims_recursive(&option);
        if is_recursive && lacks("mount_setattr") {
            println!("SKIP {option}: it takes mount_setattr, which is left out");
            continue;
        }
        let bundle = Bundle::new("grep ' /m ' /proc/self/mountinfo").add_mount(
            json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": options}),
        );
        let line = bundle.run().ok().out;
        let (mount, filesystem) = line.trim_end().split_once(" - ").expect("a line of mountinfo");
        let has = |text: &str, word: &str| {
            text.split([' ', ',']).any(|w| w == word || word.ends_with(':') && w.starts_with(word))
        };
        let is_right = match shows {
            Shows::Is(word) => has(mount, word),
            Shows::Not(word) => !has(mount, word),
            Shows::Of(word) => has(filesystem, word),
            Shows::NotOf(word) => !has(filesystem, word),
            Shows::Nowhere => true,
        };
        assert!(is_right, "{options:?}: {line}");
    }
}

fn other_mount(option: &str) {
    let bundle = Bundle::new("cat /m/file; touch /m/x 2>/dev/null && echo writable");
    let source = bundle.dir.join("source");
    fs::create_dir_all(source.join("m")).expect("mkdir");
    fs::write(source.join("file"), "there\n").expect("write");
    let mount = |kind: &str, options: Value| json!({"destination": "/m", "type": kind, "source": source, "options": options});
    let bundle = match option {
        "tmpcopyup" => {
            fs::create_dir_all(bundle.rootfs().join("m")).expect("mkdir");
            fs::write(bundle.rootfs().join("m/file"), "there\n").expect("write");
            bundle.add_mount(mount("tmpfs", json!([option])))
        }
        "remount" => bundle
            .add_mount(mount("bind", json!(["bind"])))
            .add_mount(mount("bind", json!(["bind", option, "ro"]))),
        _ => bundle.add_mount(mount("none", json!([option]))),
    };
    let expected = if option == "remount" { "there\n" } else { "there\nwritable\n" };
    assert_eq!(bundle.run().out, expected, "{option}");
}

#[test]
fn namespaces_are_new_ones() {
    for kind in claimed("/linux/namespaces") {
        let proc = match kind.as_str() {
            "network" => "net",
            "mount" => "mnt",
            other => other,
        };
        let bundle = Bundle::new(&format!("readlink /proc/self/ns/{proc}"));
        let has_it =
            bundle.config["linux"]["namespaces"].to_string().contains(&format!("\"{kind}\""));
        let mut bundle = bundle;
        if !has_it {
            bundle.set("/linux/namespaces/-", json!({"type": kind}));
        }
        if kind == "user" {
            for map in ["/linux/uidMappings", "/linux/gidMappings"] {
                bundle.set(map, json!([{"containerID": 0, "hostID": 0, "size": 65536}]));
            }
        }
        let here = fs::read_link(format!("/proc/self/ns/{proc}")).expect("this kernel has it");
        let there = bundle.run().ok().out;
        assert!(there.starts_with(&format!("{proc}:[")), "{kind}: {there}");
        assert_ne!(there.trim(), here.to_str().expect("UTF-8"), "{kind}");
    }
}

#[test]
fn capabilities_one_by_one() {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let own = status.lines().find_map(|l| l.strip_prefix("CapPrm:")).expect("CapPrm").trim();
    let own = u64::from_str_radix(own, 16).expect("a mask");
    // In the order of the kernel's numbers, from 0.
    for (number, name) in claimed("/linux/capabilities").iter().enumerate() {
        let bundle = Bundle::new("grep -E '^Cap(Eff|Bnd)' /proc/self/status | tr -d '\\t'").patch(
            "/process/capabilities",
            json!({"bounding": [name], "effective": [name], "permitted": [name]}),
        );
        let run = bundle.run().ok();
        let bit = 1u64 << number;
        if own & bit == 0 {
            assert!(
                run.err.contains(&format!("unavailable capabilities: [{name}]")),
                "{}",
                run.err
            );
            println!("SKIP: {name}: this machine's root has it not; creel warns");
            continue;
        }
        assert_eq!(run.out, format!("CapEff:{bit:016x}\nCapBnd:{bit:016x}\n"), "{name}");
    }
}

fn seccomp(script: &str, profile: Value) -> Bundle {
    Bundle::new(script)
        .add_mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}))
        .patch("/linux/seccomp", profile)
}

const MKDIR: &str = "mkdir /tmp/x 2>&1; echo $?";

fn refuses_mkdir(_: i64) -> Answer {
    Answer::Errno(libc::ENOMEDIUM)
}

#[test]
fn seccomp_actions() {
    for action in claimed("/linux/seccomp/actions") {
        let rule = json!({"names": ["mkdir", "mkdirat"], "action": action});
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let wanted = match action.as_str() {
            "SCMP_ACT_ALLOW" => {
                profile["defaultAction"] = json!("SCMP_ACT_LOG");
                "0\n"
            }
            "SCMP_ACT_LOG" => "0\n",
            "SCMP_ACT_ERRNO" => {
                profile["syscalls"][0]["errnoRet"] = json!(5);
                "mkdir: can't create directory '/tmp/x': Input/output error\n1\n"
            }
            "SCMP_ACT_TRACE" => {
                "mkdir: can't create directory '/tmp/x': Function not implemented\n1\n"
            }
            "SCMP_ACT_KILL"
            | "SCMP_ACT_KILL_THREAD"
            | "SCMP_ACT_KILL_PROCESS"
            | "SCMP_ACT_TRAP" => "Bad system call\n159\n",
            "SCMP_ACT_NOTIFY" => "mkdir: can't create directory '/tmp/x': No medium found\n1\n",
            other => panic!("{other}: nobody knows what it does"),
        };
        let mut bundle = seccomp(MKDIR, profile);
        let socket = bundle.dir.join("agent.sock");
        let _agent = (action == "SCMP_ACT_NOTIFY").then(|| {
            bundle.set("/linux/seccomp/listenerPath", json!(socket));
            Agent::at(&socket, refuses_mkdir)
        });
        let run = bundle.run();
        let out = run.out.replace("Bad system call (core dumped)", "Bad system call");
        // A shell says on which stream it likes how its child has died.
        let out = if out == "159\n" { "Bad system call\n159\n".to_owned() } else { out };
        assert_eq!(out, wanted, "{action}: {}", run.err);
    }
}

/// kill(pid, signal), of which signal 23 goes by unnoticed: its second argument is 23, or 0.
#[test]
fn seccomp_operators() {
    for op in claimed("/linux/seccomp/operators") {
        let (value, two, matches) = match op.as_str() {
            "SCMP_CMP_EQ" => (23, 0, 23),
            "SCMP_CMP_NE" => (0, 0, 23),
            "SCMP_CMP_LT" => (5, 0, 0),
            "SCMP_CMP_LE" => (0, 0, 0),
            "SCMP_CMP_GE" => (23, 0, 23),
            "SCMP_CMP_GT" => (22, 0, 23),
            "SCMP_CMP_MASKED_EQ" => (7, 7, 23),
            other => panic!("{other}: nobody knows what it compares"),
        };
        let arg = json!({"index": 1, "value": value, "valueTwo": two, "op": op});
        let rule =
            json!({"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": [arg]});
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let script = "for n in 0 23; do kill -$n $$ 2>/dev/null || echo $n; done";
        assert_eq!(seccomp(script, profile).run().ok().out, format!("{matches}\n"), "{op}");
    }
}

#[test]
fn seccomp_architectures_and_flags() {
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let wanted = "mkdir: can't create directory '/tmp/x': Input/output error\n1\n";
    for arch in claimed("/linux/seccomp/archs") {
        let mut profile = profile.clone();
        profile["architectures"] = json!([arch]);
        let out = seccomp(MKDIR, profile).run().ok().out;
        assert_eq!(out, wanted, "{arch}: the machine's own is always in");
        if !arch.ends_with("X86_64") {
            println!(
                "SKIP: {arch}: taken; calls of it are tried by the unit tests of the compiler only"
            );
        }
    }
    let supported = claimed("/linux/seccomp/supportedFlags");
    for flag in claimed("/linux/seccomp/knownFlags") {
        let mut profile = profile.clone();
        profile["flags"] = json!([flag]);
        let mut bundle = seccomp(MKDIR, profile);
        if !supported.contains(&flag) {
            refused(&flag, &bundle.run(), "linux.seccomp.flags[0]: this kernel does not support");
            continue;
        }
        let socket = bundle.dir.join("agent.sock");
        // It is about the listener, which must be there.
        let _agent = flag.ends_with("WAIT_KILLABLE_RECV").then(|| {
            bundle.set("/linux/seccomp/listenerPath", json!(socket));
            bundle.set(
                "/linux/seccomp/syscalls/-",
                json!({"names": ["rmdir"], "action": "SCMP_ACT_NOTIFY"}),
            );
            Agent::at(&socket, refuses_mkdir)
        });
        let run = bundle.run();
        assert_eq!(run.out, wanted, "{flag}: {}", run.err);
    }
}

#[test]
fn cgroups() {
    let Some(features) = features() else { return };
    let claimed = &features["linux"]["cgroup"];
    for (name, value) in claimed.as_object().expect("an object") {
        assert_eq!(*value, true, "{name}");
    }
    let pids = || Bundle::new("true").patch("/linux/resources/pids", json!({"limit": 7}));
    let limit = |bundle: &Bundle| {
        let dirs = common::cgroups_named(bundle.id());
        let values = dirs.iter().filter_map(|dir| fs::read_to_string(dir.join("pids.max")).ok());
        assert!(values.into_iter().any(|value| value == "7\n"), "{dirs:?}");
    };
    let bundle = pids();
    bundle.create().ok();
    limit(&bundle);
    let is_v1 = fs::metadata("/sys/fs/cgroup/pids").is_ok();
    println!(
        "SKIP: cgroup v{}: this machine has the other; hack/vm runs the tests there",
        if is_v1 { 2 } else { 1 }
    );
    let rdma = json!({"mlx5_1": {"hcaHandles": 3}});
    let run = Bundle::new("true").patch("/linux/resources/rdma", rdma).create();
    let has_rdma = fs::read_to_string("/proc/self/cgroup").is_ok_and(|t| t.contains("rdma"))
        || fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|t| t.contains("rdma"));
    if has_rdma {
        // The controller is there, the device is not.
        assert!(run.message().starts_with("linux.resources.rdma"), "{}", run.err);
    } else {
        refused("rdma", &run, "linux.resources.rdma");
    }
    if is_systemd() {
        println!("systemd: this run is by its driver");
        return;
    }
    let bundle = pids();
    bundle.write();
    let run = bundle.runtime(&["--systemd-cgroup", "create", bundle.id()]);
    if run.code == 0 {
        limit(&bundle);
    } else {
        refused("systemd, systemdUser", &run, "");
    }
}

#[test]
fn security_modules_and_intel_rdt() {
    let Some(features) = features() else { return };
    for (claim, pointer, value) in [
        ("apparmor", "/process/apparmorProfile", json!("unconfined")),
        ("selinux", "/process/selinuxLabel", json!("system_u:system_r:container_t:s0")),
        ("intelRdt", "/linux/intelRdt", json!({"enableMonitoring": true})),
    ] {
        assert_eq!(features["linux"][claim]["enabled"], true, "{claim}");
        let run = Bundle::new("true").patch(pointer, value).run();
        if run.code != 0 {
            refused(claim, &run, pointer.trim_start_matches('/').replace('/', ".").as_str());
        }
    }
}

#[test]
fn memory_policies() {
    let policy = |mode: &str, flags: &[&str]| {
        let nodes = if matches!(mode, "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0" };
        Bundle::new("head -1 /proc/self/numa_maps")
            .patch("/linux/memoryPolicy", json!({"mode": mode, "nodes": nodes, "flags": flags}))
            .run()
    };
    let check = |item: &str, run: Run, word: &str| {
        if run.code != 0 && run.message().contains("set_mempolicy") {
            refused(item, &run, "linux.memoryPolicy: set_mempolicy");
        } else if run.err.contains("numa_maps") {
            println!("SKIP: {item}: set, but this kernel has no /proc/self/numa_maps to see it in");
        } else {
            assert!(run.out.contains(word), "{item}: {} {}", run.out, run.err);
        }
    };
    for mode in claimed("/linux/memoryPolicy/modes") {
        let word = match mode.as_str() {
            "MPOL_DEFAULT" => " default",
            "MPOL_PREFERRED" => " prefer",
            "MPOL_BIND" => " bind",
            "MPOL_INTERLEAVE" => " interleave",
            "MPOL_LOCAL" => " local",
            "MPOL_PREFERRED_MANY" => " prefer (many)",
            "MPOL_WEIGHTED_INTERLEAVE" => " weighted interleave",
            other => panic!("{other}: nobody knows how it shows"),
        };
        check(&mode, policy(&mode, &[]), word);
    }
    for flag in claimed("/linux/memoryPolicy/flags") {
        let word = match flag.as_str() {
            "MPOL_F_STATIC_NODES" => "=static",
            "MPOL_F_RELATIVE_NODES" => "=relative",
            "MPOL_F_NUMA_BALANCING" => "balancing",
            other => panic!("{other}: nobody knows how it shows"),
        };
        check(&flag, policy("MPOL_BIND", &[&flag]), word);
    }
}

#[test]
fn id_mapped_mounts_and_network_devices() {
    let Some(features) = features() else { return };
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(features["linux"]["netDevices"]["enabled"], true);
    let maps = json!([{"containerID": 0, "hostID": 4321, "size": 100}]);
    let bundle = Bundle::new("stat -c %u:%g /m/file");
    let source = bundle.dir.join("source");
    fs::create_dir(&source).expect("mkdir");
    fs::write(source.join("file"), "").expect("write");
    let run = bundle
        .add_mount(json!({"destination": "/m", "source": source, "options": ["bind"],
                          "uidMappings": maps, "gidMappings": maps}))
        .run();
    if run.code == 0 {
        assert_eq!(run.out, "4321:4321\n");
    } else {
        refused("idmap", &run, "mount");
    }
    if !has("ip") || !has("unshare") {
        println!("SKIP: netDevices: no ip(8), or no unshare(1)");
        return;
    }
    // In a network namespace of its own: the host's is left alone.
    let bundle = Bundle::new("cat /sys/class/net/inside/address >/dev/null && echo moved")
        .patch("/linux/netDevices", json!({"creel-test0": {"name": "inside"}}));
    bundle.write();
    let script = "ip link add creel-test0 type dummy || exit 99; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", script, "-"]).arg(runtime());
    command
        .arg("--root")
        .arg(bundle.state_root())
        .args(["run", bundle.id()])
        .current_dir(&bundle.dir);
    let run = bundle.finish(command);
    if run.code == 99 {
        println!("SKIP: netDevices: no dummy device can be made: {}", run.err);
        return;
    }
    assert_eq!(run.out, "moved\n", "{}", run.err);
}

/// Where each of them is shown to change something.
#[test]
fn annotations_that_change_what_is_done_are_the_ones_that_are_read() {
    let Some(features) = features() else { return };
    let src = |path: &str| {
        fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect("a source file")
    };
    let listed = features["potentiallyUnsafeConfigAnnotations"].as_array().expect("a list");
    for name in listed {
        let (name, test) = match name.as_str().expect("text") {
            name @ "org.systemd.property." => (name, "src/cgroup/systemd/text.rs"),
            name @ "org.criu.config" => (name, "tests/checkpoint_rpc.rs"),
            // crun's.
            name @ "run.oci." => (name, "src/annotations.rs"),
            other => panic!("{other}: nobody knows where it is tested"),
        };
        assert!(src(test).contains(name), "{name} is not in {test}");
    }
}
