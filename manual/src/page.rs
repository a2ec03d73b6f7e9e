// SPDX-License-Identifier: Apache-2.0
//! One manual page: what clap_mangen makes of the flags, between the sections of its prose.

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::flags::{COMMANDS, CommandSpec};
use crate::prose;

const FIRST: &[&str] = &["DESCRIPTION"];

pub(crate) fn of_program(program: Command) -> String {
    let man = man(program);
    let mut page = head("creel", "run containers from OCI bundles");
    synopsis(&mut page, "creel", "[global options] command [options] [arguments ...]");
    let prose = prose::of("creel").unwrap_or_default();
    prose::write(prose, |title| FIRST.contains(&title), &mut page);
    page.control("SH", ["COMMANDS"]);
    for spec in COMMANDS {
        page.control("TP", []);
        page.text([bold(format!("creel-{}", spec.name)), roman("(8)")]);
        page.text([roman(spec.summary)]);
    }
    let mut text = page.to_roff();
    text += &rendered(|out| man.render_options_section(out)).replacen(
        ".SH OPTIONS",
        ".SH GLOBAL OPTIONS",
        1,
    );
    text + &rest(prose)
}

pub(crate) fn of_command(spec: &CommandSpec) -> String {
    let name: &'static str = Box::leak(format!("creel-{}", spec.name).into_boxed_str());
    // clap would set the arguments out as options; the synopsis has them.
    let command = crate::command(spec, name).mut_args(|arg| {
        let is_flag = arg.get_long().is_some();
        arg.hide_short_help(!is_flag).hide(!is_flag)
    });
    let hidden = spec.flags.iter().filter(|flag| flag.is_hidden);
    let command =
        hidden.fold(command, |command, flag| command.mut_arg(flag.name, |arg| arg.hide(true)));
    let man = man(command);
    let mut page = head(name, spec.summary);
    synopsis(&mut page, &format!("creel {}", spec.name), &format!("[options] {}", spec.usage));
    let prose = prose::of(spec.name).unwrap_or_default();
    prose::write(prose, |title| FIRST.contains(&title), &mut page);
    let mut text = page.to_roff();
    text += &rendered(|out| man.render_options_section(out));
    text + &rest(prose)
}

fn man(command: Command) -> Man {
    Man::new(command)
}

fn head(name: &str, about: &str) -> Roff {
    let mut page = Roff::new();
    let version = concat!("creel ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name.to_uppercase().as_str(), "8", "", version, "System administration"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {about}"))]);
    page
}

fn synopsis(page: &mut Roff, call: &str, rest: &str) {
    page.control("SH", ["SYNOPSIS"]);
    for (i, form) in rest.split("  |  ").enumerate() {
        if i > 0 {
            page.control("br", []);
        }
        page.text([bold(call), roman(format!(" {}", form.trim()))]);
    }
}

fn rendered(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    render(&mut out).expect("memory takes everything");
    String::from_utf8(out).expect("flags are UTF-8")
}

/// The other sections, and where to read on.
fn rest(text: &str) -> String {
    let mut page = Roff::new();
    prose::write(text, |title| !FIRST.contains(&title), &mut page);
    page.to_roff()
}
