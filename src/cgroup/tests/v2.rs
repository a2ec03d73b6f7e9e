// SPDX-License-Identifier: Apache-2.0
//! In a v2 view.

use super::*;

#[test]
fn v2_life_of_a_container() {
    in_v2_view(|host| {
        let path = name("v2");
        let plan = plan(host, &format!("{path}/leaf"), &format!("{{{DENY_ALL}}}"));
        let mut cgroup = plan.place();
        let ways = cgroup.create(&plan)?;
        let made = Made(cgroup);
        let cgroup = &made.0;
        let fd = ways.into.expect("v2 has a directory to be born in");
        let sleeper = Sleeper::start(Some(fd.as_fd()));
        assert_eq!(cgroup.pids(false)?, [sleeper.pid]);
        let parent = format!("/sys/fs/cgroup{path}");
        let has = |file: &str| std::fs::read_to_string(format!("{parent}/{file}")).unwrap();
        assert_eq!(has("cgroup.subtree_control"), has("cgroup.controllers"));

        let error = cgroup.clone().create(&plan).unwrap_err().to_string();
        assert!(
            error.starts_with("linux.cgroupsPath: container's cgroup is not empty: 1 process(es)"),
            "{error}"
        );
        cgroup.freeze()?;
        assert!(cgroup.is_frozen()?);
        cgroup.thaw()?;
        assert!(!cgroup.is_frozen()?);
        assert_eq!(cgroup.stats()?.pids.current, 1);

        cgroup.kill(libc::SIGTERM)?;
        assert!(sleeper.end());
        let frozen = Sleeper::start(Some(fd.as_fd()));
        std::fs::create_dir(format!("{parent}/leaf/below"))?;
        cgroup.for_exec(None, &SubCgroups::parse(&["/below"])?)?.join(frozen.pid)?;
        cgroup.freeze()?;
        cgroup.kill(libc::SIGKILL)?;
        assert!(frozen.end());
        cgroup.destroy()?;
        cgroup.destroy()?;
        assert!(!cgroup.exists());
        Ok(std::fs::remove_dir(parent)?)
    });
}

#[test]
fn v2_is_handed_over_as_the_kernel_lists_it() {
    use std::os::unix::fs::MetadataExt;
    in_v2_view(|host| {
        let mut plan = plan(host, &name("v2own"), &format!("{{{DENY_ALL}}}"));
        plan.owner = Some(100_007);
        let mut cgroup = plan.place();
        cgroup.create(&plan)?;
        let made = Made(cgroup);
        let path = made.0.path("").expect("v2");
        let owner = |file: &str| std::fs::metadata(format!("{path}/{file}")).map(|m| m.uid());
        for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            assert_eq!(owner(file)?, 100_007, "{file:?}");
        }
        // Limits stay with who set them.
        for file in ["cgroup.freeze", "cgroup.kill", "cgroup.max.depth"] {
            assert_eq!(owner(file)?, 0, "{file:?}");
        }
        Ok(())
    });
}

#[test]
fn v2_without_permission() {
    in_v2_view(as_nobody(|host| {
        let words = "rootless needs no limits + no cgrouppath when no permission is granted for";
        let limit = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#;
        without_permission(host, limit, words)
    }));
}

