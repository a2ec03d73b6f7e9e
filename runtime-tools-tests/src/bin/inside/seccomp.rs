//! `linux.seccomp` by effect: tries system calls and prints what came of each.
// SPDX-License-Identifier: Apache-2.0

use std::process::ExitCode;

use nix::sys::wait::{WaitStatus, waitpid};

use conformance::sys;

/// Calls that read no memory, and change nothing but the child that tries them. A runtime makes
/// none of them on its way to the program, so a filter that answers them harms nothing else.
const CALLS: [(&str, i64); 4] = [
    ("getpgid", libc::SYS_getpgid),
    ("getpriority", libc::SYS_getpriority),
    ("getsid", libc::SYS_getsid),
    ("setfsuid", libc::SYS_setfsuid),
];

/// Each word is `NAME[,ARG...]`; each line is `WORD ok`, `WORD errno N` or `WORD signal NAME`.
pub(crate) fn probe(words: &[&str]) -> Result<ExitCode, String> {
    for word in words {
        let mut parts = word.split(',');
        let name = parts.next().unwrap_or("");
        let number = conformance::names::lookup(&CALLS, name);
        let number = number.ok_or_else(|| format!("no probe for {name}"))?;
        let mut args = [0_u64; 3];
        for (slot, text) in args.iter_mut().zip(parts) {
            *slot = text.parse().map_err(|error| format!("{word}: {error}"))?;
        }
        println!("{word} {}", outcome(number, args)?);
    }
    println!("inside: done");
    Ok(ExitCode::SUCCESS)
}

/// In a child, because the filter may kill.
fn outcome(number: i64, args: [u64; 3]) -> Result<String, String> {
    let attempt = || match sys::probe(number, args) {
        Ok(_) => 0,
        Err(errno) => errno as i32,
    };
    let child = sys::fork(attempt).map_err(|errno| format!("fork: {errno}"))?;
    match waitpid(child, None).map_err(|errno| format!("wait: {errno}"))? {
        WaitStatus::Exited(_, 0) => Ok("ok".into()),
        WaitStatus::Exited(_, errno) => Ok(format!("errno {errno}")),
        WaitStatus::Signaled(_, signal, _) => Ok(format!("signal {signal}")),
        other => Err(format!("{other:?}")),
    }
}
