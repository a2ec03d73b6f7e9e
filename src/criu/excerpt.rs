// SPDX-License-Identifier: Apache-2.0
//! Why CRIU failed: the lines of its log with `Error` in them, each with what came before it.

use std::path::Path;

use crate::log;

const MARK: &str = "Error";
/// Lines shown before one with the mark.
const BEFORE: usize = 5;
/// Without any such line, the last ones.
const LAST: usize = 10;

/// Shows the excerpt as warnings; a log that can't be read is one too.
pub(super) fn show(path: &Path) {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines = excerpt(&text);
            if !lines.is_empty() {
                log::warn(&format!("from CRIU's log {path:?}:"));
                lines.iter().for_each(|line| log::warn(line));
            }
        }
        // It failed before it had one.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => log::warn(&format!("read CRIU's log {path:?}: {error}")),
    }
}

/// `LINE: text` for each line that is shown, `...` for a gap.
fn excerpt(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let marked = lines.iter().enumerate().filter(|(_, line)| line.contains(MARK));
    let mut ranges: Vec<_> = marked.map(|(i, _)| i.saturating_sub(BEFORE)..i + 1).collect();
    if ranges.is_empty() && !lines.is_empty() {
        ranges.push(lines.len().saturating_sub(LAST)..lines.len());
    }
    let mut shown = Vec::new();
    let mut end = 0;
    for range in ranges {
        if end != 0 && range.start > end {
            shown.push("...".to_owned());
        }
        let new = range.start.max(end)..range.end;
        shown.extend(new.map(|i| format!("{}: {}", i + 1, lines[i])));
        end = range.end;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_with_what_came_before_them_and_no_line_twice() {
        let line = |i: usize| match i {
            10 | 13 | 30 => format!("(00.0) Error (criu/x.c:{i}): no"),
            _ => format!("(00.0) step {i}"),
        };
        let text = (1..=35).map(line).collect::<Vec<_>>().join("\n");
        let shown = excerpt(&text);
        let numbers: Vec<&str> = shown.iter().map(|line| line.split(':').next().unwrap()).collect();
        let expected = "5 6 7 8 9 10 11 12 13 ... 25 26 27 28 29 30".split(' ').collect::<Vec<_>>();
        assert_eq!(numbers, expected);
        assert_eq!(shown[5], "10: (00.0) Error (criu/x.c:10): no");
    }

    #[test]
    fn without_an_error_the_end_and_of_nothing_nothing() {
        let text = (1..=12).map(|i| format!("step {i}\n")).collect::<String>();
        let shown = excerpt(&text);
        assert_eq!((shown.len(), shown[0].as_str()), (10, "3: step 3"));
        assert_eq!(excerpt(""), [""; 0]);
    }
}
