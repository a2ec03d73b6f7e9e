//! `linux`: namespaces and their names, mappings, offsets, sysctl, personality, memory policy.
// SPDX-License-Identifier: Apache-2.0

use std::fs;

use nix::sys::utsname::uname;
use serde_json::Value;

use conformance::names::NAMESPACES;
use conformance::{proc, sys};

use crate::Facts;
use crate::report::Report;

pub(crate) fn namespaces(facts: &Facts, report: &mut Report) {
    let listed = facts.config["linux"]["namespaces"].as_array();
    for (kind, file) in NAMESPACES {
        let Some(have) = report.value(kind, proc::namespace("self", file)) else { continue };
        let host = facts.host["namespaces"][kind].as_str().unwrap_or("");
        let entry = listed.into_iter().flatten().find(|entry| entry["type"] == kind);
        let what = format!("linux.namespaces {kind}");
        match entry {
            None => report.equal(&format!("{what} is inherited"), host, have.as_str()),
            Some(entry) if entry["path"].as_str().is_some_and(|path| !path.is_empty()) => {
                let want = facts.host["joined"][kind].as_str().unwrap_or("");
                report.equal(&format!("{what} is joined"), want, have.as_str());
            }
            Some(_) => report.is(host != have, &format!("{what} is new"), || have.clone()),
        }
    }
    let is_new = |kind: &str| {
        let mut entries = listed.into_iter().flatten();
        entries.any(|entry| entry["type"] == kind && entry["path"].is_null())
    };
    if is_new("pid") {
        report.equal("the program is pid 1 of a new pid namespace", 1, std::process::id());
    }
    if is_new("cgroup")
        && let Some(text) = report.value("cgroup", fs::read_to_string("/proc/self/cgroup"))
    {
        let rooted = text.lines().all(|line| line.ends_with(":/"));
        report.is(rooted, "a new cgroup namespace is rooted at the container's cgroup", || text);
    }
}

pub(crate) fn names(facts: &Facts, report: &mut Report) {
    let Some(uts) = report.value("uname", uname()) else { return };
    if let Some(want) = facts.config["hostname"].as_str() {
        report.equal("hostname", want, &uts.nodename().to_string_lossy());
    }
    if let Some(want) = facts.config["domainname"].as_str() {
        report.equal("domainname", want, &uts.domainname().to_string_lossy());
    }
}

pub(crate) fn sysctl(facts: &Facts, report: &mut Report) {
    for (key, want) in facts.config["linux"]["sysctl"].as_object().into_iter().flatten() {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let Some(have) = report.value(key, fs::read_to_string(&path)) else { continue };
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        report.equal(key, words(want.as_str().unwrap_or("")), words(&have));
    }
}

pub(crate) fn net_devices(facts: &Facts, report: &mut Report) {
    for (key, device) in facts.config["linux"]["netDevices"].as_object().into_iter().flatten() {
        let name = device["name"].as_str().unwrap_or(key);
        let path = format!("/sys/class/net/{name}/flags");
        let Some(text) = report.value(&path, fs::read_to_string(&path)) else { continue };
        let flags = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap_or(0);
        report.is(flags & 1 == 1, &format!("linux.netDevices {name} is up"), || text);
    }
}

pub(crate) fn mappings(facts: &Facts, report: &mut Report) {
    for (key, file) in [("uidMappings", "uid_map"), ("gidMappings", "gid_map")] {
        let Some(list) = facts.config["linux"][key].as_array() else { continue };
        let Some(text) = report.value(key, fs::read_to_string(format!("/proc/self/{file}"))) else {
            continue;
        };
        let field = |entry: &Value, name: &str| entry[name].as_u64().unwrap_or(u64::MAX);
        let want: Vec<Vec<u64>> = list
            .iter()
            .map(|entry| ["containerID", "hostID", "size"].map(|name| field(entry, name)).to_vec())
            .collect();
        let have: Vec<Vec<u64>> = text
            .lines()
            .map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
            .collect();
        report.equal(&format!("linux.{key}"), want, have);
    }
}

pub(crate) fn time_offsets(facts: &Facts, report: &mut Report) {
    for (clock, want) in facts.config["linux"]["timeOffsets"].as_object().into_iter().flatten() {
        let read = fs::read_to_string("/proc/self/timens_offsets");
        let Some(text) = report.value(clock, read) else { continue };
        let have = text.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words.first() == Some(&clock.as_str())).then(|| {
                (
                    words.get(1).and_then(|s| s.parse().ok()),
                    words.get(2).and_then(|s| s.parse().ok()),
                )
            })
        });
        let number = |key: &str| Some(want[key].as_i64().unwrap_or(0));
        report.equal(
            &format!("linux.timeOffsets.{clock}"),
            Some((number("secs"), number("nanosecs"))),
            have,
        );
    }
}

pub(crate) fn personality(facts: &Facts, report: &mut Report) {
    let Some(domain) = facts.config["linux"]["personality"]["domain"].as_str() else { return };
    let Some(uts) = report.value("uname", uname()) else { return };
    let machine = uts.machine().to_string_lossy().into_owned();
    let is_32bit = !machine.contains("64");
    report.is((domain == "LINUX32") == is_32bit, "linux.personality.domain", || {
        format!("want {domain}, uname says {machine}")
    });
}

pub(crate) fn memory_policy(facts: &Facts, report: &mut Report) {
    let Some(mode) = facts.config["linux"]["memoryPolicy"]["mode"].as_str() else { return };
    const MODES: [&str; 7] = [
        "MPOL_DEFAULT",
        "MPOL_PREFERRED",
        "MPOL_BIND",
        "MPOL_INTERLEAVE",
        "MPOL_LOCAL",
        "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE",
    ];
    let Some((have, nodes)) = report.value("get_mempolicy", sys::get_mempolicy()) else { return };
    let want = MODES.iter().position(|name| *name == mode);
    // The bits above the low byte are the flags.
    report.equal("linux.memoryPolicy.mode", want, usize::try_from(have & 0xff).ok());
    if facts.config["linux"]["memoryPolicy"]["nodes"] == "0" {
        report.equal("linux.memoryPolicy.nodes", 1, nodes);
    }
}
