// SPDX-License-Identifier: Apache-2.0
//! A bundle: planned as `create` would, again and again, each time without what was refused before, so
//! that one call finds everything; then what the plan would run into.

use std::os::fd::OwnedFd;
use std::path::Path;

use serde_json::Value;

use super::reduced::Reduced;
use super::{Finding, Level, hints, host, ids, names, pointer};
use crate::bundle::Bundle;
use crate::child::process::fds::Fds;
use crate::child::process::terminal::Receiver;
use crate::child::rootfs::Sight;
use crate::child::seccomp;
use crate::cli::args::Globals;
use crate::error::{Context, Error, Result};
use crate::hooks::Point;
use crate::limits::Limits;
use crate::namespace::KINDS;
use crate::plan::{Plan, Request};
use crate::{log, oci};

/// More than this is no longer read by anybody.
const MOST: usize = 100;

pub(super) fn look(dir: &Path, globals: &Globals) -> Vec<Finding> {
    let opened = Bundle::open(dir, None).and_then(|bundle| {
        // Relative sources are the bundle's own, as for `create`.
        std::env::set_current_dir(&bundle.dir).context(|| format!("enter {:?}", bundle.dir))?;
        Ok(bundle)
    });
    match opened {
        Err(error) => vec![Finding::new(Level::Error, "", error.to_string())],
        Ok(bundle) => look_at(bundle, globals),
    }
}

fn look_at(mut bundle: Bundle, globals: &Globals) -> Vec<Finding> {
    let Ok(original) = serde_json::from_str::<Value>(bundle.config()) else {
        let error = bundle.spec().err().map_or_else(String::new, |error| error.to_string());
        return vec![Finding::new(Level::Error, "", error)];
    };
    let mut found = Vec::new();
    look_for_unknown(&original, &mut found);
    let mut looked = Looked { found, reduced: Reduced::new(original) };
    while looked.found.len() < MOST {
        let value = looked.reduced.value();
        if !looked.reduced.is_whole() {
            bundle = Bundle::of(bundle.dir, value.to_string());
        }
        let (outcome, warnings) = log::collect(|| plan(&bundle, globals));
        looked.warn(warnings);
        match outcome {
            Ok(plan) => {
                looked.foresee(&bundle, &plan);
                break;
            }
            Err(error) if looked.refuse(&error, &value) => {}
            Err(_) => break,
        }
    }
    looked.found
}

fn look_for_unknown(config: &Value, found: &mut Vec<Finding>) {
    for unknown in names::unknown(config) {
        let name = pointer::last(&unknown.pointer);
        let finding = match (unknown.is_foreign, unknown.meant) {
            (true, _) => {
                let text = format!("{name} is for another platform, and has no effect here");
                Finding::new(Level::Note, unknown.pointer, text)
            }
            (false, meant) => {
                let text = format!("nothing reads a property named {name:?}");
                let hint = match meant {
                    Some(meant) => format!("is {meant:?} meant? Names are case-sensitive"),
                    None => "look for a misspelling, or for a level too many or too few".to_owned(),
                };
                Finding::new(Level::Warning, unknown.pointer, text).with_hint(hint)
            }
        };
        found.push(finding);
    }
}

/// What `create` decides, with somebody there to take a terminal.
fn plan(bundle: &Bundle, globals: &Globals) -> Result<Plan> {
    let spec = bundle.spec()?;
    let wants_terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    let console = wants_terminal.then(nobody).transpose()?.map(Receiver::ConsoleSocket);
    let request = Request {
        id: &format!("check-{}", crate::sys::getpid()),
        no_pivot: false,
        no_new_keyring: false,
        fds: Fds::default(),
        cgroup_manager: globals.cgroup_manager,
        rootless: globals.rootless,
        console,
        waits_for_start: true,
        is_announced: false,
        notify: None,
    };
    Plan::create(bundle, &spec, request)
}

fn nobody() -> Result<OwnedFd> {
    Ok(std::fs::File::open("/dev/null").context(|| "open /dev/null")?.into())
}

struct Looked {
    found: Vec<Finding>,
    reduced: Reduced,
}

impl Looked {
    fn push(&mut self, finding: Finding) {
        if !self.found.iter().any(|other| other.found == finding.found) {
            self.found.push(finding);
        }
    }

    fn warn(&mut self, warnings: Vec<String>) {
        for text in warnings {
            let at = hints::place_of_warning(&text);
            self.push(Finding::new(Level::Warning, at, text));
        }
    }

    /// Notes a refusal and takes away what was refused. False: there is no way on.
    fn refuse(&mut self, error: &Error, value: &Value) -> bool {
        let text = error.to_string();
        let place = pointer::of(&text, value);
        let place = place.map(|pointer| self.reduced.original(&pointer)).map(|place| {
            // The decoder misses it at the end of what should hold it.
            let is_missed = text.contains("missing field");
            if is_missed { pointer::parent(&place).to_owned() } else { place }
        });
        let Some(place) = place else {
            self.push(Finding::new(Level::Error, "", text));
            return false;
        };
        // Refused for lack of what has been taken away: a consequence, not a finding.
        if !self.reduced.has_lost(&place) {
            // Line and column are the file's as long as nothing is gone.
            let text = match text.rfind(" (line ") {
                Some(at) if !self.reduced.is_whole() => text[..at].to_owned(),
                _ => text,
            };
            self.push(Finding::new(Level::Error, &place, text));
        }
        self.reduced.remove(&place)
    }

