// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp`: the profile's words turned into the kernel's numbers. Pure. Every word is known
//! or refused by the property's name; unknown system calls are skipped, as the profile may be newer.

use crate::bail;
use crate::error::{Error, Result};
use crate::oci;

use super::names::Name;

/// What a word of `action` is in a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// errnoRet goes into the low 16 bits; EPERM if not given.
    TakesErrno,
}

const ACTIONS: &[(&str, u32, Kind)] = &[
    ("SCMP_ACT_ALLOW", libc::SECCOMP_RET_ALLOW, Kind::Plain),
    ("SCMP_ACT_ERRNO", libc::SECCOMP_RET_ERRNO, Kind::TakesErrno),
    ("SCMP_ACT_KILL", libc::SECCOMP_RET_KILL_THREAD, Kind::Plain),
    ("SCMP_ACT_KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS, Kind::Plain),
    ("SCMP_ACT_KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD, Kind::Plain),
    ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG, Kind::Plain),
    ("SCMP_ACT_NOTIFY", libc::SECCOMP_RET_USER_NOTIF, Kind::Plain),
    ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE, Kind::TakesErrno),
    ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP, Kind::Plain),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Ge,
    Gt,
    /// `argument & mask == value`.
    MaskedEq,
}

const OPERATORS: &[(&str, Op)] = &[
    ("SCMP_CMP_EQ", Op::Eq),
    ("SCMP_CMP_GE", Op::Ge),
    ("SCMP_CMP_GT", Op::Gt),
    ("SCMP_CMP_LE", Op::Le),
    ("SCMP_CMP_LT", Op::Lt),
    ("SCMP_CMP_MASKED_EQ", Op::MaskedEq),
    ("SCMP_CMP_NE", Op::Ne),
];

pub(crate) fn known_actions() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().map(|row| row.0)
}

pub(crate) fn known_operators() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|row| row.0)
}

#[derive(Debug)]
pub(super) struct Profile {
    /// `SECCOMP_RET_*` for what no rule matches.
    pub(super) default: u32,
    pub(super) rules: Vec<Rule>,
    /// A rule sends to the seccomp agent.
    pub(super) notifies: bool,
}

/// One entry of `syscalls`.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its place in `syscalls`, for messages.
    pub(super) at: usize,
    pub(super) names: Vec<Name>,
    pub(super) action: u32,
    /// Any of these, each of which is all of its conditions; one without conditions is always.
    pub(super) alternatives: Vec<Vec<Condition>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) arg: u32,
    pub(super) op: Op,
    /// All ones but for `MaskedEq`.
    pub(super) mask: u64,
    /// Within the mask.
    pub(super) value: u64,
}

impl Profile {
    pub(super) fn plan(profile: &oci::Seccomp<'_>) -> Result<Self> {
        let default = action(&profile.default_action, profile.default_errno_ret)
            .map_err(|e| e.at("linux.seccomp", "defaultAction", "defaultErrnoRet"))?;
        if default == libc::SECCOMP_RET_USER_NOTIF {
            bail!("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action");
        }
        let mut notifies = false;
        let mut rules = Vec::with_capacity(profile.syscalls.len());
        for (at, syscall) in profile.syscalls.iter().enumerate() {
            let rule = Rule::plan(at, syscall)?;
            // An unknown name still asks for a listener, as in runc.
            notifies |= is_notify(rule.action) && !syscall.names.is_empty();
            rules.push(rule);
        }
        Ok(Self { default, rules, notifies })
    }
}

impl Rule {
    fn plan(at: usize, syscall: &oci::Syscall<'_>) -> Result<Self> {
        let here = || format!("linux.seccomp.syscalls[{at}]");
        let action = action(&syscall.action, syscall.errno_ret)
            .map_err(|e| e.at(&here(), "action", "errnoRet"))?;
        let mut names = Vec::with_capacity(syscall.names.len());
        for (i, name) in syscall.names.iter().enumerate() {
            if name.is_empty() {
                bail!("{}.names[{i}]: empty string is not a valid syscall", here());
            }
            // As in runc, which would wait for itself; nobody has written such a profile since.
            if is_notify(action) && *name == "write" {
                bail!(
                    "{}.names[{i}]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
                    here()
                );
            }
            names.extend(Name::find(name));
        }
        let conditions = syscall
            .args
            .iter()
            .enumerate()
            .map(|(i, arg)| {
                condition(arg).map_err(|text| Error::text(format!("{}.args[{i}].{text}", here())))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { at, names, action, alternatives: alternatives(conditions) })
    }

    pub(super) fn is_unconditional(&self) -> bool {
        matches!(self.alternatives.as_slice(), [conditions] if conditions.is_empty())
    }
}

fn is_notify(action: u32) -> bool {
    action == libc::SECCOMP_RET_USER_NOTIF
}

/// Two conditions on one argument can't be meant together: as in runc, each is a rule of its own.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let repeats = |(i, c): (usize, &Condition)| conditions[..i].iter().any(|d| d.arg == c.arg);
    if conditions.iter().enumerate().any(repeats) {
        return conditions.into_iter().map(|condition| vec![condition]).collect();
    }
    vec![conditions]
}

fn condition(arg: &oci::Arg<'_>) -> Result<Condition, String> {
    let Some((_, op)) = OPERATORS.iter().find(|row| arg.op == row.0) else {
        return Err(format!("op: unknown operator {:?}", arg.op.as_str()));
    };
    if arg.index > 5 {
        return Err(format!("index: {} is not an argument: a system call has 0 to 5", arg.index));
    }
    let (mask, value) = match op {
        Op::MaskedEq => (arg.value, arg.value_two & arg.value),
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Ge | Op::Gt => (u64::MAX, arg.value),
    };
    Ok(Condition { arg: arg.index, op: *op, mask, value })
}

/// Why an action and its errno can't be had.
enum Bad {
    Action(String),
    Errno(String),
}

impl Bad {
    fn at(self, place: &str, action: &str, errno: &str) -> Error {
        Error::text(match self {
            Self::Action(text) => format!("{place}.{action}: {text}"),
            Self::Errno(text) => format!("{place}.{errno}: {text}"),
        })
    }
}

fn action(word: &str, errno: Option<u32>) -> Result<u32, Bad> {
    let Some(&(_, value, kind)) = ACTIONS.iter().find(|row| row.0 == word) else {
        return Err(Bad::Action(format!("unknown action {word:?}")));
    };
    match (kind, errno) {
        (Kind::Plain, None) => Ok(value),
        // config-linux.md#seccomp: "the runtime MUST print and error and fail".
        (Kind::Plain, Some(_)) => Err(Bad::Errno(format!("{word} takes no errno"))),
        (Kind::TakesErrno, None) => Ok(value | libc::EPERM as u32),
        (Kind::TakesErrno, Some(errno)) if errno <= libc::SECCOMP_RET_DATA => Ok(value | errno),
        (Kind::TakesErrno, Some(errno)) => Err(Bad::Errno(format!("{errno} is above 65535"))),
    }
}
