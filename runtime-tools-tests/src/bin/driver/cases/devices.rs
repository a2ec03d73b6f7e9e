//! config-linux.md: devices; runtime-linux.md: links.
// SPDX-License-Identifier: Apache-2.0

use std::fs;

use serde_json::json;

use crate::case::{Case, Outcome, ensure};
use crate::stage::Stage;

pub(crate) const CASES: &[Case] = &[
    Case::inside(
        "devices-default",
        "config-linux.md#default-devices: the runtime MUST supply the default devices",
        "devices",
        || json!({}),
    ),
    Case::inside(
        "devices-links",
        "runtime-linux.md#dev-symbolic-links: the links MUST be created",
        "links",
        || json!({}),
    ),
    Case::run(
        "devices-links-without-proc",
        "runtime-linux.md#dev-symbolic-links: no link whose source does not exist is required",
        without_proc,
    ),
    Case::inside(
        "devices-configured",
        "config-linux.md#devices: listed devices MUST be available, with mode and owner",
        "devices",
        || {
            json!({"linux": {"devices": [
                {"path": "/dev/first", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640,
                 "uid": 11, "gid": 12},
                {"path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600},
                {"path": "/dev/sub/dir/pipe", "type": "p", "fileMode": 0o622},
                {"path": "/mnt/elsewhere", "type": "u", "major": 1, "minor": 5}
            ]}})
        },
    ),
    Case::run(
        "devices-file-in-the-way",
        "config-linux.md#devices: a file at path that does not match MUST error",
        in_the_way,
    ),
    Case::refused(
        "devices-type-unknown",
        "config.md#valid-values: MUST error when an invalid value is encountered",
        || json!({"linux": {"devices": [{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]}}),
    ),
    Case::run(
        "devices-default-denied",
        "config-linux.md#allowed-device-list: a denied device cannot be opened, default ones can",
        denied,
    ),
    Case::run(
        "devices-list-order",
        "config-linux.md#allowed-device-list: entries MUST be applied in the listed order",
        list_order,
    ),
    Case::run(
        "devices-list-access",
        "config-linux.md#allowed-device-list: access is composed of r, w and m",
        access,
    ),
    Case::run(
        "devices-list-allow-all",
        "config-linux.md#allowed-device-list: unset type and numbers mean all",
        allow_all,
    ),
];

/// 240:77 is of the range for local use: no default rule allows it, and no driver has it, so an
/// open that the rules let pass answers ENXIO and one that they refuse EPERM.
fn open_with_rules(stage: &mut Stage, rules: serde_json::Value) -> Outcome<String> {
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "open", "/dev/null", "/dev/local", "/dev/urandom"]},
        "linux": {
            "devices": [{"path": "/dev/local", "type": "c", "major": 240, "minor": 77,
                         "fileMode": 0o666}],
            "resources": {"devices": rules}
        }
    }))?;
    stage.run_to_end(&bundle, "one")
}

fn denied(stage: &mut Stage) -> Outcome {
    let output = open_with_rules(stage, json!([{"allow": false, "access": "rwm"}]))?;
    for want in ["/dev/null read ok", "/dev/null write ok", "/dev/urandom read ok"] {
        ensure(output.contains(want), || output.clone())?;
    }
    ensure(output.contains("/dev/local read errno 1"), || output.clone())
}

fn list_order(stage: &mut Stage) -> Outcome {
    let local = |allow: bool| json!({"allow": allow, "type": "c", "major": 240, "minor": 77, "access": "rwm"});
    let all = json!({"allow": false, "access": "rwm"});
    let output = open_with_rules(stage, json!([all, local(true), local(false)]))?;
    ensure(output.contains("/dev/local read errno 1"), || format!("allow, deny: {output}"))
}

fn access(stage: &mut Stage) -> Outcome {
    let output = open_with_rules(
        stage,
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 240, "minor": 77, "access": "r"}
        ]),
    )?;
    ensure(output.contains("/dev/local read errno 6"), || output.clone())?;
    ensure(output.contains("/dev/local write errno 1"), || output.clone())
}

fn allow_all(stage: &mut Stage) -> Outcome {
    let output = open_with_rules(stage, json!([{"allow": true, "access": "rwm"}]))?;
    ensure(output.contains("/dev/local read errno 6"), || output.clone())
}

fn in_the_way(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({"linux": {"devices": [
        {"path": "/etc/taken", "type": "c", "major": 1, "minor": 3}
    ]}}))?;
    fs::write(bundle.rootfs().join("etc/taken"), "a file")?;
    stage.must_refuse_bundle(&bundle)?;
    let text = fs::read_to_string(bundle.rootfs().join("etc/taken"))?;
    ensure(text == "a file", || format!("the file became {text:?}"))
}

fn without_proc(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "open", "/dev/null"]},
        "mounts": [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]
    }))?;
    let output = stage.run_to_end(&bundle, "one")?;
    ensure(output.contains("/dev/null read ok"), || output.clone())
}
