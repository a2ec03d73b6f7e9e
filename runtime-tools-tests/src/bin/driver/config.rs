//! The configuration that cases start from, and how they change it.
// SPDX-License-Identifier: Apache-2.0

use serde_json::{Map, Value, json};

/// Lowest common version, so that older runtimes can be measured too.
pub(crate) const VERSION: &str = "1.0.2";

/// What a container gets if a case says nothing: the capabilities of a usual container manager.
const CAPABILITIES: [&str; 6] =
    ["CAP_CHOWN", "CAP_FOWNER", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID"];

pub(crate) fn base() -> Value {
    json!({
        "ociVersion": VERSION,
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/inside", "check"],
            "env": ["PATH=/bin:/usr/bin", "CONFORMANCE=yes"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES
            },
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "none", "source": "/sys",
             "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "cgroupsPath": "@CGROUP@",
            "resources": {"devices": [{"allow": false, "access": "rwm"}]}
        }
    })
}

/// Applies a merge patch (RFC 7386) with one addition: a key `+NAME` appends to the array NAME.
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix('+') {
            append(fields, list, value);
        } else if value.is_null() {
            fields.remove(&key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn append(fields: &mut Map<String, Value>, key: &str, more: Value) {
    let list = fields.entry(key).or_insert_with(|| json!([]));
    if let (Value::Array(list), Value::Array(more)) = (list, more) {
        list.extend(more);
    }
}

/// Replaces `@NAME@` in every string.
pub(crate) fn substitute(value: &mut Value, names: &[(&str, String)]) {
    match value {
        Value::String(text) => {
            for (name, with) in names {
                if text.contains(name) {
                    *text = text.replace(name, with);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|field| substitute(field, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_removes_and_plus_appends() {
        let mut value = json!({"a": 1, "b": {"c": [1]}});
        merge(&mut value, json!({"a": null, "b": {"+c": [2]}, "d": {"e": 3}}));
        assert_eq!(value, json!({"b": {"c": [1, 2]}, "d": {"e": 3}}));
    }

    #[test]
    fn names_are_replaced_everywhere() {
        let mut value = json!({"a": ["x@DIR@y"]});
        substitute(&mut value, &[("@DIR@", "/d".into())]);
        assert_eq!(value, json!({"a": ["x/dy"]}));
    }
}
