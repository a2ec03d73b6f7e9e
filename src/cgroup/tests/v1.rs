// SPDX-License-Identifier: Apache-2.0
//! On v1 and hybrid hosts.

use super::*;

/// The host's v1 hierarchies, or None and the reason on the screen.
fn v1_host() -> Option<Hierarchies> {
    if !getuid().is_root() {
        println!("SKIP: making v1 cgroups needs root");
        return None;
    }
    let host = match Hierarchies::detect() {
        Ok(host) => host,
        Err(error) => {
            println!("SKIP: {error}");
            return None;
        }
    };
    for controller in ["devices", "memory", "pids", "freezer", "cpu", "cpuset"] {
        if host.v1_of(controller).is_none() {
            println!("SKIP: there is no v1 {controller} hierarchy");
            return None;
        }
    }
    Some(host)
}

#[test]
fn v1_or_hybrid_life_of_a_container() {
    if let Some(host) = v1_host() {
        life_on_v1(&host, "life");
    }
}

#[test]
fn v1_alone_life_of_a_container() {
    let Some(host) = v1_host() else { return };
    if host.unified.is_none() {
        println!("SKIP: this host has no v2 beside v1; the test above has run on v1 alone");
        return;
    }
    inside(|_| {
        umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH)?;
        let host = Hierarchies::detect()?;
        assert!(host.unified.is_none());
        life_on_v1(&host, "v1");
        Ok(())
    });
}

fn life_on_v1(host: &Hierarchies, test: &str) {
    let json = format!(
        r#"{{{DENY_ALL}, "memory": {{"limit": 67108864, "swap": 134217728}},
            "cpu": {{"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"}},
            "pids": {{"limit": 20}}}}"#
    );
    let plan = plan(host, &name(test), &json);
    let mut cgroup = plan.place();
    assert!(!cgroup.exists());
    let ways = cgroup.create(&plan).unwrap();
    let made = Made(cgroup);
    let cgroup = &made.0;
    assert!(cgroup.exists());
    assert_eq!(read(cgroup, "memory", "memory.limit_in_bytes"), "67108864");
    assert_eq!(read(cgroup, "cpu", "cpu.shares"), "512");
    assert_eq!(read(cgroup, "cpuset", "cpuset.cpus"), "0");
    assert_eq!(read(cgroup, "pids", "pids.max"), "max");
    let devices = read(cgroup, "devices", "devices.list");
    assert!(devices.contains("c 1:3 rwm") && !devices.contains('a'), "{devices}");

    assert_eq!(ways.into.is_some(), host.unified.is_some());
    let sleeper = Sleeper::start_through(ways.into.as_ref().map(AsFd::as_fd), Some(&ways.doors));
    wait_until(|| cgroup.v1.iter().all(|d| lists(&d.path, sleeper.pid)));
    cgroup.apply_late(&plan).unwrap();
    assert_eq!(read(cgroup, "pids", "pids.max"), "20");
    assert_eq!(read(cgroup, "cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(cgroup.pids(true).unwrap(), [sleeper.pid]);
    if host.unified.is_some() {
        assert_eq!(read(cgroup, "", "cgroup.procs"), sleeper.pid.to_string());
    }

    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    cgroup.thaw().unwrap();
    assert!(!cgroup.is_frozen().unwrap());
    let stats = cgroup.stats().unwrap();
    assert_eq!(stats.pids.current, 1);
    assert_eq!(stats.pids.limit, 20);
    assert_eq!(stats.memory.usage.limit, 67_108_864);
    assert_eq!(cgroup.oom_kill_count(), Some(0));

    cgroup.kill(libc::SIGKILL).unwrap();
    assert!(sleeper.end());
    cgroup.destroy().unwrap();
    assert!(!cgroup.exists());
    cgroup.destroy().unwrap();
}

#[test]
fn v1_kills_the_frozen_and_those_below() {
    let Some(host) = v1_host() else { return };
    let plan = plan(&host, &name("frozen"), &format!("{{{DENY_ALL}}}"));
    let mut cgroup = plan.place();
    // Without v2, so that the v1 way is taken.
    cgroup.unified = None;
    cgroup.create(&plan).unwrap();
    let made = Made(cgroup);
    let cgroup = &made.0;
    let (above, below) = (Sleeper::start(None), Sleeper::start(None));
    cgroup.join(above.pid).unwrap();
    for place in &cgroup.v1 {
        std::fs::create_dir(format!("{}/sub", place.path)).unwrap();
        if place.has("cpuset") {
            let top = Dir::open(&place.mount).unwrap();
            cpuset::fill_parent(&top, &format!("{}/sub/x", place.path)).unwrap();
        }
    }
    cgroup.for_exec(None, &SubCgroups::parse(&["sub"]).unwrap()).unwrap().join(below.pid).unwrap();
    assert_eq!(cgroup.pids(false).unwrap(), [above.pid]);
    assert_eq!(cgroup.pids(true).unwrap().len(), 2);
    let error = cgroup.clone().create(&plan).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "linux.cgroupsPath: container's cgroup is not empty: 2 process(es) found in "
        ),
        "{error}"
    );

    cgroup.freeze().unwrap();
    cgroup.kill(libc::SIGKILL).unwrap();
    assert!(above.end() && below.end());
    cgroup.freeze().unwrap();
    let error = cgroup.clone().create(&plan).unwrap_err().to_string();
    assert!(
        error.starts_with("linux.cgroupsPath: container's cgroup unexpectedly frozen: "),
        "{error}"
    );
    cgroup.thaw().unwrap();
    cgroup.destroy().unwrap();
    assert!(cgroup.v1.iter().all(|d| !std::path::Path::new(&d.path).exists()));
}

