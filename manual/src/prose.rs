// SPDX-License-Identifier: Apache-2.0
//! What pages/ says, in a small part of Markdown: `# SECTION`, paragraphs, blocks indented by four as
//! they are, `- ` items, **bold** and `code`.

use roff::{Inline, Roff, bold, roman};

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../pages/", $name, ".md")))),*]
    };
}

pub(crate) const PAGES: &[(&str, &str)] = pages![
    "creel",
    "check",
    "checkpoint",
    "create",
    "delete",
    "events",
    "exec",
    "features",
    "gc",
    "kill",
    "list",
    "mounts",
    "pause",
    "ps",
    "restore",
    "resume",
    "run",
    "spec",
    "start",
    "state",
    "timings",
    "update",
];

pub(crate) fn of(name: &str) -> Option<&'static str> {
    PAGES.iter().find(|(page, _)| *page == name).map(|(_, text)| *text)
}

/// The sections whose titles `wanted` takes.
pub(crate) fn write(text: &str, wanted: impl Fn(&str) -> bool, page: &mut Roff) {
    for section in text.split("\n# ").map(|section| section.trim_start_matches("# ")) {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        if wanted(title) {
            page.control("SH", [title]);
            body.split("\n\n").for_each(|block| write_block(block.trim_matches('\n'), page));
        }
    }
}

fn write_block(block: &str, page: &mut Roff) {
    if block.is_empty() {
        return;
    }
    if block.lines().all(|line| line.starts_with("    ")) {
        page.control("PP", []).control("RS", ["4"]).control("nf", []);
        for line in block.lines() {
            page.text([roman(&line[4..])]);
        }
        page.control("fi", []).control("RE", []);
        return;
    }
    let mut text = String::new();
    for line in block.lines() {
        match line.strip_prefix("- ") {
            Some(item) => {
                flush(&mut text, page);
                page.control("IP", ["\\(bu", "4"]);
                text.push_str(item);
            }
            None => {
                if text.is_empty() && !block.starts_with("- ") {
                    page.control("PP", []);
                }
                text.push_str(if text.is_empty() { "" } else { " " });
                text.push_str(line.trim_start());
            }
        }
    }
    flush(&mut text, page);
}

fn flush(text: &mut String, page: &mut Roff) {
    if !text.is_empty() {
        page.text(inline(text));
        text.clear();
    }
}

/// `**bold**` and `` `code` ``, both of which a manual page sets in bold.
fn inline(text: &str) -> Vec<Inline> {
    let parts = text.replace("**", "`");
    let parts = parts.split('`').enumerate();
    parts.map(|(i, part)| if i % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
