//! What the driver's cases run inside: programs that wait, stop, note signals, act as hooks.
// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::waitpid;
use serde_json::json;

use conformance::names::NAMESPACES;
use conformance::{proc, sys};

const LONG: Duration = Duration::from_secs(120);

/// Ends by itself, so that a forgotten container does not stay for good.
pub(crate) fn sleep() -> Result<ExitCode, String> {
    println!("inside: sleeping");
    thread::sleep(LONG);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn exit(code: &str) -> Result<ExitCode, String> {
    code.parse::<u8>().map(ExitCode::from).map_err(|error| format!("{code}: {error}"))
}

pub(crate) fn append(path: &str, line: &str) -> Result<ExitCode, String> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path);
    let file = file.as_mut().map_err(|error| format!("{path}: {error}"))?;
    file.write_all(format!("{line}\n").as_bytes()).map_err(|error| format!("{path}: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints each named signal that arrives, and ends with the last of them.
pub(crate) fn trap(names: &[&str]) -> Result<ExitCode, String> {
    let mut wanted = SigSet::empty();
    for name in names {
        wanted.add(name.parse::<Signal>().map_err(|errno| format!("{name}: {errno}"))?);
    }
    wanted.thread_block().map_err(|errno| errno.to_string())?;
    println!("inside: waiting");
    loop {
        let signal = wanted.wait().map_err(|errno| errno.to_string())?;
        println!("got {signal}");
        if names.last() == Some(&signal.as_str()) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// The signal mask and the ignored signals that the program was started with.
pub(crate) fn signals() -> Result<ExitCode, String> {
    for field in ["SigBlk", "SigIgn"] {
        println!("{field} {}", proc::status("self", field).map_err(|error| error.to_string())?);
    }
    println!("inside: done");
    Ok(ExitCode::SUCCESS)
}

/// One JSON line in the log: who was called, how, where, and with which state on stdin.
pub(crate) fn hook(label: &str, log: &str, rest: &[&str]) -> Result<ExitCode, String> {
    // Long enough for anything that does not wait for this hook to come before it.
    if rest.contains(&"slow") {
        thread::sleep(Duration::from_millis(400));
    }
    let mut stdin = String::new();
    std::io::stdin().read_to_string(&mut stdin).map_err(|error| format!("stdin: {error}"))?;
    let namespaces: BTreeMap<&str, String> = NAMESPACES
        .iter()
        .map(|(kind, file)| (*kind, proc::namespace("self", file).unwrap_or_default()))
        .collect();
    let peer = serde_json::from_str::<serde_json::Value>(&stdin)
        .ok()
        .and_then(|state| state["pid"].as_u64())
        .map(|pid| pid.to_string())
        .and_then(|pid| proc::namespace(&pid, "mnt").ok());
    let root = fs::metadata("/").map(|meta| std::os::unix::fs::MetadataExt::ino(&meta)).ok();
    let note = json!({
        "label": label,
        "args": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "state": serde_json::from_str::<serde_json::Value>(&stdin).unwrap_or_default(),
        "namespaces": namespaces,
        "container_mount_namespace": peer,
        "root": root,
        "host_visible": fs::metadata("/proc/self/exe").is_ok() && fs::metadata(log).is_ok(),
    });
    append(log, &note.to_string())?;
    let failing = rest.contains(&"fail");
    Ok(if failing { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// A hook that outlasts its timeout.
pub(crate) fn slow_hook(log: &str) -> Result<ExitCode, String> {
    thread::sleep(Duration::from_secs(30));
    append(log, "{\"label\":\"slow hook came to its end\"}")
}

/// Opens each device for reading and for writing and prints the outcome.
pub(crate) fn open(paths: &[&str]) -> Result<ExitCode, String> {
    for path in paths {
        let word = |result: std::io::Result<fs::File>| match result {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("errno {}", error.raw_os_error().unwrap_or(0)),
        };
        println!("{path} read {}", word(fs::File::open(path)));
        println!("{path} write {}", word(fs::OpenOptions::new().write(true).open(path)));
    }
    println!("inside: done");
    Ok(ExitCode::SUCCESS)
}

/// The owner of a file as this process sees it.
pub(crate) fn owner(path: &str) -> Result<ExitCode, String> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).map_err(|error| format!("{path}: {error}"))?;
    println!("{path} {} {}\ninside: done", meta.uid(), meta.gid());
    Ok(ExitCode::SUCCESS)
}

/// How many children can live at once before fork is refused.
pub(crate) fn forks(count: &str) -> Result<ExitCode, String> {
    let count: usize = count.parse().map_err(|error| format!("{count}: {error}"))?;
    let mut children = Vec::new();
    let wait = || {
        thread::sleep(Duration::from_millis(300));
        0
    };
    while children.len() < count {
        match sys::fork(wait) {
            Ok(child) => children.push(child),
            Err(_) => break,
        }
    }
    println!("forked {}", children.len());
    for child in children {
        waitpid(child, None).map_err(|errno| format!("wait: {errno}"))?;
    }
    println!("inside: done");
    Ok(ExitCode::SUCCESS)
}
