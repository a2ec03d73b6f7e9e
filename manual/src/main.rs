// SPDX-License-Identifier: Apache-2.0
//! creel's manual pages, bash, zsh and fish completions. Commands and flags are those of
//! src/cli/flags.rs, by which creel reads its command line; pages/ has the rest of each page.
//! A program of its own, so that none of this is in creel.

#[path = "../../src/cli/flags.rs"]
#[allow(dead_code)] // creel uses the rest
mod flags;
mod page;
mod prose;

use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::{Generator, generate, shells};
use flags::{Arity, COMMANDS, CommandSpec, Flag, GLOBAL, HELP, Kind, VERSION};

fn main() -> ExitCode {
    let Some(out) = std::env::args_os().nth(1) else {
        eprintln!("usage: manual DIRECTORY");
        return ExitCode::FAILURE;
    };
    match write_all(Path::new(&out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(out: &Path) -> std::io::Result<()> {
    let (man, completions) = (out.join("man"), out.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    std::fs::write(man.join("creel.8"), page::of_program(program()))?;
    for spec in COMMANDS {
        std::fs::write(man.join(format!("creel-{}.8", spec.name)), page::of_command(spec))?;
    }
    std::fs::write(completions.join("creel.bash"), completion(shells::Bash))?;
    std::fs::write(completions.join("_creel"), completion(shells::Zsh))?;
    std::fs::write(completions.join("creel.fish"), completion(shells::Fish))
}

fn completion(shell: impl Generator) -> Vec<u8> {
    let mut text = Vec::new();
    generate(shell, &mut program(), "creel", &mut text);
    text
}

/// The program with all its commands, as clap has it.
fn program() -> Command {
    let mut program = Command::new("creel")
        .version(env!("CARGO_PKG_VERSION"))
        .about("a low-level OCI container runtime")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .args(GLOBAL.iter().map(arg))
        .args([&HELP, &VERSION].map(arg));
    for spec in COMMANDS {
        program = program.subcommand(command(spec, spec.name));
    }
    program
}

fn command(spec: &CommandSpec, name: &'static str) -> Command {
    let command = Command::new(name).about(spec.summary).disable_help_flag(true);
    let command = command.args(spec.flags.iter().map(arg)).arg(arg(&HELP));
    match spec.arity {
        Arity::Exactly(0) => command,
        Arity::AtLeast(_) => command.arg(positional(spec).num_args(1..).trailing_var_arg(true)),
        Arity::Exactly(_) | Arity::Between(..) | Arity::OneOrWith(_) => {
            command.arg(positional(spec).num_args(1..))
        }
    }
}

fn positional(spec: &CommandSpec) -> Arg {
    let hint = match spec.name {
        "check" => ValueHint::DirPath,
        _ => ValueHint::Other,
    };
    Arg::new("arguments").value_name(spec.usage).value_hint(hint)
}

fn arg(flag: &Flag) -> Arg {
    let mut arg = Arg::new(flag.name).long(flag.name).hide(flag.is_hidden);
    let help = match flag.default {
        Some(default) => format!("{} (default: {default})", flag.help),
        None => flag.help.to_owned(),
    };
    arg = arg.help(help);
    if let Some(short) = flag.short {
        arg = arg.short(short);
    }
    match flag.kind {
        Kind::Bool => arg.action(ArgAction::SetTrue),
        Kind::List => arg.action(ArgAction::Append).value_name("VALUE"),
        Kind::Int => arg.action(ArgAction::Set).value_name("NUMBER"),
        Kind::Duration => arg.action(ArgAction::Set).value_name("DURATION"),
        Kind::Text => {
            let is_path =
                ["file", "path", "socket", "root", "bundle", "log", "resources", "config"];
            let is_path = is_path.iter().any(|word| flag.name.ends_with(word));
            let hint = if is_path { ValueHint::AnyPath } else { ValueHint::Other };
            arg.action(ArgAction::Set).value_name("VALUE").value_hint(hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_prose_and_an_example() {
        for spec in COMMANDS {
            let text = prose::of(spec.name).unwrap_or_else(|| panic!("pages/{}.md", spec.name));
            for wanted in ["# DESCRIPTION\n", "# EXAMPLES\n", &format!("creel {}", spec.name)] {
                assert!(text.contains(wanted), "pages/{}.md lacks {wanted:?}", spec.name);
            }
            let page = page::of_command(spec);
            for flag in spec.flags.iter().filter(|flag| !flag.is_hidden) {
                let name = flag.name.replace('-', "\\-");
                assert!(page.contains(&name), "creel-{}.8 lacks --{}", spec.name, flag.name);
            }
        }
    }

    /// A page is for a command, and what it refers to is there.
    #[test]
    fn pages_refer_to_pages_that_exist() {
        for (name, text) in prose::PAGES {
            let is_command = COMMANDS.iter().any(|spec| spec.name == *name);
            assert!(is_command || *name == "creel", "pages/{name}.md is of nothing");
            for word in text.split(|c: char| c.is_whitespace() || c == ',') {
                let Some((page, _)) = word.split_once("(8)") else { continue };
                let page = page.trim_matches('*');
                let Some(command) = page.strip_prefix("creel-") else { continue };
                assert!(COMMANDS.iter().any(|spec| spec.name == command), "{name}: {page}");
            }
        }
    }

    #[test]
    fn completions_name_every_command_and_flag() {
        for text in [completion(shells::Bash), completion(shells::Zsh), completion(shells::Fish)] {
            let text = String::from_utf8(text).expect("UTF-8");
            for spec in COMMANDS {
                assert!(text.contains(spec.name), "{}", spec.name);
                for flag in spec.flags.iter().filter(|flag| !flag.is_hidden) {
                    assert!(text.contains(flag.name), "{} --{}", spec.name, flag.name);
                }
            }
        }
    }
}
