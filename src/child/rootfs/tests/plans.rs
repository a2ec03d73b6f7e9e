// SPDX-License-Identifier: Apache-2.0
//! What is refused, by which words.

use super::*;

#[test]
fn refusals_name_the_property() {
    let bundle = Bundle::new();
    let one = |mount: &str| bundle.refusal(&with_mounts(&[mount]));
    assert_eq!(
        one(r#"{"destination": "/a"}"#),
        "mounts[0].type: must be set unless the mount is a bind mount"
    );
    assert_eq!(one(r#"{"type": "tmpfs"}"#), "mounts[0].destination: must be set");
    assert_eq!(
        one(r#"{"destination": "/x/..", "type": "tmpfs"}"#),
        "mounts[0].destination: /x/.. is the root itself"
    );
    // As mount(2), with a warning.
    bundle.plan(&with_mounts(&[
        r#"{"destination": "/a", "source": "/b", "options": ["bind", "size=1"]}"#,
    ]));
    assert_eq!(
        one(r#"{"destination": "/proc/self", "type": "tmpfs"}"#),
        "mounts[0].destination: /proc/self cannot be mounted because it is inside /proc"
    );
    assert_eq!(
        one(r#"{"destination": "/proc", "type": "tmpfs"}"#),
        "mounts[0].destination: /proc cannot be mounted because it is not of type proc"
    );
    assert_eq!(
        one(r#"{"destination": "/a", "type": "proc", "options": ["tmpcopyup"]}"#),
        "mounts[0].options: tmpcopyup needs type tmpfs"
    );
    assert_eq!(
        one(r#"{"destination": "/a", "source": "/b", "options": ["bind", "idmap"]}"#),
        "mounts[0].uidMappings: id-mapped mounts must have both uid and gid mappings specified"
    );
}

#[test]
fn refusals_of_linux_properties() {
    let bundle = Bundle::new();
    let linux = |text: &str| bundle.refusal(&format!(r#""linux": {{{text}}}"#));
    assert_eq!(
        linux(r#""rootfsPropagation": "odd""#),
        "linux.rootfsPropagation: \"odd\" is not supported"
    );
    assert_eq!(
        linux(r#""devices": [{"path": "/dev/x", "type": "z"}]"#),
        "linux.devices[0].type: unknown device type \"z\" (want c, b, u or p)"
    );
    assert_eq!(
        linux(r#""devices": [{"path": "/dev/x", "type": "c", "major": -1}]"#),
        "linux.devices[0].major: -1 is not a device number"
    );
}

#[test]
fn the_root_must_be_there_and_no_link() {
    let bundle = Bundle::new();
    fs::remove_dir(bundle.root("")).unwrap();
    let path = bundle.root("");
    let path = path.to_str().unwrap().trim_end_matches('/').to_owned();
    assert_eq!(
        bundle.refusal(r#""hostname": """#),
        format!("root.path: {path:?}: ENOENT: no such file or directory")
    );
    bundle.dir("real").link("root", "real");
    assert_eq!(
        bundle.refusal(r#""hostname": """#),
        format!("root.path: {path:?} is a symbolic link")
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let way = bundle.0.with_extension("way");
    symlink(&bundle.0, &way).unwrap();
    let spec = oci::parse(r#"{"root": {"path": "root"}}"#).unwrap();
    let error = HostRoot::open(&spec, &way).unwrap_err().to_string();
    fs::remove_file(&way).unwrap();
    assert_eq!(error, format!("root.path: {:?} leads through a symbolic link", way.join("root")));
}

/// Between the check and the clone's bind, by somebody who may write to the bundle.
#[test]
fn a_root_that_is_exchanged_is_noticed() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new();
    let rootfs = bundle.plan(r#""hostname": """#);
    fs::rename(bundle.root(""), bundle.0.join("kept")).unwrap();
    bundle.dir("other").link("root", "other");
    refused_in_child(&rootfs, "ELOOP: too many symbolic links encountered");
    let rootfs = {
        fs::remove_file(bundle.0.join("root")).unwrap();
        fs::rename(bundle.0.join("kept"), bundle.0.join("root")).unwrap();
        bundle.plan(r#""hostname": """#)
    };
    fs::rename(bundle.root(""), bundle.0.join("kept")).unwrap();
    fs::rename(bundle.0.join("other"), bundle.0.join("root")).unwrap();
    refused_in_child(&rootfs, "another directory has taken its place");
}

#[test]
fn paths_are_restricted_only_in_an_own_mount_namespace() {
    let bundle = Bundle::new();
    let error = bundle
        .plan_with(r#""linux": {"maskedPaths": ["/proc/kcore"]}"#, |r| r.mount_namespace = false)
        .expect_err("refused");
    assert_eq!(error.to_string(), "linux.maskedPaths, linux.readonlyPaths: need a mount namespace");
}