    /// What applying the plan would run into.
    fn foresee(&mut self, bundle: &Bundle, plan: &Plan) {
        let Ok(spec) = bundle.spec() else { return };
        let none = oci::Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        for property in plan.cgroup.ignored() {
            let text = format!("{property} has no effect on this host's cgroups");
            let at = format!("/{}", property.replace('.', "/"));
            self.push(Finding::new(Level::Note, at, text));
        }
        if let Err(error) = plan.cgroup_place.check_unused() {
            self.push(Finding::new(Level::Error, "/linux/cgroupsPath", error.to_string()));
        }
        self.foresee_namespaces(linux);
        for (at, error) in ids::foresee(linux, plan.maps.is_some()) {
            let at = self.reduced.original(&at);
            self.push(Finding::new(Level::Error, at, error));
        }
        for (device, error) in plan.net_devices.foresee() {
            let mut at = "/linux/netDevices".to_owned();
            pointer::push(&mut at, device);
            self.push(Finding::new(Level::Error, at, error.to_string()));
        }
        for (name, error) in plan.sysctl.foresee() {
            let mut at = "/linux/sysctl".to_owned();
            pointer::push(&mut at, name);
            self.push(Finding::new(Level::Error, at, error.to_string()));
        }
        self.foresee_root(plan);
        self.foresee_process(&spec);
        self.foresee_seccomp(linux);
    }

    fn foresee_namespaces(&mut self, linux: &oci::Linux<'_>) {
        for (i, namespace) in linux.namespaces.iter().enumerate() {
            let kind = KINDS.into_iter().find(|kind| kind.oci == &*namespace.kind);
            let Some(kind) = kind.filter(|_| namespace.path.is_empty()) else { continue };
            let at = self.reduced.original(&format!("/linux/namespaces/{i}"));
            for finding in host::namespace(kind) {
                self.push(Finding { pointer: at.clone(), ..finding });
            }
        }
    }

    fn foresee_root(&mut self, plan: &Plan) {
        let Ok((sight, mounts)) = plan.rootfs.foresee() else { return };
        for (i, (property, error)) in mounts {
            let at = self.reduced.original(&format!("/mounts/{i}/{property}"));
            self.push(Finding::new(Level::Error, at, error.to_string()));
        }
        for (point, i, error) in plan.hooks.foresee(|path| sight.mode(path)) {
            // Its failure is a warning for `delete`, too.
            let level = if point == Point::Poststop { Level::Warning } else { Level::Error };
            let at = self.reduced.original(&format!("/hooks/{}/{i}/path", point.name()));
            self.push(Finding::new(level, at, error.to_string()));
        }
        self.foresee_program(plan, &sight);
    }

    fn foresee_program(&mut self, plan: &Plan, sight: &Sight) {
        // Such hooks may put anything into the root.
        let early = [Point::Prestart, Point::CreateRuntime, Point::CreateContainer];
        let has_hooks = early.into_iter().any(|point| plan.hooks.has(point));
        let level = if has_hooks { Level::Warning } else { Level::Error };
        let of_program = ["/process/args", "/process/cwd", "/process/env", "/root"];
        let is_replaced = of_program.into_iter().any(|at| self.reduced.has_lost(at))
            || self.reduced.is_gone("/process");
        let found = plan.process.command.foresee(|path| sight.mode(path));
        for (place, outcome) in ["/process/cwd", "/process/args/0"].into_iter().zip(found) {
            // Of what stands in for the config's own, nothing is said.
            if let Err(error) = outcome
                && !is_replaced
            {
                self.push(Finding::new(level, place, error.to_string()));
            }
        }
    }

    fn foresee_process(&mut self, spec: &oci::Spec<'_>) {
        let Some(process) = &spec.process else { return };
        let Ok(limits) = Limits::plan(process) else { return };
        for (i, error) in limits.foresee(host::has_capability("CAP_SYS_RESOURCE")) {
            let at = self.reduced.original(&format!("/process/rlimits/{i}"));
            self.push(Finding::new(Level::Error, at, error.to_string()));
        }
        let profile = process.apparmor_profile.as_str();
        let is_missing = |loaded: Vec<String>| !loaded.iter().any(|name| name == profile);
        if !profile.is_empty() && host::apparmor_profiles().is_some_and(is_missing) {
            let text = format!("process.apparmorProfile: {profile:?} is not loaded");
            self.push(Finding::new(Level::Error, "/process/apparmorProfile", text));
        }
    }

    fn foresee_seccomp(&mut self, linux: &oci::Linux<'_>) {
        let Some(profile) = &linux.seccomp else { return };
        for (i, syscall) in profile.syscalls.iter().enumerate() {
            // Of a call that is allowed and not there, nobody is the poorer.
            let is_allowed = matches!(&*syscall.action, "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG");
            let level = if is_allowed { Level::Note } else { Level::Warning };
            for (j, name) in syscall.names.iter().enumerate().filter(|(_, n)| !seccomp::knows(n)) {
                let at = format!("/linux/seccomp/syscalls/{i}/names/{j}");
                let at = self.reduced.original(&at);
                let text = format!("no system call that creel knows is named {:?}", name.as_str());
                self.push(Finding::new(level, at, text));
            }
        }
        let path = profile.listener_path.as_str();
        let text = format!("linux.seccomp.listenerPath: {path:?}: no agent listens there yet");
        if !path.is_empty() && !Path::new(path).exists() {
            self.push(Finding::new(Level::Warning, "/linux/seccomp/listenerPath", text));
        }
    }
}