#[test]
fn v1_update_writes_and_rolls_back() {
    let Some(host) = v1_host() else { return };
    let json = format!(
        r#"{{{DENY_ALL}, "memory": {{"limit": 67108864, "swap": 67108864}},
        "cpu": {{"shares": 512}}}}"#
    );
    let plan = plan(&host, &name("update"), &json);
    let mut cgroup = plan.place();
    cgroup.create(&plan).unwrap();
    let made = Made(cgroup);
    let cgroup = &made.0;
    let update = |json: &str| cgroup.update(&serde_json::from_str(json).expect("JSON"), || Ok(()));
    // Both above what is there now, then both below.
    for bytes in ["134217728", "33554432"] {
        update(&format!(r#"{{"memory": {{"limit": {bytes}, "swap": {bytes}}}}}"#)).unwrap();
        assert_eq!(read(cgroup, "memory", "memory.limit_in_bytes"), bytes);
        assert_eq!(read(cgroup, "memory", "memory.memsw.limit_in_bytes"), bytes);
    }
    assert_eq!(read(cgroup, "cpu", "cpu.shares"), "512");
    let error = update(r#"{"cpu": {"cpus": "4000"}}"#).unwrap_err().to_string();
    assert!(error.starts_with(r#"linux.resources.cpu.cpus: write "4000" to cpuset.cpus: "#));
    // Memory, shares and the limit of processes are fine and written before the last is refused.
    let json = r#"{"pids": {"limit": 5}, "cpu": {"shares": 99},
        "memory": {"limit": 9000000, "swap": 9000000}, "blockIO": {"leafWeight": 10}}"#;
    assert_eq!(
        update(json).unwrap_err().to_string(),
        "linux.resources.blockIO.leafWeight: blkio.leaf_weight: this kernel has no such file"
    );
    assert_eq!(read(cgroup, "memory", "memory.limit_in_bytes"), "33554432");
    assert_eq!(read(cgroup, "memory", "memory.memsw.limit_in_bytes"), "33554432");
    assert_eq!(read(cgroup, "cpu", "cpu.shares"), "512");
    assert_eq!(read(cgroup, "pids", "pids.max"), "max");
}

#[test]
fn v1_a_failure_leaves_no_directory() {
    let Some(host) = v1_host() else { return };
    let path = name("undo");
    let plan = plan(&host, &format!("{path}/a/b"), r#"{"cpu": {"cpus": "4000"}}"#);
    let mut cgroup = plan.place();
    let error = cgroup.create(&plan).unwrap_err().to_string();
    assert!(error.starts_with("linux.resources.cpu.cpus: "), "{error}");
    for hierarchy in &host.v1 {
        assert!(!std::path::Path::new(&format!("{}{path}", hierarchy.mount)).exists());
    }
}

#[test]
fn v1_below_a_frozen_cgroup_nothing_is_started() {
    let Some(host) = v1_host() else { return };
    let freezer = &host.v1_of("freezer").expect("checked").mount;
    let parent = format!("{freezer}{}", name("ice"));
    std::fs::create_dir(&parent).unwrap();
    std::fs::write(format!("{parent}/freezer.state"), "FROZEN").unwrap();
    let plan = plan(&host, &format!("{}/leaf", name("ice")), &format!("{{{DENY_ALL}}}"));
    let outcome = plan.place().create(&plan).map(drop).map_err(|e| e.to_string());
    std::fs::remove_dir(&parent).unwrap();
    let want =
        format!("linux.cgroupsPath: container's cgroup is below a frozen one: {parent}/leaf");
    assert_eq!(outcome, Err(want));
    for hierarchy in &host.v1 {
        let left = format!("{}{}", hierarchy.mount, name("ice"));
        assert!(!std::path::Path::new(&left).exists(), "{left}");
    }
}

#[test]
fn v1_oom_kill_is_noticed() {
    let Some(host) = v1_host() else { return };
    let json = format!(r#"{{{DENY_ALL}, "memory": {{"limit": 4194304, "swap": 4194304}}}}"#);
    let plan = plan(&host, &name("oom"), &json);
    let mut cgroup = plan.place();
    cgroup.create(&plan).unwrap();
    let made = Made(cgroup);
    let mut watch = made.0.watch().unwrap();
    assert_eq!(watch.next().unwrap(), []);
    let (hog, pidfd) = match clone3(&CloneRequest::default()).expect("clone3") {
        Fork::Child(_) => {
            let _ = made.0.join(getpid());
            let size = 32 << 20;
            let mut memory = vec![0_u8; size];
            memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            crate::sys::exit(i32::from(memory[size - 4096]))
        }
        Fork::Parent { child, pidfd } => (child, pidfd),
    };
    let sleeper = Sleeper { pid: hog, pidfd, reaped: false };
    assert!(sleeper.end(), "it was not killed");
    assert!(made.0.oom_kill_count().unwrap() > 0);
    let mut fds = watch.poll_fds();
    assert!(nix::poll::poll(&mut fds, 5000_u16).unwrap() > 0);
    drop(fds);
    assert_eq!(watch.next().unwrap(), [Happened::Oom]);
    made.0.destroy().unwrap();
    assert!(nix::poll::poll(&mut watch.poll_fds(), 5000_u16).unwrap() > 0);
    assert_eq!(watch.next().unwrap(), [Happened::Gone]);
}

#[test]
fn v1_without_permission() {
    if let Some(host) = v1_host() {
        inside(|_| {
            as_nobody(|host| {
                let words = "pids limit: container could not join or create cgroup";
                without_permission(host, r#"{"pids": {"limit": 5}}"#, words)
            })(&host)
        });
    }
}
