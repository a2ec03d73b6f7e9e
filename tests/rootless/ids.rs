// SPDX-License-Identifier: Apache-2.0
//! `linux.uidMappings` and `gidMappings`: with newuidmap and newgidmap, and without; groups.

use crate::common::{Bundle, Value, json};
use crate::user::{SUBGID, SUBIDS, SUBUID, User};

fn map(container: u32, host: u32, size: u32) -> Value {
    json!({"containerID": container, "hostID": host, "size": size})
}

/// Oneself as root, and everybody else from the subordinate ids.
fn with_all_ids(user: &User, bundle: Bundle) -> Bundle {
    let maps = |first| json!([map(0, user.id, 1), map(1, first, SUBIDS)]);
    bundle.patch("/linux/uidMappings", maps(SUBUID)).patch("/linux/gidMappings", maps(SUBGID))
}

/// crun loses all lines behind the sixth.
#[test]
fn forty_lines_are_forty_lines() {
    let Some(user) = User::new() else { return };
    if !user.has_subids() {
        return;
    }
    let maps = |first: u32| {
        let rest = (1..40).map(|i| map(i, first + 2 * i, 1));
        Value::Array(std::iter::once(map(0, user.id, 1)).chain(rest).collect())
    };
    let bundle = user
        .bundle("id -u; id -g; wc -l < /proc/self/uid_map; wc -l < /proc/self/gid_map")
        .patch("/linux/uidMappings", maps(SUBUID))
        .patch("/linux/gidMappings", maps(SUBGID))
        .patch("/process/user", json!({"uid": 39, "gid": 38}));
    assert_eq!(user.run(&bundle).ok().out, "39\n38\n40\n40\n");
}

#[test]
fn root_can_be_a_subordinate_id() {
    let Some(user) = User::new() else { return };
    if !user.has_subids() {
        return;
    }
    let bundle = user
        .bundle("exec sleep 1000")
        .patch("/linux/uidMappings", json!([map(0, SUBUID, 1000)]))
        .patch("/linux/gidMappings", json!([map(0, SUBGID, 1000)]))
        .patch("/process/oomScoreAdj", json!(700));
    user.start_detached(&bundle);
    let about = std::fs::read_to_string(format!("/proc/{}/status", user.pid(&bundle))).unwrap();
    assert!(about.contains(&format!("Uid:\t{SUBUID}\t{SUBUID}")), "{about}");
    let run =
        user.exec(&bundle, "sh -c 'id -u; cat /proc/self/oom_score_adj /proc/1/oom_score_adj'");
    assert_eq!(run.ok().out, "0\n700\n700\n");
    assert_eq!(user.sh(&format!("creel delete --force {}", bundle.id())).ok().err, "");
}

#[test]
fn other_users_of_the_container_are_subordinate_ids() {
    let Some(user) = User::new() else { return };
    if !user.has_subids() {
        return;
    }
    let bundle = user
        .bundle("id -u; cat /proc/self/setgroups")
        .patch("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(user.run(&with_all_ids(&user, bundle)).ok().out, "1000\nallow\n");
}

/// What the kernel lets anybody do takes no helper, whichever the number inside.
#[test]
fn a_single_id_needs_no_helper_and_gives_up_setgroups() {
    let Some(mut user) = User::new() else { return };
    user.before = "mkdir $BASE/none; for helper in newuidmap newgidmap; do \
                   [ ! -e /usr/bin/$helper ] || mount --bind /bin/false /usr/bin/$helper; done";
    for inside in [0, 1000] {
        let bundle = user
            .bundle("id -u; id -g; cat /proc/self/setgroups")
            .patch("/linux/uidMappings", json!([map(inside, user.id, 1)]))
            .patch("/linux/gidMappings", json!([map(inside, user.id, 1)]))
            .patch("/process/user", json!({"uid": inside, "gid": inside}));
        user.before = user.before.trim_start_matches("mkdir $BASE/none; ");
        assert_eq!(user.run(&bundle).ok().out, format!("{inside}\n{inside}\ndeny\n"));
    }
}

#[test]
fn a_helper_that_is_missing_or_refuses_is_named() {
    let Some(mut user) = User::new() else { return };
    if !user.has_subids() {
        return;
    }
    let id = user.id;
    let bundle = user
        .bundle("true")
        .patch("/linux/uidMappings", json!([map(0, id, 1), map(1, 5_000_000, 10)]));
    let run = user.run(&bundle);
    assert_eq!(run.code, 1);
    let said = "linux.uidMappings: newuidmap: exit status: 1: uid range [1-11) -> [5000000-5000010) not allowed";
    assert_eq!(run.message(), said);
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());

    let bundle = with_all_ids(&user, user.bundle("true"));
    bundle.write();
    user.env = vec![("ONLY", user.home().display().to_string())];
    let script = format!(
        "cd {}; c=$(command -v creel); PATH=$ONLY $c run {}",
        bundle.dir.display(),
        bundle.id()
    );
    let run = user.sh(&script);
    assert_eq!(run.code, 1);
    let said = "linux.uidMappings: newuidmap: executable file not found in $PATH; a user without \
                privileges needs it to map other ids than the own one (the uidmap package)";
    assert_eq!(run.message(), said);
}

/// `id` knows groups by number only: those of the user namespace, 65534 for the ones outside.
#[test]
fn the_caller_s_groups_are_kept() {
    let Some(mut user) = User::new() else { return };
    user.groups = "60050,60051";
    let script = "grep Groups: /proc/self/status | wc -w";
    assert_eq!(user.run(&user.bundle(script)).ok().out, "3\n");
    let bundle = user.bundle("true").patch("/process/user/additionalGids", json!([0]));
    let run = user.run(&bundle);
    assert_eq!(run.code, 1);
    let said = "process.user.additionalGids: cannot be set in a rootless container";
    assert_eq!(run.message(), said);
}

/// Root in a user namespace may set groups, and does, unless the annotation of crun and Podman is there.
#[test]
fn keep_original_groups_keeps_those_of_a_nested_caller_too() {
    let Some(mut user) = User::new() else { return };
    if !user.has_subids() {
        return;
    }
    user.groups = "60050,60051";
    let all = format!("--map-users=1,{SUBUID},{SUBIDS} --map-groups=1,{SUBGID},{SUBIDS}");
    let probe = user.sh(&format!("unshare --user --map-root-user {all} true"));
    if probe.code != 0 {
        println!("SKIP: unshare cannot map subordinate ids: {}", probe.err.trim());
        return;
    }
    let groups = |keep: bool| {
        let mut bundle = user.bundle("grep Groups: /proc/self/status | wc -w");
        for property in ["/linux/uidMappings", "/linux/gidMappings"] {
            bundle.set(property, json!([map(0, 0, 65536)]));
        }
        if keep {
            bundle.set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
        }
        bundle.write();
        let run = format!("cd {}; exec creel run {}", bundle.dir.display(), bundle.id());
        user.sh(&format!("unshare --user --map-root-user {all} sh -c '{run}'")).ok().out
    };
    assert_eq!((groups(false).as_str(), groups(true).as_str()), ("1\n", "3\n"));
}
