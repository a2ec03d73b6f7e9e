// SPDX-License-Identifier: Apache-2.0
//! Limits, update, events, ps, exec --cgroup and the end of many processes, seen in the cgroups
//! themselves, on whatever hierarchies the host has.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use common::{
    Bundle, Value, can_run, cgroups_named, has, is_cgroupfs, is_creel, is_root, is_rootless, json,
};

/// The container's file of that name, whichever hierarchy has it.
fn file(bundle: &Bundle, names: &[&str]) -> Option<PathBuf> {
    let dirs = cgroups_named(bundle.id());
    names.iter().flat_map(|name| dirs.iter().map(move |d| d.join(name))).find(|f| f.exists())
}

#[track_caller]
fn read(bundle: &Bundle, names: &[&str]) -> String {
    let file = file(bundle, names).unwrap_or_else(|| panic!("none of {names:?}"));
    fs::read_to_string(file).expect("a cgroup file").trim().to_owned()
}

/// Whether the host has these; prints why a test is left out.
fn has_controllers(wanted: &[&str]) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").expect("/proc/self/cgroup");
    // A user has those that were delegated to him.
    let at = if is_rootless() { own.trim().trim_start_matches("0::") } else { "" };
    let list = format!("/sys/fs/cgroup{at}/cgroup.controllers");
    let mut present = fs::read_to_string(list).unwrap_or_default();
    for controllers in own.lines().filter_map(|l| l.split(':').nth(1)) {
        if controllers.split(',').any(|c| PathBuf::from(format!("/sys/fs/cgroup/{c}")).exists()) {
            present += &format!(" {}", controllers.replace(',', " "));
        }
    }
    let missing: Vec<_> =
        wanted.iter().filter(|c| !present.split_whitespace().any(|p| p == **c)).collect();
    if !missing.is_empty() {
        println!("SKIP: this host's cgroups have no {missing:?}");
    }
    missing.is_empty()
}

fn sleeper() -> Bundle {
    Bundle::new("sleep 1000")
}

fn saved(bundle: &Bundle) -> Value {
    let path = bundle.state_root().join(bundle.id()).join("config.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the saved config")).expect("JSON")
}

#[test]
fn strict_devices_are_the_configs_alone() {
    if !is_root() || !is_creel() {
        return;
    }
    let script = "for d in null zero; do if : <>/dev/$d; then echo $d; fi; done 2>&1";
    let plain = Bundle::new(script);
    assert_eq!(plain.run().out, "null\nzero\n");
    let strict = Bundle::new(script)
        .patch("/annotations", json!({"io.github.creel.devices.strict": "true"}))
        .patch(
            "/linux/resources/devices/-",
            json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}),
        );
    let run = strict.run();
    assert!(run.out.starts_with("null\n"), "{}", run.out);
    assert!(run.out.contains("/dev/zero: Operation not permitted"), "{}", run.out);
    assert_eq!(strict.leftovers(), [""; 0]);
}

