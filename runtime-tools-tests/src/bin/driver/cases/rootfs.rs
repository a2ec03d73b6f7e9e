//! config.md: root; config-linux.md: propagation, masked and read-only paths.
// SPDX-License-Identifier: Apache-2.0

use serde_json::json;

use crate::case::{Case, Outcome, ensure};
use crate::stage::Stage;

pub(crate) const CASES: &[Case] = &[
    Case::inside("root-writable", "config.md#root: readonly defaults to false", "root", || {
        json!({})
    }),
    Case::inside(
        "root-readonly",
        "config.md#root: readonly MUST be read-only inside",
        "root",
        || json!({"root": {"readonly": true}}),
    ),
    Case::inside(
        "root-path-absolute",
        "config.md#root: path may be absolute",
        "root",
        || json!({"root": {"path": "@ROOTFS@"}}),
    ),
    Case::run(
        "root-is-isolated",
        "config.md#root: the root filesystem is the container's",
        isolated,
    ),
    propagation(
        "rootfs-propagation-private",
        || json!({"linux": {"rootfsPropagation": "private"}}),
    ),
    propagation("rootfs-propagation-slave", || json!({"linux": {"rootfsPropagation": "slave"}})),
    propagation("rootfs-propagation-shared", || json!({"linux": {"rootfsPropagation": "shared"}})),
    propagation(
        "rootfs-propagation-unbindable",
        || json!({"linux": {"rootfsPropagation": "unbindable"}}),
    ),
    Case::refused(
        "rootfs-propagation-unknown",
        "config.md#valid-values: MUST error when an invalid value is encountered",
        || json!({"linux": {"rootfsPropagation": "unheard"}}),
    ),
    Case::inside(
        "masked-paths",
        "config-linux.md#masked-paths: the paths cannot be read",
        "paths",
        || {
            json!({"linux": {"maskedPaths":
                ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"]}})
        },
    ),
    Case::run(
        "masked-paths-own-files",
        "config-linux.md#masked-paths: files and directories of the root can be masked",
        masked_files,
    ),
    Case::inside(
        "masked-paths-absent",
        "config-linux.md#masked-paths: a path that is not there is nothing to mask",
        "args",
        || json!({"linux": {"maskedPaths": ["/proc/unheard-of", "/nowhere/at/all"]}}),
    ),
    Case::inside(
        "readonly-paths",
        "config-linux.md#readonly-paths: the paths are read-only",
        "paths",
        || {
            json!({"linux": {"readonlyPaths":
                ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"]}})
        },
    ),
    Case::run(
        "readonly-paths-own-files",
        "config-linux.md#readonly-paths: files and directories of the root can be read-only",
        readonly_files,
    ),
    Case::inside(
        "readonly-paths-absent",
        "config-linux.md#readonly-paths: a path that is not there is nothing to protect",
        "args",
        || json!({"linux": {"readonlyPaths": ["/proc/unheard-of"]}}),
    ),
];

const fn propagation(name: &'static str, patch: fn() -> serde_json::Value) -> Case {
    Case::inside(
        name,
        "config-linux.md#rootfs-mount-propagation: the root's propagation",
        "root",
        patch,
    )
}

/// Neither the host's paths nor anything above the root can be reached.
fn isolated(stage: &mut Stage) -> Outcome {
    let log = stage.log();
    std::fs::write(&log, "outside")?;
    let path = log.to_string_lossy().into_owned();
    let above = format!("/../../../../../../..{path}");
    let bundle = stage.bundle(json!({"process": {"args": ["/inside", "open", path, above]}}))?;
    let output = stage.run_to_end(&bundle, "one")?;
    ensure(!output.contains(" ok") && output.contains("inside: done"), || output.clone())
}

fn masked_files(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "check", "paths"]},
        "linux": {"maskedPaths": ["/etc/secret", "/etc/dir"]}
    }))?;
    std::fs::create_dir(bundle.rootfs().join("etc/dir"))?;
    std::fs::write(bundle.rootfs().join("etc/dir/inner"), "data")?;
    std::fs::write(bundle.rootfs().join("etc/secret"), "data")?;
    stage.check_bundle(&bundle, "one")
}

fn readonly_files(stage: &mut Stage) -> Outcome {
    let bundle = stage.bundle(json!({
        "process": {"args": ["/inside", "check", "paths"]},
        "linux": {"readonlyPaths": ["/etc/fixed", "/etc/dir"]}
    }))?;
    std::fs::create_dir(bundle.rootfs().join("etc/dir"))?;
    std::fs::write(bundle.rootfs().join("etc/fixed"), "data")?;
    stage.check_bundle(&bundle, "one")
}
