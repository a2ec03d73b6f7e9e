// SPDX-License-Identifier: Apache-2.0
//! Annotations `org.systemd.property.NAME`: properties of the unit, their values in GVariant's text
//! format (`true`, `'text'`, `uint64 5`, `['a', 'b']`, `@as []`). Dictionaries are not known: no
//! property of a unit has one.

use std::fmt::Display;
use std::iter::Peekable;
use std::str::Chars;

use zvariant::{Array, ObjectPath, Signature, StructureBuilder, Value};

use super::property::Property;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci::Map;

const PREFIX: &str = "org.systemd.property.";

/// All of a container's, in the order of their names.
pub(crate) fn properties(annotations: &Map<'_>) -> Result<Vec<Property>> {
    let mut list = Vec::new();
    for (key, text) in annotations {
        if let Some(name) = key.strip_prefix(PREFIX) {
            list.push(property(name, text).context(|| format!("annotations[{key}]"))?);
        }
    }
    Ok(list)
}

fn property(name: &str, text: &str) -> Result<Property> {
    if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
        bail!("{name:?} is not the name of a property: latin letters, at least three");
    }
    let value = value(text).context(|| format!("value {text:?}"))?;
    // Documented with a time in seconds, known on the bus in microseconds.
    match name.strip_suffix("Sec") {
        Some(stem) if stem.ends_with(|c: char| c.is_ascii_lowercase()) => {
            let value = microseconds(&value).context(|| format!("value {text:?}"))?;
            Ok((format!("{stem}USec"), value.into()))
        }
        _ => Ok((name.to_owned(), value)),
    }
}

fn microseconds(value: &Value<'_>) -> Result<u64> {
    let seconds = match value {
        Value::U8(n) => u64::from(*n),
        Value::U16(n) => u64::from(*n),
        Value::U32(n) => u64::from(*n),
        Value::U64(n) => *n,
        Value::I16(n) => positive(i64::from(*n))?,
        Value::I32(n) => positive(i64::from(*n))?,
        Value::I64(n) => positive(*n)?,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Value::F64(n) => return Ok((n * 1e6) as u64),
        _ => bail!("not a number"),
    };
    Ok(seconds.saturating_mul(1_000_000))
}

fn positive(seconds: i64) -> Result<u64> {
    u64::try_from(seconds).map_err(|_| Error::text("a time is not negative"))
}

/// A value as it is written; numbers without a type are 32 bits wide, with a point they are doubles.
fn value(text: &str) -> Result<Value<'static>> {
    let mut reader = Reader { rest: text.chars().peekable() };
    let node = reader.node()?;
    reader.space();
    if let Some(c) = reader.rest.next() {
        bail!("unexpected {c:?} after the value");
    }
    make(&node, &infer(&node)?)
}

/// What is written, before its type is known.
#[derive(Debug, Clone)]
enum Node {
    Bool(bool),
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Node>),
    Tuple(Vec<Node>),
    Variant(Box<Node>),
    Typed(Signature, Box<Node>),
}

