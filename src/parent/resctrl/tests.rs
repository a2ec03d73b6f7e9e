// SPDX-License-Identifier: Apache-2.0
//! No machine at hand has resctrl. These tests lay a tree of plain files as the kernel shows it into a
//! mount namespace; what of it only the kernel does (the files of a new directory) is `kernel`.

use std::fs;

use nix::mount::{MsFlags, mount};

use super::*;
use crate::oci;
use crate::testing::inside;

/// In place of the kernel: a new group comes with its files, and goes with them.
pub(super) mod kernel {
    use std::fs;

    use super::super::{Errno, Path};

    pub(in super::super) fn mkdir(dir: &Path) -> Result<(), Errno> {
        let errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().expect("an errno"));
        fs::create_dir(dir).map_err(errno)?;
        for file in ["tasks", "schemata"] {
            fs::write(dir.join(file), "").map_err(errno)?;
        }
        for sub in ["mon_groups", "mon_data"] {
            fs::create_dir(dir.join(sub)).map_err(errno)?;
        }
        Ok(())
    }

    pub(in super::super) fn rmdir(dir: &Path) -> Result<(), Errno> {
        fs::remove_dir_all(dir).map_err(|e| Errno::from_raw(e.raw_os_error().expect("an errno")))
    }
}

const ROOT: &str = "/tmp/resctrl of the test";

/// A machine with two caches, all of RDT, and what its resctrl says at first.
fn lay_tree() -> Result<PathBuf> {
    let none = None::<&str>;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), none)?;
    fs::create_dir(ROOT)?;
    // As a mount of its own, as resctrl would be.
    mount(Some("resctrl"), ROOT, Some("tmpfs"), MsFlags::empty(), none)?;
    let root = PathBuf::from(ROOT);
    for (file, text) in [
        ("info/L3/cbm_mask", "7ff\n"),
        ("info/L3/min_cbm_bits", "1\n"),
        ("info/L3/num_closids", "16\n"),
        ("info/MB/bandwidth_gran", "10\n"),
        ("info/MB/delay_linear", "1\n"),
        ("info/MB/min_bandwidth", "10\n"),
        ("info/MB/num_closids", "8\n"),
        ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
        ("info/last_cmd_status", "ok\n"),
        ("schemata", "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n"),
        ("tasks", ""),
        ("mon_groups/.keep", ""),
    ] {
        let file = root.join(file);
        fs::create_dir_all(file.parent().expect("a directory"))?;
        fs::write(file, text)?;
    }
    Ok(root)
}

/// What mountinfo would say if the tree were real.
fn mountinfo() -> String {
    "30 1 0:5 / /sys rw - sysfs sysfs rw\n\
     99 30 0:77 / /tmp/resctrl\\040of\\040the\\040test rw,relatime - resctrl resctrl rw\n"
        .to_owned()
}

fn plan(root: &Path, json: &str) -> Result<Resctrl> {
    let rdt = oci::parse(json)?;
    Resctrl::plan_at(root, &rdt, "c1")
}

fn in_tree(body: impl FnOnce(&Path) -> Result<()>) {
    inside(|_| body(&lay_tree()?));
}

fn text(file: impl AsRef<Path>) -> String {
    fs::read_to_string(file).expect("a file")
}

#[test]
fn it_is_found_by_the_type_of_its_mount() {
    in_tree(|root| {
        assert_eq!(find(Path::new("/"), || Ok(mountinfo()))?, root);
        let error = find(Path::new("/"), || Ok(String::new())).unwrap_err().to_string();
        assert_eq!(error, "linux.intelRdt: resctrl is not mounted");
        let error = find(Path::new("/nowhere"), || Ok(mountinfo())).unwrap_err().to_string();
        assert_eq!(error, "linux.intelRdt: this machine has no resctrl");
        Ok(())
    });
}

