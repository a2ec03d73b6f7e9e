// SPDX-License-Identifier: Apache-2.0
use std::fs::OpenOptions;
use std::io::Read;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{OutputFlags, tcgetattr};
use nix::unistd::{pause, pipe, setsid, write};

use super::*;
use crate::child::process::terminal::Terminal;
use crate::oci;
use crate::sys::Inside;
use crate::sys::clone::{CloneRequest, Fork, clone3};
use crate::sys::fd;
use crate::sys::tty::{self, Size};
use crate::testing::inside;

/// The status of a process that does `body`, with signals as a program finds them.
fn status_of(body: impl FnOnce(&Inside), meanwhile: impl FnOnce(Pid)) -> Result<i32> {
    let foreground = Foreground::prepare()?;
    match clone3(&CloneRequest::default())? {
        Fork::Child(me) => {
            foreground.signals().restore(&me)?;
            body(&me);
            sys::exit(0)
        }
        Fork::Parent { child, pidfd } => {
            foreground.hold()?;
            meanwhile(child);
            foreground.run(child, pidfd.as_fd(), None)
        }
    }
}

#[test]
fn the_exit_code_is_ours() {
    inside(|_| {
        assert_eq!(status_of(|_| sys::exit(42), |_| ())?, 42);
        Ok(())
    });
}

#[test]
fn a_signal_is_passed_on_and_its_number_returned() {
    inside(|_| {
        let wait = |_: &Inside| pause();
        assert_eq!(status_of(wait, |_| raise(Signal::SIGTERM).unwrap())?, 128 + 15);
        Ok(())
    });
}

#[test]
fn death_by_a_real_time_signal_is_told_too() {
    inside(|_| {
        let die = |_: &Inside| {
            let me = pidfd::pidfd_open(getpid()).unwrap();
            pidfd::pidfd_send_signal(me.as_fd(), 40).unwrap();
            pause();
        };
        assert_eq!(status_of(die, |_| ())?, 128 + 40);
        Ok(())
    });
}

#[test]
fn orphans_are_reaped_and_do_not_end_it() {
    inside(|_| {
        become_subreaper();
        let bear_an_orphan = |_: &Inside| match clone3(&CloneRequest::default()).unwrap() {
            Fork::Child(_) => match clone3(&CloneRequest::default()).unwrap() {
                Fork::Child(_) => sys::exit(1),
                Fork::Parent { .. } => sys::exit(2),
            },
            Fork::Parent { child, .. } => {
                nix::sys::wait::waitpid(child, None).unwrap();
                sys::exit(3)
            }
        };
        assert_eq!(status_of(bear_an_orphan, |_| ())?, 3);
        Ok(())
    });
}

const SIZE: Size = Size { rows: 12, columns: 34 };

/// A pseudo terminal of our own as stdin and stderr, a pipe as stdout; returns its master, its
/// slave and the pipe's reading end.
fn stage() -> Result<(OwnedFd, OwnedFd, std::fs::File)> {
    let data = Some("newinstance,ptmxmode=0666,mode=0620");
    mount(Some("devpts"), "/dev/pts", Some("devpts"), MsFlags::empty(), data)?;
    let master = OwnedFd::from(OpenOptions::new().read(true).write(true).open("/dev/pts/ptmx")?);
    tty::unlock(master.as_fd())?;
    tty::set_size(master.as_fd(), SIZE)?;
    let slave = tty::peer(master.as_fd())?;
    let (ours, theirs) = pipe()?;
    fd::dup_to(slave.as_fd(), 0)?;
    fd::dup_to(theirs.as_fd(), 1)?;
    fd::dup_to(slave.as_fd(), 2)?;
    Ok((master, slave, ours.into()))
}

/// What runs on the terminal: says a line, reads one, leaves with 9 if the size is right.
fn program(theirs: Receiver, me: &Inside) -> Result<i32> {
    setsid()?;
    let process = oci::Process { terminal: true, ..Default::default() };
    let terminal = Terminal::plan(&process, Some(theirs))?.expect("a terminal");
    terminal.take(terminal.open(me)?, me)?;
    write(fd::stdio()[1], b"hello\nworld\n")?;
    let mut line = [0; 16];
    let n = nix::unistd::read(fd::stdio()[0], &mut line)?;
    write(fd::stdio()[2], b"got ")?;
    write(fd::stdio()[2], &line[..n])?;
    Ok(if tty::size(fd::stdio()[0])? == SIZE { 9 } else { 1 })
}

