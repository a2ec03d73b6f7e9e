// SPDX-License-Identifier: Apache-2.0
//! `process.args`, `process.env`, `process.cwd`: what is executed, with what, and where.
//! Child side, in the container's root: `chdir` around the change of user, `complete_env` before it,
//! `find` after it and before Ready, `execve` last.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::{CStr, CString};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, ResolveFlag};
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, execve, faccessat};

use super::home;
use crate::bail;
use crate::error::{Context, Error, Kind, Result, describe};
use crate::oci;
use crate::sys::openat2::openat2;
use crate::sys::{Inside, cstring, path};

#[derive(Debug)]
pub(crate) struct Command {
    args: Vec<CString>,
    env: Vec<CString>,
    /// `PATH` of `env`: directories to look for `args[0]` in.
    path: String,
    /// `env` has no HOME: it comes from the container's /etc/passwd, for this user.
    needs_home_of: Option<u32>,
    cwd: CString,
}

/// Whether `cwd` was entered, or is to be tried again as the container's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chdir {
    Done,
    Refused,
}

impl Command {
    /// `extra_env` comes behind `process.env`: NOTIFY_SOCKET, LISTEN_FDS.
    pub(crate) fn plan(process: &oci::Process<'_>, extra_env: &[String]) -> Result<Self> {
        if process.args.is_empty() {
            bail!("process.args: must not be empty");
        }
        let args = process.args.iter().enumerate().map(|(i, arg)| {
            cstring(arg.as_str()).map_err(|_| Error::text(format!("process.args[{i}]: has a NUL")))
        });
        let cwd = process.cwd.as_str();
        if !cwd.starts_with('/') {
            bail!("process.cwd: {cwd:?} is not an absolute path");
        }
        let variables = process.env.iter().map(AsRef::as_ref);
        let variables = plan_env(variables.chain(extra_env.iter().map(String::as_str)))?;
        let value = |name| variables.iter().find_map(|v: &&str| v.strip_prefix(name));
        Ok(Self {
            args: args.collect::<Result<_>>()?,
            env: variables.iter().map(|v| CString::new(*v).expect("was checked")).collect(),
            path: value("PATH=").unwrap_or_default().to_owned(),
            needs_home_of: value("HOME=").is_none().then_some(process.user.uid),
            cwd: cstring(cwd).map_err(|_| Error::text("process.cwd: has a NUL"))?,
        })
    }

    /// For `Root`, which makes it where it is missing.
    pub(crate) fn cwd(&self) -> &CStr {
        &self.cwd
    }

    /// The environment, for startContainer hooks that have none of their own.
    pub(crate) fn env(&self) -> &[CString] {
        &self.env
    }

    /// Adds HOME from the container's /etc/passwd.
    pub(crate) fn complete_env(&mut self, me: &Inside) {
        let Some(uid) = self.needs_home_of.take() else { return };
        let home = home::of(uid, me);
        self.env.push(CString::new(format!("HOME={home}")).expect("was checked"));
    }

    /// Before the change of user, who may not be allowed to get there.
    pub(crate) fn chdir(&self, _: &Inside) -> Result<Chdir> {
        match self.enter_cwd() {
            Ok(()) => Ok(Chdir::Done),
            // Perhaps the user may what root may not: a volume of theirs, or a network filesystem.
            Err(Errno::EACCES | Errno::EPERM) => Ok(Chdir::Refused),
            Err(errno) => Err(errno).context(|| self.chdir_clause()),
        }
    }

    /// After the change of user: the second try, and the proof that the directory is inside the
    /// root (CVE-2024-21626).
    pub(crate) fn chdir_as_user(&self, before: Chdir, _: &Inside) -> Result<()> {
        if before == Chdir::Refused {
            self.enter_cwd().context(|| self.chdir_clause())?;
        }
        let place = path::getcwd().context(|| self.chdir_clause())?;
        if place.first() != Some(&b'/') {
            bail!("process.cwd: {:?} is outside of the container's root", self.cwd);
        }
        Ok(())
    }

