// SPDX-License-Identifier: Apache-2.0
//! From flag values to the types of `args`. Whatever can be refused without looking at a container is
//! refused here.

use std::path::PathBuf;
use std::time::Duration;

use super::args::{
    Check, Checkpoint, Command, Create, Exec, Gc, Globals, Limits, MountChange, Output, Process,
    ProcessOptions, Restore, Run, Timings, Top, Update, Which,
};
use super::flags::CommandSpec;
use super::parse::Values;
use super::values::{
    boolean, container_id, duration, memory_size, numeric_id, signal, sub_cgroups, user,
};
use crate::bail;
use crate::cgroup::Manager;
use crate::error::{Context, Result};
use crate::log::{Format, Level};
use crate::oci;
use crate::sys::regex::Regex;

impl Globals {
    /// All but `root`, which is the caller's to choose.
    pub(crate) fn read(values: &Values, root: (PathBuf, bool)) -> Result<Self> {
        Ok(Self {
            root: root.0,
            root_is_explicit: root.1,
            cgroup_manager: manager(values)?,
            rootless: values
                .parsed("rootless", |text| match text {
                    _ if text.eq_ignore_ascii_case("auto") => Ok(None),
                    _ => boolean(text).map(Some).ok_or("not 'true', 'false' or 'auto'"),
                })?
                .flatten(),
        })
    }
}

/// `--cgroup-manager`, which is crun's, and `--systemd-cgroup`.
fn manager(values: &Values) -> Result<Manager> {
    let is_systemd = values.bool("systemd-cgroup")?;
    let given = values.parsed("cgroup-manager", |text| match text {
        "cgroupfs" => Ok(Manager::Fs),
        "systemd" => Ok(Manager::Systemd),
        "disabled" => Ok(Manager::Disabled),
        _ => Err("not 'cgroupfs', 'systemd' or 'disabled'"),
    })?;
    match given {
        Some(Manager::Fs | Manager::Disabled) if is_systemd => {
            bail!("--systemd-cgroup and --cgroup-manager contradict each other")
        }
        Some(manager) => Ok(manager),
        None if is_systemd => Ok(Manager::Systemd),
        None => Ok(Manager::Fs),
    }
}

/// The container, or those whose ids match.
fn which(values: &Values, args: &[String]) -> Result<Which> {
    let text = args.first().map_or("", String::as_str);
    if !values.bool("regex")? {
        return container_id(text).map(Which::One);
    }
    match Regex::new(text) {
        Ok(regex) => Ok(Which::Matching(regex)),
        Err(why) => bail!("--regex: {text:?}: {why}"),
    }
}

/// `--debug` and `--log-level`.
pub(crate) fn log_level(values: &Values) -> Result<Level> {
    let given = values.parsed("log-level", |text| match text {
        "error" => Ok(Level::Error),
        "warning" => Ok(Level::Warning),
        "debug" => Ok(Level::Debug),
        _ => Err("not 'error', 'warning' or 'debug'"),
    })?;
    if values.bool("debug")? {
        return Ok(Level::Debug);
    }
    Ok(given.unwrap_or(Level::Warning))
}

pub(crate) fn log_format(values: &Values) -> Result<Format> {
    match values.string("log-format").as_deref() {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => bail!("invalid log-format: {other}"),
    }
}

impl Command {
    /// The command of `spec` from its flags and its arguments, whose number is right.
    pub(crate) fn read(spec: &CommandSpec, values: &Values, args: &[String]) -> Result<Self> {
        let id = || container_id(args.first().map_or("", String::as_str));
        Ok(match spec.name {
            "create" => Self::Create(Create::read(id()?, values)?),
            "run" => Self::Run(Run {
                create: Create::read(id()?, values)?,
                detach: values.bool("detach")?,
                keep: values.bool("keep")?,
                no_subreaper: values.bool("no-subreaper")?,
            }),
            "start" => Self::Start { id: id()? },
            "exec" => Self::Exec(Exec::read(id()?, values, &args[1..])?),
            "kill" => Self::Kill {
                which: which(values, args)?,
                signal: match args.get(1).map(String::as_str) {
                    None | Some("") => libc::SIGTERM,
                    Some(text) => signal(text)?,
                },
                all: values.bool("all")?,
            },
            "delete" => Self::Delete { which: which(values, args)?, force: values.bool("force")? },
            "state" => state(id()?, values)?,
            "list" => Self::List {
                format: output(values)?,
                quiet: values.bool("quiet")?,
                all_details: values.bool("all-details")?,
            },
            "ps" => Self::Ps { id: id()?, format: output(values)?, args: args[1..].to_vec() },
            "mounts" => mounts(args)?,
            "pause" => Self::Pause { id: id()? },
            "resume" => Self::Resume { id: id()? },
            "update" => Self::Update(Update::read(id()?, values)?),
            "events" => events(args, values)?,
            "spec" => {
                Self::Spec { bundle: values.path("bundle"), rootless: values.bool("rootless")? }
            }
            "timings" => timings(args, values)?,
            "features" => Self::Features,
            "gc" => Self::Gc(Gc {
                force: values.bool("force")?,
                older_than: values
                    .parsed("older-than", duration)?
                    .unwrap_or(Duration::from_secs(60)),
                format: output(values)?,
            }),
            "check" => Self::Check(Check {
                bundle: args.first().map(PathBuf::from),
                as_json: match values.string("format").as_deref() {
                    None | Some("text") => false,
                    Some("json") => true,
                    Some(_) => bail!("invalid format option"),
                },
            }),
            "checkpoint" => Self::Checkpoint(Checkpoint::read(id()?, values)?),
            "restore" => Self::Restore(Restore::read(id()?, values)?),
            other => bail!("No help topic for '{other}'"),
        })
    }
}

