// SPDX-License-Identifier: Apache-2.0
//! `--all-details` of list and state: what can be seen of a container besides its state.

use std::time::Duration;

use crate::cli::output::Details;
use crate::hooks::{Hooks, POINTS};
use crate::namespace::{KINDS, is_own};
use crate::oci;
use crate::state::{Facts, Status};

/// Whatever cannot be read, or is not there any more, is left out.
pub(super) fn of(facts: &Facts, config: Option<&str>, status: Status) -> Details {
    let mut details = Details {
        driver: facts.cgroup.driver_name(),
        unit: facts.cgroup.unit_name().map(str::to_owned),
        cgroups: facts.cgroup.places(),
        hooks: config.map(hooks).unwrap_or_default(),
        ..Details::default()
    };
    if status != Status::Stopped && facts.pid > 0 {
        look_at_init(facts.pid, facts.start_time, &mut details);
        if let Ok(stats) = facts.cgroup.stats() {
            details.cpu = Some(Duration::from_nanos(stats.cpu.usage.total));
            details.memory = Some((stats.memory.usage.usage, stats.memory.usage.limit));
            details.pids = Some((stats.pids.current, stats.pids.limit));
        }
    }
    details
}

fn hooks(config: &str) -> Vec<(&'static str, usize)> {
    let Ok(spec) = oci::parse::<oci::Spec<'_>>(config) else { return Vec::new() };
    let Ok(hooks) = Hooks::plan(spec.hooks.as_ref()) else { return Vec::new() };
    let count = |(point, name)| (name, hooks.at(point).len());
    POINTS.into_iter().map(count).filter(|(_, count)| *count != 0).collect()
}

fn look_at_init(pid: i32, start_time: u64, details: &mut Details) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    details.uptime = uptime_of(start_time);
    for kind in KINDS {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{}", kind.proc));
        let Some(inode) = link.ok().and_then(|link| inode(link.to_str()?)) else { continue };
        details.namespaces.push((kind.oci, inode, !is_own(pid, kind).unwrap_or(false)));
    }
    details.mounts = read("mountinfo").map(|text| text.lines().count());
    let status = read("status").unwrap_or_default();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned())
    };
    details.seccomp = field("Seccomp:").and_then(|mode| match mode.as_str() {
        "0" => Some("disabled"),
        "1" => Some("strict"),
        "2" => Some("filter"),
        _ => None,
    });
    details.no_new_privileges = field("NoNewPrivs:").map(|value| value == "1");
    details.lsm = read("attr/current")
        .map(|text| text.trim_end_matches(['\0', '\n']).to_owned())
        .filter(|text| !text.is_empty());
}

/// For how long a process has been there that began then.
pub(super) fn uptime_of(start_time: u64) -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    uptime(&text, start_time, ticks_per_second())
}

fn ticks_per_second() -> u64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|ticks| u64::try_from(ticks).ok()).filter(|ticks| *ticks != 0).unwrap_or(100)
}

/// `/proc/uptime` begins with the seconds since boot; `start` is in ticks since then.
fn uptime(text: &str, start: u64, ticks: u64) -> Option<Duration> {
    let seconds: f64 = text.split(' ').next()?.parse().ok()?;
    let now = Duration::try_from_secs_f64(seconds).ok()?;
    Some(now.saturating_sub(Duration::from_millis(start * 1000 / ticks)))
}

/// `pid:[4026531836]`
fn inode(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_of_proc() {
        assert_eq!(uptime("100.50 300.00\n", 9000, 100), Some(Duration::from_millis(10_500)));
        assert_eq!(uptime("1.00 1.00\n", 9000, 100), Some(Duration::ZERO));
        assert_eq!(uptime("x", 0, 100), None);
        assert_eq!(inode("pid:[4026531836]"), Some(4_026_531_836));
        assert_eq!(inode("pid"), None);
    }
}