#[test]
fn update_keeps_what_it_changed_and_nothing_else() {
    if !is_root() || !is_creel() || !has_controllers(&["pids", "cpu"]) {
        return;
    }
    let bundle = sleeper().patch("/linux/resources/cpu", json!({"shares": 512}));
    bundle.start_detached();
    bundle.runtime(&["update", "--pids-limit", "30", "--cpu-quota", "60000", bundle.id()]).ok();
    let config = saved(&bundle);
    assert_eq!(
        config["linux"]["resources"],
        json!({"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 30},
               "cpu": {"shares": 512, "quota": 60000}})
    );
    assert_eq!(config["process"], bundle.config["process"]);
    assert_eq!(bundle.exec(&["echo", "still"]).ok().out, "still\n");
    // Refused by the kernel: neither in force nor kept.
    let refused =
        bundle.runtime(&["update", "--pids-limit", "40", "--cpu-period", "5", bundle.id()]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert_eq!(read(&bundle, &["pids.max"]), "30");
    assert_eq!(saved(&bundle), config);
}

#[test]
fn update_leaves_out_of_band_edits_alone() {
    if !can_run() || !is_cgroupfs() || !is_creel() || !has_controllers(&["pids", "cpu", "memory"]) {
        return;
    }
    let bundle = sleeper()
        .patch("/linux/resources/cpu", json!({"shares": 512, "quota": 50000, "period": 100_000}))
        .patch("/linux/resources/memory", json!({"limit": 64 << 20}));
    bundle.start_detached();
    let shares = file(&bundle, &["cpu.shares", "cpu.weight"]).expect("cpu");
    fs::write(&shares, "77").expect("by hand");
    let memory = file(&bundle, &["memory.limit_in_bytes", "memory.max"]).expect("memory");
    fs::write(&memory, "99999744").expect("by hand");
    match file(&bundle, &["cpu.cfs_period_us"]) {
        Some(period) => fs::write(period, "200000").expect("by hand"),
        None => {
            fs::write(file(&bundle, &["cpu.max"]).expect("cpu"), "50000 200000").expect("by hand")
        }
    }
    bundle.runtime(&["update", "--pids-limit", "30", "--cpu-quota", "60000", bundle.id()]).ok();
    let now = |file: &PathBuf| fs::read_to_string(file).expect("a file").trim().to_owned();
    assert_eq!((now(&shares).as_str(), now(&memory).as_str()), ("77", "99999744"));
    assert_eq!(read(&bundle, &["pids.max"]), "30");
    match file(&bundle, &["cpu.cfs_quota_us"]) {
        Some(quota) => {
            assert_eq!(
                (now(&quota).as_str(), &*read(&bundle, &["cpu.cfs_period_us"])),
                ("60000", "200000")
            );
        }
        None => assert_eq!(read(&bundle, &["cpu.max"]), "60000 200000"),
    }
}

/// The files below /sys/fs/cgroup that a command opens for writing.
fn written(bundle: &Bundle, args: &[&str]) -> Vec<String> {
    let trace = bundle.dir.join("trace");
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=openat", "-o"]).arg(&trace).arg(common::runtime());
    command.arg("--root").arg(bundle.state_root()).args(args);
    bundle.finish(command).ok();
    let text = fs::read_to_string(trace).expect("strace's output");
    let writes = text.lines().filter(|l| {
        l.contains("/sys/fs/cgroup") && (l.contains("O_WRONLY") || l.contains("O_RDWR"))
    });
    writes
        .filter_map(|l| l.split('"').nth(1))
        .map(|f| f.rsplit('/').next().unwrap_or(f).to_owned())
        .collect()
}

#[test]
fn update_writes_the_files_it_was_asked_for() {
    if !can_run() || !is_cgroupfs() || !is_creel() || !has_controllers(&["pids", "cpu", "memory"]) {
        return;
    }
    if !has("strace") {
        println!("SKIP: strace is not installed");
        return;
    }
    let bundle = sleeper().patch(
        "/linux/resources/cpu",
        json!({"shares": 512, "quota": 50000, "period": 100_000, "cpus": "0"}),
    );
    bundle.start_detached();
    let is_v1 = file(&bundle, &["cpu.shares"]).is_some();
    let update = |flags: &[&str]| {
        let mut args = vec!["update"];
        args.extend(flags);
        args.push(bundle.id());
        written(&bundle, &args)
    };
    assert_eq!(update(&["--pids-limit", "50"]), ["pids.max"]);
    assert_eq!(update(&["--pids-limit", "51", "--cpu-share", "2048"]).len(), 2);
    assert_eq!(
        update(&["--cpu-quota", "40000"]),
        [if is_v1 { "cpu.cfs_quota_us" } else { "cpu.max" }]
    );
    assert_eq!(
        update(&["--memory", "64m"]),
        [if is_v1 { "memory.limit_in_bytes" } else { "memory.max" }]
    );
    assert_eq!(update(&[]), [""; 0]);
}

/// Values that limit each other, raised and lowered together.
#[test]
fn update_goes_both_ways_in_one_step() {
    if !can_run() || !has_controllers(&["cpu", "memory"]) {
        return;
    }
    let bundle = sleeper()
        .patch("/linux/resources/cpu", json!({"quota": 50000, "period": 100_000, "burst": 40000}))
        .patch("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 64 << 20}));
    bundle.start_detached();
    for (quota, burst) in [("90000", "80000"), ("20000", "5000"), ("200000", "150000")] {
        bundle.runtime(&["update", "--cpu-quota", quota, "--cpu-burst", burst, bundle.id()]).ok();
        let now = read(&bundle, &["cpu.cfs_quota_us", "cpu.max"]);
        assert_eq!(now.split(' ').next(), Some(quota));
        assert_eq!(read(&bundle, &["cpu.cfs_burst_us", "cpu.max.burst"]), burst);
    }
    for (limit, swap) in
        [(128_u64 << 20, 256_u64 << 20), (32 << 20, 32 << 20), (256 << 20, 300 << 20)]
    {
        let (memory, both) = (limit.to_string(), swap.to_string());
        let flags = ["update", "--memory", &memory, "--memory-swap", &both, bundle.id()];
        bundle.runtime(&flags).ok();
        assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), memory);
        match file(&bundle, &["memory.swap.max"]) {
            Some(file) => {
                let now = fs::read_to_string(file).expect("a file");
                assert_eq!(now.trim(), (swap - limit).to_string());
            }
            None => assert_eq!(read(&bundle, &["memory.memsw.limit_in_bytes"]), both),
        }
    }
}

