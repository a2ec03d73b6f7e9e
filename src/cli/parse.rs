// SPDX-License-Identifier: Apache-2.0
//! From argv to flag values, by Go's rules: one dash or two, `--flag=value` or `--flag value`, flags
//! anywhere unless the command stops at its first argument, global flags also after the command.
//! Arguments are first sorted and spelled alike, then held against the flags of the command at hand.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use super::flags::{CommandSpec, Flag, GLOBAL, HELP, Kind, VERSION};
use super::values;
use crate::bail;
use crate::error::Result;

/// argv, sorted. Flags are spelled `--name` or `--name=value`; unknown ones are among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sorted {
    pub flags: Vec<String>,
    /// Flags of the command above.
    pub inherited: Vec<String>,
    pub positionals: Vec<String>,
    pub wants_help: bool,
    pub wants_version: bool,
}

/// Sorts the program's arguments: global flags, the command, and all that follows it as it is.
pub(crate) fn sort_program(args: &[String]) -> Sorted {
    sort(args, GLOBAL, &[], true)
}

/// Sorts a command's arguments.
pub(crate) fn sort_command(spec: &CommandSpec, args: &[String]) -> Sorted {
    let mut sorted = sort(args, spec.flags, GLOBAL, spec.stops_at_first);
    if spec.stops_at_first && sorted.positionals.get(1).is_some_and(|arg| arg == "--") {
        sorted.positionals.remove(1);
    }
    sorted
}

