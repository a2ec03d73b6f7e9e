// SPDX-License-Identifier: Apache-2.0
//! A process that is to be confined by AppArmor runs confined, or not at all.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::arena::delete;
use super::case::{Outcome, Stop, vulnerable};
use super::common::{Bundle, has, json};

const PROFILE: &str = "creel-cve";

/// The kernel's own switch, where it has one.
fn has_apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with('Y'))
}

/// Loads the profile; removed again by `Profile`'s drop.
struct Profile;

impl Profile {
    fn load() -> Result<Self, String> {
        if !has("apparmor_parser") {
            return Err("apparmor_parser is not installed".to_owned());
        }
        let text = format!(
            "profile {PROFILE} flags=(attach_disconnected) {{ file, capability, network, mount, umount, pivot_root, ptrace, signal, unix, }}\n"
        );
        parser("--replace", &text).map(|()| Self)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = parser("--remove", &format!("profile {PROFILE} {{ }}\n"));
    }
}

fn parser(action: &str, profile: &str) -> Result<(), String> {
    let mut command = Command::new("apparmor_parser");
    command.args([action, "--skip-cache"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(profile.as_bytes()).map_err(|error| error.to_string())?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// `hostile` with a profile: it must be refused or run under the profile. Its notes say how much of
/// that could be seen on this host.
pub(crate) fn never_unconfined(mut hostile: Bundle) -> Outcome {
    hostile.set("/process/args", json!(["/bin/sleep", "100"]));
    hostile.set("/process/apparmorProfile", json!(PROFILE));
    if has_apparmor() {
        let Ok(_profile) = Profile::load() else {
            return Ok("AppArmor: no profile can be loaded here, so only refusals were seen".into());
        };
        let refused = start(&hostile, is_confined)?;
        return Ok(format!("with AppArmor: {}", if refused { "refused" } else { "confined" }));
    }
    // A runtime that takes a profile for a wish runs every container unconfined here.
    let ignores = start(&plain(), |_| Ok(())).is_ok_and(|refused| !refused);
    if ignores {
        start(&hostile, |_| Ok(()))?;
        return Ok("no AppArmor here, and this runtime ignores profiles then".to_owned());
    }
    start(&hostile, |_| vulnerable("started, although the profile cannot have been applied"))?;
    Ok("no AppArmor here: refusal".to_owned())
}

fn plain() -> Bundle {
    let bundle = Bundle::with_args(&["/bin/sleep", "100"]);
    bundle.patch("/process/apparmorProfile", json!(PROFILE))
}

/// Whether it was refused; else `check` has looked at the running process.
fn start(bundle: &Bundle, check: impl Fn(i32) -> Result<(), Stop>) -> Result<bool, Stop> {
    bundle.write();
    let run = bundle.runtime(&["run", "--detach", bundle.id()]);
    if run.code != 0 {
        return Ok(true);
    }
    let checked = check(bundle.pid());
    delete(bundle);
    checked.map(|()| false)
}

fn is_confined(pid: i32) -> Result<(), Stop> {
    let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap_or_default();
    match label.starts_with(PROFILE) {
        true => Ok(()),
        false => vulnerable(format!("it runs as {label:?}, not under {PROFILE}")),
    }
}