fn state(id: String, values: &Values) -> Result<Command> {
    let format = if values.is_set("format") { output(values)? } else { Output::Json };
    Ok(Command::State { id, format, all_details: values.bool("all-details")? })
}

fn timings(args: &[String], values: &Values) -> Result<Command> {
    Ok(Command::Timings(Timings {
        file: args.first().map(PathBuf::from).unwrap_or_default(),
        svg: values.bool("svg")?,
        out: args.get(1).map(PathBuf::from),
    }))
}

fn mounts(args: &[String]) -> Result<Command> {
    let change = match args.first().map_or("", String::as_str) {
        "add" => MountChange::Add,
        "remove" => MountChange::Remove,
        other => bail!("mounts: {other:?} is neither add nor remove"),
    };
    let id = container_id(args.get(1).map_or("", String::as_str))?;
    Ok(Command::Mounts { id, change, file: args.get(2).map(PathBuf::from).unwrap_or_default() })
}

fn output(values: &Values) -> Result<Output> {
    match values.string("format").as_deref() {
        None | Some("table") => Ok(Output::Table),
        Some("json") => Ok(Output::Json),
        Some(_) => bail!("invalid format option"),
    }
}

fn events(args: &[String], values: &Values) -> Result<Command> {
    let is_top = values.bool("top")?;
    let default = Duration::from_secs(if is_top { 2 } else { 5 });
    let interval = values.parsed("interval", duration)?.unwrap_or(default);
    let once = values.bool("stats")?;
    if interval.is_zero() {
        bail!("duration interval must be greater than 0");
    }
    if is_top {
        let ids = args.iter().map(|arg| container_id(arg)).collect::<Result<_>>()?;
        return Ok(Command::Top(Top { ids, interval, once }));
    }
    let id = container_id(args.first().map_or("", String::as_str))?;
    Ok(Command::Events { id, interval, stats: once })
}

/// `--pid-file` is relative to where the command was called.
pub(super) fn pid_file(values: &Values) -> Result<Option<PathBuf>> {
    absolute(values, "pid-file")
}

/// Relative to where the command was called, not to the bundle.
fn absolute(values: &Values, flag: &str) -> Result<Option<PathBuf>> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).context(|| format!("--{flag} {}", path.display()))
    };
    values.path(flag).map(absolute).transpose()
}

impl Create {
    fn read(id: String, values: &Values) -> Result<Self> {
        Ok(Self {
            id,
            bundle: values.path("bundle"),
            config: absolute(values, "config")?,
            console_socket: values.path("console-socket"),
            pidfd_socket: values.path("pidfd-socket"),
            pid_file: pid_file(values)?,
            no_pivot: values.bool("no-pivot")?,
            no_new_keyring: values.bool("no-new-keyring")?,
            preserve_fds: values.number("preserve-fds")?.unwrap_or(0),
        })
    }
}

impl Exec {
    fn read(id: String, values: &Values, args: &[String]) -> Result<Self> {
        let process = match values.path("process") {
            Some(path) => Process::File(path),
            None if args.is_empty() => bail!("exec args cannot be empty"),
            None => Process::Options(ProcessOptions::read(values, args)?),
        };
        Ok(Self {
            id,
            process,
            console_socket: values.path("console-socket"),
            pidfd_socket: values.path("pidfd-socket"),
            detach: values.bool("detach")?,
            pid_file: pid_file(values)?,
            preserve_fds: values.number("preserve-fds")?.unwrap_or(0),
            cgroups: sub_cgroups(&values.list("cgroup"))?,
            ignore_paused: values.bool("ignore-paused")?,
        })
    }
}