/// Refuses nothing, `Values` does. With `stops_at_first`, what follows the first positional argument is
/// taken as it is.
fn sort(args: &[String], own: &[Flag], inherited: &[Flag], stops_at_first: bool) -> Sorted {
    let mut sorted = Sorted::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(name) = arg.strip_prefix('-').filter(|name| !name.is_empty()) else {
            sorted.positionals.push(arg.clone());
            if stops_at_first {
                break;
            }
            continue;
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() {
            break;
        }
        if !arg.starts_with("--") && !name.starts_with(char::is_alphabetic) {
            // A negative number, say: it and all that follows are arguments.
            sorted.positionals.push(arg.clone());
            break;
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        sorted.take(name, value, own, inherited, &mut args);
    }
    sorted.positionals.extend(args.cloned());
    sorted
}

impl Sorted {
    fn take(
        &mut self,
        name: &str,
        value: Option<&str>,
        own: &[Flag],
        inherited: &[Flag],
        args: &mut std::slice::Iter<'_, String>,
    ) {
        let is_named = |flag: &&Flag| {
            flag.name == name || flag.short.is_some_and(|c| name.strip_prefix(c) == Some(""))
        };
        if is_named(&&HELP) {
            self.wants_help = true;
            return;
        }
        // -v (crun: also -V) is the program's only, not a command's.
        if inherited.is_empty() && (is_named(&&VERSION) || name == "V") {
            self.wants_version = true;
            return;
        }
        let (flag, flags) = match own.iter().find(is_named) {
            Some(flag) => (Some(flag), &mut self.flags),
            None => match inherited.iter().find(is_named) {
                Some(flag) => (Some(flag), &mut self.inherited),
                None => (None, &mut self.flags),
            },
        };
        let value = match flag {
            Some(flag) if flag.kind.takes_value() => {
                value.or_else(|| args.next().map(String::as_str))
            }
            // `--flag=` is `--flag` for a boolean.
            _ => value.filter(|value| !value.is_empty()),
        };
        let name = flag.map_or(name, |flag| flag.name);
        flags.push(match value {
            Some(value) => format!("--{name}={value}"),
            None => format!("--{name}"),
        });
    }
}

/// What was given for the flags of one command, in the order in which it was.
#[derive(Debug)]
pub(crate) struct Values(Vec<(&'static str, String)>);

impl Values {
    /// # Errors
    /// An unknown flag, a missing value or a value that is none.
    pub(crate) fn parse(sorted: &[String], flags: &[Flag]) -> Result<Self> {
        let values = Self(sorted.iter().map(|arg| value_of(arg, flags)).collect::<Result<_>>()?);
        for flag in flags.iter().filter(|flag| flag.kind == Kind::Bool) {
            values.bool(flag.name)?;
        }
        Ok(values)
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// The text as it was given, even if empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.all(name).next_back()
    }

    /// An empty value counts as none, as with runc.
    pub(crate) fn string(&self, name: &str) -> Option<String> {
        self.given(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.string(name).map(PathBuf::from)
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.all(name).map(str::to_owned).collect()
    }

    fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().filter(move |(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn bool(&self, name: &str) -> Result<bool> {
        self.parsed(name, |text| values::boolean(text).ok_or("parse error"))
            .map(Option::unwrap_or_default)
    }

    /// `bool` of a flag that `parse` has seen to be one.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.bool(name).unwrap_or(false)
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.parsed(name, |text| text.parse().map_err(|_| "parse error"))
    }

    /// A value read by `read`; a refusal names flag and value. Empty counts as absent.
    pub(crate) fn parsed<T, E: Display>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>> {
        let Some(text) = self.given(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match read(text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => bail!("invalid value {text:?} for flag -{name}: {error}"),
        }
    }
}

/// Of one argument as `sort` spells it.
fn value_of(arg: &str, flags: &[Flag]) -> Result<(&'static str, String)> {
    let text = arg.strip_prefix("--").unwrap_or(arg);
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
        bail!("flag provided but not defined: -{name}");
    };
    match value {
        Some(value) => Ok((flag.name, value.to_owned())),
        None if flag.kind.takes_value() => bail!("flag needs an argument: --{name}"),
        None => Ok((flag.name, "true".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::command;
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn sorted(name: &str, args: &str) -> Sorted {
        sort_command(command(name).unwrap(), &words(args))
    }

    #[test]
    fn one_dash_or_two_and_equals_or_not() {
        let run = sorted("run", "-detach -b DIR --pid-file=F id --no-pivot=false -keep=");
        assert_eq!(run.flags, words("--detach --bundle=DIR --pid-file=F --no-pivot=false --keep"));
        assert_eq!(run.positionals, ["id"]);
    }

    #[test]
    fn a_value_may_look_like_a_flag() {
        assert_eq!(sorted("update", "--memory-swap -1 id").flags, ["--memory-swap=-1"]);
        assert_eq!(sorted("exec", "-e -x=1 id").flags, ["--env=-x=1"]);
    }

    #[test]
    fn a_command_line_after_the_id_is_not_ours() {
        let exec = sorted("exec", "-t id sh -c x --tty");
        assert_eq!((exec.flags, exec.positionals), (words("--tty"), words("id sh -c x --tty")));
        assert_eq!(sorted("exec", "id -- ls -- -l").positionals, words("id ls -- -l"));
        assert_eq!(sorted("exec", "-- id -t").positionals, words("id -t"));
        assert_eq!(sort_program(&words("exec -- id")).positionals, words("exec -- id"));
        assert_eq!(sorted("ps", "id -ef -f").positionals, words("id -ef -f"));
        assert_eq!(sorted("kill", "id -9").positionals, words("id -9"));
    }

    #[test]
    fn global_flags_may_follow_the_command() {
        let state = sorted("state", "--root X id --debug");
        assert_eq!((state.inherited, state.positionals), (words("--root=X --debug"), words("id")));
    }

    fn refusal(name: &str, args: &str) -> String {
        let flags = sorted(name, args).flags;
        Values::parse(&flags, command(name).unwrap().flags).unwrap_err().to_string()
    }

    #[test]
    fn refusals_name_the_flag() {
        assert_eq!(refusal("run", "-it id"), "flag provided but not defined: -it");
        assert_eq!(refusal("run", "--nope=3 id"), "flag provided but not defined: -nope");
        assert_eq!(
            refusal("restore", "--lsm-mount-context"),
            "flag needs an argument: --lsm-mount-context"
        );
        assert_eq!(
            refusal("run", "--keep=maybe x"),
            "invalid value \"maybe\" for flag -keep: parse error"
        );
    }

    #[test]
    fn the_last_value_counts_and_lists_grow() {
        let exec = sorted("exec", "--cwd /a --cwd /b -e A=1,2 -e B= -t -t=false id");
        let values = Values::parse(&exec.flags, command("exec").unwrap().flags).unwrap();
        assert_eq!(values.string("cwd").unwrap(), "/b");
        assert_eq!(values.list("env"), ["A=1,2", "B="]);
        assert!(!values.bool("tty").unwrap());
        assert!(!values.is_set("detach"));
    }

    proptest::proptest! {
        /// Whatever is executed, it is passed on word by word.
        #[test]
        fn exec_changes_no_word(line in proptest::collection::vec("-{0,2}[a-z=]{0,9}", 1..6)) {
            proptest::prop_assume!(line[0] != "--");
            let mut args = words("-t --env A=1 id");
            args.extend(line.iter().cloned());
            let exec = sort_command(command("exec").unwrap(), &args);
            proptest::prop_assert_eq!(&exec.positionals[1..], &line[..]);
            proptest::prop_assert_eq!(exec.flags, words("--tty --env=A=1"));
        }
    }
}
