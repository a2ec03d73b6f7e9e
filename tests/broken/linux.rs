// SPDX-License-Identifier: Apache-2.0
//! `linux`: namespaces, id maps, time, sysctl, seccomp and the rest.

use super::case::{Case, case, has_ip};
use super::config::without;
use super::process::executable;
use crate::common::{Value, json};

pub(crate) fn rows() -> Vec<Case> {
    let mut rows = namespaces();
    rows.extend(users());
    rows.extend(inside_users());
    rows.extend(times());
    rows.extend(sysctls());
    rows.extend(seccomp());
    rows.extend(seccomp_rules());
    rows.extend(others());
    rows
}

fn namespaces() -> Vec<Case> {
    let namespace = |name, value| case(name).set("/linux/namespaces/-", value);
    vec![
        namespace("unknown namespace", json!({"type": "galaxy"}))
            .says(r#"linux.namespaces[5].type: unknown namespace "galaxy""#),
        namespace("namespace without a type", json!({"path": "/proc/1/ns/net"}))
            .says(r#"linux.namespaces[5].type: unknown namespace """#),
        namespace("duplicate namespace", json!({"type": "pid"}))
            .says(r#"malformed spec file: duplicated ns "pid" (linux.namespaces[5])"#),
        namespace("namespace path missing", json!({"type": "cgroup", "path": "/none/ns"})).says(
            r#"linux.namespaces[5].path: open "/none/ns": ENOENT: no such file or directory"#,
        ),
        namespace(
            "namespace path of another kind",
            json!({"type": "cgroup", "path": "/proc/self/ns/net"}),
        )
        .says(r#"linux.namespaces[5].path: open "/proc/self/ns/net": not a cgroup namespace"#),
        namespace("namespace path a file", json!({"type": "cgroup", "path": "/etc/passwd"}))
            .says(r#"linux.namespaces[5].path: open "/etc/passwd": not a namespace"#),
        namespace("namespace path relative", json!({"type": "cgroup", "path": "config.json"}))
            .says(r#"linux.namespaces[5].path: "config.json" is not absolute"#),
    ]
}

/// A user namespace with ids from 0 to 65535.
fn user(name: &'static str) -> Case {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    case(name)
        .set("/linux/namespaces/-", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

fn users() -> Vec<Case> {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    vec![
        case("user namespace without mappings")
            .set("/linux/namespaces/-", json!({"type": "user"}))
            .says("linux.uidMappings: must be set for a new user namespace"),
        user("user namespace without gid mappings")
            .remove("/linux/gidMappings")
            .says("linux.gidMappings: must be set for a new user namespace"),
        case("uid mappings without a user namespace")
            .set("/linux/uidMappings", map.clone())
            .unlike_runc("runc leaves the mappings unused")
            .says("linux.uidMappings: need a user namespace"),
        case("gid mappings without a user namespace")
            .set("/linux/gidMappings", map)
            .unlike_runc("runc leaves the mappings unused")
            .says("linux.gidMappings: need a user namespace"),
        user("mapping of no ids")
            .set("/linux/uidMappings/0/size", json!(0))
            .says("linux.uidMappings[0].size: must not be 0"),
        user("mapping past the last id")
            .set("/linux/gidMappings/0/hostID", json!(4_294_967_000_u32))
            .says(
                "linux.gidMappings[0].size: 65536 ids from 4294967000 on are more than there are",
            ),
        user("mappings that overlap")
            .set("/linux/uidMappings/-", json!({"containerID": 5, "hostID": 5, "size": 1}))
            .says("linux.uidMappings[1]: overlaps linux.uidMappings[0]"),
        user("uid not mapped")
            .set("/process/user/uid", json!(70_000))
            .says("process.user.uid: 70000 is not mapped by linux.uidMappings"),
        user("gid not mapped")
            .set("/process/user/gid", json!(70_000))
            .says("process.user.gid: 70000 is not mapped by linux.gidMappings"),
        user("additional gid not mapped")
            .set("/process/user/additionalGids", json!([5, 70_000]))
            .says("process.user.additionalGids[1]: 70000 is not mapped by linux.gidMappings"),
    ]
}

/// Failures in the clone, after it has become another root.
fn inside_users() -> Vec<Case> {
    vec![
        user("program missing in a user namespace").set("/process/args", json!(["/nope"]))
            .says(r#"exec: "/nope": stat /nope: no such file or directory"#),
        user("mount in a user namespace")
            .set(
                "/mounts/-",
                json!({"destination": "/tmp", "type": "tmpfs", "source": "x", "options": ["size=x"]}),
            )
            .says("mount tmpfs at /tmp (size=x): tmpfs: Bad value for 'size': EINVAL: invalid argument"),
        user("mount point that root inside may not make")
            .set("/mounts/-", json!({"destination": "/nope/x", "type": "tmpfs", "source": "x"}))
            .says("mount tmpfs at /nope/x: mount point: EACCES: permission denied"),
        user("cwd that root inside may not make").set("/process/cwd", json!("/nope"))
            .says(r#"process.cwd: make "/nope": EACCES: permission denied"#),
        user("exec missing in a user namespace")
            .before(&["run", "--detach", "{ID}"])
            .command(&["exec", "{ID}", "/nope"])
            .status(255)
            .stays("running")
            .says(r#"exec: "/nope": stat /nope: no such file or directory"#),
        user("exec with a user that is not mapped")
            .before(&["run", "--detach", "{ID}"])
            .command(&["exec", "--user", "70000", "{ID}", "true"])
            .status(255)
            .stays("running")
            .says("process.user.uid: cannot setuid to unmapped uid 70000 in user namespace"),
        user("exec with a group that is not mapped")
            .before(&["run", "--detach", "{ID}"])
            .command(&["exec", "--additional-gids", "70000", "{ID}", "true"])
            .status(255)
            .stays("running")
            .says("process.user.additionalGids: cannot setgroups to unmapped gids of [70000] in user namespace"),
        user("no program for the kernel in a user namespace")
            .args(&["/bin/broken"])
            .prepare(|bundle| executable(bundle, "bin/broken", "\x7fELF garbage"))
            .before(&["create", "{ID}"])
            .command(&["start", "{ID}"])
            .stays("stopped")
            .unlike_runc("its start does not wait for execve")
            .says("exec /bin/broken: exec format error"),
        user("mqueue without an ipc namespace")
            .prepare(|bundle| without(bundle, "ipc"))
            .says("mount mqueue at /dev/mqueue (nosuid, noexec, nodev): EPERM: operation not permitted"),
        user("a disk in a user namespace")
            .set("/mounts/-", json!({"destination": "/tmp", "type": "ext4", "source": "/dev/none"}))
            .says("mount ext4 at /tmp: EPERM: operation not permitted"),
    ]
}

fn times() -> Vec<Case> {
    let offsets = |name, offsets: Value| {
        case(name)
            .set("/linux/namespaces/-", json!({"type": "time"}))
            .set("/linux/timeOffsets", offsets)
    };
    vec![
        case("time offsets without a time namespace")
            .set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}))
            .says("linux.timeOffsets: need a time namespace"),
        case("time offsets of a joined time namespace")
            .set("/linux/namespaces/-", json!({"type": "time", "path": "/proc/self/ns/time"}))
            .set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}))
            .says("linux.timeOffsets: cannot be set for a time namespace that is joined by path"),
        offsets("unknown clock", json!({"realtime": {"secs": 1}}))
            .says(r#"linux.timeOffsets: "realtime" is neither monotonic nor boottime"#),
        offsets("too many nanoseconds", json!({"boottime": {"nanosecs": 1_000_000_000}}))
            .says("linux.timeOffsets.boottime.nanosecs: 1000000000 is a second or more"),
        offsets("clock before its beginning", json!({"monotonic": {"secs": -9_000_000_000_i64}}))
            .says("linux.timeOffsets: write /proc/self/timens_offsets: ERANGE: math result not representable"),
    ]
}

fn sysctls() -> Vec<Case> {
    let sysctl =
        |name, key: &str, value: &str| case(name).set("/linux/sysctl", json!({key: value}));
    vec![
        sysctl("sysctl of the whole host", "kernel.core_pattern", "x")
            .says("linux.sysctl: kernel.core_pattern: not in a separate kernel namespace"),
        sysctl("sysctl of the hostname", "kernel.hostname", "x")
            .says("linux.sysctl: kernel.hostname: conflicts with the property hostname"),
        sysctl("sysctl that climbs", "net/../kernel/core_pattern", "x")
            .says("linux.sysctl: net/../kernel/core_pattern: not a name of a sysctl"),
        sysctl("sysctl of the host's network", "net.core.somaxconn", "100")
            .prepare(|bundle| without(bundle, "network"))
            .says("linux.sysctl: net.core.somaxconn: not allowed in the host's network namespace"),
        sysctl("sysctl that is not there", "net.core.nope", "1")
            .says(r#"linux.sysctl: net.core.nope: write "1": ENOENT: no such file or directory"#),
        sysctl("sysctl with a bad value", "net.core.somaxconn", "many")
            .says(r#"linux.sysctl: net.core.somaxconn: write "many": EINVAL: invalid argument"#),
    ]
}

fn seccomp() -> Vec<Case> {
    let profile = |name, profile| case(name).set("/linux/seccomp", profile);
    vec![
        profile("seccomp: unknown default action", json!({"defaultAction": "SCMP_ACT_NAP"}))
            .says(r#"linux.seccomp.defaultAction: unknown action "SCMP_ACT_NAP""#),
        profile(
            "seccomp: no default action",
            json!({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}),
        ).says(r#"linux.seccomp.defaultAction: unknown action """#),
        profile(
            "seccomp: unknown architecture",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "PDP11"]}),
        )
        .says(r#"linux.seccomp.architectures[1]: unknown architecture "PDP11""#),
        profile(
            "seccomp: unknown flag",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]}),
        )
        .says(r#"linux.seccomp.flags[0]: unknown flag "SECCOMP_FILTER_FLAG_X""#),
        profile(
            "seccomp: default errno with allow",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
        )
        .unlike_runc("runc leaves it unused")
        .says("linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno"),
        profile("seccomp: notify as default", json!({"defaultAction": "SCMP_ACT_NOTIFY"}))
            .says("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action"),
        profile(
            "seccomp: metadata without a listener",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
        )
        .unlike_runc("runc leaves it unused")
        .says("linux.seccomp.listenerMetadata: set without listenerPath"),
    ]
}

fn seccomp_rules() -> Vec<Case> {
    let rule = |name, rule: Value| {
        case(name)
            .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    };
    let args = |name, arg: Value| {
        rule(name, json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [arg]}))
    };
    vec![
        rule("seccomp: unknown action", json!({"names": ["mkdir"], "action": "SCMP_ACT_NAP"}))
            .says(r#"linux.seccomp.syscalls[0].action: unknown action "SCMP_ACT_NAP""#),
        rule("seccomp: errno with allow",
             json!({"names": ["mkdir"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}))
            .unlike_runc("runc leaves it unused")
            .says("linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_ALLOW takes no errno"),
        rule("seccomp: no names", json!({"names": [], "action": "SCMP_ACT_ERRNO"})).unlike_runc("runc leaves it unused")
            .says("linux.seccomp.syscalls[0].names: must not be empty"),
        rule("seccomp: empty name", json!({"names": [""], "action": "SCMP_ACT_ERRNO"}))
            .says("linux.seccomp.syscalls[0].names[0]: empty string is not a valid syscall"),
        args("seccomp: unknown operator", json!({"index": 0, "value": 1, "op": "SCMP_CMP_ISH"}))
            .says(r#"linux.seccomp.syscalls[0].args[0].op: unknown operator "SCMP_CMP_ISH""#),
        rule("seccomp: kills the program at its start", json!({"names": ["execve"], "action": "SCMP_ACT_KILL_PROCESS"}))
            .command(&["run", "{ID}"])
            .unlike_runc("159 is the status of its init")
            .says("container init ended before it executed the program: signal: SIGSYS"),
        rule("seccomp: no execve", json!({"names": ["execve"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}))
            .before(&["create", "{ID}"])
            .command(&["start", "{ID}"])
            .stays("stopped")
            .unlike_runc("its start does not wait for execve")
            .says("exec /bin/sleep: operation not permitted"),
        args("seccomp: argument out of range", json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}))
            .says("linux.seccomp.syscalls[0].args[0].index: 6 is not an argument: a system call has 0 to 5"),
    ]
}

fn others() -> Vec<Case> {
    let device = |name, target: &str| case(name).set("/linux/netDevices", json!({target: {}}));
    vec![
        case("unknown personality").set("/linux/personality", json!({"domain": "BSD"}))
            .says(r#"linux.personality.domain: invalid personality domain "BSD""#),
        case("unknown memory policy")
            .set("/linux/memoryPolicy", json!({"mode": "MPOL_X", "nodes": "0"}))
            .says(r#"linux.memoryPolicy.mode: invalid memory policy mode "MPOL_X""#),
        case("memory policy without a mode")
            .set("/linux/memoryPolicy", json!({"nodes": "0"}))
            .says(r#"linux.memoryPolicy.mode: invalid memory policy mode """#),
        case("memory nodes that are no list")
            .set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0,a"}))
            .says(r#"linux.memoryPolicy.nodes: invalid memory policy nodes "0,a": "a" is not a number"#),
        case("memory node that is not there")
            .set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "900"}))
            .says("linux.memoryPolicy: set_mempolicy: EINVAL: invalid argument"),
        case("memory policy with an unknown flag")
            .set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}))
            .says(r#"linux.memoryPolicy.flags: invalid memory policy flag "X""#),
        case("intelRdt without resctrl")
            .set("/linux/intelRdt", json!({"closID": "x"}))
            .only_if(
                || std::fs::metadata("/sys/fs/resctrl/schemata").is_err(),
                "resctrl is mounted",
            )
            .says("linux.intelRdt: this machine has no resctrl"),
        device("network device that is not there", "creel-nope0")
            .only_if(has_ip, "no ip")
            .says("linux.netDevices.creel-nope0: look it up: ENODEV: no such device"),
        device("network device with a bad name", "a/b")
            .says(r#"linux.netDevices: invalid network device name "a/b""#),
        device("network device without a network namespace", "eth0")
            .prepare(|bundle| without(bundle, "network"))
            .says("linux.netDevices: unable to move network devices without a NET namespace"),
    ]
}
