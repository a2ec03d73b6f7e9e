// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.devices`: the rules folded into a `Filter` as the v1 controller does it, so that
//! both versions allow the same: a default and exceptions to it. v1 writes it, v2 compiles it.

use std::fmt;

use zvariant::Value;

use super::systemd::{self, Property};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci::{Device, DeviceRule};

/// Read 1, write 2, mknod 4.
pub(crate) type Access = u8;

pub(crate) const READ: Access = 1;
pub(crate) const WRITE: Access = 2;
pub(crate) const MKNOD: Access = 4;
pub(crate) const ALL: Access = READ | WRITE | MKNOD;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Block,
    Char,
}

/// Which devices; None is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Match {
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub kind: Kind,
}

/// A line for `devices.allow` or `devices.deny`; without a match it is all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub allow: bool,
    pub devices: Option<Match>,
    pub access: Access,
}

/// What a cgroup allows: everything or nothing, with exceptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub allow_by_default: bool,
    pub exceptions: Exceptions,
}

/// The default node that the rule belongs to, kind, major, minor, access.
type DefaultRule = (Option<&'static str>, Kind, Option<u32>, Option<u32>, Access);

/// Appended to every container's rules, as runc and crun do; images rely on them.
const DEFAULTS: &[DefaultRule] = &[
    (None, Kind::Char, None, None, MKNOD),
    (None, Kind::Block, None, None, MKNOD),
    (Some("/dev/null"), Kind::Char, Some(1), Some(3), ALL),
    (Some("/dev/random"), Kind::Char, Some(1), Some(8), ALL),
    (Some("/dev/full"), Kind::Char, Some(1), Some(7), ALL),
    (Some("/dev/tty"), Kind::Char, Some(5), Some(0), ALL),
    (Some("/dev/zero"), Kind::Char, Some(1), Some(5), ALL),
    (Some("/dev/urandom"), Kind::Char, Some(1), Some(9), ALL),
    (None, Kind::Char, Some(136), None, ALL),
    (None, Kind::Char, Some(5), Some(2), ALL),
    // /dev/net/tun
    (None, Kind::Char, Some(10), Some(200), ALL),
];

/// Devices and what of them is the exception, in the order in which they were named: what v1's
/// devices.list shows is then the config's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exceptions(Vec<(Match, Access)>);

impl Exceptions {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Match, Access)> {
        self.0.iter().map(|(devices, access)| (devices, *access))
    }

    /// Nothing for devices that were not named.
    pub(crate) fn of(&self, devices: &Match) -> Access {
        self.0.iter().find(|(named, _)| named == devices).map_or(0, |(_, access)| *access)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, devices: Match, access: Access) {
        match self.0.iter_mut().find(|(named, _)| *named == devices) {
            Some((_, present)) => *present |= access,
            None => self.0.push((devices, access)),
        }
    }

    fn take(&mut self, devices: &Match, access: Access) {
        for (named, present) in &mut self.0 {
            if named == devices {
                *present &= !access;
            }
        }
        self.0.retain(|(_, access)| *access != 0);
    }
}

impl Filter {
    /// The config's rules in order, the last one wins, and then the defaults. A default node that
    /// `linux.devices` defines itself brings no rule.
    pub(crate) fn plan(rules: &[DeviceRule<'_>], nodes: &[Device<'_>]) -> Result<Self> {
        let mut filter = Self::plan_strict(rules)?;
        for &(path, kind, major, minor, access) in DEFAULTS {
            if path.is_some_and(|path| nodes.iter().any(|n| n.path == path)) {
                continue;
            }
            let devices = Some(Match { major, minor, kind });
            filter.apply(Rule { allow: true, devices, access })?;
        }
        Ok(filter)
    }

