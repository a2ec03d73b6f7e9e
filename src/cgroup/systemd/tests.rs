// SPDX-License-Identifier: Apache-2.0
//! The manager's calls against a bus that has said all its answers before it is asked: what creel
//! sends is read afterwards, every message of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::Serialize;
use zvariant::serialized::Context as Wire;
use zvariant::{Endian, ObjectPath, OwnedValue, Type, Value};

use super::dbus::{self, Message};
use super::manager::{Manager, NotStarted};
use super::property::property;

const LIMIT: Duration = Duration::from_millis(200);
const JOB: &str = "/org/freedesktop/systemd1/job/7";
const OTHER: &str = "/org/freedesktop/systemd1/job/8";

/// The other end of a connection.
struct Bus(UnixStream);

impl Bus {
    /// One that lets us in; the answer to Hello is the first.
    fn open() -> (Self, Manager) {
        let (bus, manager) = Self::silent();
        bus.say(b"DATA\r\nOK 0123456789abcdef\r\n").answer(1, &(":1.5",));
        (bus, manager)
    }

    fn silent() -> (Self, Manager) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Self(theirs), Manager::over(ours, LIMIT))
    }

    fn say(&self, bytes: &[u8]) -> &Self {
        (&self.0).write_all(bytes).unwrap();
        self
    }

    fn message<B: Serialize + Type>(&self, start: &[u8], fields: &[u8], body: &B) -> &Self {
        let bytes = zvariant::to_bytes(Wire::new_dbus(Endian::Little, 0), body).unwrap();
        let mut message = start.to_vec();
        message.extend(u32::try_from(bytes.bytes().len()).unwrap().to_le_bytes());
        message.extend(99_u32.to_le_bytes());
        message.extend([0; 4]);
        message.extend(fields);
        dbus::signature_field(&mut message, &B::SIGNATURE.to_string_no_parens());
        let length = u32::try_from(message.len() - 16).unwrap();
        message[12..16].copy_from_slice(&length.to_le_bytes());
        dbus::align(&mut message);
        message.extend(bytes.bytes());
        self.say(&message)
    }

    fn answer<B: Serialize + Type>(&self, serial: u8, body: &B) -> &Self {
        self.message(&[b'l', 2, 1, 1], &[5, 1, b'u', 0, serial, 0, 0, 0], body)
    }

    fn refuse(&self, serial: u8, name: &str) -> &Self {
        let mut fields = vec![5, 1, b'u', 0, serial, 0, 0, 0];
        dbus::text_field(&mut fields, 4, b's', name);
        self.message(&[b'l', 3, 1, 1], &fields, &("Says why.",))
    }

    fn job(&self, serial: u8) -> &Self {
        self.answer(serial, &(ObjectPath::try_from(JOB).unwrap(),))
    }

    fn removed(&self, job: &str, result: &str) -> &Self {
        let mut fields = Vec::new();
        dbus::text_field(&mut fields, 1, b'o', "/org/freedesktop/systemd1");
        dbus::text_field(&mut fields, 2, b's', "org.freedesktop.systemd1.Manager");
        dbus::text_field(&mut fields, 3, b's', "JobRemoved");
        let body = (7_u32, ObjectPath::try_from(job).unwrap(), "a.scope", result);
        self.message(&[b'l', 4, 1, 1], &fields, &body)
    }

    /// All that has been sent, after the lines of the beginning.
    fn sent(mut self, manager: Manager) -> Vec<Message> {
        drop(manager);
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        let start = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
        assert!(bytes.starts_with(start));
        let mut rest = &bytes[start.len()..];
        let mut messages = Vec::new();
        while let Some(length) = dbus::length(rest).unwrap() {
            messages.push(dbus::parse(&rest[..length]).unwrap());
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        messages
    }
}

fn members(sent: &[Message]) -> Vec<&str> {
    sent.iter().map(|message| &*message.member).collect()
}

fn start(manager: &mut Manager) -> Result<(), NotStarted> {
    manager.start("a.scope", &[property("MemoryMax", 5_u64), property("PIDs", vec![42_u32])])
}