/// What a child born in the cgroup gets when it opens the device; 0 is success.
fn opening(cgroup: &OwnedFd, device: &str) -> i32 {
    let request = CloneRequest { cgroup: Some(cgroup.as_fd()), ..CloneRequest::default() };
    match clone3(&request).expect("clone3") {
        Fork::Child(_) => {
            let opened = open(device, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
            crate::sys::exit(opened.map_or_else(|errno| errno as i32, |_| 0))
        }
        Fork::Parent { child, .. } => match waitpid(child, None).expect("waitpid") {
            WaitStatus::Exited(_, status) => status,
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn v2_device_program_decides_who_opens_what() {
    in_v2_view(|host| {
        let path = name("v2dev");
        let mut plan = plan(host, &path, &format!("{{{DENY_ALL}}}"));
        let mut cgroup = plan.place();
        let ways = cgroup.create(&plan)?;
        let made = Made(cgroup);
        let fd = ways.into.expect("v2");
        assert_eq!(opening(&fd, "/dev/null"), 0);
        assert_eq!(opening(&fd, "/dev/kmsg"), libc::EPERM);

        // Once more into the same, empty cgroup, with another program in the old one's place.
        let kmsg = r#"{"devices": [{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#;
        plan.devices = self::plan(host, &path, kmsg).devices;
        made.0.clone().create(&plan)?;
        assert_eq!(opening(&fd, "/dev/kmsg"), 0);
        assert_eq!(opening(&fd, "/dev/loop-control"), libc::EPERM);

        let all_but = r#"{"devices": [{"allow": true, "access": "rwm"},
            {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "wr"}]}"#;
        plan.devices = self::plan(host, &path, all_but).devices;
        made.0.clone().create(&plan)?;
        assert_eq!(opening(&fd, "/dev/kmsg"), libc::EPERM);
        assert_eq!(opening(&fd, "/dev/null"), 0);
        let dir = open(made.0.path("").expect("v2"), OFlag::O_RDONLY, Mode::empty())?;
        assert_eq!(crate::sys::bpf::attached(dir.as_fd())?.len(), 1);
        Ok(())
    });
}

#[test]
fn v2_exec_follows_init_into_a_child_cgroup() {
    in_v2_view(|host| {
        let plan = plan(host, &name("v2exec"), &format!("{{{DENY_ALL}}}"));
        let mut cgroup = plan.place();
        let ways = cgroup.create(&plan)?;
        let made = Made(cgroup);
        let cgroup = &made.0;
        let fd = ways.into.expect("v2");
        let init = Sleeper::start(Some(fd.as_fd()));
        let path = cgroup.path("").expect("v2").to_owned();
        // What a nested manager does: move away and hand controllers to the children.
        std::fs::create_dir(format!("{path}/init"))?;
        std::fs::write(format!("{path}/init/cgroup.procs"), init.pid.to_string())?;
        std::fs::write(format!("{path}/cgroup.subtree_control"), "+hugetlb")?;
        let exec = cgroup.for_exec(Some(init.pid), &SubCgroups::default())?;
        let process = Sleeper::start(None);
        exec.join(process.pid)?;
        let inside = std::fs::read_to_string(format!("{path}/init/cgroup.procs"))?;
        assert!(inside.contains(&process.pid.to_string()), "{inside}");
        let outside = SubCgroups::parse(&["../other"])?;
        let error = cgroup.for_exec(Some(init.pid), &outside).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "--cgroup: bad sub cgroup path: ../other");
        Ok(())
    });
}

#[test]
fn v2_below_a_frozen_cgroup_nothing_is_started() {
    in_v2_view(|host| {
        let parent = format!("/sys/fs/cgroup{}", name("v2ice"));
        std::fs::create_dir(&parent)?;
        std::fs::write(format!("{parent}/cgroup.freeze"), "1")?;
        let plan = plan(host, &format!("{}/leaf", name("v2ice")), &format!("{{{DENY_ALL}}}"));
        let outcome = plan.place().create(&plan).map(drop).map_err(|e| e.to_string());
        let left = std::fs::exists(format!("{parent}/leaf"))?;
        std::fs::remove_dir(&parent)?;
        let want =
            format!("linux.cgroupsPath: container's cgroup is below a frozen one: {parent}/leaf");
        assert_eq!(outcome, Err(want));
        assert!(!left);
        Ok(())
    });
}

#[test]
fn v2_missing_controllers_are_named() {
    in_v2_view(|host| {
        if host.has_unified("memory") {
            println!("SKIP: this v2 hierarchy has the memory controller");
            return Ok(());
        }
        let resources = serde_json::from_str(r#"{"memory": {"limit": 67108864}}"#)
            .map_err(|e| Error::text(e.to_string()))?;
        let request = Request {
            id: "test",
            cgroups_path: "/x",
            resources: Some(&resources),
            nodes: &[],
            strict_devices: false,
            owner: None,
            systemd: false,
            rootless: false,
        };
        assert_eq!(
            CgroupPlan::new(host, &request).unwrap_err().to_string(),
            "linux.resources.memory.limit: the memory controller is not available"
        );
        Ok(())
    });
}
