// SPDX-License-Identifier: Apache-2.0
//! How `--all-details` is printed: an object more in the JSON, columns more in the table.

use std::time::Duration;

use super::output::{StateView, table};
use crate::json::Json;

/// What is known of a container besides its state. None, and empty: not known.
#[derive(Debug, Default, Clone)]
pub(crate) struct Details {
    pub driver: &'static str,
    pub unit: Option<String>,
    /// Controllers (v2: none) and the directory.
    pub cgroups: Vec<(String, String)>,
    /// Type, inode, and whether it is another than creel's own.
    pub namespaces: Vec<(&'static str, u64, bool)>,
    pub uptime: Option<Duration>,
    pub cpu: Option<Duration>,
    /// Usage and limit, in bytes.
    pub memory: Option<(u64, u64)>,
    /// How many, and the limit.
    pub pids: Option<(u64, u64)>,
    pub mounts: Option<usize>,
    pub seccomp: Option<&'static str>,
    pub no_new_privileges: Option<bool>,
    /// The label of init, by whichever security module is in use.
    pub lsm: Option<String>,
    /// How many hooks there are at each point.
    pub hooks: Vec<(&'static str, usize)>,
}

fn int(value: impl TryInto<i64>) -> Json<'static> {
    Json::Int(value.try_into().unwrap_or(i64::MAX))
}

/// A limit; None where there is none.
fn limited(limit: u64) -> Option<u64> {
    // v1 says "no limit" by a number near the highest.
    (limit != 0 && limit < 1 << 62).then_some(limit)
}

impl Details {
    pub(super) fn json(&self) -> Json<'_> {
        let mut fields = Vec::new();
        let places = self.cgroups.iter().map(|(name, path)| {
            Json::Object(vec![("controllers", Json::Text(name)), ("path", Json::Text(path))])
        });
        let mut cgroup = vec![("driver", Json::Text(self.driver))];
        cgroup.extend(self.unit.as_ref().map(|unit| ("unit", Json::Text(unit))));
        cgroup.push(("directories", Json::List(places.collect())));
        fields.push(("cgroup", Json::Object(cgroup)));
        let namespace = |&(kind, inode, own): &(&'static str, u64, bool)| {
            let fields = vec![("type", Json::Text(kind)), ("inode", int(inode))];
            Json::Object([fields, vec![("own", Json::Bool(own))]].concat())
        };
        fields.push(("namespaces", Json::List(self.namespaces.iter().map(namespace).collect())));
        fields.extend(self.uptime.map(|time| ("uptimeMilliseconds", int(time.as_millis()))));
        fields.extend(self.cpu.map(|time| ("cpuMilliseconds", int(time.as_millis()))));
        let usage = |(usage, limit): (u64, u64)| {
            let mut fields = vec![("usage", int(usage))];
            fields.extend(limited(limit).map(|limit| ("limit", int(limit))));
            Json::Object(fields)
        };
        fields.extend(self.memory.map(|pair| ("memory", usage(pair))));
        fields.extend(self.pids.map(|pair| ("pids", usage(pair))));
        fields.extend(self.mounts.map(|count| ("mounts", int(count))));
        fields.extend(self.seccomp.map(|mode| ("seccomp", Json::Text(mode))));
        fields.extend(self.no_new_privileges.map(|set| ("noNewPrivileges", Json::Bool(set))));
        fields.extend(self.lsm.as_ref().map(|label| ("lsmLabel", Json::Text(label))));
        let hooks = self.hooks.iter().map(|(name, count)| (*name, int(*count)));
        fields.push(("hooks", Json::Object(hooks.collect())));
        Json::Object(fields)
    }

    fn cells(&self) -> [String; 8] {
        let none = || "-".to_owned();
        let hooks: usize = self.hooks.iter().map(|(_, count)| count).sum();
        [
            self.uptime.map_or_else(none, age),
            self.cpu.map_or_else(none, |time| format!("{:.2}s", time.as_secs_f64())),
            of_limit(self.memory, bytes),
            of_limit(self.pids, |count| count.to_string()),
            self.mounts.map_or_else(none, |count| count.to_string()),
            self.seccomp.unwrap_or("-").to_owned(),
            hooks.to_string(),
            self.cgroups.first().map_or_else(none, |(_, path)| path.clone()),
        ]
    }
}

/// `5`, `5 / 10`, `-`
pub(super) fn of_limit(pair: Option<(u64, u64)>, show: fn(u64) -> String) -> String {
    match pair {
        Some((usage, limit)) => match limited(limit) {
            Some(limit) => format!("{} / {}", show(usage), show(limit)),
            None => show(usage),
        },
        None => "-".to_owned(),
    }
}

/// `3d4h`, `2h5m`, `1m7s`, `12s`
fn age(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m{}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h{}m", secs / 3600, secs / 60 % 60),
        _ => format!("{}d{}h", secs / 86_400, secs / 3600 % 24),
    }
}

/// `512`, `64.0M`
#[expect(clippy::cast_precision_loss, reason = "shown with one digit of the fraction")]
pub(super) fn bytes(count: u64) -> String {
    let units = [(1_u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1}{unit}", count as f64 / *size as f64),
        None => count.to_string(),
    }
}

/// `list --all-details`, and `state` as a table.
pub(crate) fn list_table(views: &[StateView<'_>]) -> String {
    let head = [
        "ID", "PID", "STATUS", "UPTIME", "CPU", "MEMORY", "PIDS", "MOUNTS", "SECCOMP", "HOOKS",
        "CGROUP",
    ]
    .map(str::to_owned);
    let nothing = Details::default();
    let row = |v: &StateView<'_>| {
        let [uptime, cpu, memory, pids, mounts, seccomp, hooks, cgroup] =
            v.details.unwrap_or(&nothing).cells();
        [
            v.id.to_owned(),
            v.pid.to_string(),
            v.status.to_owned(),
            uptime,
            cpu,
            memory,
            pids,
            mounts,
            seccomp,
            hooks,
            cgroup,
        ]
    };
    let rows: Vec<[String; 11]> = std::iter::once(head).chain(views.iter().map(row)).collect();
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_for_people() {
        let age = |secs| age(Duration::from_secs(secs));
        assert_eq!([age(59), age(67), age(7500), age(273_600)], ["59s", "1m7s", "2h5m", "3d4h"]);
        assert_eq!(["512", "64.0M", "1.5G"], [bytes(512), bytes(64 << 20), bytes(3 << 29)]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let want =
            r#"{"cgroup":{"driver":"cgroupfs","directories":[]},"namespaces":[],"hooks":{}}"#;
        assert_eq!(Details { driver: "cgroupfs", ..Details::default() }.json().compact(), want);
        let details = Details {
            driver: "systemd",
            unit: Some("a.scope".into()),
            cgroups: vec![("memory".into(), "/c".into())],
            namespaces: vec![("pid", 7, true)],
            memory: Some((5, 0)),
            pids: Some((1, 10)),
            hooks: vec![("poststop", 2)],
            ..Details::default()
        };
        let want = concat!(
            r#"{"cgroup":{"driver":"systemd","unit":"a.scope","directories":[{"controllers":"memory","path":"/c"}]},"#,
            r#""namespaces":[{"type":"pid","inode":7,"own":true}],"memory":{"usage":5},"#,
            r#""pids":{"usage":1,"limit":10},"hooks":{"poststop":2}}"#
        );
        assert_eq!(details.json().compact(), want);
        let cells = details.cells();
        assert_eq!(cells, ["-", "-", "5", "1 / 10", "-", "-", "2", "/c"]);
    }
}
