// SPDX-License-Identifier: Apache-2.0
//! What `update` has changed, laid over the config that `create` saved: what is planned from it later
//! has the limits that are in force.

use serde::Serialize;
use serde_json::Value;

use super::Resources;
use super::names::spell_resources;
use crate::error::{Context, Result};

/// The part of config.json that `update` can change, as far as it was asked to.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Changes<'a> {
    linux: Linux<'a>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux<'a> {
    resources: Resources<'a>,
    intel_rdt: IntelRdt<'a>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct IntelRdt<'a> {
    #[serde(rename = "l3CacheSchema")]
    l3_cache_schema: Option<&'a str>,
    mem_bw_schema: Option<&'a str>,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(resources: &Resources<'a>, l3: Option<&'a str>, mb: Option<&'a str>) -> Self {
        let resources = in_force(resources.clone());
        let intel_rdt = IntelRdt { l3_cache_schema: l3, mem_bw_schema: mb };
        Self { linux: Linux { resources, intel_rdt } }
    }

    /// The config with the changes in it; everything else stays.
    pub(crate) fn over(&self, config: &str) -> Result<String> {
        let doing = || "read the saved config.json";
        let mut config: Value = serde_json::from_str(config)
            .map_err(|e| crate::error::Error::text(e.to_string()))
            .context(doing)?;
        // Else a name in Go's spelling would be there twice.
        if let Some(resources) = config.pointer_mut("/linux/resources") {
            spell_resources(resources);
        }
        lay(&mut config, serde_json::to_value(self).expect("plain data"));
        Ok(config.to_string())
    }
}

/// Without what changes nothing: device rules, zeros that mean "unset", the way of updating.
fn in_force(mut r: Resources<'_>) -> Resources<'_> {
    fn set<T: Default + PartialEq>(value: &mut Option<T>) {
        *value = value.take().filter(|v| *v != T::default());
    }
    r.devices.clear();
    if let Some(memory) = &mut r.memory {
        set(&mut memory.limit);
        set(&mut memory.reservation);
        set(&mut memory.swap);
        set(&mut memory.kernel);
        set(&mut memory.kernel_tcp);
        memory.check_before_update = None;
    }
    if let Some(cpu) = &mut r.cpu {
        set(&mut cpu.shares);
        set(&mut cpu.quota);
        set(&mut cpu.period);
        set(&mut cpu.realtime_runtime);
        set(&mut cpu.realtime_period);
    }
    if let Some(io) = &mut r.block_io {
        set(&mut io.weight);
        set(&mut io.leaf_weight);
    }
    r
}

fn lay(old: &mut Value, new: Value) {
    match new {
        Value::Object(members) => {
            for (name, value) in members.into_iter().filter(|(_, value)| !is_nothing(value)) {
                if !old.is_object() {
                    *old = Value::Object(serde_json::Map::new());
                }
                lay(&mut old[name], value);
            }
        }
        Value::Array(items) => {
            if !old.is_array() {
                *old = Value::Array(Vec::new());
            }
            let Value::Array(list) = old else { return };
            for item in items {
                match list.iter_mut().rev().find(|old| is_same(old, &item)) {
                    Some(old) => {
                        if let Value::Object(members) = old {
                            // The same name in another case would be there twice.
                            members.remove("pagesize");
                        }
                        lay(old, item);
                    }
                    None => list.push(item),
                }
            }
        }
        value => *old = value,
    }
}

/// Whether nothing in there was asked for.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Limits of the same device, page size or interface.
fn is_same(a: &Value, b: &Value) -> bool {
    ["major", "minor", "name", "pageSize"].iter().all(|key| a.get(key) == b.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(config: &str, update: &str) -> Value {
        let resources = super::super::parse(update).expect("a test's JSON");
        let text = Changes::new(&resources, None, None).over(config).expect("a config");
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn only_what_was_asked_for_changes() {
        let config = r#"{"ociVersion": "1.3.0", "x-mine": [1, 2], "linux": {"resources": {
            "memory": {"limit": 100, "swap": 300}, "cpu": {"shares": 512, "cpus": "0-1"},
            "devices": [{"allow": false, "access": "rwm"}]}}}"#;
        let update = r#"{"memory": {"limit": 200, "swap": 0, "checkBeforeUpdate": true},
            "cpu": {"quota": 5000, "idle": 0}, "pids": {"limit": 0}, "unified": {"memory.high": "5"},
            "devices": [{"allow": true, "access": "rwm"}]}"#;
        let want = r#"{"ociVersion": "1.3.0", "x-mine": [1, 2], "linux": {"resources": {
            "memory": {"limit": 200, "swap": 300},
            "cpu": {"shares": 512, "cpus": "0-1", "quota": 5000, "idle": 0},
            "pids": {"limit": 0}, "unified": {"memory.high": "5"},
            "devices": [{"allow": false, "access": "rwm"}]}}}"#;
        assert_eq!(over(config, update), serde_json::from_str::<Value>(want).unwrap());
    }

    /// Both spellings side by side would be refused when the config is read again.
    #[test]
    fn names_in_gos_spelling_are_found_again() {
        let config = r#"{"linux": {"resources": {"CPU": {"Cpus": "0", "Shares": 7}}}}"#;
        let want = r#"{"linux": {"resources": {"cpu": {"cpus": "1", "shares": 7}}}}"#;
        let got = over(config, r#"{"cpu": {"cpus": "1"}}"#);
        assert_eq!(got, serde_json::from_str::<Value>(want).unwrap());
    }

    #[test]
    fn nothing_asked_for_adds_nothing() {
        let all_unset = r#"{"memory": {"limit": 0}, "cpu": {"cpus": ""}, "pids": {}, "blockIO":
            {"weight": 0, "weightDevice": []}, "unified": {}}"#;
        assert_eq!(over(r#"{"linux": null}"#, all_unset).to_string(), r#"{"linux":null}"#);
    }

    #[test]
    fn devices_and_page_sizes_are_found_again() {
        let config = r#"{"linux": {"resources": {
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1},
                                                  {"major": 8, "minor": 16, "rate": 2}]},
            "hugepageLimits": [{"pagesize": "2MB", "limit": 1}]}}}"#;
        let update = r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 0},
            {"major": 9, "minor": 16, "rate": 7}]}, "hugepageLimits": [{"pageSize": "2MB", "limit": 3}]}"#;
        let config = over(config, update);
        let resources = &config["linux"]["resources"];
        assert_eq!(
            resources["blockIO"]["throttleReadBpsDevice"].to_string(),
            concat!(
                r#"[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":0},"#,
                r#"{"major":9,"minor":16,"rate":7}]"#
            )
        );
        assert_eq!(resources["hugepageLimits"].as_array().unwrap().len(), 1);
        let text = config.to_string();
        let again: super::super::Spec<'_> = super::super::parse(&text).expect("a config");
        assert_eq!(again.linux.unwrap().resources.unwrap().hugepage_limits[0].limit, 3);
    }
}
