// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp.syscalls` on one architecture: what happens to each system call number. Pure.
//! Rules that meet on a number are joined as libseccomp does it, which is what profiles were
//! written and tested with.

use std::ops::Range;

use crate::bail;
use crate::error::Result;

use super::arch::Arch;
use super::names::Name;
use super::profile::{Condition, Op, Profile, Rule};

/// What a system call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Action(u32),
    /// The first branch whose conditions all hold; the profile's default if none does.
    Branches(Vec<Branch>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    /// By rising argument; never empty.
    pub(super) when: Vec<Condition>,
    pub(super) action: u32,
}

/// The rules of one architecture.
#[derive(Debug)]
pub(super) struct Section {
    /// By rising number.
    pub(super) outcomes: Vec<(u32, Outcome)>,
    /// The newest system call that the profile names, unless that is number 0 (as runc has it).
    pub(super) newest: Option<u32>,
}

/// One rule on one number; through a multiplexer if `call` is set.
struct Entry<'p> {
    number: u32,
    call: Option<u32>,
    name: Name,
    rule: &'p Rule,
}

impl Section {
    pub(super) fn plan(profile: &Profile, arch: Arch) -> Result<Self> {
        let mut entries = Vec::with_capacity(512);
        let mut newest = 0;
        for rule in &profile.rules {
            let first = entries.len();
            for &name in &rule.names {
                let (number, call) = (name.number(arch), multiplexed(name, arch));
                entries.extend(number.map(|number| Entry { number, call: None, name, rule }));
                entries.extend(call.map(|(number, call)| Entry {
                    number,
                    call: Some(call),
                    name,
                    rule,
                }));
            }
            newest = entries[first..].iter().map(|entry| entry.number).fold(newest, u32::max);
            // runc leaves out what says no more than the default, before rules meet.
            if rule.action == profile.default {
                entries.truncate(first);
            }
        }
        // Stable: rules on one number stay in the profile's order.
        entries.sort_by_key(|entry| entry.number);
        let outcomes = entries
            .chunk_by(|a, b| a.number == b.number)
            .map(|entries| Ok((entries[0].number, join(entries, arch)?)))
            .collect::<Result<_>>()?;
        Ok(Self { outcomes, newest: (newest != 0).then_some(newest) })
    }
}