    /// The config's rules alone.
    pub(crate) fn plan_strict(rules: &[DeviceRule<'_>]) -> Result<Self> {
        let mut filter = Self::default();
        for (i, rule) in rules.iter().enumerate() {
            let at = || format!("linux.resources.devices[{i}]");
            filter.apply(parse(rule).context(at)?).context(at)?;
        }
        Ok(filter)
    }

    /// What a cgroup allows now, from its `devices.list`. Exceptions to allow-all are not shown by
    /// the kernel.
    pub(crate) fn from_list(text: &str) -> Result<Self> {
        let mut filter = Self::default();
        for line in text.lines() {
            let rule = parse_line(line)
                .ok_or_else(|| Error::text(format!("devices.list: unknown line {line:?}")))?;
            filter.apply(rule)?;
        }
        Ok(filter)
    }

    pub(crate) fn allows_all(&self) -> bool {
        self.allow_by_default && self.exceptions.is_empty()
    }

    fn apply(&mut self, rule: Rule) -> Result<()> {
        let Some(devices) = rule.devices else {
            *self = Self { allow_by_default: rule.allow, exceptions: Exceptions::default() };
            return Ok(());
        };
        if rule.allow == self.allow_by_default {
            return self.remove(devices, rule.access);
        }
        self.exceptions.add(devices, rule.access);
        Ok(())
    }

    /// Takes an exception back. The v1 kernel ignores it in silence where a wider exception covers
    /// the device, and so the device would stay reachable: refused, as in runc.
    fn remove(&mut self, devices: Match, access: Access) -> Result<()> {
        let Match { major, minor, kind } = devices;
        for (major, minor) in [(None, minor), (major, None), (None, None)] {
            let wider = Match { major, minor, kind };
            let common = self.exceptions.of(&wider) & access;
            if wider != devices && common != 0 {
                bail!(
                    "rule {devices} {} would have to punch a hole in {wider} {}",
                    letters(access),
                    letters(self.exceptions.of(&wider))
                );
            }
        }
        self.exceptions.take(&devices, access);
        Ok(())
    }

    /// The fewest rules that lead from one filter to another; the disruptive "all devices" only
    /// where the default differs or what is there can't be known.
    pub(crate) fn transition(from: &Self, to: &Self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let nothing = Exceptions::default();
        let mut old = &from.exceptions;
        if from.allow_by_default || from.allow_by_default != to.allow_by_default {
            rules.push(Rule { allow: to.allow_by_default, devices: None, access: ALL });
            old = &nothing;
        }
        let mut differing = |list: &Exceptions, other: &Exceptions, allow| {
            for (devices, access) in list.iter() {
                let access = access & !other.of(devices);
                if access != 0 {
                    rules.push(Rule { allow, devices: Some(*devices), access });
                }
            }
        };
        differing(old, &to.exceptions, to.allow_by_default);
        differing(&to.exceptions, old, !to.allow_by_default);
        rules
    }
}

/// As a list of what is allowed, so that what systemd enforces by itself lets the same through.
/// A filter that it has no words for it is not told of on v2, where it then attaches no program; on v1
/// it would open everything, and so it is told to close everything. Either is replaced by the filter.
pub(crate) fn systemd(filter: &Filter, is_unified: bool) -> Vec<Property> {
    let list = |policy: &'static str, allow: Vec<(String, String)>| {
        let allow = Value::from(allow);
        vec![systemd::property("DevicePolicy", policy), ("DeviceAllow".to_owned(), allow)]
    };
    let entries: Option<Vec<_>> =
        filter.exceptions.iter().map(|(devices, access)| devices.systemd(access)).collect();
    match entries {
        _ if filter.allows_all() => list("auto", Vec::new()),
        Some(entries) if !filter.allow_by_default => list("strict", entries),
        _ if is_unified => list("auto", Vec::new()),
        _ => list("strict", Vec::new()),
    }
}

impl Match {
    /// A path, or a pattern for all of a major number. None: any major with one minor number.
    fn systemd(&self, access: Access) -> Option<(String, String)> {
        let kind = match self.kind {
            Kind::Block => "block",
            Kind::Char => "char",
        };
        let path = match (self.major, self.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            (None, None) => format!("{kind}-*"),
            (None, Some(_)) => return None,
        };
        Some((path, letters(access)))
    }
}

