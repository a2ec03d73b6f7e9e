// SPDX-License-Identifier: Apache-2.0
//! /proc/PID/stat: what tells whether a process is still the one that it was.

use nix::errno::Errno;
use nix::unistd::Pid;

/// What /proc/PID/stat tells that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessFacts {
    pub start_time: u64,
    /// `R`, `S`, `D` …
    pub state: char,
}

impl ProcessFacts {
    /// Zombie or dead.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// `R`, `S`, `D` …: what it is doing; None when it is gone.
pub(crate) fn state_letter(pid: Pid) -> Option<char> {
    process_of(pid).ok().flatten().map(|process| process.state)
}

/// None: no such process.
pub(crate) fn process_of(pid: Pid) -> Result<Option<ProcessFacts>, Errno> {
    // Fifty numbers and a name.
    let mut buffer = [0; 2048];
    let stat = crate::file::open(["/proc/", &pid.as_raw().to_string(), "/stat"].concat())
        .and_then(|fd| Ok(parse_stat(crate::file::read_short(&fd, &mut buffer)?)));
    match stat {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        stat => stat,
    }
}

/// Fields 3 and 22; the name in field 2 may hold anything, no UTF-8 even, so count from its closing
/// bracket.
pub(crate) fn parse_stat(line: &[u8]) -> Option<ProcessFacts> {
    // A name is 64 bytes at most, or four times that when each is written in octal.
    let end = line[..line.len().min(300)].iter().rposition(|byte| *byte == b')')?;
    let state = char::from(*line.get(end + 2)?);
    let (mut spaces, mut start_time) = (0, 0_u64);
    for byte in &line[end + 1..] {
        match byte {
            b' ' if spaces == 20 => return Some(ProcessFacts { start_time, state }),
            b' ' => spaces += 1,
            b'0'..=b'9' if spaces == 20 => {
                start_time = start_time.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_confuses_stat() {
        for name in ["a) Z (b", ") S 1", "", "a\\012b", "x y"] {
            let line = format!("7 ({name}) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0");
            let got = parse_stat(line.as_bytes()).unwrap();
            assert_eq!(got, ProcessFacts { start_time: 4242, state: 'S' }, "{name}");
            assert!(!got.is_dead());
        }
        let no_utf_8 = b"7 (\xff) \xff) Z 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert!(parse_stat(no_utf_8).unwrap().is_dead());
        for short in [
            "",
            "7 (a",
            "7 (a)",
            "7 (a) ",
            "7 (a) S 1 7 7",
            "7 (a) S 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 99999999999999999999 ",
        ] {
            assert_eq!(parse_stat(short.as_bytes()), None, "{short}");
        }
        assert!(process_of(nix::unistd::getpid()).unwrap().is_some());
    }
}