#[test]
fn the_life_of_a_group_of_its_own() {
    in_tree(|root| {
        let json = r#"{"l3CacheSchema": "L3:0=7f0;1=1f", "memBwSchema": "MB:0=20;1=70",
            "schemata": ["L2:0=f"], "enableMonitoring": true}"#;
        let mut plan = plan(root, json)?;
        let path = root.join("c1");
        assert!(plan.group().is_ours && !path.exists());
        plan.create()?;
        let group = plan.group().clone();
        // The values of l3CacheSchema and memBwSchema first.
        assert_eq!(text(path.join("schemata")), "L3:0=7f0;1=1f\nMB:0=20;1=70\nL2:0=f\n");
        group.join(Pid::from_raw(77))?;
        assert_eq!(text(path.join("tasks")), "77");
        assert_eq!(text(path.join("mon_groups/c1/tasks")), "77");
        let kept: Group = serde_json::from_str(&serde_json::to_string(&group).unwrap()).unwrap();
        assert_eq!(kept, group);

        let old = kept.update(Some("L3:0=f"), None)?;
        assert_eq!(text(path.join("schemata")), "L3:0=f\n");
        kept.restore(&old)?;
        assert_eq!(text(path.join("schemata")), old);

        kept.remove()?;
        assert!(!path.exists());
        kept.remove()
    });
}

