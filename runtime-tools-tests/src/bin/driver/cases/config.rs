//! config.md: what must be accepted, and what holds for the whole file.
// SPDX-License-Identifier: Apache-2.0

use std::fs;

use serde_json::json;

use crate::case::{Case, How, Outcome, ensure};
use crate::stage::Stage;

pub(crate) const CASES: &[Case] = &[
    Case::inside(
        "config-everything-at-once",
        "config.md: every property of one configuration holds",
        "user,groups,umask,capabilities,nonewprivs,args,env,cwd,rlimits,oom,scheduler,iopriority,\
         descriptors,terminal,namespaces,names,sysctl,personality,devices,links,mounts,root,paths",
        || {
            json!({
                "hostname": "all-at-once",
                "process": {
                    "user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 6]},
                    "cwd": "/tmp",
                    "oomScoreAdj": 300,
                    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
                },
                "root": {"readonly": true},
                "linux": {
                    "sysctl": {"kernel.msgmax": "4096"},
                    "maskedPaths": ["/proc/kcore", "/proc/acpi"],
                    "readonlyPaths": ["/proc/sys", "/proc/bus"],
                    "devices": [{"path": "/dev/one", "type": "c", "major": 1, "minor": 7,
                                 "fileMode": 0o640, "uid": 3, "gid": 4}]
                }
            })
        },
    ),
    Case::inside(
        "config-unknown-property",
        "config.md#extensibility: unknown properties MUST be ignored",
        "args,namespaces",
        || json!({"unheard": {"of": [1]}, "process": {"unheard": 1}, "linux": {"unheard": "x"}}),
    ),
    Case::inside(
        "config-unknown-annotation",
        "config.md#annotations: unknown annotation keys MUST be handled like unknown properties",
        "args",
        || json!({"annotations": {"org.example.unheard": "of", "no-domain": ""}}),
    ),
    Case::inside(
        "config-older-minor-version",
        "config.md#specification-version: compatibility holds within the major version",
        "args",
        || json!({"ociVersion": "1.0.0"}),
    ),
    Case::run(
        "features-versions",
        "features.md#ocivermax: ociVersionMax MUST be accepted and not be less than ociVersionMin",
        features_versions,
    ),
    Case::run(
        "features-hooks",
        "features.md#hooks: the named hooks MUST be supported; all six exist",
        features_hooks,
    ),
    Case::run(
        "features-mount-options",
        "features.md#mountoptions: the named options MUST be recognized",
        features_mount_options,
    ),
    Case::run(
        "config-not-json",
        "bundle.md#container-format: config.json holds the data",
        |stage| {
            let bundle = stage.bundle(json!({}))?;
            fs::write(bundle.dir.join("config.json"), "{\"ociVersion\": ")?;
            stage.must_refuse_bundle(&bundle)
        },
    ),
    Case::run("config-absent", "bundle.md#container-format: config.json is REQUIRED", |stage| {
        let bundle = stage.bundle(json!({}))?;
        fs::remove_file(bundle.dir.join("config.json"))?;
        stage.must_refuse_bundle(&bundle)
    }),
    Case::refused(
        "version-absent",
        "config.md#specification-version: ociVersion is REQUIRED",
        || json!({"ociVersion": null}),
    ),
    Case::refused(
        "version-not-semver",
        "config.md#specification-version: ociVersion MUST be in SemVer 2.0.0 format",
        || json!({"ociVersion": "invalid"}),
    ),
    Case::refused(
        "version-other-major",
        "config.md#specification-version: compatibility holds only within a major version",
        || json!({"ociVersion": "99.0.0"}),
    ),
    Case::refused("root-absent", "config.md#root: root is REQUIRED", || json!({"root": null})),
    Case::refused(
        "root-path-absent",
        "config.md#root: root.path is REQUIRED",
        || json!({"root": {"path": null, "readonly": false}}),
    ),
    Case::refused(
        "root-no-directory",
        "config.md#root: a directory MUST exist at root.path",
        || json!({"root": {"path": "absent"}}),
    ),
    Case::refused(
        "root-is-a-file",
        "config.md#root: a directory MUST exist at root.path",
        || json!({"root": {"path": "config.json"}}),
    ),
    Case::refused(
        "annotation-not-a-string",
        "config.md#annotations: values MUST be strings",
        || json!({"annotations": {"org.example.number": 7}}),
    ),
    Case::refused(
        "annotation-empty-key",
        "config.md#annotations: keys MUST NOT be empty",
        || json!({"annotations": {"": "value"}}),
    ),
    Case {
        name: "config-wrong-type",
        clause: "config.md#valid-values: MUST error when invalid values are encountered",
        how: How::Refused(|| json!({"process": {"cwd": 7}})),
    },
    Case::refused(
        "config-negative-uid",
        "config.md#valid-values: MUST error when invalid values are encountered",
        || json!({"process": {"user": {"uid": -1}}}),
    ),
];

fn features(stage: &mut Stage) -> Outcome<serde_json::Value> {
    let answer = stage.rt.call(&["features"])?;
    if !answer.is_ok() {
        return crate::case::skip("the runtime has no features command");
    }
    Ok(serde_json::from_str(&answer.stdout)?)
}

fn features_versions(stage: &mut Stage) -> Outcome {
    let features = features(stage)?;
    let read = |key: &str| features[key].as_str().unwrap_or("").to_owned();
    let (min, max) = (read("ociVersionMin"), read("ociVersionMax"));
    let numbers = |text: &str| -> Vec<u64> {
        let core = text.split(['-', '+']).next().unwrap_or("");
        core.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    ensure(numbers(&min).len() == 3 && numbers(&min) <= numbers(&max), || {
        format!("{min} to {max}")
    })?;
    for (id, version) in [("min", min), ("max", max)] {
        let patch =
            json!({"ociVersion": version, "process": {"args": ["/inside", "check", "args"]}});
        let bundle = stage.bundle(patch)?;
        stage.check_bundle(&bundle, id)?;
    }
    Ok(())
}

fn features_hooks(stage: &mut Stage) -> Outcome {
    let features = features(stage)?;
    let hooks = features["hooks"].as_array().cloned().unwrap_or_default();
    for point in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        ensure(hooks.iter().any(|hook| hook == point), || format!("{point} is not in {hooks:?}"))?;
    }
    Ok(())
}

/// Every named option is used in a mount of its kind; none may reach the filesystem as data.
fn features_mount_options(stage: &mut Stage) -> Outcome {
    let features = features(stage)?;
    let options = features["mountOptions"].as_array().cloned().unwrap_or_default();
    let options: Vec<String> =
        options.iter().filter_map(|option| option.as_str().map(str::to_owned)).collect();
    ensure(!options.is_empty(), || "no mountOptions".into())?;
    fs::create_dir(stage.dir.join("source"))?;
    // These need a filesystem, a mapping or a context of their own.
    let special =
        ["idmap", "ridmap", "remount", "acl", "noacl", "mand", "nomand", "tmpcopyup", "iversion"];
    let bound = ["bind", "rbind", "copy-symlink", "src-nofollow", "dest-nofollow"];
    let mounts: Vec<_> = options
        .iter()
        .filter(|option| !special.contains(&option.as_str()))
        .map(|option| {
            if bound.contains(&option.as_str()) {
                json!({"destination": format!("/mnt/{option}"), "type": "none",
                       "source": "@DIR@/source", "options": ["bind", option]})
            } else {
                json!({"destination": format!("/mnt/{option}"), "type": "tmpfs",
                       "source": "tmpfs", "options": [option]})
            }
        })
        .collect();
    stage.check_inside("args", json!({"+mounts": mounts}))
}
