//! Where a case plays: its directory, its bundles, its runtime, its containers.
// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use conformance::names::NAMESPACES;
use conformance::proc;

use crate::case::{Outcome, Stop, ensure};
use crate::config;
use crate::runtime::{Answer, Runtime};
use crate::supervise;

const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) dir: PathBuf,
}

impl Bundle {
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    pub(crate) fn config(&self) -> Outcome<Value> {
        Ok(serde_json::from_str(&fs::read_to_string(self.dir.join("config.json"))?)?)
    }

    pub(crate) fn write_config(&self, config: &Value) -> Outcome {
        Ok(fs::write(self.dir.join("config.json"), config.to_string())?)
    }
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) dir: PathBuf,
    pub(crate) rt: Runtime,
    pub(crate) inside: PathBuf,
    /// Namespaces that containers of this case join, by type, as /proc shows them.
    pub(crate) joined: Value,
    bundles: usize,
}

impl Stage {
    pub(crate) fn new(runtime: PathBuf, dir: PathBuf) -> Result<Stage, String> {
        let rt = Runtime::new(runtime, &dir);
        for made in [&rt.root, &rt.logs] {
            fs::create_dir(made).map_err(|error| format!("{}: {error}", made.display()))?;
        }
        Ok(Stage { rt, dir, inside: supervise::inside()?, joined: json!({}), bundles: 0 })
    }

