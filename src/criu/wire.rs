// SPDX-License-Identifier: Apache-2.0
//! Protocol Buffers on the wire, as much as CRIU's messages hold: numbers, texts, messages in
//! messages. Encoding from a list of fields, decoding to an iterator over them.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A field of a message: its number, and its name for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field(pub(crate) u32, pub(crate) &'static str);

/// A message to send: fields in the order in which they were set.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Message(Vec<(Field, Value)>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    /// Signed as the wire has it: an int32 is extended to 64 bits.
    Number(i64),
    Text(Vec<u8>),
    Message(Message),
}

const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

impl Message {
    /// Of a repeated field, adds one.
    pub(crate) fn set(&mut self, field: Field, value: impl Into<Value>) -> &mut Self {
        self.0.push((field, value.into()));
        self
    }

    /// A message with these fields.
    pub(crate) fn of<const N: usize>(fields: [(Field, Value); N]) -> Self {
        Self(fields.into())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (Field(number, _), value) in &self.0 {
            let mut head = |kind| put(&mut out, u64::from(*number) << 3 | kind);
            match value {
                Value::Bool(value) => {
                    head(VARINT);
                    put(&mut out, u64::from(*value));
                }
                Value::Number(value) => {
                    head(VARINT);
                    put(&mut out, value.cast_unsigned());
                }
                Value::Text(bytes) => {
                    head(LENGTH);
                    put_bytes(&mut out, bytes);
                }
                Value::Message(message) => {
                    head(LENGTH);
                    put_bytes(&mut out, &message.encode());
                }
            }
        }
        out
    }
}

/// For the log: `leave_running=true inherit_fd={key="pipe:[7]" fd=1}`.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (Field(_, name), value)) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            match value {
                Value::Bool(value) => write!(f, "{space}{name}={value}")?,
                Value::Number(value) => write!(f, "{space}{name}={value}")?,
                Value::Text(bytes) => {
                    write!(f, "{space}{name}={:?}", String::from_utf8_lossy(bytes))?;
                }
                Value::Message(message) => write!(f, "{space}{name}={{{message}}}")?,
            }
        }
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Number(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<&Path> for Value {
    fn from(value: &Path) -> Self {
        Self::Text(value.as_os_str().as_bytes().into())
    }
}

impl From<Message> for Value {
    fn from(value: Message) -> Self {
        Self::Message(value)
    }
}

/// A field that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

/// The fields of an encoded message; ends where it is garbled, which `is_whole` then tells.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    is_whole: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, is_whole: true }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn one(&mut self) -> Option<(u32, Got<'a>)> {
        let head = self.varint()?;
        let got = match head & 7 {
            VARINT => Got::Number(self.varint()?.cast_signed()),
            LENGTH => {
                let length = self.varint()?;
                Got::Bytes(self.cut(length)?)
            }
            EIGHT_BYTES => Got::Bytes(self.cut(8)?),
            FOUR_BYTES => Got::Bytes(self.cut(4)?),
            _ => return None,
        };
        Some((u32::try_from(head >> 3).ok()?, got))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    fn cut(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Got<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || !self.is_whole {
            return None;
        }
        let one = self.one();
        self.is_whole = one.is_some();
        one
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Field = Field(1, "a");
    const B: Field = Field(150, "b");

    #[test]
    fn known_bytes() {
        // The examples of the encoding's own description.
        assert_eq!(Message::of([(A, 150.into())]).encode(), [0x08, 0x96, 0x01]);
        let text = Message::of([(Field(2, "b"), "testing".into())]);
        assert_eq!(text.encode(), b"\x12\x07testing");
        let nested = Message::of([(Field(3, "c"), Message::of([(A, 150.into())]).into())]);
        assert_eq!(nested.encode(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let minus = Message::of([(A, (-1).into())]).encode();
        assert_eq!((minus.len(), minus[10]), (11, 1));
    }

    #[test]
    fn what_is_cut_off_or_of_a_strange_kind_is_not_whole() {
        for garbled in [&[0x08][..], &[0x08, 0x80], &[0x12, 5, b'x'], &[0x0b], &[0xff; 12]] {
            let mut fields = Fields::new(garbled);
            assert_eq!(fields.next(), None, "{garbled:?}");
            assert!(!fields.is_whole(), "{garbled:?}");
        }
    }

    #[test]
    fn a_message_shows_its_names_and_values() {
        let inner = Message::of([(A, "pipe:[7]".into()), (B, 1.into())]);
        let outer = Message::of([(A, true.into()), (B, inner.into())]);
        assert_eq!(outer.to_string(), r#"a=true b={a="pipe:[7]" b=1}"#);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(number: i32, text: Vec<u8>, id in 1_u32..1 << 29) {
            let mut message = Message::default();
            message.set(A, number).set(Field(id, "x"), Value::Text(text.clone()));
            let bytes = message.encode();
            let mut fields = Fields::new(&bytes);
            prop_assert_eq!(fields.next(), Some((1, Got::Number(number.into()))));
            prop_assert_eq!(fields.next(), Some((id, Got::Bytes(&text))));
            prop_assert_eq!(fields.next(), None);
            prop_assert!(fields.is_whole());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            Fields::new(&bytes).for_each(drop);
        }
    }
}
