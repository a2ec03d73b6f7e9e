// SPDX-License-Identifier: Apache-2.0
//! One error type: what was being done, outermost first, and the cause.
//! Displayed as one line, clauses joined by `: `, or not at all where a clause starts with a `.property`
//! of the one before. Every failure is reported once, at the top.

use std::fmt;

use nix::errno::Errno;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with the chain of clauses that say what was being done.
#[derive(Debug)]
pub(crate) struct Error {
    /// Innermost first: pushing context is cheap; Display reverses.
    doing: Vec<String>,
    cause: Cause,
    kind: Kind,
}

#[derive(Debug)]
enum Cause {
    Errno(Errno),
    /// With what the kernel does not say.
    Limit(Errno, &'static str),
    Text(String),
    /// A failure in the clone, rendered there, with its errno if it had one.
    Child(String, Option<Errno>),
}

/// What the command line must tell apart; everything else is `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Other = 0,
    /// No container of that id (runc: "container does not exist").
    NoSuchContainer = 1,
    /// The id is taken.
    Exists = 2,
    /// The container's init is gone or was never there.
    NotRunning = 3,
    /// Wrong command line.
    Usage = 4,
    /// The program of `process.args` could not be executed.
    NoExec = 5,
    /// state.json cannot be understood.
    Damaged = 6,
    /// A signal has ended the command; what it had begun is undone.
    Interrupted = 7,
}

impl Kind {
    pub(crate) fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::NoSuchContainer,
            2 => Self::Exists,
            3 => Self::NotRunning,
            4 => Self::Usage,
            5 => Self::NoExec,
            6 => Self::Damaged,
            7 => Self::Interrupted,
            _ => Self::Other,
        }
    }
}

impl Error {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { doing: Vec::new(), cause: Cause::Text(text.into()), kind: Kind::Other }
    }

    /// A failure that crossed from the clone; `errno` 0 is none.
    pub(crate) fn reported(text: impl Into<String>, errno: i32) -> Self {
        let errno = (errno != 0).then(|| Errno::from_raw(errno));
        Self { doing: Vec::new(), cause: Cause::Child(text.into(), errno), kind: Kind::Other }
    }

    /// With the limits that there are: the kernel does not say which.
    pub(crate) fn of_clone3(errno: Errno) -> Self {
        let limits = match errno {
            Errno::EAGAIN => " (RLIMIT_NPROC of the user, or pids.max of a cgroup)",
            Errno::ENOSPC => " (a limit of /proc/sys/user, or 32 namespaces in each other)",
            _ => "",
        };
        let cause = Cause::Limit(errno, limits);
        Self { doing: vec!["clone3".to_owned()], cause, kind: Kind::Other }
    }

    pub(crate) fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The errno at the bottom, for the few callers that branch on it.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Errno(errno) | Cause::Limit(errno, _) => Some(errno),
            Cause::Text(_) => None,
            Cause::Child(_, errno) => errno,
        }
    }

    /// Whether it crossed from the clone.
    pub(crate) fn is_reported(&self) -> bool {
        matches!(self.cause, Cause::Child(..))
    }

    /// With one more clause before it.
    pub(crate) fn within(mut self, doing: String) -> Self {
        self.doing.push(doing);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match &self.cause {
            Cause::Errno(errno) => &describe(*errno),
            Cause::Limit(errno, note) => &format!("{}{note}", describe(*errno)),
            Cause::Text(text) | Cause::Child(text, _) => text,
        };
        for (i, clause) in self.doing.iter().rev().chain([cause]).enumerate() {
            let joint = if i == 0 || is_member(clause) { "" } else { ": " };
            write!(f, "{joint}{clause}")?;
        }
        Ok(())
    }
}

/// Whether the clause is a property of the one before: `mounts[6]` and `.options` are one name.
fn is_member(clause: &str) -> bool {
    clause.strip_prefix('.').is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// `ENOENT: no such file or directory`. In lower case as Go writes it: Docker's client finds exit
/// codes 126 and 127 by those words.
pub(crate) fn describe(errno: Errno) -> String {
    if errno == Errno::EAGAIN {
        // Of a limit, wherever it comes up to here; trying again is for who knows that it helps.
        return "EAGAIN: resource temporarily unavailable".to_owned();
    }
    let full = errno.to_string();
    match full.split_once(": ") {
        Some((name, desc)) => format!("{name}: {}", desc.to_ascii_lowercase()),
        None => full,
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self { doing: Vec::new(), cause: Cause::Errno(errno), kind: Kind::Other }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(n) => Errno::from_raw(n).into(),
            None => Self::text(error.to_string()),
        }
    }
}

/// Adds the clause that names the object, where the object is known.
pub(crate) trait Context<T> {
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| e.into().within(doing().into()))
    }
}

/// `return Err(Error::text(format!(…)))`.
#[macro_export]
macro_rules! bail {
    ($($arg:tt)*) => { return Err($crate::error::Error::text(format!($($arg)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_read_outermost_first_and_errno_is_named_in_lower_case() {
        let inner: Result<(), _> = Err(Errno::EINVAL);
        let error = inner.context(|| "mount tmpfs at /data").context(|| "assemble").unwrap_err();
        assert_eq!(error.to_string(), "assemble: mount tmpfs at /data: EINVAL: invalid argument");
        assert_eq!(error.errno(), Some(Errno::EINVAL));
    }

    #[test]
    fn a_property_of_a_property_is_one_name() {
        let inner: Result<()> = Err(Error::text(".type: must be set"));
        let error = inner.context(|| "mounts[6]").context(|| "config.json").unwrap_err();
        assert_eq!(error.to_string(), "config.json: mounts[6].type: must be set");
    }

    #[test]
    fn a_failed_clone_is_the_parents_and_names_the_limits() {
        let error = Error::of_clone3(Errno::ENOSPC);
        let text = "clone3: ENOSPC: no space left on device \
                    (a limit of /proc/sys/user, or 32 namespaces in each other)";
        assert_eq!(error.to_string(), text);
        assert_eq!((error.errno(), error.is_reported()), (Some(Errno::ENOSPC), false));
    }

    #[test]
    fn docker_finds_its_exit_codes_in_our_words() {
        assert_eq!(describe(Errno::ENOENT), "ENOENT: no such file or directory");
        assert_eq!(describe(Errno::EACCES), "EACCES: permission denied");
        assert_eq!(describe(Errno::EAGAIN), "EAGAIN: resource temporarily unavailable");
    }
}