#[test]
fn a_group_that_was_there_stays() {
    in_tree(|root| {
        kernel::mkdir(&root.join("gold"))?;
        fs::write(root.join("gold/schemata"), "    MB:0= 30;1=100\n    L3:0=00f;1=7ff\n")?;
        kernel::mkdir(&root.join("c1"))?;
        // By name: joined, monitored, never written nor removed.
        let mut named = plan(root, r#"{"closID": "gold", "enableMonitoring": true}"#)?;
        named.create()?;
        assert!(text(root.join("gold/schemata")).starts_with("    MB:0= 30"));
        assert!(root.join("gold/mon_groups/c1").exists());
        named.group().remove()?;
        assert!(root.join("gold").exists() && !root.join("gold/mon_groups/c1").exists());
        // By the container's id.
        let mut own = plan(root, r#"{"l3CacheSchema": "L3:0=3"}"#)?;
        own.create()?;
        assert_eq!(text(root.join("c1/schemata")), "L3:0=3\n");
        own.group().remove()?;
        assert!(root.join("c1").exists());
        // The default group.
        let mut root_group = plan(root, r#"{"closID": "/"}"#)?;
        root_group.create()?;
        root_group.group().join(Pid::from_raw(5))?;
        assert_eq!(text(root.join("tasks")), "5");
        root_group.group().remove()?;
        assert!(root.join("schemata").exists());
        Ok(())
    });
}

#[test]
fn a_named_group_must_have_what_is_asked_for() {
    in_tree(|root| {
        kernel::mkdir(&root.join("gold"))?;
        fs::write(root.join("gold/schemata"), "    MB:0= 30;1=100\n    L3:0=00f;1=7ff\n")?;
        let create = |json| plan(root, json)?.create();
        // Leading zeros, one cache of two, and bandwidth that the kernel has rounded up.
        create(r#"{"closID": "gold", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:1=100;0=25"}"#)?;
        let refused = |json| create(json).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"closID": "gold", "l3CacheSchema": "L3:0=ff"}"#),
            r#"linux.intelRdt.l3CacheSchema: "L3:0=ff" is not what the group has: "MB:0= 30;1=100\n    L3:0=00f;1=7ff""#
        );
        assert!(refused(r#"{"closID": "gold", "memBwSchema": "MB:0=31"}"#).contains("MB:0=31"));
        // One that is made for the name is not removed with the container.
        let mut made = plan(root, r#"{"closID": "new", "l3CacheSchema": "L3:0=1"}"#)?;
        made.create()?;
        made.group().remove()?;
        assert_eq!(text(root.join("new/schemata")), "L3:0=1\n");
        Ok(())
    });
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    in_tree(|root| {
        let refused = |json| plan(root, json).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"closID": "absent"}"#),
            format!(
                "linux.intelRdt.closID: there is no \"{ROOT}/absent\", and no schemata to make it with"
            )
        );
        assert_eq!(
            refused(r#"{"closID": "a/b"}"#),
            r#"linux.intelRdt.closID: "a/b" must not hold a slash"#
        );
        assert_eq!(
            refused(r#"{"closID": ".."}"#),
            r#"linux.intelRdt.closID: ".." is no name of a group"#
        );
        assert_eq!(
            refused(r#"{"closID": "info", "memBwSchema": "MB:0=1"}"#),
            r#"linux.intelRdt.closID: "info" is a directory of resctrl itself"#
        );
        assert_eq!(
            refused(r#"{"memBwSchema": "0=5"}"#),
            r#"linux.intelRdt.memBwSchema: "0=5" must start with MB:"#
        );
        assert_eq!(
            refused(r#"{"schemata": ["L3:0=1\nMB:0=5"]}"#),
            r#"linux.intelRdt.schemata: "L3:0=1\nMB:0=5" must not hold a newline"#
        );
        fs::remove_dir_all(root.join("info/MB"))?;
        assert_eq!(
            refused(r#"{"memBwSchema": "MB:0=5"}"#),
            "linux.intelRdt.memBwSchema: this machine cannot share out memory bandwidth (Intel RDT/MBA)"
        );
        Ok(())
    });
}

#[test]
fn a_failure_leaves_nothing_and_gives_the_kernels_reason() {
    in_tree(|root| {
        fs::write(root.join("info/last_cmd_status"), "out of CLOSIDs\n")?;
        fs::remove_dir_all(root.join("mon_groups"))?;
        let mut plan = plan(root, r#"{"closID": "/", "enableMonitoring": true}"#)?;
        assert_eq!(
            plan.create().unwrap_err().to_string(),
            format!(
                "linux.intelRdt.enableMonitoring: make \"{ROOT}/mon_groups/c1\" \
                 (last_cmd_status: out of CLOSIDs): ENOENT: no such file or directory"
            )
        );
        let mut own = self::plan(root, r#"{"closID": "gone", "l3CacheSchema": "L3:0=1"}"#)?;
        own.group.monitor = Some(root.join("no/such"));
        own.create().unwrap_err();
        assert!(!root.join("gone").exists());
        Ok(())
    });
}

#[test]
fn the_json_of_events_is_runcs() {
    in_tree(|root| {
        let mut plan = plan(root, r#"{"l3CacheSchema": "L3:0=f;1=f", "enableMonitoring": true}"#)?;
        plan.create()?;
        let data = root.join("c1/mon_groups/c1/mon_data");
        for (cache, n) in [("mon_L3_00", 1), ("mon_L3_01", 2)] {
            fs::create_dir_all(data.join(cache))?;
            fs::write(data.join(cache).join("llc_occupancy"), format!("{n}00\n"))?;
            fs::write(data.join(cache).join("mbm_total_bytes"), format!("{n}0\n"))?;
            fs::write(data.join(cache).join("mbm_local_bytes"), format!("{n}\n"))?;
        }
        let json = serde_json::to_string(&plan.group().stats()?).unwrap();
        let want = concat!(
            r#"{"l3_cache_info":{"cbm_mask":"7ff","min_cbm_bits":1,"num_closids":16},"#,
            r#""l3_cache_schema_root":"L3:0=7ff;1=7ff","l3_cache_schema":"L3:0=f;1=f","#,
            r#""mem_bw_info":{"bandwidth_gran":10,"delay_linear":1,"min_bandwidth":10,"num_closids":8},"#,
            r#""mem_bw_schema_root":"MB:0=100;1=100","schemata":["L3:0=f;1=f"],"#,
            r#""mbm_stats":[{"mbm_total_bytes":10,"mbm_local_bytes":1},"#,
            r#"{"mbm_total_bytes":20,"mbm_local_bytes":2}],"#,
            r#""cmt_stats":[{"llc_occupancy":100},{"llc_occupancy":200}]}"#
        );
        assert_eq!(json, want);
        Ok(())
    });
}