impl ProcessOptions {
    fn read(values: &Values, args: &[String]) -> Result<Self> {
        let (uid, gid) = match values.string("user") {
            Some(text) => {
                let (uid, gid) = user(&text)?;
                (Some(uid), gid)
            }
            None => (None, None),
        };
        let groups = values.list("additional-gids");
        Ok(Self {
            args: args.to_vec(),
            tty: values.bool("tty")?,
            cwd: values.string("cwd"),
            env: values.list("env"),
            uid,
            gid,
            additional_gids: groups
                .iter()
                .map(|text| numeric_id("additional gid", text))
                .collect::<Result<_>>()?,
            process_label: values.string("process-label"),
            apparmor: values.string("apparmor"),
            no_new_privs: match values.is_set("no-new-privs") {
                true => Some(values.bool("no-new-privs")?),
                false => None,
            },
            caps: values.list("cap"),
        })
    }
}

impl Update {
    fn read(id: String, values: &Values) -> Result<Self> {
        Ok(Self {
            id,
            limits: match values.path("resources") {
                Some(path) => Limits::File(path),
                None => Limits::Flags(Box::new(limits(values)?)),
            },
            l3_cache_schema: values.string("l3-cache-schema"),
            mem_bw_schema: values.string("mem-bw-schema"),
        })
    }
}