/// A first unconditional rule stands; a later one replaces conditional ones before it.
fn join(entries: &[Entry<'_>], arch: Arch) -> Result<Outcome> {
    let mut branches = Vec::new();
    for entry in entries {
        for conditions in &entry.rule.alternatives {
            let branch =
                Branch { when: effective(conditions, entry.call, arch), action: entry.rule.action };
            if branch.when.is_empty() {
                return Ok(Outcome::Action(branch.action));
            }
            if let Err(Conflict) = add(&mut branches, branch, arch) {
                bail!(
                    "linux.seccomp.syscalls[{}]: {} has another action for the same arguments in an \
                     earlier rule",
                    entry.rule.at,
                    entry.name.as_str()
                );
            }
        }
    }
    Ok(Outcome::Branches(branches))
}

/// The conditions as this architecture can check them, by rising argument, without those that
/// always hold.
fn effective(conditions: &[Condition], call: Option<u32>, arch: Arch) -> Vec<Condition> {
    let width = if arch.is_wide() { u64::MAX } else { u64::from(u32::MAX) };
    let mut when: Vec<_> = conditions
        .iter()
        .map(|c| Condition { mask: c.mask & width, value: c.value & width, ..*c })
        .filter(|c| c.mask != 0)
        .collect();
    if let Some(call) = call {
        // The multiplexer's own argument takes the place of the call's first one.
        when.retain(|c| c.arg != 0);
        when.push(Condition { arg: 0, op: Op::Eq, mask: width, value: call.into() });
    }
    when.sort_by_key(|c| c.arg);
    when
}

struct Conflict;

/// Puts a branch where libseccomp would test it. It adds nothing where an earlier, wider branch has
/// the same action, and replaces narrower ones with the same action. Where the tests begin alike and
/// the actions differ, an earlier, wider branch stands, and an earlier, narrower one is a
/// contradiction.
fn add(branches: &mut Vec<Branch>, new: Branch, arch: Arch) -> Result<(), Conflict> {
    for old in &*branches {
        let is_redundant = match old.action == new.action {
            true => is_within(&old.when, &new.when),
            false if old.when.starts_with(&new.when) => return Err(Conflict),
            false => new.when.starts_with(&old.when),
        };
        if is_redundant {
            return Ok(());
        }
    }
    branches.retain(|old| old.action != new.action || !is_within(&new.when, &old.when));
    let at = place(branches, &new, arch);
    branches.insert(at, new);
    Ok(())
}

/// Whether all of `few` are among `many`.
fn is_within(few: &[Condition], many: &[Condition]) -> bool {
    few.iter().all(|condition| many.contains(condition))
}

/// libseccomp's order: a tree of 32-bit tests, siblings sorted so that the more specific test of a
/// kind comes first, and equal tests shared. It matters where rules with different actions overlap.
fn place(branches: &[Branch], new: &Branch, arch: Arch) -> usize {
    let steps = steps(&new.when, arch);
    let others: Vec<_> = branches.iter().map(|branch| self::steps(&branch.when, arch)).collect();
    let mut level: Range<usize> = 0..branches.len();
    for (depth, step) in steps.iter().enumerate() {
        let at = |i: &usize| others[*i].get(depth);
        let is_equal = |i: &usize| at(i).is_some_and(|other| other.is_same_test(step));
        let Some(first) = level.clone().find(is_equal) else {
            let is_after = |i: &usize| at(i).is_none_or(|other| other.rank() < step.rank());
            return level.clone().find(is_after).unwrap_or(level.end);
        };
        let end = (first..level.end).find(|i| !is_equal(i)).unwrap_or(level.end);
        level = first..end;
    }
    level.end
}

/// One 32-bit test of libseccomp's tree.
#[derive(Debug, Clone, Copy)]
struct Step {
    arg: u32,
    is_high: bool,
    op: Op,
    /// Ge or Gt where `op` is Lt or Le; whether the bits are masked.
    test: Op,
    mask: u32,
    value: u32,
}

impl Step {
    fn is_same_test(&self, other: &Self) -> bool {
        let key = |s: &Self| (s.arg, s.is_high, s.test, s.mask, s.value);
        key(self) == key(other)
    }

    /// Higher ranks are tested first.
    fn rank(&self) -> (u32, bool, u8, u32) {
        let (kind, value) = match self.op {
            Op::Eq | Op::Ne | Op::MaskedEq => (3, self.value),
            Op::Le | Op::Lt => (2, !self.value),
            Op::Ge | Op::Gt => (1, self.value),
        };
        (self.arg, self.is_high, kind, value)
    }
}

fn steps(when: &[Condition], arch: Arch) -> Vec<Step> {
    let mut steps = Vec::with_capacity(when.len() * 3);
    for &Condition { arg, op, mask, value } in when {
        let test = match op {
            Op::Eq | Op::Ne => Op::Eq,
            Op::Lt | Op::Ge => Op::Ge,
            Op::Le | Op::Gt => Op::Gt,
            Op::MaskedEq => Op::MaskedEq,
        };
        if arch.is_wide() {
            let (mask, value) = ((mask >> 32) as u32, (value >> 32) as u32);
            let high = |test| Step { arg, is_high: true, op, test, mask, value };
            match test {
                Op::Ge | Op::Gt => steps.extend([high(Op::Gt), high(Op::Eq)]),
                _ => steps.push(high(test)),
            }
        }
        let (mask, value) = (mask as u32, value as u32);
        steps.push(Step { arg, is_high: false, op, test, mask, value });
    }
    steps
}

/// The multiplexer's number and the call's number in it (linux/net.h, linux/ipc.h).
pub(super) fn multiplexed(name: Name, arch: Arch) -> Option<(u32, u32)> {
    if !arch.has_multiplexers() {
        return None;
    }
    let (multiplexer, call) = match name.as_str() {
        "socket" => ("socketcall", 1),
        "bind" => ("socketcall", 2),
        "connect" => ("socketcall", 3),
        "listen" => ("socketcall", 4),
        "accept" => ("socketcall", 5),
        "getsockname" => ("socketcall", 6),
        "getpeername" => ("socketcall", 7),
        "socketpair" => ("socketcall", 8),
        "send" => ("socketcall", 9),
        "recv" => ("socketcall", 10),
        "sendto" => ("socketcall", 11),
        "recvfrom" => ("socketcall", 12),
        "shutdown" => ("socketcall", 13),
        "setsockopt" => ("socketcall", 14),
        "getsockopt" => ("socketcall", 15),
        "sendmsg" => ("socketcall", 16),
        "recvmsg" => ("socketcall", 17),
        "accept4" => ("socketcall", 18),
        "recvmmsg" => ("socketcall", 19),
        "sendmmsg" => ("socketcall", 20),
        "semop" => ("ipc", 1),
        "semget" => ("ipc", 2),
        "semctl" => ("ipc", 3),
        "semtimedop" => ("ipc", 4),
        "msgsnd" => ("ipc", 11),
        "msgrcv" => ("ipc", 12),
        "msgget" => ("ipc", 13),
        "msgctl" => ("ipc", 14),
        "shmat" => ("ipc", 21),
        "shmdt" => ("ipc", 22),
        "shmget" => ("ipc", 23),
        "shmctl" => ("ipc", 24),
        _ => return None,
    };
    Some((Name::find(multiplexer)?.number(arch)?, call))
}
