// SPDX-License-Identifier: Apache-2.0
//! Every command and every flag, as tables: the parser, the help texts and the errors come from them.
//! Names, defaults and arities are runc's.

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    /// Shown by help; the value itself is chosen where the flag is read.
    pub default: Option<&'static str>,
    pub help: &'static str,
    pub is_hidden: bool,
}

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=true`, `=false`.
    Bool,
    /// One string; given again, the last one counts.
    Text,
    /// One string each time.
    List,
    Int,
    Duration,
}

impl Kind {
    pub(crate) fn takes_value(self) -> bool {
        self != Self::Bool
    }

    /// What help calls the value.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Bool => "",
            Self::Text | Self::List => " value",
            Self::Int => " number",
            Self::Duration => " duration",
        }
    }
}

impl Flag {
    const fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, short: None, kind, default: None, help, is_hidden: false }
    }

    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }
}

/// How many positional arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    Exactly(usize),
    AtLeast(usize),
    Between(usize, usize),
    /// One, but any number with this flag.
    OneOrWith(&'static str),
}

/// One command.
#[derive(Debug)]
pub(crate) struct CommandSpec {
    pub name: &'static str,
    pub summary: &'static str,
    /// Positional arguments as usage shows them.
    pub usage: &'static str,
    pub description: &'static str,
    pub flags: &'static [Flag],
    pub arity: Arity,
    /// Nothing after the first positional argument is a flag of ours.
    pub stops_at_first: bool,
}

const fn flag(name: &'static str, help: &'static str) -> Flag {
    Flag::new(Kind::Bool, name, help)
}

const fn text(name: &'static str, help: &'static str) -> Flag {
    Flag::new(Kind::Text, name, help)
}

const fn list(name: &'static str, help: &'static str) -> Flag {
    Flag::new(Kind::List, name, help)
}

const fn int(name: &'static str, help: &'static str) -> Flag {
    Flag::new(Kind::Int, name, help)
}

pub(crate) const HELP: Flag = flag("help", "show help").short('h');
pub(crate) const VERSION: Flag = flag("version", "print the version").short('v');

pub(crate) const GLOBAL: &[Flag] = &[
    flag("debug", "write debug messages to the log"),
    text(
        "log",
        "append log lines to this file (default is '/dev/stderr'); 'journald:NAME' and 'syslog:NAME' go there",
    ),
    text("log-format", "format of log lines: 'text' or 'json'").default("\"text\""),
    text("log-level", "leave less urgent lines out: 'error', 'warning' or 'debug'")
        .default("\"warning\""),
    text("root", "directory of the containers' state, best on a tmpfs"),
    flag(
        "systemd-cgroup",
        "let systemd manage cgroups; cgroupsPath is then \"slice:prefix:name\", as in \"system.slice:creel:434234\"",
    ),
    text("cgroup-manager", "who manages cgroups: 'cgroupfs', 'systemd' or 'disabled' (as crun)")
        .default("\"cgroupfs\""),
    text(
        "timings",
        "write when each step ended to this file, as Chrome's trace events; %c is the command, %p its pid",
    ),
    text("rootless", "do without cgroups that may not be written: 'true', 'false' or 'auto'")
        .default("\"auto\""),
];

const BUNDLE: Flag =
    text("bundle", "the bundle's directory (default: the working directory)").short('b');
const ALL_DETAILS: Flag =
    flag("all-details", "also cgroups, namespaces, usage, mounts, seccomp, labels and hooks");
const CONFIG: Flag =
    text("config", "take this file in place of the bundle's config.json (as crun)").short('f');
const REGEX: Flag = flag(
    "regex",
    "every container whose id has this POSIX extended regular expression in it (as crun)",
)
.short('r');
const CONSOLE_SOCKET: Flag =
    text("console-socket", "AF_UNIX socket that is sent the terminal's master side");
const PIDFD_SOCKET: Flag =
    text("pidfd-socket", "AF_UNIX socket that is sent a pidfd of the process");
const PID_FILE: Flag = text("pid-file", "file to write the process id to");
const DETACH: Flag = flag("detach", "do not wait for the container's process").short('d');
const NO_SUBREAPER: Flag = flag("no-subreaper", "do not reap processes that lost their parent");
const NO_PIVOT: Flag =
    flag("no-pivot", "enter the root without pivot_root, for a root on the initial ramdisk");
const NO_NEW_KEYRING: Flag =
    flag("no-new-keyring", "keep the caller's session keyring instead of making a new one");
const PRESERVE_FDS: Flag =
    int("preserve-fds", "pass N more descriptors, after stdio and $LISTEN_FDS").default("0");
const FORMAT: Flag = text("format", "'table' or 'json'").short('f').default("\"table\"");
const IMAGE_PATH: Flag = text("image-path", "directory of CRIU's image files");
const WORK_PATH: Flag = text("work-path", "directory of CRIU's work files and logs");
const TCP_ESTABLISHED: Flag = flag("tcp-established", "allow open TCP connections");
const EXT_UNIX_SK: Flag = flag("ext-unix-sk", "allow Unix sockets that lead out of the container");
const SHELL_JOB: Flag = flag("shell-job", "allow jobs of a shell");
const FILE_LOCKS: Flag = flag("file-locks", "carry file locks over");
const MANAGE_CGROUPS: Flag =
    text("manage-cgroups-mode", "cgroups: soft|full|strict|ignore (default: soft)");
const EMPTY_NS: Flag = list("empty-ns", "make this namespace, but leave its contents out");
const AUTO_DEDUP: Flag = flag("auto-dedup", "drop duplicate memory pages from images");
const NETWORK_LOCK: Flag =
    text("network-lock", "how connections are held up: iptables|nftables|skip (as crun)");
const LAZY_PAGES: Flag = flag("lazy-pages", "restore memory on demand, with userfaultfd");

const ID: &str = "<container-id>";
const ONE: Arity = Arity::Exactly(1);

const fn simple(name: &'static str, summary: &'static str, usage: &'static str) -> CommandSpec {
    CommandSpec {
        name,
        summary,
        usage,
        description: "",
        flags: &[],
        arity: ONE,
        stops_at_first: false,
    }
}

/// In the order of the help text.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        description: "Looks at the bundle and at this host, and makes nothing: what create would refuse, what it\nwould run into, what is misspelt. Without a bundle, what the host has and lacks. The exit\nstatus is 0 if there are no errors, else 1.",
        flags: &[text("format", "'text' or 'json'").short('f').default("\"text\"")],
        arity: Arity::Between(0, 1),
        ..simple("check", "check a bundle and this host, without making anything", "[bundle]")
    },
    CommandSpec {
        flags: CHECKPOINT,
        ..simple("checkpoint", "save a running container's processes to files", ID)
    },
    CommandSpec {
        description: "Makes the container's namespaces, cgroups and root from config.json in the bundle and\nstops before process.args is executed; start executes it.",
        flags: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            PID_FILE,
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
        ],
        ..simple("create", "create a container", ID)
    },
    CommandSpec {
        flags: &[flag("force", "kill the container first (SIGKILL)").short('f'), REGEX],
        ..simple("delete", "remove a stopped container and all it holds", ID)
    },
    CommandSpec {
        description: "One JSON object a line: resource usage at each interval, and out-of-memory kills.",
        flags: &[
            Flag::new(Kind::Duration, "interval", "time between two reports").default("5s"),
            flag("stats", "report once and end"),
            flag("top", "a live table for people, of these containers or all (every 2s)"),
        ],
        arity: Arity::OneOrWith("top"),
        ..simple(
            "events",
            "report resource usage and out-of-memory kills",
            "<container-id>  |  --top [<container-id>...]",
        )
    },
    CommandSpec {
        flags: EXEC,
        arity: Arity::AtLeast(1),
        stops_at_first: true,
        ..simple(
            "exec",
            "run another process in a container",
            "<container-id> <command> [arguments...]  |  -p process.json <container-id>",
        )
    },
    CommandSpec {
        description: "The signal is a name (KILL, SIGKILL) or a number; without one it is SIGTERM.",
        flags: &[flag("all", "(obsolete)").short('a').hidden(), REGEX],
        arity: Arity::Between(1, 2),
        stops_at_first: true,
        ..simple("kill", "send a signal to a container's init process", "<container-id> [signal]")
    },
    CommandSpec {
        flags: &[FORMAT, flag("quiet", "only container ids").short('q'), ALL_DETAILS],
        arity: Arity::Exactly(0),
        ..simple("list", "list the containers under --root", "")
    },
    CommandSpec {
        description: "The file is a JSON list of mounts as in config.json, '-' standard input. They are made in, or taken\naway from, a container that is there; remove looks at nothing but their destinations. As crun.",
        arity: Arity::Exactly(3),
        ..simple(
            "mounts",
            "add mounts to a container, or remove them",
            "add|remove <container-id> <file>",
        )
    },
    simple("pause", "suspend all processes of a container", ID),
    CommandSpec {
        description: "Options after the id go to ps(1) (default: -ef). Its output must have a PID column.",
        flags: &[FORMAT],
        arity: Arity::AtLeast(1),
        stops_at_first: true,
        ..simple("ps", "show a container's processes", "<container-id> [ps options]")
    },
    CommandSpec { flags: RESTORE, ..simple("restore", "bring a checkpointed container back", ID) },
    simple("resume", "let a paused container's processes go on", ID),
    CommandSpec {
        description: "create and start in one; without --detach it also waits for the process, passes signals\nand the terminal through, exits with its status and deletes the container.",
        flags: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            DETACH,
            flag("keep", "do not delete the container when its process has ended"),
            PID_FILE,
            NO_SUBREAPER,
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
        ],
        ..simple("run", "create and start a container", ID)
    },
    CommandSpec {
        description: "Writes a config.json to begin with: a shell on a terminal, with few privileges, in a root\ndirectory named rootfs. An existing file is not overwritten.",
        flags: &[BUNDLE, flag("rootless", "a configuration that needs no root privileges")],
        arity: Arity::Exactly(0),
        ..simple("spec", "write a new config.json", "")
    },
    simple("start", "execute the process of a created container", ID),
    CommandSpec {
        flags: &[text("format", "'json' or 'table'").short('f').default("\"json\""), ALL_DETAILS],
        ..simple("state", "print a container's state as JSON", ID)
    },
    CommandSpec {
        description: "Of a file that the option --timings has written (chrome://tracing and Perfetto read it too): a\ntable of its steps, or with --svg a picture, to OUT or standard output.",
        flags: &[flag("svg", "a picture instead of a table")],
        arity: Arity::Between(1, 2),
        ..simple("timings", "show how long each step of a command took", "<file> [<out>]")
    },
    CommandSpec { flags: UPDATE, ..simple("update", "change a container's resource limits", ID) },
    CommandSpec {
        description: "As JSON; runtime-spec's features.md says what the fields mean.",
        arity: Arity::Exactly(0),
        ..simple("features", "print what this runtime supports", "")
    },
    CommandSpec {
        description: "Lists what is left below --root of containers that are dead, also of those whose manager is:\nstate directories, cgroups, units, mounts, fifos. With --force it is removed, and poststop\nhooks run. Nobody is killed; what lives, or is being made, is left alone.",
        flags: &[
            flag("force", "remove it, do not only list it"),
            Flag::new(Kind::Duration, "older-than", "leave what has changed since alone")
                .default("1m0s"),
            FORMAT,
        ],
        arity: Arity::Exactly(0),
        ..simple("gc", "list or remove what dead containers have left", "")
    },
];

/// The command of that name.
pub(crate) fn command(name: &str) -> Option<&'static CommandSpec> {
    COMMANDS.iter().find(|command| command.name == name)
}

const CHECKPOINT: &[Flag] = &[
    IMAGE_PATH,
    WORK_PATH,
    text("parent-path", "directory of an earlier pre-dump, relative to --image-path"),
    flag("leave-running", "let the container run on afterwards"),
    TCP_ESTABLISHED,
    flag("tcp-skip-in-flight", "leave out TCP connections that are being made"),
    flag("link-remap", "give unlinked files a name again where needed"),
    EXT_UNIX_SK,
    SHELL_JOB,
    LAZY_PAGES,
    int("status-fd", "descriptor that CRIU writes \\0 to when lazy pages are ready").default("-1"),
    text("page-server", "ADDRESS:PORT of the page server"),
    FILE_LOCKS,
    flag("pre-dump", "save memory only and let the container run on"),
    MANAGE_CGROUPS,
    EMPTY_NS,
    AUTO_DEDUP,
    NETWORK_LOCK,
];

const RESTORE: &[Flag] = &[
    CONSOLE_SOCKET,
    IMAGE_PATH,
    WORK_PATH,
    TCP_ESTABLISHED,
    EXT_UNIX_SK,
    SHELL_JOB,
    FILE_LOCKS,
    MANAGE_CGROUPS,
    BUNDLE,
    DETACH,
    PID_FILE,
    NO_SUBREAPER,
    NO_PIVOT,
    EMPTY_NS,
    AUTO_DEDUP,
    LAZY_PAGES,
    text("lsm-profile", "security profile to restore with, as TYPE:NAME"),
    text("lsm-mount-context", "security context to mount with"),
    flag("tcp-close", "restore TCP connections closed (as crun)"),
    NETWORK_LOCK,
];

const EXEC: &[Flag] = &[
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    text("cwd", "working directory in the container"),
    list("env", "set an environment variable, as NAME=VALUE").short('e'),
    flag("tty", "give the process a terminal").short('t'),
    text("user", "run as UID[:GID], numbers only").short('u'),
    list("additional-gids", "add a supplementary group id").short('g'),
    text("process", "take the process from this JSON file").short('p'),
    DETACH,
    PID_FILE,
    text("process-label", "SELinux label of the process"),
    text("apparmor", "AppArmor profile of the process"),
    flag("no-new-privs", "set no_new_privs for the process"),
    list("cap", "add a capability to the bounding, effective and permitted sets").short('c'),
    PRESERVE_FDS,
    list("cgroup", "run in an existing cgroup below the container's, as [CONTROLLER[,...]:]PATH"),
    flag("ignore-paused", "also in a paused container"),
];

const UPDATE: &[Flag] = &[
    text(
        "resources",
        "JSON file of new limits, '-' for standard input: linux.resources as in config.json; other options are then ignored",
    )
    .short('r'),
    int("blkio-weight", "weight of block I/O, 10 to 1000").default("0"),
    text("cpu-period", "CFS period in microseconds; 0 for the default"),
    text("cpu-quota", "CPU time in each period, in microseconds"),
    text("cpu-burst", "unused CPU time that may be saved up, in microseconds"),
    text("cpu-share", "CPU weight beside other containers"),
    text("cpu-rt-period", "realtime period in microseconds; 0 for the default"),
    text("cpu-rt-runtime", "realtime CPU time in each period, in microseconds"),
    text("cpuset-cpus", "CPUs that may be used"),
    text("cpuset-mems", "memory nodes that may be used"),
    text("kernel-memory", "(obsolete)").hidden(),
    text("kernel-memory-tcp", "(obsolete)").hidden(),
    text("memory", "memory limit in bytes; k, m, g may follow"),
    text("cpu-idle", "1 for SCHED_IDLE, 0 for the default"),
    text("memory-reservation", "soft memory limit in bytes"),
    text("memory-swap", "limit of memory and swap together; -1 for no limit"),
    int("pids-limit", "how many processes there may be").default("0"),
    text("l3-cache-schema", "Intel RDT: schema of the L3 cache"),
    text("mem-bw-schema", "Intel RDT: schema of memory bandwidth"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_within_a_command() {
        for command in COMMANDS {
            let mut names: Vec<String> = command.flags.iter().map(|f| f.name.to_owned()).collect();
            names.extend(command.flags.iter().filter_map(|f| f.short).map(String::from));
            names.push("help".to_owned());
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", command.name);
        }
    }
}
