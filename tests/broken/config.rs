// SPDX-License-Identifier: Apache-2.0
//! config.json as a file, its types, and what every config must have.

use std::fs;
use std::os::unix::fs::symlink;

use super::case::{Case, case};
use crate::common::json;

pub(crate) fn rows() -> Vec<Case> {
    let mut rows = files();
    rows.extend(types());
    rows.extend(required());
    rows.extend(roots());
    rows
}

fn files() -> Vec<Case> {
    vec![
        case("config.json missing")
            .prepare(|bundle| fs::remove_file(bundle.dir.join("config.json")).unwrap())
            .says(r#"JSON specification file config.json not found in "{DIR}": ENOENT: no such file or directory"#),
        case("config.json a directory")
            .prepare(|bundle| {
                fs::remove_file(bundle.dir.join("config.json")).unwrap();
                fs::create_dir(bundle.dir.join("config.json")).unwrap();
            })
            .says(r#"read "{DIR}/config.json": EISDIR: is a directory"#),
        case("config.json empty").config(b"")
            .says("config.json: EOF while parsing a value (line 1 column 0)"),
        case("config.json cut short")
            .config(b"{\"ociVersion\": \"1.3.0\", \"process\": {\"args\": [\"sh\"")
            .says("config.json: process.args[0]: EOF while parsing a list (line 1 column 49)"),
        case("config.json with a comma too many")
            .config(b"{\"ociVersion\": \"1.3.0\",\n \"hostname\": \"x\",\n}")
            .says("config.json: hostname: trailing comma (line 3 column 1)"),
        case("config.json not UTF-8").config(b"{\"hostname\": \"\xff\"}")
            .says(r#"read "{DIR}/config.json": not UTF-8 text"#),
        case("bundle missing").command(&["create", "--bundle", "{DIR}/none", "{ID}"])
            .says(r#"open bundle "{DIR}/none": ENOENT: no such file or directory"#),
        case("bundle a file").command(&["create", "--bundle", "{DIR}/config.json", "{ID}"])
            .says(r#"open bundle "{DIR}/config.json": ENOTDIR: not a directory"#),
    ]
}

fn types() -> Vec<Case> {
    let config = |name, text: &'static str| case(name).config(text.as_bytes());
    vec![
        config("config.json a list", "[]")
            .says("config.json: invalid type: list, expected an object"),
        config("process.args a string", r#"{"process": {"args": "sh"}}"#)
            .says(r#"config.json: process.args: invalid type: string "sh", expected a list (line 1 column 25)"#),
        config("process.env[1] a number", r#"{"process": {"env": ["A=b", 7]}}"#)
            .says("config.json: process.env[1]: invalid type: integer `7`, expected a string (line 1 column 29)"),
        config("uid a string", r#"{"process": {"user": {"uid": "root"}}}"#)
            .says(r#"config.json: process.user.uid: invalid type: string "root", expected u32 (line 1 column 35)"#),
        config("uid negative", r#"{"process": {"user": {"uid": -1}}}"#)
            .says("config.json: process.user.uid: invalid value: integer `-1`, expected u32 (line 1 column 31)"),
        config("terminal a string", r#"{"process": {"terminal": "yes"}}"#)
            .says(r#"config.json: process.terminal: invalid type: string "yes", expected a boolean (line 1 column 30)"#),
        config("root a string", r#"{"root": "rootfs"}"#)
            .says(r#"config.json: root: invalid type: string "rootfs", expected an object (line 1 column 17)"#),
        config("mount options a string", r#"{"mounts": [{}, {"options": "ro"}]}"#)
            .says(r#"config.json: mounts[1].options: invalid type: string "ro", expected a list (line 1 column 32)"#),
        config("namespaces an object", r#"{"linux": {"namespaces": {"pid": ""}}}"#)
            .says("config.json: linux.namespaces: invalid type: object, expected a list (line 1 column 25)"),
        config("memory limit a string", r#"{"linux": {"resources": {"memory": {"limit": "1g"}}}}"#)
            .says(r#"config.json: linux.resources.memory.limit: invalid type: string "1g", expected i64 (line 1 column 49)"#),
        config("hooks.prestart an object", r#"{"hooks": {"prestart": {"path": "/bin/true"}}}"#)
            .says("config.json: hooks.prestart: invalid type: object, expected a list (line 1 column 23)"),
        config("an annotation a number", r#"{"annotations": {"a": "b", "c.d": 1}}"#)
            .says("config.json: annotations.c.d: invalid type: integer `1`, expected a string (line 1 column 35)"),
        config("errno too large", r#"{"linux": {"seccomp": {"defaultErrnoRet": 5000000000}}}"#)
            .says("config.json: linux.seccomp.defaultErrnoRet: invalid value: integer `5000000000`, expected u32 (line 1 column 52)"),
    ]
}

fn required() -> Vec<Case> {
    vec![
        case("ociVersion absent").remove("/ociVersion").unlike_runc("runc does not look at it")
            .says("ociVersion: must be set"),
        case("ociVersion of another major").set("/ociVersion", json!("2.0.0")).unlike_runc("runc does not look at it")
            .says(r#"ociVersion: "2.0.0" is not a 1.x.y version of runtime-spec"#),
        case("ociVersion no version").set("/ociVersion", json!("latest")).unlike_runc("runc does not look at it")
            .says(r#"ociVersion: "latest" is not a 1.x.y version of runtime-spec"#),
        case("process absent").remove("/process").says("process: must be set"),
        case("process.args empty").set("/process/args", json!([]))
            .says("process.args: must not be empty"),
        case("process.cwd empty").set("/process/cwd", json!("")).says("process.cwd: must be set"),
        case("process.cwd relative").set("/process/cwd", json!("tmp"))
            .says(r#"process.cwd: "tmp" is not an absolute path"#),
        case("root absent").remove("/root").says("root: must be set"),
        case("root.path empty").set("/root/path", json!("")).says("root.path: must be set"),
        case("annotation without a key").set("/annotations", json!({"": "x"})).unlike_runc("runc does not look at it")
            .says("annotations: a key must not be empty"),
        case("hostname without a uts namespace").prepare(|bundle| without(bundle, "uts"))
            .says("hostname: cannot be set without a uts namespace"),
        case("domainname without a uts namespace")
            .remove("/hostname")
            .set("/domainname", json!("example.org"))
            .prepare(|bundle| without(bundle, "uts"))
            .says("domainname: cannot be set without a uts namespace"),
        case("hostname too long").set("/hostname", json!("x".repeat(65)))
            .says(r#"hostname: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is longer than 64 bytes"#),
    ]
}

fn roots() -> Vec<Case> {
    vec![
        case("root.path missing")
            .set("/root/path", json!("none"))
            .says(r#"root.path: "{DIR}/none": ENOENT: no such file or directory"#),
        case("root.path a file")
            .set("/root/path", json!("config.json"))
            .says(r#"root.path: "{DIR}/config.json": ENOTDIR: not a directory"#),
        case("root.path a symbolic link")
            .set("/root/path", json!("link"))
            .prepare(|bundle| symlink("rootfs", bundle.dir.join("link")).unwrap())
            .says(r#"root.path: "{DIR}/link" is a symbolic link"#),
        case("root.path outside and missing")
            .set("/root/path", json!("/none/rootfs"))
            .says(r#"root.path: "/none/rootfs": ENOENT: no such file or directory"#),
    ]
}

pub(crate) fn without(bundle: &mut crate::common::Bundle, kind: &str) {
    let list = bundle.config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    list.retain(|ns| ns["type"] != kind);
}