    /// The parent of all cgroups of this case, below the top of each hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        supervise::cgroup_name(&self.dir)
    }

    /// A file that hooks and containers write to.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn log_lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The base config with a patch, in a bundle of its own with the checker as /inside.
    pub(crate) fn bundle(&mut self, patch: Value) -> Outcome<Bundle> {
        self.bundle_of([patch])
    }

    /// Patches are applied one after the other: merged first, a `+NAME` would lose the base's list.
    pub(crate) fn bundle_of<const N: usize>(&mut self, patches: [Value; N]) -> Outcome<Bundle> {
        self.bundles += 1;
        let bundle = Bundle { dir: self.dir.join(format!("bundle{}", self.bundles)) };
        let rootfs = bundle.rootfs();
        fs::create_dir_all(rootfs.join(".conformance"))?;
        for dir in ["proc", "dev", "sys", "tmp", "etc", "mnt"] {
            fs::create_dir(rootfs.join(dir))?;
        }
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::copy(&self.inside, rootfs.join("inside"))?;
        let mut config = config::base();
        patches.into_iter().for_each(|patch| config::merge(&mut config, patch));
        config::substitute(&mut config, &self.names(&bundle));
        bundle.write_config(&config)?;
        fs::write(rootfs.join(".conformance/config.json"), config.to_string())?;
        self.write_host(&bundle)?;
        Ok(bundle)
    }

    /// What `inside` cannot know: how things are outside.
    pub(crate) fn write_host(&self, bundle: &Bundle) -> Outcome {
        let status = |field: &str| proc::status("self", field);
        let mut namespaces = json!({});
        for (kind, file) in NAMESPACES {
            namespaces[kind] = proc::namespace("self", file)?.into();
        }
        let host = json!({
            "namespaces": namespaces,
            "joined": self.joined,
            "umask": u64::from_str_radix(&status("Umask")?, 8).unwrap_or(0),
            "oomScoreAdj": fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse().unwrap_or(0),
            "capabilities": u64::from_str_radix(&status("CapBnd")?, 16).unwrap_or(0),
            "noNewPrivileges": status("NoNewPrivs")? == "1",
        });
        Ok(fs::write(bundle.rootfs().join(".conformance/host.json"), host.to_string())?)
    }

    fn names(&self, bundle: &Bundle) -> Vec<(&'static str, String)> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("@DIR@", path(&self.dir)),
            ("@BUNDLE@", path(&bundle.dir)),
            ("@ROOTFS@", path(&bundle.rootfs())),
            ("@INSIDE@", path(&self.inside)),
            ("@LOG@", path(&self.log())),
            ("@CGROUP@", format!("/{}/c{}", self.cgroup(), self.bundles)),
        ]
    }

    pub(crate) fn try_create(&mut self, bundle: &Bundle, id: &str) -> Outcome<Answer> {
        let path = bundle.dir.to_string_lossy().into_owned();
        let label = format!("create-{id}");
        let label =
            if self.rt.streams(&label).0.exists() { format!("{label}-again") } else { label };
        self.rt.call_named(&label.replace('/', "_"), &["create", "--bundle", &path, id], None)
    }

    pub(crate) fn create(&mut self, bundle: &Bundle, id: &str) -> Outcome {
        self.try_create(bundle, id)?.must_pass().map(|_| ())
    }

    pub(crate) fn start(&mut self, id: &str) -> Outcome {
        self.rt.call(&["start", id])?.must_pass().map(|_| ())
    }

    pub(crate) fn delete(&mut self, id: &str) -> Outcome {
        self.rt.call(&["delete", id])?.must_pass().map(|_| ())
    }

    pub(crate) fn state(&mut self, id: &str) -> Outcome<Value> {
        let answer = self.rt.call(&["state", id])?.must_pass()?;
        Ok(serde_json::from_str(&answer.stdout)?)
    }

    pub(crate) fn status(&mut self, id: &str) -> Outcome<String> {
        Ok(self.state(id)?["status"].as_str().unwrap_or("").to_owned())
    }

    pub(crate) fn pid(&mut self, id: &str) -> Outcome<i32> {
        let state = self.state(id)?;
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.filter(|pid| *pid > 0).ok_or_else(|| Stop::Failed(format!("state has no pid: {state}")))
    }

    /// What the container wrote to its standard output so far.
    pub(crate) fn output(&self, id: &str) -> String {
        let (out, _) = self.rt.streams(&format!("create-{id}"));
        fs::read_to_string(out).unwrap_or_default()
    }

    pub(crate) fn wait_output(&self, id: &str, word: &str) -> Outcome {
        self.wait_for(&format!("{word:?} in the output of {id}"), || self.output(id).contains(word))
            .map_err(|_| Stop::Failed(format!("no {word:?} in the output: {:?}", self.output(id))))
    }

    pub(crate) fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) -> Outcome {
        let begun = Instant::now();
        while !holds() {
            if begun.elapsed() > PATIENCE {
                return Err(Stop::Failed(format!("{what}: not within {PATIENCE:?}")));
            }
            thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    }

    /// Reaps the container's process, which is a child of this one once its runtime has gone.
    pub(crate) fn wait_exit(&self, pid: i32) -> Outcome<WaitStatus> {
        let mut last = WaitStatus::StillAlive;
        self.wait_for(&format!("end of process {pid}"), || {
            let seen = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
            last = seen.unwrap_or(WaitStatus::Exited(Pid::from_raw(pid), -1));
            last != WaitStatus::StillAlive
        })?;
        Ok(last)
    }

    /// create, start, wait, and the container's whole output.
    pub(crate) fn run_to_end(&mut self, bundle: &Bundle, id: &str) -> Outcome<String> {
        self.create(bundle, id)?;
        let pid = self.pid(id)?;
        self.start(id)?;
        self.wait_exit(pid)?;
        Ok(self.output(id))
    }

    pub(crate) fn check_inside(&mut self, groups: &str, patch: Value) -> Outcome {
        let args = json!({"process": {"args": ["/inside", "check", groups]}});
        let bundle = self.bundle_of([args, patch])?;
        self.check_bundle(&bundle, "inside")
    }

    /// Runs `inside check` in a bundle and fails with each of its findings.
    pub(crate) fn check_bundle(&mut self, bundle: &Bundle, id: &str) -> Outcome {
        let output = self.run_to_end(bundle, id)?;
        self.delete(id)?;
        verdict(&output)
    }

    pub(crate) fn must_refuse(&mut self, patch: Value) -> Outcome {
        let bundle = self.bundle(patch)?;
        self.must_refuse_bundle(&bundle)
    }

    /// create fails, says why, and leaves no container, no state and no cgroup.
    pub(crate) fn must_refuse_bundle(&mut self, bundle: &Bundle) -> Outcome {
        let answer = self.try_create(bundle, "refused")?;
        answer.must_fail("create must answer an error to this configuration")?;
        self.must_be_unknown("refused")?;
        let state = self.rt.root.join("refused");
        ensure(!state.exists(), || "the failed create left its state directory".into())?;
        let left = crate::cgroupfs::left(&format!("{}/c{}", self.cgroup(), self.bundles));
        ensure(left.is_empty(), || format!("the failed create left {left:?}"))
    }

    pub(crate) fn must_refuse_by_start(&mut self, patch: Value) -> Outcome {
        let bundle = self.bundle(patch)?;
        let answer = self.try_create(&bundle, "refused")?;
        if !answer.is_ok() {
            answer.must_fail("create failed")?;
            return self.must_be_unknown("refused");
        }
        self.rt.call(&["start", "refused"])?.must_fail("start must answer an error")?;
        Ok(())
    }

    pub(crate) fn must_be_unknown(&mut self, id: &str) -> Outcome {
        self.rt.call(&["state", id])?.must_fail("there must be no such container").map(|_| ())
    }
}

/// The lines of `inside check`: all ok, and not cut off.
pub(crate) fn verdict(output: &str) -> Outcome {
    let bad: Vec<&str> = output.lines().filter(|line| line.starts_with("not ok ")).collect();
    ensure(bad.is_empty(), || bad.join("\n"))?;
    let closed = output.lines().any(|line| line.starts_with("inside: "));
    let some = output.lines().any(|line| line.starts_with("ok "));
    ensure(closed && some, || format!("the checker did not come to its end: {output:?}"))
}