/// How a start ended that was refused (false) or broke off (true).
fn failed(outcome: Result<(), NotStarted>) -> (bool, String) {
    match outcome.expect_err("a failure") {
        NotStarted::Refused(error) => (false, error.to_string()),
        NotStarted::Broken(error) => (true, error.to_string()),
    }
}

type Start = (String, String, Vec<(String, OwnedValue)>, Vec<(String, Vec<(String, OwnedValue)>)>);

#[test]
fn a_start_is_one_connection_one_call_one_signal() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).job(3).removed(OTHER, "failed").removed(JOB, "done");
    start(&mut manager).unwrap();
    let sent = bus.sent(manager);
    assert_eq!(members(&sent), ["Hello", "AddMatch", "StartTransientUnit"]);
    let (rule,) = sent[1].read::<(String,)>().unwrap();
    assert!(rule.contains("member='JobRemoved'") && rule.ends_with(",arg2='a.scope'"), "{rule}");
    let (unit, mode, properties, auxiliary) = sent[2].read::<Start>().unwrap();
    assert_eq!((&*unit, &*mode, auxiliary.len()), ("a.scope", "replace", 0));
    let shown: Vec<_> =
        properties.iter().map(|(name, v)| (&**name, Value::from(v.clone()))).collect();
    assert_eq!(shown, [("MemoryMax", Value::U64(5)), ("PIDs", Value::from(vec![42_u32]))]);
}

#[test]
fn a_job_that_ends_before_the_answer_counts() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).removed(JOB, "done").job(3);
    start(&mut manager).unwrap();
}

#[test]
fn a_leftover_is_put_away_and_the_start_tried_again() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).refuse(3, "org.freedesktop.systemd1.UnitExists").answer(4, &());
    bus.job(5).removed(JOB, "done");
    start(&mut manager).unwrap();
    let sent = bus.sent(manager);
    let want = ["Hello", "AddMatch", "StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"];
    assert_eq!(members(&sent), want);
    assert_eq!(sent[3].read::<(String,)>().unwrap().0, "a.scope");
}

#[test]
fn a_live_unit_is_refused() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).refuse(3, "org.freedesktop.systemd1.UnitExists").answer(4, &());
    bus.refuse(5, "org.freedesktop.systemd1.UnitExists");
    let want = "org.freedesktop.systemd1.UnitExists: Says why.";
    assert_eq!(failed(start(&mut manager)), (false, want.to_owned()));
}

#[test]
fn a_property_that_systemd_does_not_take_is_refused_at_once() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).refuse(3, "org.freedesktop.DBus.Error.PropertyReadOnly");
    let want = "org.freedesktop.DBus.Error.PropertyReadOnly: Says why.";
    assert_eq!(failed(start(&mut manager)), (false, want.to_owned()));
    assert_eq!(members(&bus.sent(manager)), ["Hello", "AddMatch", "StartTransientUnit"]);
}

#[test]
fn with_a_call_before_it_refused_a_unit_may_be_there() {
    let (bus, mut manager) = Bus::open();
    bus.refuse(2, "org.freedesktop.DBus.Error.LimitsExceeded");
    let want = "org.freedesktop.DBus.Error.LimitsExceeded: Says why.";
    assert_eq!(failed(start(&mut manager)), (true, want.to_owned()));
}