#[test]
fn a_terminal_is_relayed_both_ways_and_ours_restored() {
    inside(|_| {
        let stderr = fd::stdio()[2].try_clone_to_owned()?;
        let (keyboard, ours, mut stdout) = stage()?;
        let before = tcgetattr(&ours)?;
        assert!(before.output_flags.contains(OutputFlags::ONLCR));
        let mut foreground = Foreground::prepare()?;
        let theirs = foreground.expect_terminal()?;
        let status = match clone3(&CloneRequest::default())? {
            Fork::Child(me) => {
                foreground.signals().restore(&me)?;
                sys::exit(program(theirs, &me).unwrap_or(2))
            }
            Fork::Parent { child, pidfd } => {
                drop(theirs);
                write(&keyboard, b"typed\n")?;
                foreground.run(child, pidfd.as_fd(), None)?
            }
        };
        fd::dup_to(stderr.as_fd(), 1)?;
        fd::dup_to(stderr.as_fd(), 2)?;
        let mut output = String::new();
        stdout.read_to_string(&mut output)?;
        assert_eq!(status, 9, "{output:?}");
        assert!(output.contains("hello\nworld\n"), "{output:?}");
        assert!(output.contains("typed\n"), "{output:?}");
        assert!(output.ends_with("got typed\n"), "{output:?}");
        assert_eq!(tcgetattr(&ours)?, before);
        Ok(())
    });
}

#[test]
fn a_program_that_writes_more_than_a_pipe_holds_is_drained_to_the_end() {
    inside(|_| {
        let stderr = fd::stdio()[2].try_clone_to_owned()?;
        let (_keyboard, _ours, mut stdout) = stage()?;
        let mut foreground = Foreground::prepare()?;
        let theirs = foreground.expect_terminal()?;
        let write_much = |me: &Inside| -> Result<i32> {
            setsid()?;
            let process = oci::Process { terminal: true, ..Default::default() };
            let terminal = Terminal::plan(&process, Some(theirs))?.expect("a terminal");
            terminal.take(terminal.open(me)?, me)?;
            for i in 0..20_000 {
                write(fd::stdio()[1], format!("{i:07}\n").as_bytes())?;
            }
            Ok(0)
        };
        let (child, pidfd) = match clone3(&CloneRequest::default())? {
            Fork::Child(me) => {
                foreground.signals().restore(&me)?;
                sys::exit(write_much(&me).unwrap_or(2))
            }
            Fork::Parent { child, pidfd } => (child, pidfd),
        };
        let reader = match clone3(&CloneRequest::default())? {
            Fork::Child(_) => {
                fd::dup_to(stderr.as_fd(), 1)?;
                fd::dup_to(stderr.as_fd(), 2)?;
                let mut output = String::new();
                stdout.read_to_string(&mut output)?;
                let good = output.len() == 160_000 && output.ends_with("0019999\n");
                sys::exit(if good { 5 } else { 6 })
            }
            Fork::Parent { child, .. } => child,
        };
        drop(stdout);
        let status = foreground.run(child, pidfd.as_fd(), None);
        // The end of output for the reader, whose status the foreground must not have collected.
        fd::dup_to(stderr.as_fd(), 1)?;
        fd::dup_to(stderr.as_fd(), 2)?;
        assert_eq!(status?, 0);
        let ended = nix::sys::wait::waitpid(reader, None)?;
        assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(reader, 5));
        Ok(())
    });
}

#[test]
fn without_any_terminal_it_says_so() {
    inside(|_| {
        setsid()?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let stderr = fd::stdio()[2].try_clone_to_owned()?;
        (0..3).try_for_each(|stream| fd::dup_to(null.as_fd(), stream))?;
        let error = Foreground::prepare()?.expect_terminal().unwrap_err();
        fd::dup_to(stderr.as_fd(), 2)?;
        let text = "process.terminal: open /dev/tty: ENXIO: no such device or address";
        assert_eq!(error.to_string(), text);
        Ok(())
    });
}
