// SPDX-License-Identifier: Apache-2.0
//! /dev/pts/N was exchanged for something else between the opening of the terminal and the mount of
//! its path on /dev/console.

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::arena::{Arena, delete};
use super::case::{Case, Outcome, Stop, vulnerable};
use super::common::{Bundle, json};
use super::racer::Racer;
use super::{console, cve_2026_41579, seen};

pub(crate) const CASE: Case = Case {
    id: "CVE-2025-52565",
    who: "runc",
    attack: "/dev/pts is exchanged for a directory with files called as terminals",
    run,
    // No terminal is bound to /dev/console.
    weaken: |weak| {
        if weak.args[0] == "create" {
            weak.config["process"]["terminal"] = json!(false);
            weak.args.retain(|arg| !arg.contains("console"));
        }
    },
};

fn run(arena: &Arena) -> Outcome {
    let volume = arena.volume();
    fs::create_dir(volume.join("pts")).expect("mkdir");
    fs::create_dir(volume.join("fake")).expect("mkdir");
    for n in 0..4 {
        fs::write(volume.join(format!("fake/{n}")), "no terminal").expect("write");
    }
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&volume.join("null"), SFlag::S_IFCHR, mode, makedev(1, 3)).expect("mknod");
    symlink("pts/ptmx", volume.join("ptmx")).expect("symlink");
    fs::write(volume.join("console"), "").expect("write");
    let mut bundle = Bundle::with_args(&["/bin/sleep", "100"]);
    cve_2026_41579::without_dev(&mut bundle);
    bundle.set("/mounts/-", arena.volume_mount("/dev"));
    bundle.set(
        "/mounts/-",
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
    );
    let (run, terminal) = console::create(&mut bundle);
    run.ok();
    is_terminal(bundle.pid())?;
    drop(terminal);
    delete(&bundle);
    let _racer = Racer::start(arena, "pts", "fake");
    let mut race = arena.race();
    while race.goes_on() {
        let (run, terminal) = console::create(&mut bundle);
        match run.code {
            0 => is_terminal(bundle.pid())?,
            _ => race.lost += 1,
        }
        drop(terminal);
        delete(&bundle);
        arena.untouched()?;
    }
    Ok(race.told())
}

/// /dev/console and the streams are pseudo terminals of a devpts.
fn is_terminal(pid: i32) -> Result<(), Stop> {
    let consoles = seen::mounts(pid);
    let console = consoles.iter().rfind(|mount| mount.point.ends_with("/console"));
    match console.map(|mount| mount.kind.as_str()) {
        Some("devpts") => {}
        other => return vulnerable(format!("/dev/console is of {other:?}, not devpts")),
    }
    for stream in 0..3 {
        let about = nix::sys::stat::stat(format!("/proc/{pid}/fd/{stream}").as_str());
        match about.map(|about| seen::device(&about).0) {
            // Unix98 pseudo terminals.
            Ok(136) => {}
            other => return vulnerable(format!("stream {stream} is no terminal: {other:?}")),
        }
    }
    Ok(())
}