/// The limits given by flags, as `linux.resources` would have them.
fn limits(values: &Values) -> Result<oci::Resources<'static>> {
    let size = |name| values.parsed(name, memory_size);
    let text = |name| values.string(name).unwrap_or_default().into();
    let mut memory = oci::Memory {
        limit: size("memory")?,
        reservation: size("memory-reservation")?,
        swap: size("memory-swap")?,
        kernel: size("kernel-memory")?,
        kernel_tcp: size("kernel-memory-tcp")?,
        check_before_update: Some(false),
        ..Default::default()
    };
    if memory.limit == Some(-1) && memory.swap.is_none() {
        // A swap limit can't stay when the memory limit goes.
        memory.swap = Some(0);
    }
    let mut cpu = oci::Cpu {
        shares: values.number("cpu-share")?,
        quota: values.number("cpu-quota")?,
        burst: values.number("cpu-burst")?,
        period: values.number("cpu-period")?,
        realtime_runtime: values.number("cpu-rt-runtime")?,
        realtime_period: values.number("cpu-rt-period")?,
        cpus: text("cpuset-cpus"),
        mems: text("cpuset-mems"),
        idle: values.number("cpu-idle")?,
    };
    if cpu.idle.is_some() && cpu.shares.is_none() {
        // An idle cgroup takes no weight; 0 is "leave the weight alone".
        cpu.shares = Some(0);
    }
    let weight = values.number("blkio-weight")?.filter(|weight| *weight != 0);
    Ok(oci::Resources {
        memory: Some(memory),
        cpu: Some(cpu),
        block_io: Some(oci::BlockIo { weight, ..Default::default() }),
        pids: Some(oci::Pids { limit: values.number("pids-limit")? }),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::flags::{GLOBAL, command};
    use super::super::parse::sort_command;
    use super::*;

    fn parse(line: &str) -> Result<Command> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let spec = command(&words[0]).unwrap();
        let sorted = sort_command(spec, &words[1..]);
        Command::read(spec, &Values::parse(&sorted.flags, spec.flags)?, &sorted.positionals)
    }

    fn debug(line: &str) -> String {
        format!("{:?}", parse(line).unwrap())
    }

    fn refusal(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    /// Every flag of every command reaches its field: without it the command reads differently.
    #[test]
    fn no_flag_is_lost() {
        // The network is left empty in any case.
        let ignored = [("spec", "help"), ("checkpoint", "empty-ns"), ("restore", "empty-ns")];
        for spec in super::super::flags::COMMANDS {
            let args = match spec.name {
                "exec" => "id sh",
                "mounts" => "add id file",
                _ => "id",
            };
            let bare = debug(&format!("{} {args}", spec.name));
            for flag in spec.flags.iter().filter(|flag| !ignored.contains(&(spec.name, flag.name)))
            {
                let value = match (flag.name, flag.kind.takes_value()) {
                    (_, false) => String::new(),
                    ("format", _) if spec.name == "state" => "table".to_owned(),
                    ("format", _) => "json".to_owned(),
                    ("network-lock", _) => "skip".to_owned(),
                    ("manage-cgroups-mode", _) => "full".to_owned(),
                    ("page-server", _) => "host:7".to_owned(),
                    ("interval" | "older-than", _) => "7s".to_owned(),
                    _ => "7".to_owned(),
                };
                let with = debug(&format!("{} --{} {value} {args}", spec.name, flag.name));
                assert_ne!(bare, with, "{} --{}", spec.name, flag.name);
            }
        }
    }

    #[test]
    fn run_as_containerd_and_podman_call_it() {
        let Command::Create(create) =
            parse("create --bundle /b --pid-file f -no-pivot id").unwrap()
        else {
            panic!("not create")
        };
        assert_eq!(create.bundle.unwrap(), PathBuf::from("/b"));
        assert_eq!(create.pid_file.unwrap(), std::env::current_dir().unwrap().join("f"));
        assert!(create.no_pivot && !create.no_new_keyring && create.console_socket.is_none());
    }

    #[test]
    fn exec_s_command_line_is_untouched() {
        let Command::Exec(exec) = parse("exec -u 1:2 -g 3 -g 4 id -- ls --tty -u x").unwrap()
        else {
            panic!("not exec")
        };
        let Process::Options(options) = exec.process else { panic!("no options") };
        assert_eq!(options.args, ["ls", "--tty", "-u", "x"]);
        assert_eq!((options.uid, options.gid), (Some(1), Some(2)));
        assert_eq!(options.additional_gids, [3, 4]);
        assert!(!options.tty);
        assert_eq!(options.no_new_privs, None);
        let explicit = debug("exec --no-new-privs=false id sh");
        assert!(explicit.contains("no_new_privs: Some(false)"), "{explicit}");
    }

    #[test]
    fn update_reads_limits_as_linux_resources() {
        let limits = |line| match parse(line).unwrap() {
            Command::Update(Update { limits: Limits::Flags(limits), .. }) => *limits,
            other => panic!("{other:?}"),
        };
        let given =
            limits("update --memory 64m --memory-swap -1 --cpu-quota -1 --pids-limit -1 id");
        assert_eq!(given.memory.unwrap().limit, Some(64 << 20));
        assert_eq!(given.memory.unwrap().swap, Some(-1));
        assert_eq!(given.cpu.unwrap().quota, Some(-1));
        assert_eq!(given.pids.unwrap().limit, Some(-1));
        assert_eq!(limits("update --memory -1 id").memory.unwrap().swap, Some(0));
        assert_eq!(limits("update --cpu-idle 1 id").cpu.unwrap().shares, Some(0));
        assert_eq!(limits("update --blkio-weight 0 id").block_io.unwrap().weight, None);
        let file = debug("update -r - id");
        assert!(file.contains("limits: File(\"-\")"), "{file}");
    }

    #[test]
    fn refusals_are_whole_lines() {
        for (line, message) in [
            ("exec id", "exec args cannot be empty"),
            ("exec -u -1 id sh", "bad uid: \"-1\" is not a number from 0 to 4294967294"),
            (
                "exec -g 4294967295 id sh",
                "bad additional gid: \"4294967295\" is not a number from 0 to 4294967294",
            ),
            ("kill id NOPE", "unknown signal \"NOPE\""),
            ("kill a/b", "invalid container ID format"),
            ("mounts list id file", "mounts: \"list\" is neither add nor remove"),
            ("list -f xml", "invalid format option"),
            ("events --interval 0 id", "duration interval must be greater than 0"),
            (
                "events --interval 5 id",
                "invalid value \"5\" for flag -interval: time: missing unit in duration \"5\"",
            ),
            ("update --memory 5x id", "invalid value \"5x\" for flag -memory: invalid suffix: 'x'"),
            ("update --pids-limit x id", "invalid value \"x\" for flag -pids-limit: parse error"),
            (
                "create --preserve-fds -1 id",
                "invalid value \"-1\" for flag -preserve-fds: parse error",
            ),
            ("checkpoint --parent-path /x id", "--parent-path must be relative"),
            (
                "checkpoint --page-server 7 id",
                "invalid value \"7\" for flag -page-server: not ADDRESS:PORT",
            ),
            ("restore --empty-ns pid id", "namespace \"pid\" is not supported"),
            ("restore --manage-cgroups-mode x id", "invalid manage-cgroups-mode value"),
        ] {
            assert_eq!(refusal(line), message, "{line}");
        }
    }

    #[test]
    fn rootless_is_true_false_or_auto() {
        let read = |given: &str| {
            let flags = [format!("--rootless={given}")];
            let values = Values::parse(&flags, GLOBAL)?;
            Globals::read(&values, (PathBuf::new(), false)).map(|globals| globals.rootless)
        };
        assert_eq!(read("auto").unwrap(), None);
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("T").unwrap(), Some(true));
        assert_eq!(read("false").unwrap(), Some(false));
        let refused = read("maybe").unwrap_err().to_string();
        assert_eq!(
            refused,
            "invalid value \"maybe\" for flag -rootless: not 'true', 'false' or 'auto'"
        );
    }
}