#[test]
fn update_takes_every_flag_and_a_file_or_standard_input() {
    if !can_run() || !has_controllers(&["pids", "cpu", "cpuset", "memory"]) {
        return;
    }
    let bundle = sleeper();
    bundle.start_detached();
    let flags = "--cpu-period 200000 --cpu-quota 100000 --cpu-burst 1000 --cpu-share 100 --cpuset-cpus 0 \
                 --cpuset-mems 0 --memory 64m --memory-reservation 32m --pids-limit 10 \
                 --kernel-memory 1m --kernel-memory-tcp 1m";
    let mut args = vec!["update"];
    args.extend(flags.split_whitespace());
    args.push(bundle.id());
    bundle.runtime(&args).ok();
    let check = |pids: &str, cpus: &str| {
        assert_eq!(read(&bundle, &["pids.max"]), pids);
        assert_eq!(read(&bundle, &["cpuset.cpus"]), cpus);
        assert_eq!(read(&bundle, &["cpuset.mems"]), "0");
        assert_eq!(read(&bundle, &["memory.limit_in_bytes", "memory.max"]), (64 << 20).to_string());
        let low = ["memory.soft_limit_in_bytes", "memory.low"];
        assert_eq!(read(&bundle, &low), (32 << 20).to_string());
        if file(&bundle, &["cpu.max"]).is_some() {
            assert_eq!(read(&bundle, &["cpu.max"]), "100000 200000");
            assert_eq!(read(&bundle, &["cpu.max.burst"]), "1000");
        } else {
            assert_eq!(read(&bundle, &["cpu.cfs_quota_us"]), "100000");
            assert_eq!(read(&bundle, &["cpu.cfs_period_us"]), "200000");
            assert_eq!(read(&bundle, &["cpu.cfs_burst_us"]), "1000");
            assert_eq!(read(&bundle, &["cpu.shares"]), "100");
        }
    };
    check("10", "0");
    let path = bundle.dir.join("resources.json");
    fs::write(&path, r#"{"pids": {"limit": 11}}"#).expect("a file");
    bundle.runtime(&["update", "--resources", path.to_str().expect("UTF-8"), bundle.id()]).ok();
    check("11", "0");
    let mut command = bundle.command(&["update", "-r", "-", bundle.id()]);
    let stdin = fs::File::open(&path).expect("the file");
    fs::write(&path, r#"{"pids": {"limit": 12}, "cpu": {"cpus": "0"}}"#).expect("a file");
    let status = command.stdin(stdin).status().expect("the runtime");
    assert!(status.success());
    check("12", "0");
}

/// `events` in the background; killed at the end.
struct Events {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Events {
    fn of(bundle: &Bundle, interval: &str) -> Self {
        let mut command = bundle.command(&["events", "--interval", interval, bundle.id()]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("events");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// None at its end.
    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("a line");
        Some(serde_json::from_str(&line).expect("JSON"))
    }

    /// Whether it is waiting by now for what happens.
    fn wait_until_watching(&self) {
        let wchan = format!("/proc/{}/wchan", self.child.id());
        let begun = std::time::Instant::now();
        while !fs::read_to_string(&wchan).unwrap_or_default().contains("poll") {
            assert!(begun.elapsed().as_secs() < 20, "it never waits");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn events_push_an_oom_kill_and_end_with_the_container() {
    if !can_run() || !is_creel() || !has_controllers(&["memory"]) {
        return;
    }
    let bundle =
        sleeper().patch("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 32 << 20}));
    bundle.start_detached();
    // No interval comes to pass in this test.
    let mut events = Events::of(&bundle, "9h");
    events.wait_until_watching();
    // tail keeps what it has read until a newline comes.
    let killed = bundle.exec(&["tail", "-n", "1", "/dev/zero"]);
    assert_eq!(killed.code, 137, "{}", killed.err);
    assert_eq!(events.next(), Some(json!({"type": "oom", "id": bundle.id()})));
    bundle.runtime(&["kill", bundle.id(), "KILL"]).ok();
    while let Some(event) = events.next() {
        assert_eq!(event["type"], "oom");
    }
    assert!(events.child.wait().expect("its status").success());
}

#[test]
fn events_push_a_refused_fork_and_give_stats_at_an_interval() {
    if !can_run() || !is_creel() || !has_controllers(&["pids"]) {
        return;
    }
    let bundle = sleeper().patch("/linux/resources/pids", json!({"limit": 3}));
    bundle.start_detached();
    // On v1 the kernel counts, but wakes nobody (Linux 6.11): there it comes with the statistics.
    let is_v1 =
        file(&bundle, &["cgroup.events"]).is_none_or(|f| !f.with_file_name("pids.max").exists());
    let mut events = Events::of(&bundle, if is_v1 { "50ms" } else { "9h" });
    events.wait_until_watching();
    let run = bundle.exec(&["sh", "-c", "sleep 1 & sleep 1 & sleep 1 & wait"]);
    assert_ne!(run.code, 0, "{}", run.err);
    if file(&bundle, &["pids.events"]).is_none() {
        println!("SKIP: this kernel has no pids.events");
        return;
    }
    let mut event = events.next();
    while is_v1 && event.as_ref().is_some_and(|event| event["type"] == "stats") {
        event = events.next();
    }
    assert_eq!(event, Some(json!({"type": "pids", "id": bundle.id()})));
    let mut stats = Events::of(&bundle, "0h0m0.02s");
    let (first, second) = (stats.next().expect("stats"), stats.next().expect("stats"));
    assert_eq!((&first["type"], &second["type"]), (&json!("stats"), &json!("stats")));
    assert_eq!(first["data"]["pids"]["limit"], 3);
}

/// `a.b` for every member, also of what lists hold.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if !at.ends_with(".raw") => {
            for (name, value) in members {
                paths(value, &format!("{at}.{name}"), found);
            }
            if members.is_empty() {
                found.push(format!("{at} {{}}"));
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().for_each(|item| paths(item, &format!("{at}[]"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// Members of the data that are there whatever happens.
const ALWAYS: &[&str] = &[
    ".cpu.usage.kernel",
    ".cpu.usage.total",
    ".cpu.usage.user",
    ".cpuset.cpu_exclusive",
    ".cpuset.mem_exclusive",
    ".cpuset.mem_hardwall",
    ".cpuset.memory_migrate",
    ".cpuset.memory_pressure",
    ".cpuset.memory_spread_page",
    ".cpuset.memory_spread_slab",
    ".cpuset.sched_load_balance",
    ".cpuset.sched_relax_domain_level",
    ".intel_rdt {}",
    ".memory.raw",
    ".memory.usage.failcnt",
    ".memory.usage.limit",
    ".memory.usage.usage",
    ".memory.swap.failcnt",
    ".memory.swap.limit",
    ".memory.swap.usage",
    ".network_interfaces",
    ".pids.current",
    ".pids.limit",
];
/// What only v1 counts.
const V1: &[&str] = &[
    ".cpu.usage.percpu",
    ".cpu.usage.percpu_kernel",
    ".cpu.usage.percpu_user",
    ".cpuset.cpus",
    ".cpuset.mems",
    ".memory.kernel.failcnt",
    ".memory.kernel.limit",
    ".memory.kernel.usage",
    ".memory.kernelTCP.failcnt",
    ".memory.kernelTCP.limit",
];
/// The same test passes with `RUNTIME=runc`: the shape is runc's, key by key.
#[test]
fn events_stats_have_runcs_keys() {
    if !can_run() || !has_controllers(&["pids", "memory", "cpu", "cpuset"]) {
        return;
    }
    let bundle = sleeper()
        .patch("/linux/resources/pids", json!({"limit": 30}))
        .patch("/linux/resources/memory", json!({"limit": 64 << 20}))
        .patch("/linux/resources/cpu", json!({"quota": 50000, "period": 100_000, "cpus": "0"}));
    bundle.start_detached();
    let run = bundle.runtime(&["events", "--stats", bundle.id()]).ok();
    assert!(run.out.ends_with("}\n") && run.out.lines().count() == 1, "{}", run.out);
    let event: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(bundle.id())));
    let mut found = Vec::new();
    paths(&event["data"], "", &mut found);
    // What depends on the moment, on the machine's disks and on its huge pages.
    let passing = |path: &str| {
        [".blkio.io", ".blkio.sectors", ".hugetlb.", ".cpu.throttling.", ".memory.cache"]
            .iter()
            .any(|p| path.starts_with(p))
            || path.ends_with(".max") && path.starts_with(".memory.")
            || path.contains(".psi")
    };
    found.retain(|path| !passing(path));
    found.sort();
    found.dedup();
    let is_v1 = file(&bundle, &["cpuacct.usage"]).is_some();
    let mut want: Vec<String> = ALWAYS.iter().map(|s| (*s).to_owned()).collect();
    if is_v1 {
        want.extend(V1.iter().map(|s| (*s).to_owned()));
    }
    // No disk has been used: then the list of its use is not there.
    found.retain(|path| !path.starts_with(".blkio") && !path.starts_with(".hugetlb"));
    want.sort();
    // Zero in a kernel that does not count it, and then left out.
    let optional = [".memory.kernel.usage", ".memory.kernel.limit", ".memory.swap.usage"];
    want.retain(|path| found.contains(path) || !optional.contains(&path.as_str()));
    assert_eq!(found, want);
    let members: Vec<_> = event["data"].as_object().expect("an object").keys().collect();
    assert_eq!(members.len(), 8, "{members:?}");
}

#[test]
fn ps_hands_its_arguments_on() {
    if !can_run() {
        return;
    }
    let bundle = sleeper();
    bundle.start_detached();
    let run = bundle.runtime(&["ps", bundle.id(), "-e", "-o", "pid,comm"]).ok();
    let lines: Vec<_> = run.out.lines().collect();
    assert!(lines[0].trim_start().starts_with("PID"), "{}", run.out);
    let wanted = bundle.pid().to_string();
    assert_eq!(lines.len(), 2, "{}", run.out);
    assert!(lines[1].trim_start().starts_with(&wanted), "{}", run.out);
    let run = bundle.runtime(&["ps", "--format", "json", bundle.id()]).ok();
    assert_eq!(run.out.trim(), format!("[{wanted}]"));
}

/// `clock_nanosleep` and its kin in a command under strace; None without strace.
fn sleeps(bundle: &Bundle, args: &[&str]) -> Option<usize> {
    if !has("strace") {
        println!("SKIP counting the sleeps: strace is not installed");
        bundle.runtime(args).ok();
        return None;
    }
    let trace = bundle.dir.join("sleeps");
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-e", "trace=nanosleep,clock_nanosleep", "-o"]).arg(&trace);
    command.arg(common::runtime()).arg("--root").arg(bundle.state_root()).args(args);
    bundle.finish(command).ok();
    let text = fs::read_to_string(trace).expect("strace's output");
    Some(text.lines().filter(|line| line.contains("nanosleep(")).count())
}

fn pids(bundle: &Bundle) -> Vec<i32> {
    let run = bundle.runtime(&["ps", "--format", "json", bundle.id()]).ok();
    serde_json::from_str::<Option<_>>(&run.out).expect("JSON").unwrap_or_default()
}

#[track_caller]
fn wait_for_processes(bundle: &Bundle, count: usize) -> Vec<i32> {
    let begun = std::time::Instant::now();
    loop {
        let pids = pids(bundle);
        if pids.len() >= count {
            return pids;
        }
        // Emulated machines take minutes for a thousand.
        assert!(begun.elapsed().as_secs() < 300, "{} of {count}", pids.len());
        std::thread::sleep(std::time::Duration::from_millis(if count > 100 { 500 } else { 20 }));
    }
}

/// Whether it has ended; a zombie has.
fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

const MANY: &str = "i=0; while [ $i -lt 999 ]; do sleep 1000 & i=$((i+1)); done; wait";

#[test]
fn a_thousand_processes_are_killed_and_removed_without_a_sleep() {
    if !is_root() || !is_creel() {
        return;
    }
    for own_pids in [true, false] {
        let mut bundle = Bundle::new(MANY);
        if !own_pids {
            bundle = bundle.without_namespace("pid");
        }
        bundle.start_detached();
        let pids = wait_for_processes(&bundle, 1000);
        let sleeps = sleeps(&bundle, &["delete", "--force", bundle.id()]);
        assert!(pids.into_iter().all(is_gone));
        assert_eq!(bundle.leftovers(), [""; 0]);
        // v1 alone has no event for an empty cgroup.
        let has_events = ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"];
        if has_events.iter().any(|f| fs::exists(f).unwrap_or(false)) {
            assert!(sleeps.is_none_or(|n| n == 0), "{sleeps:?} sleeps");
        }
    }
}

#[test]
fn in_the_hosts_pid_namespace_no_process_outlives_the_container() {
    if !is_root() {
        return;
    }
    let script = "sleep 1000 & sleep 1000 & wait";
    let forced = Bundle::new(script).without_namespace("pid");
    forced.start_detached();
    let pids = wait_for_processes(&forced, 3);
    forced.runtime(&["delete", "--force", forced.id()]).ok();
    assert!(pids.into_iter().all(is_gone));
    assert_eq!(forced.leftovers(), [""; 0]);
    // init alone has ended; the others are the container's as well.
    let left = Bundle::new(script).without_namespace("pid");
    left.start_detached();
    let pids = wait_for_processes(&left, 3);
    let init = left.pid();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), nix::sys::signal::Signal::SIGKILL)
        .expect("kill init");
    left.wait_status("stopped");
    left.runtime(&["delete", left.id()]).ok();
    assert!(pids.into_iter().all(is_gone));
    assert_eq!(left.leftovers(), [""; 0]);
}

#[test]
fn frozen_cgroups_below_the_containers_hold_nobody_back() {
    if !is_root() || !is_creel() {
        return;
    }
    for own_pids in [true, false] {
        let mut bundle = Bundle::new("sleep 1000 & sleep 1000 & wait");
        if !own_pids {
            bundle = bundle.without_namespace("pid");
        }
        bundle.start_detached();
        let pids = wait_for_processes(&bundle, 3);
        let state = file(&bundle, &["freezer.state", "cgroup.freeze"]).expect("a freezer");
        let inner = state.parent().expect("a directory").join("sub/inner");
        fs::create_dir_all(&inner).expect("sub-cgroups");
        let other = pids.iter().find(|pid| **pid != bundle.pid()).expect("another process");
        fs::write(inner.join("cgroup.procs"), other.to_string()).expect("move it");
        let freeze = inner.join(state.file_name().expect("a name"));
        let word = if freeze.ends_with("freezer.state") { "FROZEN" } else { "1" };
        fs::write(freeze, word).expect("freeze it");
        bundle.runtime(&["delete", "--force", bundle.id()]).ok();
        assert!(pids.into_iter().all(is_gone), "own pids: {own_pids}");
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

const VIEWS: &str = "the_other_views_of_a_hybrid_host";

/// All of this file once more where the same host shows v2 alone, and v1 alone.
#[test]
fn the_other_views_of_a_hybrid_host() {
    if !can_run() {
        return;
    }
    if !is_creel() {
        println!("SKIP: other views are for creel's own tests");
        return;
    }
    if !fs::exists("/sys/fs/cgroup/unified/cgroup.procs").unwrap_or(false) {
        println!("SKIP: this host is not hybrid: the tests have run on all that it has");
        return;
    }
    let v2 = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup";
    let v1 = "umount /sys/fs/cgroup/unified";
    for view in [v2, v1] {
        let script = format!("{view} && exec \"$@\"");
        let status = std::process::Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--skip", VIEWS, "--nocapture"])
            .status()
            .expect("unshare");
        assert!(status.success(), "{view}");
    }
}

fn is_v2() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false)
}

/// A bundle whose root is uid 100000 outside, with a view of its cgroup.
fn with_view(script: &str, access: &str) -> Bundle {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle = Bundle::new(script)
        .patch("/linux/namespaces/-", json!({"type": "user"}))
        .patch("/linux/uidMappings", map.clone())
        .patch("/linux/gidMappings", map)
        .add_mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                          "options": ["nosuid", "noexec", "nodev", access]}));
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).expect("chown");
    bundle
}

#[test]
fn a_writable_view_in_its_own_namespaces_belongs_to_the_containers_root() {
    if !is_root() || !is_creel() {
        return;
    }
    if !is_v2() {
        println!("SKIP: only v2 is delegated");
        return;
    }
    let script = "cd /sys/fs/cgroup; stat -c %u . cgroup.procs cgroup.freeze; mkdir sub && echo made; \
                  echo 0 > sub/cgroup.procs && echo moved; wc -l < cgroup.procs";
    let own = json!({"type": "cgroup"});
    let run = with_view(script, "rw").patch("/linux/namespaces/-", own.clone()).run();
    // Only wc is in the top cgroup when it is read: a child of the shell, which has moved.
    assert_eq!(run.out, "0\n0\n65534\nmade\nmoved\n0\n", "{}", run.err);
    let run = with_view(script, "ro").patch("/linux/namespaces/-", own).run();
    assert!(run.out.starts_with("65534\n65534\n65534\n"), "{}", run.out);
    assert!(run.err.contains("Read-only file system"), "{}", run.err);
    // In the host's cgroup namespace nothing is handed over, writable or not.
    let run = with_view(script, "rw").run();
    assert!(run.out.starts_with("65534\n65534\n"), "{}", run.out);
    assert!(!run.out.contains("made"), "{}", run.out);
}

/// CVE-2023-25809: a read-only view of the host's cgroups is not writable, whoever is root inside.
#[test]
fn a_read_only_view_without_a_namespace_is_read_only() {
    if !is_root() {
        return;
    }
    let script = "cd /sys/fs/cgroup; for f in cgroup.procs */cgroup.procs; do \
                  [ -e $f ] && ! echo 0 2>/dev/null > $f && echo refused $f; done; \
                  mkdir sub 2>&1; mkdir */sub 2>&1 | head -n 1";
    for bundle in [with_view(script, "ro"), {
        let mut plain = Bundle::new(script);
        plain = plain.add_mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup",
            "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]}));
        plain
    }] {
        let run = bundle.run();
        let files = run.out.lines().filter(|line| line.contains("cgroup.procs")).count();
        assert!(files > 0, "{}\n{}", run.out, run.err);
        assert!(run.out.contains("mkdir: can't create directory 'sub': Read-only"), "{}", run.out);
        assert!(!run.out.contains("File exists"), "{}", run.out);
    }
}

/// How many controllers share their hierarchy with others: each is a link there.
fn shared_names() -> usize {
    let own = fs::read_to_string("/proc/self/cgroup").expect("/proc/self/cgroup");
    let shared = own.lines().filter_map(|line| line.split(':').nth(1));
    shared.filter(|names| names.contains(',')).map(|names| names.split(',').count()).sum()
}

#[test]
fn on_v1_each_hierarchy_shows_the_containers_own_cgroup() {
    if !can_run() || is_v2() {
        if is_v2() {
            println!("SKIP: there are no v1 hierarchies");
        }
        return;
    }
    let script = "cd /sys/fs/cgroup; for d in memory pids devices freezer; do \
                  tr '\n' ' ' < $d/cgroup.procs; done; ls -l | grep -e '->' | wc -l; \
                  mkdir memory/sub && rmdir memory/sub && echo writable";
    let view = |access| {
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
               "options": ["nosuid", "noexec", "nodev", access]})
    };
    let script = format!("{script}; sleep 0");
    for namespace in [None, Some(json!({"type": "cgroup"}))] {
        for (access, is_writable) in [("rw", true), ("ro", false)] {
            let mut bundle = Bundle::new(&script).add_mount(view(access));
            if let Some(namespace) = &namespace {
                bundle = bundle.patch("/linux/namespaces/-", namespace.clone());
            }
            let run = bundle.run();
            // The shell and the program that reads, in each of them.
            assert!(run.out.starts_with("1 "), "{}\n{}", run.out, run.err);
            let links = run.out.lines().next().and_then(|l| l.rsplit(' ').next()).expect("a line");
            assert_eq!(links, shared_names().to_string(), "{}", run.out);
            assert_eq!(run.out.contains("writable"), is_writable, "{}\n{}", run.out, run.err);
        }
    }
}

/// A cgroup above the container's, in one hierarchy; removed from all at the end.
struct Above(String);

impl Above {
    /// Made where `file` then is; None, with the reason said, where this host has no such file.
    fn new(bundle: &mut Bundle, file: &str, value: &str) -> Option<(Self, PathBuf)> {
        let above = Self(format!("{}-above", bundle.id()));
        bundle.set("/linux/cgroupsPath", json!(format!("/{}/{}", above.0, bundle.id())));
        for top in tops() {
            let dir = top.join(&above.0);
            fs::create_dir(&dir).expect("a cgroup");
            if fs::write(dir.join(file), value).is_ok() {
                return Some((above, dir));
            }
        }
        println!("SKIP: no {file} in any hierarchy");
        None
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        for top in tops() {
            let _ = fs::remove_dir(top.join(&self.0));
        }
    }
}

/// Where the hierarchies are mounted.
fn tops() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc/self/mounts");
    let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let cgroups =
        mounts.filter(|m| m[2].starts_with("cgroup") && m[1].starts_with("/sys/fs/cgroup"));
    cgroups.map(|m| PathBuf::from(m[1])).collect()
}

#[track_caller]
fn refused(bundle: &Bundle, message: &str) {
    let run = bundle.create();
    assert_eq!((run.code, run.message().as_str()), (1, message));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_limit_above_that_of_the_cgroup_above_is_one_error() {
    if !can_run() || !is_creel() {
        return;
    }
    if is_v2() {
        println!("SKIP: v2 takes such values and holds to the lower one");
        return;
    }
    let mut bundle =
        sleeper().patch("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000}));
    if let Some(_above) = Above::new(&mut bundle, "cpu.cfs_quota_us", "10000") {
        refused(
            &bundle,
            "linux.resources.cpu.quota: write \"50000\" to cpu.cfs_quota_us (the cgroup above has \
             10000 of 100000): EINVAL: invalid argument",
        );
    }
    if std::thread::available_parallelism().is_ok_and(|n| n.get() < 2) {
        println!("SKIP: one CPU");
        return;
    }
    let mut bundle = sleeper().patch("/linux/resources/cpu", json!({"cpus": "0-1"}));
    if let Some(_above) = Above::new(&mut bundle, "cpuset.cpus", "0") {
        refused(
            &bundle,
            "linux.resources.cpu.cpus: write \"0-1\" to cpuset.cpus (the cgroup above has 0): \
             EACCES: permission denied",
        );
    }
}

#[test]
fn below_a_frozen_cgroup_nothing_begins() {
    if !is_root() || !is_cgroupfs() || !is_creel() {
        return;
    }
    for (file, frozen, thawed) in
        [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")]
    {
        if (file == "cgroup.freeze") != is_v2() {
            continue;
        }
        let mut bundle = sleeper();
        let Some((_above, dir)) = Above::new(&mut bundle, file, frozen) else { return };
        refused(
            &bundle,
            &format!(
                "linux.cgroupsPath: container's cgroup is below a frozen one: {}/{}",
                dir.display(),
                bundle.id()
            ),
        );
        fs::write(dir.join(file), thawed).expect("thaw");
    }
}

#[test]
fn a_cgroup_with_somebody_in_it_is_not_taken() {
    if !is_root() || !is_cgroupfs() || !is_creel() {
        return;
    }
    let first = sleeper().patch("/linux/cgroupsPath", json!("/creel-test-taken"));
    first.start_detached();
    let second = sleeper().patch("/linux/cgroupsPath", json!("/creel-test-taken"));
    let run = second.create();
    assert_eq!(run.code, 1);
    let words = "linux.cgroupsPath: container's cgroup is not empty: 1 process(es) found in ";
    assert!(run.message().starts_with(words), "{}", run.err);
    assert_eq!(first.status(), "running");
    first.runtime(&["delete", "--force", first.id()]).ok();
    assert!(cgroups_named("creel-test-taken").is_empty());
}

#[test]
fn a_read_only_cgroup_filesystem_is_one_error() {
    if !is_root() || !is_creel() {
        return;
    }
    let bundle = sleeper();
    bundle.write();
    let remount = "for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/self/mounts); do \
                   mount -o remount,bind,ro $m || exit 9; done; exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", remount, "sh"]);
    command.arg(common::runtime()).arg("--root").arg(bundle.state_root());
    command.args(["create", bundle.id()]).current_dir(&bundle.dir);
    let run = bundle.finish(command);
    assert_eq!(run.code, 1, "{}", run.err);
    let message = run.message();
    assert!(message.starts_with("make cgroup /sys/fs/cgroup/"), "{message}");
    assert!(message.ends_with(": EROFS: read-only file system"), "{message}");
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn unified_is_refused_by_its_key() {
    if !can_run() || !is_creel() {
        return;
    }
    if !is_v2() {
        println!("SKIP: on v1 unified is refused as a whole (tests/broken)");
        return;
    }
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("v2");
    let present = controllers.split_whitespace().next().expect("a controller");
    let of_present = format!("{present}.nothing");
    for (key, says) in [
        ("../x.y", ": resource \"../x.y\" must be a file name (no slashes)".to_owned()),
        ("memory", ": resource \"memory\" must be in the form CONTROLLER.PARAMETER".to_owned()),
        ("nope.max", "[nope.max]: the nope controller is not available".to_owned()),
        (&of_present, format!("[{of_present}]: {of_present}: this kernel has no such file")),
        (
            "cgroup.max.depth",
            "[cgroup.max.depth]: write \"x\" to cgroup.max.depth: EINVAL: invalid argument"
                .to_owned(),
        ),
    ] {
        let bundle = sleeper().patch("/linux/resources/unified", json!({key: "x"}));
        refused(&bundle, &format!("linux.resources.unified{says}"));
    }
    let bundle = sleeper().patch("/linux/resources/unified", json!({"cgroup.max.depth": "7"}));
    bundle.start_detached();
    assert_eq!(read(&bundle, &["cgroup.max.depth"]), "7");
}

/// A nested manager moves init away and hands controllers down: exec goes to where init is.
#[test]
fn exec_follows_init_out_of_a_cgroup_that_takes_no_process() {
    if !is_root() || !is_creel() {
        return;
    }
    if !is_v2() {
        println!("SKIP: only a v2 cgroup is closed by its children");
        return;
    }
    let bundle = sleeper();
    bundle.start_detached();
    let dir = cgroups_named(bundle.id()).pop().expect("its cgroup");
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).expect("v2");
    let one = controllers.split_whitespace().last().expect("a controller");
    fs::create_dir(dir.join("init")).expect("mkdir");
    fs::write(dir.join("init/cgroup.procs"), bundle.pid().to_string()).expect("move init");
    fs::write(dir.join("cgroup.subtree_control"), format!("+{one}")).expect("hand down");
    let own = |run: common::Run| run.ok().out.trim().rsplit('/').next().map(str::to_owned);
    assert_eq!(own(bundle.exec(&["cat", "/proc/self/cgroup"])).as_deref(), Some("init"));
    fs::create_dir(dir.join("other")).expect("mkdir");
    let named = |path: &str| {
        bundle.runtime(&["exec", "--cgroup", path, bundle.id(), "cat", "/proc/self/cgroup"])
    };
    assert_eq!(own(named("other")).as_deref(), Some("other"));
    assert_eq!(own(named("/other")).as_deref(), Some("other"));
    assert_eq!(named("nowhere").code, 255);
    let run = named("memory:other");
    assert!(run.message().starts_with("--cgroup: unknown controller \"memory\""), "{}", run.err);
}
