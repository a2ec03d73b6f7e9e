// SPDX-License-Identifier: Apache-2.0
//! JSON for output, as Go's encoder writes it: keys in the order given, `<`, `>` and `&` escaped,
//! pretty with a chosen indent and no space where Go has none. Readers compare bytes at times.

/// A value to be written. Objects keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    List(Vec<Json<'a>>),
    Object(Vec<(&'a str, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// A list of strings.
    pub(crate) fn texts<S: AsRef<str> + ?Sized>(texts: &[&'a S]) -> Self {
        Self::List(texts.iter().map(|text| Self::Text((*text).as_ref())).collect())
    }

    /// One line, no spaces.
    pub(crate) fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None, 0);
        out
    }

    /// One value a line, indented; no newline at the end.
    pub(crate) fn pretty(&self, indent: &str) -> String {
        let mut out = String::new();
        self.write(&mut out, Some(indent), 0);
        out
    }

    fn write(&self, out: &mut String, indent: Option<&str>, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(n) => out.push_str(&n.to_string()),
            Self::Text(text) => quote(out, text),
            Self::List(items) => {
                bracket(out, indent, depth, ['[', ']'], items, |out, item| {
                    item.write(out, indent, depth + 1);
                });
            }
            Self::Object(fields) => {
                bracket(out, indent, depth, ['{', '}'], fields, |out, (key, value)| {
                    quote(out, key);
                    out.push_str(if indent.is_some() { ": " } else { ":" });
                    value.write(out, indent, depth + 1);
                });
            }
        }
    }
}

fn bracket<T>(
    out: &mut String,
    indent: Option<&str>,
    depth: usize,
    [open, close]: [char; 2],
    items: &[T],
    mut write: impl FnMut(&mut String, &T),
) {
    let new_line = |out: &mut String, depth| {
        if let Some(indent) = indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        new_line(out, depth + 1);
        write(out, item);
    }
    if !items.is_empty() {
        new_line(out, depth);
    }
    out.push(close);
}

/// Appends `text` as a JSON string.
pub(crate) fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_and_pretty_as_go_writes_them() {
        let value = Json::Object(vec![
            ("b", Json::List(vec![Json::Int(1), Json::Null])),
            ("a", Json::Object(vec![])),
            ("c", Json::Bool(true)),
            ("d", Json::List(vec![])),
        ]);
        assert_eq!(value.compact(), r#"{"b":[1,null],"a":{},"c":true,"d":[]}"#);
        let pretty =
            "{\n  \"b\": [\n    1,\n    null\n  ],\n  \"a\": {},\n  \"c\": true,\n  \"d\": []\n}";
        assert_eq!(value.pretty("  "), pretty);
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let text = "a\"b\\c\n<d>&\u{1}\u{2028}é";
        let mut out = String::new();
        quote(&mut out, text);
        assert_eq!(out, r#""a\"b\\c\n\u003cd\u003e\u0026\u0001\u2028é""#);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }

    proptest::proptest! {
        #[test]
        fn any_string_reads_back(text in "\\PC*|[\\x00-\\x7f\u{2028}&<>]*") {
            let mut out = String::new();
            quote(&mut out, &text);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
