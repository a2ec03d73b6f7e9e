// SPDX-License-Identifier: Apache-2.0
//! Parsing, with the property named when it fails: the decoder says line and column, a walk over
//! the same text up to there says which property that is.

use serde::Deserialize;

use crate::error::{Error, Result};

/// Decodes `text`; an error reads `process.args[1]: invalid type: integer `1`, expected a string
/// (line 3 column 9)`.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    // The decoder would take a list as an object's members in the order of their declaration.
    if text.trim_start().starts_with('[') {
        return Err(Error::text("invalid type: list, expected an object"));
    }
    decode(text)
}

/// As `parse`, of a list of objects.
pub(crate) fn parse_list<'a, T: Deserialize<'a>>(text: &'a str) -> Result<Vec<T>> {
    decode(text)
}

fn decode<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let what = in_json_words(&error.to_string());
        let (line, column) = (error.line(), error.column());
        if line == 0 {
            return Error::text(what);
        }
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(head, _)| head);
        let place = format!("(line {line} column {column})");
        match property_at(text, line, column) {
            Some(property) => Error::text(format!("{property}: {what} {place}")),
            None => Error::text(format!("{what} {place}")),
        }
    })
}

/// The decoder's words for types, as JSON names them.
fn in_json_words(what: &str) -> String {
    let what = what.replace("invalid type: map,", "invalid type: object,");
    let what = what.replace("invalid type: sequence,", "invalid type: list,");
    match what.split_once("expected struct ") {
        Some((head, tail)) => {
            let rest = tail.find(" at line ").map_or("", |at| &tail[at..]);
            format!("{head}expected an object{rest}")
        }
        None => what.replace("expected a sequence", "expected a list"),
    }
}

enum Level {
    Object { key: String, wants_key: bool },
    Array { index: usize },
}

/// The property whose value contains or ends at the given place (both from 1), as `a.b[2].c`.
fn property_at(text: &str, line: usize, column: usize) -> Option<String> {
    let end = offset(text, line, column);
    let bytes = &text.as_bytes()[..end];
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => levels.push(Level::Object { key: String::new(), wants_key: true }),
            b'[' => levels.push(Level::Array { index: 0 }),
            b'}' | b']' if at + 1 < bytes.len() => {
                levels.pop();
            }
            b',' => match levels.last_mut() {
                Some(Level::Object { wants_key, .. }) => *wants_key = true,
                Some(Level::Array { index }) => *index += 1,
                None => {}
            },
            b'"' => {
                let start = at + 1;
                at = string_end(bytes, start);
                if let Some(Level::Object { key, wants_key }) = levels.last_mut()
                    && *wants_key
                {
                    *key = text.get(start..at).unwrap_or_default().to_owned();
                    *wants_key = false;
                }
            }
            _ => {}
        }
        at += 1;
    }
    let path = join(&levels);
    (!path.is_empty()).then_some(path)
}

/// The offset of the closing quote of a string that starts at `at`, or the end of the text.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    (start + column).min(text.len())
}

fn join(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object { key, .. } if key.is_empty() => {}
            Level::Object { key, .. } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Level::Array { index } => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Spec;

    fn error(text: &str) -> String {
        parse::<Spec<'_>>(text).unwrap_err().to_string()
    }

    #[test]
    fn wrong_types_name_the_property() {
        assert_eq!(
            error(r#"{"process": {"args": ["sh", 1]}}"#),
            "process.args[1]: invalid type: integer `1`, expected a string (line 1 column 29)"
        );
        assert_eq!(
            error("{\"linux\": {\"resources\":\n {\"memory\": {\"limit\": \"1g\"}}}}"),
            "linux.resources.memory.limit: invalid type: string \"1g\", expected i64 \
             (line 2 column 26)"
        );
        assert_eq!(
            error(r#"{"mounts": [{"destination": "/a"}, {"options": "ro"}]}"#),
            "mounts[1].options: invalid type: string \"ro\", expected a list \
             (line 1 column 51)"
        );
    }

    #[test]
    fn broken_json_says_where() {
        assert_eq!(error(""), "EOF while parsing a value (line 1 column 0)");
        assert!(error(r#"{"process": "#).starts_with("process: EOF while parsing a value"));
    }

    #[test]
    fn null_is_absent() {
        let spec: Spec<'_> = parse(r#"{"mounts": null, "process": {"args": null}, "linux": null}"#)
            .expect("null is allowed everywhere");
        assert!(spec.mounts.is_empty() && spec.linux.is_none());
    }
}