    /// From `/`, where every way into the root ends; over no link of procfs to a descriptor.
    fn enter_cwd(&self) -> Result<(), Errno> {
        let path = self.cwd.to_bytes();
        let path = &path[path.iter().take_while(|byte| **byte == b'/').count()..];
        if path.is_empty() {
            return Ok(());
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match openat2(AT_FDCWD, path, flags, ResolveFlag::RESOLVE_NO_MAGICLINKS) {
            // KERNEL(5.6): drop when openat2 can be assumed.
            Err(Errno::ENOSYS) => nix::unistd::chdir(path),
            other => nix::unistd::fchdir(other?),
        }
    }

    fn chdir_clause(&self) -> String {
        format!("process.cwd: chdir to {:?}", self.cwd)
    }

    /// Where `args[0]` is, as Go's exec.LookPath finds it: managers know its words.
    pub(crate) fn find(&self, _: &Inside) -> Result<CString> {
        self.find_by(executable)
    }

    /// For `check`: what `chdir` and `find` would say. `mode` is of a file below the root, and None where
    /// something will be mounted on the way: then nothing is known.
    pub(crate) fn foresee(
        &self,
        mode: impl Fn(&str) -> Option<Result<u32, Errno>>,
    ) -> [Result<()>; 2] {
        let is_dir = |mode: u32| mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
        let cwd = match mode(&self.cwd.to_string_lossy()) {
            Some(Ok(mode)) if !is_dir(mode) => Err(Errno::ENOTDIR),
            Some(Err(errno @ Errno::ENOTDIR)) => Err(errno),
            _ => Ok(()),
        };
        let is_hidden = Cell::new(false);
        let found = self.find_by(|file| {
            let file = file.to_string_lossy();
            let below_cwd = format!("{}/{file}", self.cwd.to_string_lossy());
            match mode(if file.starts_with('/') { &file } else { &below_cwd }) {
                None => {
                    is_hidden.set(true);
                    Ok(())
                }
                Some(Err(errno)) => Err(Refused::Stat(errno)),
                Some(Ok(mode)) if is_dir(mode) => Err(Refused::Directory),
                Some(Ok(mode)) if mode & 0o111 == 0 => Err(Refused::Access(Errno::EACCES)),
                Some(Ok(_)) => Ok(()),
            }
        });
        let found = if is_hidden.get() { Ok(()) } else { found.map(drop) };
        [cwd.context(|| self.chdir_clause()), found]
    }

    fn find_by(&self, executable: impl Fn(&CStr) -> Result<(), Refused>) -> Result<CString> {
        let name = self.args[0].to_string_lossy();
        let refusal =
            |why: &str| Error::text(format!("exec: {name:?}: {why}")).with_kind(Kind::NoExec);
        if name.contains('/') {
            let refused = |why: Refused| match why {
                Refused::Stat(errno) => refusal(&format!("stat {name}: {}", words(errno))),
                // Docker and Podman exit with 126 on these words only.
                Refused::Directory => refusal("is a directory: permission denied"),
                Refused::Access(errno) => refusal(&words(errno)),
            };
            return executable(&self.args[0]).map(|()| self.args[0].clone()).map_err(refused);
        }
        let not_found = || refusal("executable file not found in $PATH");
        if matches!(&*name, "" | "." | "..") {
            return Err(not_found());
        }
        for directory in self.path.split(':').filter(|_| !self.path.is_empty()) {
            let directory = if directory.is_empty() { "." } else { directory };
            let mut path = directory.trim_end_matches('/').as_bytes().to_vec();
            path.push(b'/');
            path.extend_from_slice(self.args[0].as_bytes());
            let path = cstring(path).expect("neither part has a NUL");
            if executable(&path).is_err() {
                continue;
            }
            if !directory.starts_with('/') {
                return Err(refusal("cannot run executable found relative to current directory"));
            }
            return Ok(path);
        }
        Err(not_found())
    }

    /// Becomes the program; comes back only with the reason why not.
    pub(crate) fn execve(&self, program: &CStr, _: &Inside) -> Result<Infallible> {
        let errno = loop {
            match execve(program, &self.args, &self.env) {
                Ok(never) => match never {},
                Err(Errno::EINTR) => {}
                Err(errno) => break errno,
            }
        };
        let why = match errno {
            // `find` has seen it: what is missing is the one that is to load it.
            Errno::ENOENT => " (its interpreter)",
            Errno::EAGAIN => " (the user has more processes than RLIMIT_NPROC)",
            _ => "",
        };
        let text = format!("exec {}: {}{why}", program.to_string_lossy(), words(errno));
        Err(Error::text(text).with_kind(Kind::NoExec))
    }
}

/// In order, the last of a name only, no empty HOME.
fn plan_env<'a>(variables: impl DoubleEndedIterator<Item = &'a str>) -> Result<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for variable in variables.rev() {
        let Some((name, value)) = variable.split_once('=') else {
            bail!("process.env: invalid environment variable {variable:?}: missing '='");
        };
        if name.is_empty() {
            bail!("process.env: invalid environment variable: name cannot be empty");
        }
        if variable.contains('\0') {
            bail!("process.env: invalid environment variable {name:?}: contains nul byte (\\x00)");
        }
        if seen.insert(name) && (name != "HOME" || !value.is_empty()) {
            out.push(variable);
        }
    }
    out.reverse();
    Ok(out)
}

enum Refused {
    Stat(Errno),
    Directory,
    Access(Errno),
}

/// Whether the effective user may execute the file.
fn executable(file: &CStr) -> Result<(), Refused> {
    let mode = stat(file).map_err(Refused::Stat)?.st_mode;
    if mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
        return Err(Refused::Directory);
    }
    match faccessat(AT_FDCWD, file, AccessFlags::X_OK, AtFlags::AT_EACCESS) {
        Ok(()) => Ok(()),
        // A seccomp filter outside knows nothing of faccessat2; runc looks at the mode then.
        Err(Errno::ENOSYS | Errno::EPERM) if mode & 0o111 != 0 => Ok(()),
        Err(Errno::ENOSYS | Errno::EPERM) => Err(Refused::Access(Errno::EACCES)),
        Err(errno) => Err(Refused::Access(errno)),
    }
}

/// Only the words, without the errno's name: these lines are runc's to the letter.
fn words(errno: Errno) -> String {
    let text = describe(errno);
    text.split_once(": ").map_or(text.clone(), |(_, words)| words.to_owned())
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
