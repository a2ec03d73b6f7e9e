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

/// Which rules name a system call: the same for all architectures.
#[derive(Debug)]
pub(super) struct Named<'p> {
    profile: &'p Profile,
    /// By name.
    uses: Vec<Use>,
    links: Vec<Link>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Use {
    /// The first of its links, as that one's place and one; 0: no rule has the name.
    link: u32,
    /// What its only rule says, whatever the arguments.
    action: Option<u32>,
}

/// One rule that has a name, where in it, and the link of the next such rule.
#[derive(Debug, Clone, Copy)]
struct Link {
    rule: u32,
    at: u32,
    next: u32,
}

impl<'p> Named<'p> {
    pub(super) fn new(profile: &'p Profile) -> Self {
        let mut uses = vec![Use::default(); Name::COUNT];
        let mut links = Vec::with_capacity(Name::COUNT);
        for (place, rule) in profile.rules.iter().enumerate().rev() {
            let action = rule.is_unconditional().then_some(rule.action);
            for (at, name) in rule.names.iter().enumerate().rev() {
                let head = &mut uses[name.index()];
                links.push(Link { rule: place as u32, at: at as u32, next: head.link });
                let action = action.filter(|_| head.link == 0);
                *head = Use { link: links.len() as u32, action };
            }
        }
        Self { profile, uses, links }
    }

    /// In the profile's order.
    fn entries(
        &self,
        name: Name,
        number: u32,
        call: Option<u32>,
    ) -> impl Iterator<Item = Entry<'p>> {
        let link = |number: u32| Some(self.links[(number as usize).checked_sub(1)?]);
        let links =
            std::iter::successors(link(self.uses[name.index()].link), move |at| link(at.next));
        links.map(move |Link { rule, at, .. }| {
            let rule = &self.profile.rules[rule as usize];
            Entry { number, call, name, rule, at }
        })
    }
}

/// The rules of one architecture.
#[derive(Debug)]
pub(super) struct Section {
    /// By rising number; neighbours that get the same action are one range.
    pub(super) outcomes: Vec<(Range<u32>, Outcome)>,
    /// The newest system call that the profile names, unless that is number 0 (as runc has it).
    pub(super) newest: Option<u32>,
}

/// One rule on one number; through a multiplexer if `call` is set.
#[derive(Clone, Copy)]
struct Entry<'p> {
    number: u32,
    call: Option<u32>,
    name: Name,
    rule: &'p Rule,
    /// Where in the rule the name is.
    at: u32,
}

impl Section {
    pub(super) fn plan(named: &Named<'_>, arch: Arch) -> Result<Self> {
        // runc leaves out what says no more than the default, before rules meet.
        let default = named.profile.default;
        let mut section = Self { outcomes: Vec::with_capacity(64), newest: None };
        let through = through_multiplexers(named, arch);
        let mut through = through.as_slice();
        let mut names = Name::by_number(arch).peekable();
        while let Some((number, name)) = names.next() {
            let here = through.iter().take_while(|entry| entry.number == number).count();
            let (calls, rest) = through.split_at(here);
            through = rest;
            let mut other = || names.next_if(|next| next.0 == number).map(|next| next.1);
            let outcome = match (named.uses[name.index()], other()) {
                (Use { link: 0, .. }, None) if calls.is_empty() => continue,
                // Nearly all are so.
                (Use { action: Some(action), .. }, None) if calls.is_empty() => {
                    (action != default).then_some(Outcome::Action(action))
                }
                (_, second) => {
                    let names = [name].into_iter().chain(second).chain(std::iter::from_fn(other));
                    let direct = names.flat_map(|name| named.entries(name, number, None));
                    let mut entries: Vec<_> = direct.chain(calls.iter().copied()).collect();
                    if entries.is_empty() {
                        continue;
                    }
                    entries.retain(|entry| entry.rule.action != default);
                    entries.sort_by_key(|entry| (entry.rule.at, entry.at));
                    match entries.is_empty() {
                        true => None,
                        false => Some(join(&entries, arch)?),
                    }
                }
            };
            section.newest = Some(number).filter(|number| *number != 0);
            if let Some(outcome) = outcome {
                section.add(number, outcome);
            }
        }
        Ok(section)
    }

    fn add(&mut self, number: u32, outcome: Outcome) {
        match self.outcomes.last_mut() {
            Some((range, Outcome::Action(last)))
                if range.end == number && outcome == Outcome::Action(*last) =>
            {
                range.end += 1;
            }
            _ => self.outcomes.push((number..number + 1, outcome)),
        }
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

/// What socketcall(2) and ipc(2) reach: the call, its way, its number there (linux/net.h, linux/ipc.h).
const MULTIPLEXED: &[(&str, &str, u32)] = &[
    ("socket", "socketcall", 1),
    ("bind", "socketcall", 2),
    ("connect", "socketcall", 3),
    ("listen", "socketcall", 4),
    ("accept", "socketcall", 5),
    ("getsockname", "socketcall", 6),
    ("getpeername", "socketcall", 7),
    ("socketpair", "socketcall", 8),
    ("send", "socketcall", 9),
    ("recv", "socketcall", 10),
    ("sendto", "socketcall", 11),
    ("recvfrom", "socketcall", 12),
    ("shutdown", "socketcall", 13),
    ("setsockopt", "socketcall", 14),
    ("getsockopt", "socketcall", 15),
    ("sendmsg", "socketcall", 16),
    ("recvmsg", "socketcall", 17),
    ("accept4", "socketcall", 18),
    ("recvmmsg", "socketcall", 19),
    ("sendmmsg", "socketcall", 20),
    ("semop", "ipc", 1),
    ("semget", "ipc", 2),
    ("semctl", "ipc", 3),
    ("semtimedop", "ipc", 4),
    ("msgsnd", "ipc", 11),
    ("msgrcv", "ipc", 12),
    ("msgget", "ipc", 13),
    ("msgctl", "ipc", 14),
    ("shmat", "ipc", 21),
    ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23),
    ("shmctl", "ipc", 24),
];

/// By rising number.
fn through_multiplexers<'p>(named: &Named<'p>, arch: Arch) -> Vec<Entry<'p>> {
    let mut entries = Vec::new();
    if !arch.has_multiplexers() {
        return entries;
    }
    for &(name, multiplexer, call) in MULTIPLEXED {
        let of_arch = Name::find(multiplexer).and_then(|multiplexer| multiplexer.number(arch));
        let (Some(name), Some(number)) = (Name::find(name), of_arch) else { continue };
        entries.extend(named.entries(name, number, Some(call)));
    }
    entries.sort_by_key(|entry| entry.number);
    entries
}

/// The multiplexer's number and the call's number in it.
#[cfg(test)]
pub(super) fn multiplexed(name: Name, arch: Arch) -> Option<(u32, u32)> {
    let (_, multiplexer, call) = MULTIPLEXED.iter().find(|row| row.0 == name.as_str())?;
    let number = Name::find(multiplexer)?.number(arch)?;
    arch.has_multiplexers().then_some((number, *call))
}
