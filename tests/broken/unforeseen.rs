// SPDX-License-Identifier: Apache-2.0
//! Rows that `check` cannot foresee, and why: what it cannot see without making something, or what is
//! not about the bundle.

type Reason = &'static str;

const ROWS: &[(Reason, &[&str])] = &[
    (
        "of the command line, not of the bundle",
        &[
            "id with a slash",
            "id of dots",
            "id empty",
            "id taken, create",
            "id taken, run",
            "pid file nowhere",
            "pid file a directory",
            "pidfd socket missing",
            "pidfd socket that nobody listens at",
            "descriptors that are not open",
            "unknown flag",
            "flag without its value",
            "flag that wants a number",
            "terminal without a console socket",
            "terminal without a console socket, detached",
            "console socket missing",
            "console socket a file",
            "console socket without a terminal",
        ],
    ),
    (
        "a value that the kernel judges when it is written",
        &[
            "memory below what the runtime needs",
            "swap below memory",
            "quota that the kernel refuses",
            "period out of range",
            "cpus that are no list",
            "cpus that are not there",
            "weight out of range",
            "throttle of a device that is not there",
            "sysctl with a bad value",
            "clock before its beginning",
            "memory node that is not there",
        ],
    ),
    ("a file of the cgroup, which is not there yet", &["huge pages of an unknown size"]),
    (
        "the cgroup above is looked at when this one is made",
        &["cgroupsPath below a paused container"],
    ),
    (
        "what a program does when it runs",
        &[
            "prestart fails",
            "createRuntime fails",
            "createContainer fails",
            "second hook fails",
            "hook killed",
            "hook takes too long",
            "startContainer fails at run",
            "poststart fails at run",
            "poststop fails",
            "seccomp: kills the program at its start",
            "no program for the kernel, run",
        ],
    ),
    (
        "what somebody inside may do is known inside",
        &[
            "mount point that root inside may not make",
            "cwd that root inside may not make",
            "mqueue without an ipc namespace",
            "a disk in a user namespace",
            "program not executable for its user",
        ],
    ),
    (
        "at a place that a mount before it makes",
        &[
            "destination through a link into procfs",
            "device over a directory",
            "device below a file",
            "cwd that cannot be made",
        ],
    ),
    ("what is there already is compared when the node is made", &["/dev/null is a file"]),
    ("the disk is opened when it is mounted", &["a disk that is not there"]),
    ("the agent is asked when the filter is loaded", &["seccomp agent"]),
];

/// Why `check` says nothing of that row.
pub(crate) fn reason(name: &str) -> Option<Reason> {
    ROWS.iter().find(|(_, names)| names.contains(&name)).map(|(reason, _)| *reason)
}
