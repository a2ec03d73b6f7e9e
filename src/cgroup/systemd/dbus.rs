// SPDX-License-Identifier: Apache-2.0
//! A conversation over D-Bus: one blocking socket, no thread; every wait has a limit. The wire format
//! is zvariant's. Authentication, Hello and the first calls go out without waiting for each other's
//! answers, which the bus gives in order.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use serde::{Serialize, de::DeserializeOwned};
use zvariant::serialized::{Context as Wire, Data};
use zvariant::{Endian, Signature, Type, Value};

use crate::bail;
use crate::error::{Context, Error, Result};

/// For an answer, and for a job's end; runc's.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Far above what a manager answers to the calls that are made here.
const LARGEST: usize = 16 << 20;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Header fields by their codes.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub name: &'static str,
    pub path: &'static str,
    pub interface: &'static str,
}

/// The bus itself.
pub(crate) const DRIVER: Target = Target {
    name: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// Why there is no answer as wished.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The other side said no: an error's name and text.
    Refused { name: String, text: String },
    /// The conversation broke off.
    Broken(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { name, text } => Self::text(format!("{name}: {text}")),
            Failure::Broken(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub kind: u8,
    reply_to: u32,
    error: String,
    interface: String,
    pub member: String,
    has_text: bool,
    is_big_endian: bool,
    body: Vec<u8>,
}

impl Message {
    pub(crate) fn is_signal(&self, interface: &str, member: &str) -> bool {
        self.kind == SIGNAL && self.interface == interface && self.member == member
    }

    /// The arguments.
    pub(crate) fn read<T: DeserializeOwned + Type>(&self) -> Result<T> {
        let endian = if self.is_big_endian { Endian::Big } else { Endian::Little };
        let data = Data::new(&*self.body, Wire::new_dbus(endian, 0));
        data.deserialize().map(|(value, _)| value).map_err(malformed)
    }
}

/// A connection to a bus.
#[derive(Debug)]
pub(crate) struct Bus {
    stream: UnixStream,
    serial: u32,
    input: Vec<u8>,
    is_accepted: bool,
    signals: VecDeque<Message>,
    limit: Duration,
}

impl Bus {
    /// Connects to the first of the addresses that takes the call; nothing is waited for yet.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let mut outcome = Err(Error::text(format!("{address:?} names no unix socket")));
        for place in sockets(address) {
            outcome = dial(&place)
                .context(|| format!("connect to {}", place.text()))
                .map(UnixStream::from)
                .and_then(|stream| Self::new(stream, LIMIT));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Says who we are and asks for a name. The server takes our uid from the socket: within a user
    /// namespace we could not tell the one that it sees.
    pub(crate) fn new(stream: UnixStream, limit: Duration) -> Result<Self> {
        stream.set_write_timeout(Some(limit)).context(|| "setsockopt")?;
        let mut bus = Self {
            stream,
            serial: 0,
            input: Vec::new(),
            is_accepted: false,
            signals: VecDeque::new(),
            limit,
        };
        let hello = bus.message(DRIVER, "Hello", &())?;
        let mut first = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_vec();
        first.extend(hello);
        bus.write(&first)?;
        Ok(bus)
    }

    /// Sends a call; its number is for `reply`.
    pub(crate) fn send<B: Serialize + Type>(
        &mut self,
        to: Target,
        member: &str,
        body: &B,
    ) -> Result<u32> {
        let message = self.message(to, member, body)?;
        self.write(&message)?;
        Ok(self.serial)
    }

    /// A call and its answer.
    pub(crate) fn call<B: Serialize + Type>(
        &mut self,
        to: Target,
        member: &str,
        body: &B,
    ) -> Result<Message, Failure> {
        let serial = self.send(to, member, body)?;
        self.reply(serial)
    }

    /// Waits for the answer; a refusal of what was sent before ends the conversation too.
    pub(crate) fn reply(&mut self, serial: u32) -> Result<Message, Failure> {
        let deadline = Instant::now() + self.limit;
        loop {
            let message = self.next(deadline)?;
            match message.kind {
                METHOD_RETURN if message.reply_to == serial => return Ok(message),
                ERROR if message.reply_to <= serial => {
                    let text = match message.has_text {
                        true => message.read::<(String,)>()?.0,
                        false => "no reason is given".to_owned(),
                    };
                    let refused = Failure::Refused { name: message.error, text };
                    return Err(match message.reply_to == serial {
                        true => refused,
                        // Of the calls before; what became of this one is not known.
                        false => Failure::Broken(refused.into()),
                    });
                }
                SIGNAL => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// Waits for the signal that `is_it` knows, also among those that came before an answer.
    pub(crate) fn signal<T>(&mut self, is_it: impl Fn(&Message) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + self.limit;
        while let Some(message) = self.signals.pop_front() {
            if let Some(found) = is_it(&message) {
                return Ok(found);
            }
        }
        loop {
            if let Some(found) = is_it(&self.next(deadline)?) {
                return Ok(found);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self.stream.write_all(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bail!("the bus takes no message for {} s", self.limit.as_secs())
            }
            outcome => outcome.context(|| "write to the bus"),
        }
    }

    fn message<B: Serialize + Type>(
        &mut self,
        to: Target,
        member: &str,
        body: &B,
    ) -> Result<Vec<u8>> {
        self.serial += 1;
        let wire = Wire::new_dbus(Endian::Little, 0);
        let body = match B::SIGNATURE {
            Signature::Unit => Vec::new(),
            _ => zvariant::to_bytes(wire, body).map_err(malformed)?.bytes().to_vec(),
        };
        let length = u32::try_from(body.len()).map_err(|_| Error::text("too long a message"))?;
        let mut message = vec![b'l', METHOD_CALL, 0, 1];
        message.extend(length.to_le_bytes());
        message.extend(self.serial.to_le_bytes());
        message.extend([0; 4]);
        text_field(&mut message, PATH, b'o', to.path);
        text_field(&mut message, INTERFACE, b's', to.interface);
        text_field(&mut message, MEMBER, b's', member);
        text_field(&mut message, DESTINATION, b's', to.name);
        signature_field(&mut message, &B::SIGNATURE.to_string_no_parens());
        let fields = u32::try_from(message.len() - 16).expect("five short fields");
        message[12..16].copy_from_slice(&fields.to_le_bytes());
        align(&mut message);
        message.extend(body);
        Ok(message)
    }

    fn next(&mut self, deadline: Instant) -> Result<Message> {
        while !self.is_accepted {
            self.is_accepted = accepted(&mut self.input)?;
            if !self.is_accepted {
                self.fill(deadline)?;
            }
        }
        loop {
            if let Some(length) = length(&self.input)?
                && self.input.len() >= length
            {
                let rest = self.input.split_off(length);
                let whole = std::mem::replace(&mut self.input, rest);
                return parse(&whole);
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Instant) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no answer within {} s", self.limit.as_secs());
            }
            self.stream.set_read_timeout(Some(left)).context(|| "setsockopt")?;
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the bus closed the connection"),
                Ok(n) => {
                    self.input.extend_from_slice(&buffer[..n]);
                    return Ok(());
                }
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error).context(|| "read from the bus"),
            }
        }
    }
}

pub(super) fn align(message: &mut Vec<u8>) {
    message.resize(message.len().next_multiple_of(8), 0);
}

/// A header field of one of the types that are texts.
pub(super) fn text_field(message: &mut Vec<u8>, code: u8, kind: u8, text: &str) {
    align(message);
    message.extend([code, 1, kind, 0]);
    let length = u32::try_from(text.len()).expect("names are short");
    message.extend(length.to_le_bytes());
    message.extend(text.as_bytes());
    message.push(0);
}

/// The types of the arguments, side by side: zvariant would put several into parentheses.
pub(super) fn signature_field(message: &mut Vec<u8>, signature: &str) {
    if signature.is_empty() {
        return;
    }
    align(message);
    message.extend([SIGNATURE, 1, b'g', 0]);
    message.push(u8::try_from(signature.len()).expect("a signature is at most 255 long"));
    message.extend(signature.as_bytes());
    message.push(0);
}

fn malformed(error: impl std::fmt::Display) -> Error {
    Error::text(format!("D-Bus message: {error}"))
}

/// Whether the server has let us in: it answers DATA to our silence about who we are, and OK.
fn accepted(input: &mut Vec<u8>) -> Result<bool> {
    while let Some(end) = input.windows(2).position(|w| w == b"\r\n") {
        let line: Vec<u8> = input.drain(..end + 2).take(end).collect();
        let line = String::from_utf8_lossy(&line).into_owned();
        match line.split(' ').next() {
            Some("OK") => return Ok(true),
            Some("DATA") => {}
            _ => bail!("the bus does not accept us: {line}"),
        }
    }
    Ok(false)
}

fn word(bytes: &[u8], at: usize, is_big_endian: bool) -> usize {
    let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    (if is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }) as usize
}

/// The whole message's length, as soon as its fixed part is there.
pub(super) fn length(input: &[u8]) -> Result<Option<usize>> {
    if input.len() < 16 {
        return Ok(None);
    }
    let big = input[0] == b'B';
    let (body, fields) = (word(input, 4, big), word(input, 12, big));
    if body > LARGEST || fields > LARGEST {
        bail!("D-Bus message: too long");
    }
    Ok(Some((16 + fields).next_multiple_of(8) + body))
}

pub(super) fn parse(whole: &[u8]) -> Result<Message> {
    let is_big_endian = whole[0] == b'B';
    let endian = if is_big_endian { Endian::Big } else { Endian::Little };
    let start = whole.len() - word(whole, 4, is_big_endian);
    let data = Data::new(&whole[..start], Wire::new_dbus(endian, 0));
    let (header, _) = data
        .deserialize::<(u8, u8, u8, u8, u32, u32, Vec<(u8, Value<'_>)>)>()
        .map_err(malformed)?;
    let mut message = Message {
        kind: header.1,
        is_big_endian,
        body: whole[start..].to_vec(),
        ..Message::default()
    };
    for field in header.6 {
        match field {
            (INTERFACE, Value::Str(text)) => message.interface = text.to_string(),
            (MEMBER, Value::Str(text)) => message.member = text.to_string(),
            (ERROR_NAME, Value::Str(text)) => message.error = text.to_string(),
            (REPLY_SERIAL, Value::U32(serial)) => message.reply_to = serial,
            (SIGNATURE, Value::Signature(s)) => {
                message.has_text = s.to_string_no_parens().starts_with('s');
            }
            _ => {}
        }
    }
    Ok(message)
}

/// A unix socket of a bus address.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Path(Vec<u8>),
    Abstract(Vec<u8>),
}

impl Place {
    fn text(&self) -> String {
        match self {
            Self::Path(path) => String::from_utf8_lossy(path).into_owned(),
            Self::Abstract(name) => format!("@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// `unix:path=/run/bus,guid=…;unix:abstract=…`; other transports are passed over.
fn sockets(address: &str) -> Vec<Place> {
    let one = |part: &str| {
        part.strip_prefix("unix:")?.split(',').find_map(|pair| match pair.split_once('=')? {
            ("path", value) => Some(Place::Path(unescape(value)?)),
            ("abstract", value) => Some(Place::Abstract(unescape(value)?)),
            _ => None,
        })
    };
    address.split(';').filter_map(one).collect()
}

/// `%2f` is a slash.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    Some(out)
}

/// A full backlog of the bus is waited for, as long as for anything else.
fn dial(place: &Place) -> Result<OwnedFd, Errno> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let seconds = i64::try_from(LIMIT.as_secs()).unwrap_or(i64::MAX);
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
    let address = match place {
        Place::Path(path) => UnixAddr::new(&**path)?,
        Place::Abstract(name) => UnixAddr::new_abstract(name)?,
    };
    loop {
        match connect(fd.as_raw_fd(), &address) {
            Err(Errno::EINTR) => {}
            outcome => return outcome.map(|()| fd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(
            sockets("tcp:host=x;unix:path=/run/a%20b,guid=1;unix:guid=2,abstract=/tmp/x"),
            [Place::Path(b"/run/a b".to_vec()), Place::Abstract(b"/tmp/x".to_vec())]
        );
        assert!(sockets("unix:runtime=yes").is_empty() && sockets("unix:path=%zz").is_empty());
        assert_eq!(
            Bus::connect("tcp:host=x").unwrap_err().to_string(),
            r#""tcp:host=x" names no unix socket"#
        );
        assert_eq!(
            Bus::connect("unix:path=/nonexistent/bus").unwrap_err().to_string(),
            "connect to /nonexistent/bus: ENOENT: no such file or directory"
        );
    }

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        let mut input = vec![b'l', 2, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
        assert_eq!(length(&input).unwrap(), None);
        input.extend([0; 4]);
        assert_eq!(length(&input).unwrap_err().to_string(), "D-Bus message: too long");
    }
}