#[test]
fn a_job_that_fails_tells_its_result() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).job(3).removed(JOB, "failed");
    assert_eq!(failed(start(&mut manager)), (true, r#"the job ended as "failed""#.to_owned()));
}

#[test]
fn silence_has_a_limit() {
    let began = Instant::now();
    let (bus, mut manager) = Bus::silent();
    assert_eq!(failed(start(&mut manager)), (true, "no answer within 0 s".to_owned()));
    let (other, mut manager) = Bus::open();
    other.answer(2, &()).job(3).removed(OTHER, "done");
    let want = "wait for its job: no answer within 0 s";
    assert_eq!(failed(start(&mut manager)), (true, want.to_owned()));
    assert!(began.elapsed() >= LIMIT * 2 && began.elapsed() < LIMIT * 20);
    drop((bus, other));
}

#[test]
fn a_bus_that_ends_or_turns_us_away_is_an_error() {
    let (bus, mut manager) = Bus::open();
    drop(bus.0.shutdown(std::net::Shutdown::Write));
    assert_eq!(failed(start(&mut manager)), (true, "the bus closed the connection".to_owned()));
    let (bus, mut manager) = Bus::silent();
    bus.say(b"REJECTED EXTERNAL\r\n");
    let want = "the bus does not accept us: REJECTED EXTERNAL";
    assert_eq!(failed(start(&mut manager)), (true, want.to_owned()));
}

#[test]
fn answers_that_come_in_pieces_are_put_together() {
    let (bus, mut manager) = Bus::silent();
    let (whole, _) = Bus::open();
    let other = {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let copy = Bus(theirs);
        copy.say(b"DATA\r\nOK 1\r\n").answer(1, &(":1.5",)).answer(2, &()).job(3);
        copy.removed(JOB, "done");
        drop(copy);
        ours
    };
    drop(whole);
    let mut bytes = Vec::new();
    (&other).read_to_end(&mut bytes).unwrap();
    let sender = bus.0.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in bytes.chunks(7) {
                (&sender).write_all(piece).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        start(&mut manager).unwrap();
    });
}

#[test]
fn a_stop_waits_for_its_job_and_resets_what_stays() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).job(3).removed(JOB, "done");
    manager.stop("a.scope", || true).unwrap();
    assert_eq!(members(&bus.sent(manager)), ["Hello", "AddMatch", "StopUnit"]);

    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).job(3).removed(JOB, "done").answer(4, &());
    manager.stop("a.scope", || false).unwrap();
    let want = ["Hello", "AddMatch", "StopUnit", "ResetFailedUnit"];
    assert_eq!(members(&bus.sent(manager)), want);
}

#[test]
fn a_unit_that_is_gone_is_stopped() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).refuse(3, "org.freedesktop.systemd1.NoSuchUnit");
    manager.stop("a.scope", || false).unwrap();
    assert_eq!(members(&bus.sent(manager)), ["Hello", "AddMatch", "StopUnit"]);

    let (bus, mut manager) = Bus::open();
    bus.answer(2, &()).refuse(3, "org.freedesktop.DBus.Error.AccessDenied");
    assert_eq!(
        manager.stop("a.scope", || false).unwrap_err().to_string(),
        "org.freedesktop.DBus.Error.AccessDenied: Says why."
    );
}

#[test]
fn an_update_is_one_call_for_the_time_being() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &());
    manager.set("a.scope", &[property("TasksMax", 9_u64)]).unwrap();
    let sent = bus.sent(manager);
    assert_eq!(members(&sent), ["Hello", "SetUnitProperties"]);
    let (unit, is_runtime, properties) =
        sent[1].read::<(String, bool, Vec<(String, OwnedValue)>)>().unwrap();
    assert_eq!((&*unit, is_runtime, properties.len()), ("a.scope", true, 1));
}

#[test]
fn a_process_is_attached_by_the_manager() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &());
    manager.attach("a.scope", "/sub", 42).unwrap();
    let sent = bus.sent(manager);
    assert_eq!(members(&sent), ["Hello", "AttachProcessesToUnit"]);
    let want = ("a.scope".to_owned(), "/sub".to_owned(), vec![42]);
    assert_eq!(sent[1].read::<(String, String, Vec<u32>)>().unwrap(), want);
}

#[test]
fn versions_and_places_are_read() {
    let (bus, mut manager) = Bus::open();
    bus.answer(2, &(Value::from("257.13-1"),)).answer(3, &(Value::from("/user.slice/x"),));
    assert_eq!(manager.version().unwrap(), 257);
    assert_eq!(manager.control_group().unwrap(), "/user.slice/x");
    assert_eq!(members(&bus.sent(manager)), ["Hello", "Get", "Get"]);
}