impl Rule {
    pub(crate) fn v1_file(&self) -> &'static str {
        if self.allow { "devices.allow" } else { "devices.deny" }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.devices {
            None => f.write_str("a *:* rwm"),
            Some(devices) => write!(f, "{devices} {}", letters(self.access)),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

fn parse(rule: &DeviceRule<'_>) -> Result<Rule> {
    if rule.access.is_empty() {
        bail!(".access: device access cannot be empty");
    }
    let mut access = 0;
    for letter in rule.access.chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            // What runc's users write for all three.
            'a' => READ | WRITE | MKNOD,
            _ => bail!(".access: unknown letter {letter:?} (r, w, m and a are known)"),
        };
    }
    let kind = match &*rule.kind {
        "" | "a" => return Ok(Rule { allow: rule.allow, devices: None, access: ALL }),
        "b" => Kind::Block,
        "c" => Kind::Char,
        other => bail!(".type: invalid cgroup device type {other:?}"),
    };
    let (major, minor) = (number("major", rule.major)?, number("minor", rule.minor)?);
    Ok(Rule { allow: rule.allow, devices: Some(Match { major, minor, kind }), access })
}

/// Absent or -1 is any.
fn number(name: &str, n: Option<i64>) -> Result<Option<u32>> {
    match n {
        None | Some(-1) => Ok(None),
        Some(n) => match u32::try_from(n) {
            Ok(n) => Ok(Some(n)),
            Err(_) => bail!(".{name}: invalid number {n}"),
        },
    }
}

/// `c 1:3 rwm`
fn parse_line(line: &str) -> Option<Rule> {
    let mut words = line.split([' ', ':']);
    let (kind, major, minor) = (words.next()?, words.next()?, words.next()?);
    let kind = match kind {
        "a" => return Some(Rule { allow: true, devices: None, access: ALL }),
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let mut access = 0;
    for letter in words.next()?.chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            // What runc's users write for all three.
            'a' => READ | WRITE | MKNOD,
            _ => return None,
        };
    }
    let devices = Match { major: number(major)?, minor: number(minor)?, kind };
    Some(Rule { allow: true, devices: Some(devices), access })
}

