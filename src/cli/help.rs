// SPDX-License-Identifier: Apache-2.0
//! Help and version texts, in the layout that scripts written for runc expect.

use super::flags::{Arity, COMMANDS, CommandSpec, Flag, GLOBAL, HELP, VERSION};
use super::parse::Values;
use crate::oci;

const NAME: &str = "Open Container Initiative runtime";

const ABOUT: &str = "\
A container is made from a bundle: a directory with a config.json, as the Open Container
Initiative's runtime specification describes it, and a root filesystem:

    # {name} run --bundle DIR <container-id>

The id is yours to choose; no two containers under one --root have the same.";

/// `--version`. Managers read the first line and `spec:`.
pub(crate) fn version() -> String {
    let mut text = format!("creel version {}\n", env!("CARGO_PKG_VERSION"));
    if let Some(commit) = option_env!("CREEL_COMMIT") {
        text += &format!("commit: {commit}\n");
    }
    text + &format!("spec: {}\n", oci::VERSION)
}

/// Help for the whole program, which was called as `name`.
pub(crate) fn program(name: &str, root: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let about = ABOUT.replace("{name}", name);
    let mut text = format!(
        "NAME:\n   {name} - {NAME}\n\n{about}\n\nUSAGE:\n   {name} [global options] command \
         [command options] [arguments...]\n\nVERSION:\n   {version}\n\nCOMMANDS:\n"
    );
    let mut rows: Vec<(String, String)> =
        COMMANDS.iter().map(|c| (c.name.to_owned(), c.summary.to_owned())).collect();
    rows.push(("help, h".to_owned(), "show this list, or help for one command".to_owned()));
    text += &columns(&rows);
    text += "\nGLOBAL OPTIONS:\n";
    text += &columns(&flag_rows(&[GLOBAL, &[HELP, VERSION]], root));
    text
}

/// Help for one command.
pub(crate) fn command(name: &str, command: &CommandSpec, root: &str) -> String {
    let mut text = format!(
        "NAME:\n   {name} {} - {}\n\nUSAGE:\n   {name} {} [options]",
        command.name, command.summary, command.name
    );
    if !command.usage.is_empty() {
        text += &format!(" {}", command.usage);
    }
    text.push('\n');
    if !command.description.is_empty() {
        text += "\nDESCRIPTION:\n";
        for line in command.description.lines() {
            text += &format!("   {line}\n");
        }
    }
    text += "\nOPTIONS:\n";
    text += &columns(&flag_rows(&[command.flags, &[HELP]], root));
    text += "\nGLOBAL OPTIONS:\n";
    text += &columns(&flag_rows(&[GLOBAL], root));
    text
}

/// The refusal of a wrong number of arguments; None if the number is right.
pub(crate) fn wrong_arity(
    argv0: &str,
    command: &CommandSpec,
    values: &Values,
    given: usize,
) -> Option<String> {
    let (rule, count) = match command.arity {
        Arity::Exactly(count) if given != count => ("exactly", count),
        Arity::AtLeast(count) | Arity::Between(count, _) if given < count => {
            ("a minimum of", count)
        }
        Arity::Between(_, count) if given > count => ("a maximum of", count),
        Arity::OneOrWith(flag) if given != 1 && !values.is_true(flag) => ("exactly", 1),
        Arity::Exactly(_) | Arity::AtLeast(_) | Arity::Between(..) | Arity::OneOrWith(_) => {
            return None;
        }
    };
    Some(format!("{argv0}: \"{}\" requires {rule} {count} argument(s)", command.name))
}

fn flag_rows(tables: &[&[Flag]], root: &str) -> Vec<(String, String)> {
    let shown = tables.iter().flat_map(|table| table.iter()).filter(|flag| !flag.is_hidden);
    shown.map(|flag| flag_row(flag, root)).collect()
}

fn flag_row(flag: &Flag, root: &str) -> (String, String) {
    let value = flag.kind.placeholder();
    let mut left = format!("--{}{value}", flag.name);
    if let Some(short) = flag.short {
        left += &format!(", -{short}{value}");
    }
    let right = match flag.default {
        Some(default) => format!("{} (default: {default})", flag.help),
        None if flag.name == "root" => format!("{} (default: \"{root}\")", flag.help),
        None => flag.help.to_owned(),
    };
    (left, right)
}

fn columns(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    rows.iter().map(|(left, right)| format!("   {left:width$}  {right}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::flags;
    use super::*;

    #[test]
    fn the_program_s_help_lists_every_command() {
        let text = program("creel", "/run/creel");
        assert!(text.starts_with("NAME:\n   creel - Open Container Initiative runtime\n"));
        for command in COMMANDS {
            assert!(text.contains(&format!("\n   {:<12}", command.name)), "{}", command.name);
        }
        assert!(text.contains("(default: \"/run/creel\")"));
    }

    #[test]
    fn a_command_s_help_hides_obsolete_flags() {
        let kill = flags::command("kill").unwrap();
        let text = command("runc", kill, "/run/creel");
        assert!(text.starts_with("NAME:\n   runc kill - "), "{text}");
        assert!(!text.contains("--all"), "{text}");
        let create = command("creel", flags::command("create").unwrap(), "/run/creel");
        assert!(
            create.contains("\n   --bundle value, -b value  the bundle's directory"),
            "{create}"
        );
    }

    #[test]
    fn a_wrong_number_of_arguments_is_refused_as_runc_does() {
        let with = |name, given, flags: &[String]| {
            let spec = flags::command(name).unwrap();
            wrong_arity("creel", spec, &Values::parse(flags, spec.flags).unwrap(), given)
        };
        let refusal = |name, given| with(name, given, &[]);
        assert_eq!(refusal("start", 0).unwrap(), "creel: \"start\" requires exactly 1 argument(s)");
        assert_eq!(
            refusal("exec", 0).unwrap(),
            "creel: \"exec\" requires a minimum of 1 argument(s)"
        );
        assert_eq!(
            refusal("kill", 3).unwrap(),
            "creel: \"kill\" requires a maximum of 2 argument(s)"
        );
        assert_eq!(refusal("kill", 2), None);
        assert_eq!(refusal("list", 0), None);
        let events = "creel: \"events\" requires exactly 1 argument(s)";
        assert_eq!(refusal("events", 0).unwrap(), events);
        assert_eq!(with("events", 2, &["--top=false".into()]).unwrap(), events);
        assert_eq!(with("events", 0, &["--top".into()]), None);
        assert_eq!(with("events", 2, &["--top".into()]), None);
    }

    #[test]
    fn version_has_the_lines_that_managers_read() {
        let text = version();
        assert!(text.starts_with("creel version 0."), "{text}");
        assert!(text.ends_with("spec: 1.3.0\n"), "{text}");
    }
}
