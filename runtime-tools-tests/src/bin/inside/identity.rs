//! `process.user`, `process.capabilities`, `process.noNewPrivileges`.
// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeSet;

use conformance::names::CAPABILITIES;
use conformance::proc;

use crate::Facts;
use crate::report::Report;

pub(crate) fn user(facts: &Facts, report: &mut Report) {
    let user = &facts.config["process"]["user"];
    for (field, key) in [("Uid", "uid"), ("Gid", "gid")] {
        let Some(have) = report.value(field, proc::status("self", field)) else { continue };
        let want = user[key].as_u64().unwrap_or(0).to_string();
        let all_four = have.split_whitespace().all(|id| id == want);
        report.is(all_four, &format!("process.user.{key}"), || format!("want {want}, have {have}"));
    }
}

pub(crate) fn groups(facts: &Facts, report: &mut Report) {
    let user = &facts.config["process"]["user"];
    let Some(have) = report.value("Groups", proc::status("self", "Groups")) else { return };
    let mut have: BTreeSet<u64> =
        have.split_whitespace().filter_map(|gid| gid.parse().ok()).collect();
    let listed = user["additionalGids"].as_array().into_iter().flatten();
    let want: BTreeSet<u64> = listed.filter_map(|gid| gid.as_u64()).collect();
    // The primary group may be among the supplementary ones: login programs do the same.
    let primary = user["gid"].as_u64().unwrap_or(0);
    if !want.contains(&primary) {
        have.remove(&primary);
    }
    report.equal("process.user.additionalGids", want, have);
}

pub(crate) fn umask(facts: &Facts, report: &mut Report) {
    let Some(have) = report.value("Umask", proc::status("self", "Umask")) else { return };
    let have = u64::from_str_radix(&have, 8).unwrap_or(u64::MAX);
    let set = facts.config["process"]["user"]["umask"].as_u64();
    let want = set.or_else(|| facts.host["umask"].as_u64()).unwrap_or(0);
    report.is(want == have, "process.user.umask", || format!("want {want:#o}, have {have:#o}"));
}

/// The five sets as bit masks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sets {
    effective: u64,
    bounding: u64,
    inheritable: u64,
    permitted: u64,
    ambient: u64,
}

/// What execve(2) makes of the sets that the runtime gave the process, by the rules of
/// capabilities(7) for a program without file capabilities.
fn after_exec(given: Sets, is_root: bool, no_new_privs: bool) -> Sets {
    let ambient = given.ambient & given.permitted & given.inheritable;
    let permitted = if is_root {
        let all = given.inheritable | given.bounding;
        // Without new privileges root gains nothing by execve either.
        if no_new_privs { all & given.permitted } else { all }
    } else {
        ambient
    };
    let permitted = permitted | ambient;
    Sets { effective: permitted, permitted, ambient, ..given }
}

pub(crate) fn capabilities(facts: &Facts, report: &mut Report) {
    let process = &facts.config["process"];
    let sets = &process["capabilities"];
    if sets.is_null() {
        return;
    }
    let grantable = facts.host["capabilities"].as_u64().unwrap_or(u64::MAX);
    let mask = |key: &str| {
        let listed = sets[key].as_array().into_iter().flatten();
        let bits = listed
            .filter_map(|name| CAPABILITIES.iter().position(|known| Some(*known) == name.as_str()));
        bits.fold(0_u64, |mask, bit| mask | 1 << bit) & grantable
    };
    let given = Sets {
        effective: mask("effective"),
        bounding: mask("bounding"),
        inheritable: mask("inheritable"),
        permitted: mask("permitted"),
        ambient: mask("ambient"),
    };
    let is_root = process["user"]["uid"].as_u64().unwrap_or(0) == 0;
    let no_new_privs = process["noNewPrivileges"].as_bool().unwrap_or(false);
    let want = after_exec(given, is_root, no_new_privs);
    let rows = [
        ("effective", "CapEff", want.effective),
        ("bounding", "CapBnd", want.bounding),
        ("inheritable", "CapInh", want.inheritable),
        ("permitted", "CapPrm", want.permitted),
        ("ambient", "CapAmb", want.ambient),
    ];
    for (key, field, want) in rows {
        let Some(have) = report.value(field, proc::status("self", field)) else { continue };
        let have = u64::from_str_radix(&have, 16).unwrap_or(u64::MAX);
        let what = format!("process.capabilities.{key}");
        report.is(want == have, &what, || format!("want {want:#x}, have {have:#x}"));
    }
}

pub(crate) fn no_new_privileges(facts: &Facts, report: &mut Report) {
    let Some(have) = report.value("NoNewPrivs", proc::status("self", "NoNewPrivs")) else { return };
    let inherited = facts.host["noNewPrivileges"].as_bool().unwrap_or(false);
    let want = facts.config["process"]["noNewPrivileges"].as_bool().unwrap_or(false) || inherited;
    report.equal("process.noNewPrivileges", want, have == "1");
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: Sets =
        Sets { effective: 1, bounding: 7, inheritable: 2, permitted: 3, ambient: 2 };

    #[test]
    fn root_regains_what_the_bounding_set_allows() {
        assert_eq!(after_exec(GIVEN, true, false).permitted, 7);
        assert_eq!(after_exec(GIVEN, true, true).permitted, 3);
    }

    #[test]
    fn another_user_keeps_the_ambient_ones() {
        let want = Sets { effective: 2, permitted: 2, ..GIVEN };
        assert_eq!(after_exec(GIVEN, false, true), want);
        let none = Sets { inheritable: 0, ..GIVEN };
        assert_eq!(after_exec(none, false, false).ambient, 0);
    }
}
