// SPDX-License-Identifier: Apache-2.0
//! From the words of an error to the JSON pointer of the property that they name: `mounts[6].type: …`
//! is about `/mounts/6/type`.

use serde_json::Value;

use super::names;

/// Of a message whose first clause is a property of `config`, or that names one in parentheses at its end.
pub(super) fn of(message: &str, config: &Value) -> Option<String> {
    let message = message.strip_prefix("config.json: ").unwrap_or(message);
    leading(message, config).or_else(|| {
        let (_, inner) = message.strip_suffix(')')?.rsplit_once('(')?;
        leading(inner, config)
    })
}

fn leading(text: &str, config: &Value) -> Option<String> {
    let mut pointer = String::new();
    let mut at = Some(config);
    let mut rest = text;
    loop {
        let name = name(rest, at)?;
        if pointer.is_empty() && !names::of_config().contains(&name) {
            return None;
        }
        push(&mut pointer, name);
        at = at.and_then(|value| value.get(name));
        rest = &rest[name.len()..];
        while let Some((key, tail)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let key = element(at, key).unwrap_or_else(|| key.to_owned());
            push(&mut pointer, &key);
            at = at.and_then(|value| member(value, &key));
            rest = tail;
        }
        match rest.strip_prefix('.') {
            Some(tail) => rest = tail,
            None => break,
        }
    }
    if rest.is_empty() {
        return Some(pointer);
    }
    // `linux.sysctl: net.core.x: …` is about a member of the map.
    let clause = rest.strip_prefix(": ")?;
    if let Some(key) = element(at, clause.split(": ").next().unwrap_or_default()) {
        push(&mut pointer, &key);
    }
    Some(pointer)
}

/// The name at the beginning: one that is there, else what can be a name.
fn name<'t>(text: &'t str, at: Option<&Value>) -> Option<&'t str> {
    let ends = |key: &str| matches!(text[key.len()..].chars().next(), None | Some('.' | '[' | ':'));
    let keys = at.and_then(Value::as_object).into_iter().flat_map(|object| object.keys());
    let there = keys.filter(|key| text.starts_with(key.as_str()) && ends(key)).map(String::len);
    let ident = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    let length = there.max().unwrap_or_else(|| ident.unwrap_or(text.len()));
    (length > 0).then(|| &text[..length])
}

/// The key of an object, or the place in a list of what has `key` in one of its members.
fn element(at: Option<&Value>, key: &str) -> Option<String> {
    match at? {
        Value::Object(object) => object.contains_key(key).then(|| key.to_owned()),
        Value::Array(list) if key.parse::<usize>().is_ok_and(|i| i < list.len()) => {
            Some(key.to_owned())
        }
        Value::Array(list) => {
            let has = |item: &Value| {
                item.as_object().is_some_and(|members| members.values().any(|value| value == key))
            };
            list.iter().position(has).map(|i| i.to_string())
        }
        _ => None,
    }
}

fn member<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    }
}

/// Appends a token, escaped (RFC 6901).
pub(super) fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

/// The pointer of what holds this.
pub(super) fn parent(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

pub(super) fn last(pointer: &str) -> String {
    let token = pointer.rsplit_once('/').map_or("", |(_, token)| token);
    token.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_point_to_their_property() {
        let config = serde_json::json!({
            "process": {"args": ["a"]}, "mounts": [{"options": []}],
            "linux": {"sysctl": {"net.core.x": "1"}, "netDevices": {"eth0.1": {}},
                      "resources": {"hugepageLimits": [{"pageSize": "2MB"}, {"pageSize": "3MB"}]},
                      "devices": [{"path": "/dev/x"}], "namespaces": []}});
        for (message, pointer) in [
            ("process.args: must not be empty", "/process/args"),
            ("config.json: process.args[0]: invalid type", "/process/args/0"),
            ("mounts[0].options: idmap=x: want", "/mounts/0/options"),
            ("linux.sysctl: net.core.x: write \"1\": ENOENT", "/linux/sysctl/net.core.x"),
            ("linux.netDevices.eth0.1: look it up: ENODEV", "/linux/netDevices/eth0.1"),
            ("linux.netDevices.eth0.1.name: x", "/linux/netDevices/eth0.1/name"),
            ("linux.resources.hugepageLimits[3MB]: no", "/linux/resources/hugepageLimits/1"),
            ("linux.devices: /dev/x: ENOTDIR", "/linux/devices/0"),
            ("annotations[a.b/c]: neither", "/annotations/a.b~1c"),
            ("malformed spec file: duplicated ns (linux.namespaces[5])", "/linux/namespaces/5"),
            ("root: must be set", "/root"),
        ] {
            assert_eq!(of(message, &config).as_deref(), Some(pointer), "{message}");
        }
        for message in ["mount x at /y: ENOENT", "process 12 is gone", "no cgroup filesystem", ""] {
            assert_eq!(of(message, &config), None, "{message}");
        }
        assert_eq!((parent("/a/b~1c"), last("/a/b~1c").as_str()), ("/a", "b/c"));
    }
}