fn letters(access: Access) -> String {
    [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
        .into_iter()
        .filter(|(bit, _)| access & bit != 0)
        .map(|(_, letter)| letter)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> DeviceRule<'_> {
        serde_json::from_str(json).unwrap()
    }

    fn deny_all() -> DeviceRule<'static> {
        rule(r#"{"allow": false, "access": "rwm"}"#)
    }

    fn lines(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(|r| format!("{} {r}", if r.allow { '+' } else { '-' })).collect()
    }

    #[test]
    fn a_fresh_cgroup_is_closed_and_then_opened_for_the_defaults() {
        let filter = Filter::plan(&[deny_all()], &[]).unwrap();
        let fresh = Filter { allow_by_default: true, ..Filter::default() };
        assert_eq!(
            lines(&Filter::transition(&fresh, &filter)),
            [
                "- a *:* rwm",
                "+ c *:* m",
                "+ b *:* m",
                "+ c 1:3 rwm",
                "+ c 1:8 rwm",
                "+ c 1:7 rwm",
                "+ c 5:0 rwm",
                "+ c 1:5 rwm",
                "+ c 1:9 rwm",
                "+ c 136:* rwm",
                "+ c 5:2 rwm",
                "+ c 10:200 rwm",
            ]
        );
    }

    #[test]
    fn a_configured_node_replaces_the_default_nodes_rule() {
        let nodes = [Device { path: "/dev/null".into(), ..Device::default() }];
        let filter = Filter::plan(&[deny_all()], &nodes).unwrap();
        let null = Match { major: Some(1), minor: Some(3), kind: Kind::Char };
        assert_eq!(filter.exceptions.of(&null), 0);
        assert_eq!(filter.exceptions.iter().count(), DEFAULTS.len() - 1);
    }

    #[test]
    fn strict_is_the_configs_rules_and_no_others() {
        let filter = Filter::plan_strict(&[deny_all()]).unwrap();
        assert!(!filter.allow_by_default && filter.exceptions.is_empty());
        let null = rule(r#"{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}"#);
        let filter = Filter::plan_strict(&[deny_all(), null]).unwrap();
        let exceptions: Vec<_> = filter.exceptions.iter().collect();
        let null = Match { major: Some(1), minor: Some(3), kind: Kind::Char };
        assert_eq!(exceptions, [(&null, READ | WRITE)]);
    }

    #[test]
    fn transitions_write_only_what_differs() {
        let from = Filter::from_list("c 1:3 rwm\nb 8:* r\n").unwrap();
        let to = Filter::from_list("c 1:3 rw\nc 1:5 rwm\n").unwrap();
        assert_eq!(
            lines(&Filter::transition(&from, &to)),
            ["- c 1:3 m", "- b 8:* r", "+ c 1:5 rwm"]
        );
        assert!(Filter::transition(&to, &to).is_empty());
    }

    #[test]
    fn allow_all_with_denials() {
        let all = rule(r#"{"allow": true, "access": "rwm"}"#);
        let no_disk = rule(r#"{"allow": false, "type": "b", "major": 8, "access": "rw"}"#);
        let filter = Filter::plan(&[deny_all(), all.clone(), no_disk], &[]).unwrap();
        assert!(filter.allow_by_default && !filter.allows_all());
        assert!(Filter::plan(&[all], &[]).unwrap().allows_all());
        let from = Filter::from_list("a *:* rwm").unwrap();
        assert_eq!(lines(&Filter::transition(&from, &filter)), ["+ a *:* rwm", "- b 8:* rw"]);
    }

    #[test]
    fn the_last_rule_wins() {
        let on =
            rule(r#"{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}"#);
        let off =
            rule(r#"{"allow": false, "type": "c", "major": 10, "minor": 229, "access": "wm"}"#);
        let filter = Filter::plan(&[deny_all(), on, off], &[]).unwrap();
        let fuse = Match { major: Some(10), minor: Some(229), kind: Kind::Char };
        assert_eq!(filter.exceptions.of(&fuse), READ);
    }

    #[test]
    fn a_hole_in_a_wildcard_is_refused() {
        let disks = rule(r#"{"allow": true, "type": "b", "major": 8, "access": "rw"}"#);
        let one = rule(r#"{"allow": false, "type": "b", "major": 8, "minor": 1, "access": "r"}"#);
        let error = Filter::plan(&[deny_all(), disks, one], &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "linux.resources.devices[2]: rule b 8:1 r would have to punch a hole in b 8:* rw"
        );
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let error = |json| Filter::plan(&[rule(json)], &[]).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"allow": true, "type": "c"}"#),
            "linux.resources.devices[0].access: device access cannot be empty"
        );
        assert_eq!(
            error(r#"{"allow": true, "type": "p", "access": "r"}"#),
            r#"linux.resources.devices[0].type: invalid cgroup device type "p""#
        );
        assert_eq!(
            error(r#"{"allow": true, "type": "c", "major": -2, "access": "r"}"#),
            "linux.resources.devices[0].major: invalid number -2"
        );
        assert!(Filter::from_list("x 1:1 r").is_err());
    }

    #[test]
    fn systemd_gets_a_list_of_what_is_allowed() {
        let shown = |rules: &[DeviceRule<'_>], is_unified| {
            let filter = Filter::plan(rules, &[]).unwrap();
            systemd::shown(&systemd(&filter, is_unified))
        };
        let disk = rule(r#"{"allow": true, "type": "b", "major": 8, "minor": 1, "access": "r"}"#);
        let list = shown(&[deny_all(), disk], true);
        assert_eq!(list[0], "DevicePolicy=\"strict\"");
        assert!(list[1].contains(r#"("/dev/block/8:1", "r")"#), "{}", list[1]);
        assert!(
            list[1].contains(r#"("char-136", "rwm")"#) && list[1].contains(r#"("block-*", "m")"#)
        );
        let all = rule(r#"{"allow": true, "access": "rwm"}"#);
        let open = ["DevicePolicy=\"auto\"", "DeviceAllow=@a(ss) []"];
        let shut = ["DevicePolicy=\"strict\"", "DeviceAllow=@a(ss) []"];
        assert_eq!(shown(std::slice::from_ref(&all), true), open);
        let no_disk = rule(r#"{"allow": false, "type": "b", "major": 8, "access": "rw"}"#);
        assert_eq!(shown(&[all.clone(), no_disk.clone()], true), open);
        assert_eq!(shown(&[all, no_disk], false), shut);
        let any = rule(r#"{"allow": true, "type": "c", "minor": 3, "access": "r"}"#);
        assert_eq!(shown(&[deny_all(), any], true), open);
    }
}
