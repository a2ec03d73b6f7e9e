// SPDX-License-Identifier: Apache-2.0
//! docs/troubleshooting.md quotes what creel says: every line of it, but for the reader's own names, is
//! among the lines that tests/broken sees or in the source; and the commands that it names exist.

use std::fs;
use std::path::Path;

fn text_below(dir: &Path, out: &mut String) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            text_below(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            // As it is printed: quotes without backslashes, a text over several lines as one.
            let text = fs::read_to_string(&path).expect("UTF-8").replace("\\\"", "\"");
            let lines: Vec<&str> = text.lines().collect();
            for line in lines {
                match line.strip_suffix('\\') {
                    Some(head) => out.push_str(head.trim_start()),
                    None => {
                        out.push_str(line.trim_start());
                        out.push('\n');
                    }
                }
            }
        }
    }
}

/// The fixed parts of a quoted line: what is between the reader's names, and between clauses, which are
/// put together when they are printed.
fn parts(line: &str) -> Vec<&str> {
    let split = line.split('…').flat_map(|part| part.split(": "));
    let trimmed = split.map(|part| part.trim_matches(|c: char| " :,[]".contains(c)));
    trimmed.filter(|part| part.len() > 2).collect()
}

#[test]
fn every_quoted_line_is_what_creel_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let doc = fs::read_to_string(root.join("docs/troubleshooting.md")).expect("the page");
    let mut said = String::new();
    for dir in ["src", "tests/broken"] {
        text_below(&root.join(dir), &mut said);
    }
    let quoted = doc.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let quoted: Vec<&str> = quoted.collect();
    assert!(quoted.len() >= 20, "only {} lines", quoted.len());
    for line in quoted {
        let parts = parts(line);
        assert!(!parts.is_empty(), "{line}");
        for part in parts {
            assert!(said.contains(part), "{line}: nothing says {part:?}");
        }
    }
    assert!(
        !said.contains("the page's own words are not in the source"),
        "the search finds anything"
    );
}
