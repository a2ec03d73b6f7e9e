// SPDX-License-Identifier: Apache-2.0
//! A config.json without what has been found wrong, so that the rest can be looked at too.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::pointer::{parent, push};

#[derive(Debug)]
pub(super) struct Reduced {
    original: Value,
    /// By pointer: removed, or with something instead.
    gone: BTreeMap<String, Option<Value>>,
}

/// What a property is taken to be that cannot be left out.
fn stand_in(pointer: &str) -> Option<Value> {
    Some(match pointer {
        "/ociVersion" => json!(crate::oci::VERSION),
        "/root" => json!({"path": "/"}),
        "/root/path" => json!("/"),
        "/process" => json!({"args": ["sh"], "cwd": "/"}),
        "/process/args" => json!(["sh"]),
        "/process/cwd" => json!("/"),
        _ => return None,
    })
}

impl Reduced {
    pub(super) fn new(original: Value) -> Self {
        Self { original, gone: BTreeMap::new() }
    }

    pub(super) fn value(&self) -> Value {
        self.pruned(&self.original, "")
    }

    pub(super) fn is_whole(&self) -> bool {
        self.gone.is_empty()
    }

    fn pruned(&self, value: &Value, pointer: &str) -> Value {
        let below = |token: &str| {
            let mut below = pointer.to_owned();
            push(&mut below, token);
            below
        };
        match value {
            Value::Object(members) => {
                let mut kept = Map::new();
                for (name, member) in members {
                    let at = below(name);
                    match self.gone.get(&at) {
                        Some(None) => {}
                        Some(Some(instead)) => drop(kept.insert(name.clone(), instead.clone())),
                        None => drop(kept.insert(name.clone(), self.pruned(member, &at))),
                    }
                }
                for (at, instead) in &self.gone {
                    let name = super::pointer::last(at);
                    if parent(at) == pointer && !members.contains_key(&name) {
                        kept.extend(instead.clone().map(|value| (name, value)));
                    }
                }
                Value::Object(kept)
            }
            Value::Array(items) => {
                let all = items.iter().enumerate().map(|(i, item)| (below(&i.to_string()), item));
                let kept = all.filter(|(at, _)| !self.gone.contains_key(at));
                Value::Array(kept.map(|(at, item)| self.pruned(item, &at)).collect())
            }
            other => other.clone(),
        }
    }

    /// The pointer in the original of one in `value`: places in lists move where items are gone.
    pub(super) fn original(&self, pointer: &str) -> String {
        let mut found = String::new();
        let mut at = Some(&self.original);
        for token in pointer.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~")) {
            let mut token = token;
            if let (Some(Value::Array(items)), Ok(n)) = (at, token.parse::<usize>()) {
                let is_there = |i: &usize| !self.gone.contains_key(&format!("{found}/{i}"));
                token = (0..items.len()).filter(is_there).nth(n).unwrap_or(n).to_string();
            }
            push(&mut found, &token);
            at = at.and_then(|value| match value {
                Value::Array(items) => items.get(token.parse::<usize>().ok()?),
                other => other.get(&token),
            });
        }
        found
    }

    pub(super) fn is_gone(&self, pointer: &str) -> bool {
        self.gone.contains_key(pointer)
    }

    /// Whether this, or part of it, is gone already.
    pub(super) fn has_lost(&self, pointer: &str) -> bool {
        let below = format!("{pointer}/");
        self.gone.keys().any(|gone| gone == pointer || gone.starts_with(&below))
    }

    /// Takes the property away; where that was done before, what holds it. False: nothing is left to take.
    pub(super) fn remove(&mut self, pointer: &str) -> bool {
        let mut pointer = pointer;
        while !pointer.is_empty() {
            if !self.gone.contains_key(pointer) {
                self.gone.insert(pointer.to_owned(), stand_in(pointer));
                return true;
            }
            pointer = parent(pointer);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_move_up_and_pointers_are_of_the_original() {
        let mut config = Reduced::new(json!({"mounts": [{"a": 1}, {"a": 2}, {"a": 3}], "x": 1}));
        assert!(config.remove("/mounts/0/a"));
        assert!(config.remove("/mounts/0/a"), "then the whole item");
        assert!(config.remove("/mounts/1"));
        assert_eq!(config.value(), json!({"mounts": [{"a": 3}], "x": 1}));
        assert_eq!(config.original("/mounts/0/a"), "/mounts/2/a");
        assert!(config.has_lost("/mounts") && config.has_lost("/mounts/1"));
        assert!(!config.has_lost("/mounts/2") && !config.has_lost("/x"));
    }

    #[test]
    fn what_must_be_there_is_replaced() {
        let mut config = Reduced::new(json!({"process": {"cwd": "x"}}));
        assert!(config.remove("/root") && config.remove("/process/cwd"));
        let whole = json!({"process": {"cwd": "/"}, "root": {"path": "/"}});
        assert_eq!(config.value(), whole);
        assert!(config.remove("/process/cwd"), "the process as a whole");
        assert!(!config.remove("/process/cwd"));
    }
}