const WORDS: &[(&str, Signature)] = &[
    ("boolean", Signature::Bool),
    ("byte", Signature::U8),
    ("int16", Signature::I16),
    ("uint16", Signature::U16),
    ("int32", Signature::I32),
    ("uint32", Signature::U32),
    ("int64", Signature::I64),
    ("uint64", Signature::U64),
    ("double", Signature::F64),
    ("string", Signature::Str),
    ("objectpath", Signature::ObjectPath),
    ("signature", Signature::Signature),
];

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn node(&mut self) -> Result<Node> {
        self.space();
        let Some(first) = self.rest.peek().copied() else { bail!("the value ends too early") };
        Ok(match first {
            '\'' | '"' => Node::Text(self.quoted()?),
            '[' => Node::Array(self.list(']')?),
            '(' => Node::Tuple(self.list(')')?),
            '<' => {
                self.rest.next();
                let inside = self.node()?;
                self.expect('>')?;
                Node::Variant(Box::new(inside))
            }
            '@' => {
                self.rest.next();
                let word = self.word(|c| !c.is_whitespace());
                let signature = Signature::try_from(&*word)
                    .map_err(|e| Error::text(format!("type {word:?}: {e}")))?;
                Node::Typed(signature, Box::new(self.node()?))
            }
            '0'..='9' | '+' | '-' => {
                Node::Number(self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)))
            }
            _ => self.named()?,
        })
    }

    /// What begins with a letter.
    fn named(&mut self) -> Result<Node> {
        let word = self.word(|c| c.is_ascii_alphanumeric());
        if word == "b" && matches!(self.rest.peek(), Some('\'' | '"')) {
            let mut bytes = self.quoted()?.into_bytes();
            bytes.push(0);
            return Ok(Node::Bytes(bytes));
        }
        match (&*word, WORDS.iter().find(|(name, _)| *name == word)) {
            ("true", _) => Ok(Node::Bool(true)),
            ("false", _) => Ok(Node::Bool(false)),
            (_, Some((_, signature))) => Ok(Node::Typed(signature.clone(), Box::new(self.node()?))),
            _ => {
                let rest: String = self.rest.by_ref().collect();
                bail!("{:?} is neither a value nor a type (text needs quotes)", word + &rest)
            }
        }
    }

    fn space(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        std::iter::from_fn(|| self.rest.next_if(|c| belongs(*c))).collect()
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        self.space();
        match self.rest.next() {
            Some(c) if c == wanted => Ok(()),
            Some(c) => bail!("unexpected {c:?}, {wanted:?} is missing"),
            None => bail!("{wanted:?} is missing"),
        }
    }

    fn list(&mut self, end: char) -> Result<Vec<Node>> {
        self.rest.next();
        let mut nodes = Vec::new();
        loop {
            self.space();
            if self.rest.next_if_eq(&end).is_some() {
                return Ok(nodes);
            }
            nodes.push(self.node()?);
            self.space();
            if self.rest.next_if_eq(&',').is_none() {
                self.expect(end)?;
                return Ok(nodes);
            }
        }
    }

    fn quoted(&mut self) -> Result<String> {
        let quote = self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.next() {
                None => bail!("a quote is not closed"),
                end if end == quote => return Ok(text),
                Some('\\') => text.extend(self.escape()?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<Option<char>> {
        let Some(c) = self.rest.next() else { bail!("a quote is not closed") };
        let digits = match c {
            'a' => return Ok(Some('\u{7}')),
            'b' => return Ok(Some('\u{8}')),
            'f' => return Ok(Some('\u{c}')),
            'n' => return Ok(Some('\n')),
            'r' => return Ok(Some('\r')),
            't' => return Ok(Some('\t')),
            // A line that goes on.
            '\n' => return Ok(None),
            'u' => 4,
            'U' => 8,
            c => return Ok(Some(c)),
        };
        let hex: String = self.rest.by_ref().take(digits).collect();
        let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
        match code.and_then(char::from_u32) {
            Some(c) => Ok(Some(c)),
            None => bail!("\\{c}{hex} is no character"),
        }
    }
}

/// The type of what is written without one.
fn infer(node: &Node) -> Result<Signature> {
    Ok(match node {
        Node::Bool(_) => Signature::Bool,
        Node::Number(text) if is_decimal(text) => Signature::F64,
        Node::Number(_) => Signature::I32,
        Node::Text(_) => Signature::Str,
        Node::Bytes(_) => Signature::array(Signature::U8),
        Node::Variant(_) => Signature::Variant,
        Node::Typed(signature, _) => signature.clone(),
        Node::Tuple(nodes) => {
            let parts: Vec<Signature> = nodes.iter().map(infer).collect::<Result<_>>()?;
            Signature::structure(parts)
        }
        Node::Array(nodes) => {
            // One with a type tells it for the others.
            let typed = nodes.iter().find(|n| matches!(n, Node::Typed(..)));
            let decimal = nodes.iter().find(|n| matches!(n, Node::Number(t) if is_decimal(t)));
            match typed.or(decimal).or(nodes.first()) {
                Some(node) => Signature::array(infer(node)?),
                None => bail!("an empty array needs a type: @as []"),
            }
        }
    })
}

fn is_decimal(number: &str) -> bool {
    !number.contains('x') && number.contains(['.', 'e', 'E'])
}

/// What is written, as a value of that type.
fn make(node: &Node, signature: &Signature) -> Result<Value<'static>> {
    let other = || Error::text(format!("can't be of type {signature}"));
    Ok(match (node, signature) {
        (Node::Typed(own, inside), _) if own == signature => make(inside, own)?,
        (Node::Bool(b), Signature::Bool) => (*b).into(),
        (Node::Number(text), _) => number(text, signature)?,
        (Node::Text(text), Signature::Str) => text.clone().into(),
        (Node::Text(text), Signature::ObjectPath) => {
            ObjectPath::try_from(text.clone()).map_err(malformed)?.into()
        }
        (Node::Text(text), Signature::Signature) => {
            Signature::try_from(&**text).map_err(malformed)?.into()
        }
        (Node::Bytes(bytes), Signature::Array(child)) if *child.signature() == Signature::U8 => {
            bytes.clone().into()
        }
        (Node::Variant(inside), Signature::Variant) => {
            Value::Value(Box::new(make(inside, &infer(inside)?)?))
        }
        (Node::Array(nodes), Signature::Array(child)) => {
            let mut array = Array::new(child.signature());
            for node in nodes {
                array.append(make(node, child.signature())?).map_err(malformed)?;
            }
            array.into()
        }
        (Node::Tuple(nodes), Signature::Structure(fields)) => {
            let mut structure = StructureBuilder::new();
            if nodes.len() != fields.len() || nodes.is_empty() {
                return Err(other());
            }
            for (node, field) in nodes.iter().zip(fields.iter()) {
                structure = structure.append_field(make(node, field)?);
            }
            structure.build().map_err(malformed)?.into()
        }
        _ => return Err(other()),
    })
}

fn malformed(error: impl Display) -> Error {
    Error::text(error.to_string())
}

/// Decimal, hexadecimal (0x) or octal (0).
fn number(text: &str, signature: &Signature) -> Result<Value<'static>> {
    let out = || Error::text(format!("{text} is not a number of type {signature}"));
    if *signature == Signature::F64 {
        return text.parse::<f64>().map(Value::from).map_err(|_| out());
    }
    let digits = text.trim_start_matches(['+', '-']);
    let (digits, radix) = match digits.strip_prefix('0') {
        None | Some("") => (digits, 10),
        Some(rest) => rest.strip_prefix('x').map_or((rest, 8), |hex| (hex, 16)),
    };
    let size = u64::from_str_radix(digits, radix).map_err(|_| out())?;
    let n = if text.starts_with('-') { -i128::from(size) } else { i128::from(size) };
    let value = match signature {
        Signature::U8 => u8::try_from(n).map(Value::from),
        Signature::I16 => i16::try_from(n).map(Value::from),
        Signature::U16 => u16::try_from(n).map(Value::from),
        Signature::I32 => i32::try_from(n).map(Value::from),
        Signature::U32 => u32::try_from(n).map(Value::from),
        Signature::I64 => i64::try_from(n).map(Value::from),
        Signature::U64 => u64::try_from(n).map(Value::from),
        _ => return Err(out()),
    };
    value.map_err(|_| out())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(text: &str) -> (String, String) {
        let value = value(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        (value.value_signature().to_string(), value.to_string())
    }

    fn error(name: &str, text: &str) -> String {
        property(name, text).unwrap_err().to_string()
    }

    #[test]
    fn values_in_their_types() {
        for (text, signature, shown) in [
            ("true", "b", "true"),
            (" false ", "b", "false"),
            ("300", "i", "300"),
            ("-0x10", "i", "-16"),
            ("010", "i", "8"),
            ("1.5", "d", "1.5"),
            ("uint64 18446744073709551615", "t", "uint64 18446744073709551615"),
            ("byte 255", "y", "byte 0xff"),
            ("int16 -5", "n", "int16 -5"),
            ("@t 5", "t", "uint64 5"),
            ("'inactive-or-failed'", "s", "\"inactive-or-failed\""),
            (r#""it's""#, "s", r#""it's""#),
            (r"'\u00e4\n'", "s", "\"ä\\n\""),
            ("objectpath '/a/b'", "o", "objectpath \"/a/b\""),
            ("['a', \"b\"]", "as", "[\"a\", \"b\"]"),
            ("[uint64 1, 2]", "at", "[uint64 1, 2]"),
            ("[1, 2.5]", "ad", "[1., 2.5]"),
            ("@as []", "as", "@as []"),
            ("@a(ss) [('/dev/char/1:3', 'rw')]", "a(ss)", "[(\"/dev/char/1:3\", \"rw\")]"),
            ("('a', uint32 7)", "(su)", "(\"a\", uint32 7)"),
            ("<'x'>", "v", "<\"x\">"),
        ] {
            assert_eq!(is(text), (signature.to_owned(), shown.to_owned()), "{text}");
        }
        assert_eq!(value("b'ab'").unwrap(), Value::from(b"ab\0".to_vec()));
    }

    #[test]
    fn seconds_are_microseconds_on_the_bus() {
        let usec = |name, text| {
            let (name, value) = property(name, text).unwrap();
            (name, u64::try_from(value).unwrap())
        };
        assert_eq!(usec("TimeoutStopSec", "7"), ("TimeoutStopUSec".into(), 7_000_000));
        assert_eq!(usec("RuntimeMaxSec", "uint64 2"), ("RuntimeMaxUSec".into(), 2_000_000));
        assert_eq!(usec("TimeoutStopSec", "0.25"), ("TimeoutStopUSec".into(), 250_000));
        assert_eq!(usec("TimeoutStopUSec", "uint64 9"), ("TimeoutStopUSec".into(), 9));
        assert_eq!(error("TimeoutStopSec", "'7'"), r#"value "'7'": not a number"#);
        assert_eq!(error("TimeoutStopSec", "-1"), r#"value "-1": a time is not negative"#);
    }

    #[test]
    fn names_and_values_that_are_refused() {
        for name in ["", "Ab", "Memory.Max", "Mémoire", "CPUQuota1"] {
            assert!(error(name, "true").contains("is not the name of a property"), "{name}");
        }
        let refused = |text| error("Abc", text);
        assert_eq!(
            refused("inactive"),
            r#"value "inactive": "inactive" is neither a value nor a type (text needs quotes)"#
        );
        assert_eq!(refused("'open"), r#"value "'open": a quote is not closed"#);
        assert_eq!(refused("[1"), r#"value "[1": ']' is missing"#);
        assert_eq!(refused("[1 2]"), r#"value "[1 2]": unexpected '2', ']' is missing"#);
        assert_eq!(refused("[]"), r#"value "[]": an empty array needs a type: @as []"#);
        assert_eq!(refused("1 2"), r#"value "1 2": unexpected '2' after the value"#);
        assert_eq!(refused("byte 256"), r#"value "byte 256": 256 is not a number of type y"#);
        assert_eq!(refused("uint32 'a'"), r#"value "uint32 'a'": can't be of type u"#);
        assert_eq!(refused("12ab"), r#"value "12ab": 12ab is not a number of type i"#);
        assert_eq!(refused("['a', 1]"), r#"value "['a', 1]": 1 is not a number of type s"#);
        assert_eq!(refused(""), r#"value "": the value ends too early"#);
    }

    #[test]
    fn only_annotations_of_that_name_count() {
        let map = Map::from([
            ("org.systemd.property.CollectMode".into(), "'inactive-or-failed'".into()),
            ("org.example".into(), "nonsense".into()),
            ("org.systemd.property.TimeoutStopUSec".into(), "uint64 5".into()),
        ]);
        let shown = super::super::property::shown(&properties(&map).unwrap());
        assert_eq!(shown, ["CollectMode=\"inactive-or-failed\"", "TimeoutStopUSec=uint64 5"]);
        let map = Map::from([("org.systemd.property.Foo".into(), "x".into())]);
        assert_eq!(
            properties(&map).unwrap_err().to_string(),
            r#"annotations[org.systemd.property.Foo]: value "x": "x" is neither a value nor a type (text needs quotes)"#
        );
    }
}
