// SPDX-License-Identifier: Apache-2.0
//! Property names in whatever case: Go's decoder takes them so, and files for `update --resources` are
//! written so. In config.json the specification's spelling counts, and in `linux.resources` Go's own
//! beside it (`resources.rs`).

use serde_json::{Map, Value};

use crate::error::Error;

use super::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, Network, Pids, Resources,
    ThrottleDevice, WeightDevice,
};

/// The text of a `linux.resources` with each known name as the specification spells it; None where
/// nothing is to be changed, or where it is no JSON, of which the reader knows to say more.
pub(crate) fn spelled(text: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    spell_resources(&mut value).then(|| value.to_string())
}

/// The same for one that is decoded already; whether a name had to be changed.
pub(super) fn spell_resources(resources: &mut Value) -> bool {
    let pattern = serde_json::to_value(all()).expect("plain data");
    spell(resources, &pattern)
}

/// A config.json that was refused because `linux.resources` has a name twice, in both spellings: put
/// together, as Go's decoder fills one structure from both. None where that is not what was wrong.
pub(crate) fn merged(config: &str, refusal: &Error) -> Option<String> {
    let refusal = refusal.to_string();
    if !refusal.starts_with("linux.resources") || !refusal.contains("duplicate field") {
        return None;
    }
    let mut value: Value = serde_json::from_str(config).ok()?;
    let changed = spell_resources(value.pointer_mut("/linux/resources")?);
    changed.then(|| value.to_string())
}

/// One of each.
fn all() -> Resources<'static> {
    let throttle = || vec![ThrottleDevice::default()];
    Resources {
        devices: vec![DeviceRule::default()],
        memory: Some(Memory::default()),
        cpu: Some(Cpu::default()),
        pids: Some(Pids::default()),
        block_io: Some(BlockIo {
            weight_device: vec![WeightDevice::default()],
            throttle_read_bps_device: throttle(),
            throttle_write_bps_device: throttle(),
            throttle_read_iops_device: throttle(),
            throttle_write_iops_device: throttle(),
            ..BlockIo::default()
        }),
        hugepage_limits: vec![HugepageLimit::default()],
        network: Some(Network {
            priorities: vec![InterfacePriority::default()],
            ..Network::default()
        }),
        // Their names are the user's own.
        rdma: std::collections::BTreeMap::new(),
        unified: std::collections::BTreeMap::new(),
    }
}

/// Whether a name had to be changed.
fn spell(value: &mut Value, pattern: &Value) -> bool {
    match (value, pattern) {
        (Value::Object(object), Value::Object(names)) => spell_object(object, names),
        (Value::Array(list), Value::Array(one)) if one.len() == 1 => {
            let mut changed = false;
            for item in list {
                changed |= spell(item, &one[0]);
            }
            changed
        }
        _ => false,
    }
}

fn spell_object(object: &mut Map<String, Value>, names: &Map<String, Value>) -> bool {
    let mut changed = false;
    for (mut key, mut item) in std::mem::take(object) {
        let known = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key));
        if let Some((name, pattern)) = known {
            changed |= *name != key;
            key.clone_from(name);
            changed |= spell(&mut item, pattern);
        }
        match object.get_mut(&key) {
            Some(other) => lay_over(other, item),
            None => drop(object.insert(key, item)),
        }
    }
    changed
}

/// Of two values for one name the specification's spelling counts, since it comes later in the alphabet.
fn lay_over(value: &mut Value, other: Value) {
    match (value, other) {
        (Value::Object(members), Value::Object(others)) => {
            for (key, item) in others {
                lay_over(members.entry(key).or_insert(Value::Null), item);
            }
        }
        (value, other) => *value = other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// runc's own suite writes such a file; its limits were dropped in silence.
    #[test]
    fn names_in_any_case_are_names() {
        let text = r#"{"CPU": {"Cpus": "0-1", "SHARES": 7}, "BlockIO": {"WeightDevice": [{"Major": 8}]},
            "HugepageLimits": [{"pagesize": "2MB"}], "Unified": {"Memory.High": "1"}, "other": 1}"#;
        let spelled = spelled(text).unwrap();
        let r: Resources<'_> = super::super::parse(&spelled).unwrap();
        let cpu = r.cpu.unwrap();
        assert_eq!((&*cpu.cpus, cpu.shares), ("0-1", Some(7)));
        assert_eq!(r.block_io.unwrap().weight_device[0].major, 8);
        assert_eq!(&*r.hugepage_limits[0].page_size, "2MB");
        assert_eq!(r.unified.keys().map(|k| &**k).collect::<Vec<_>>(), ["Memory.High"]);
    }

    /// runc's suite has `CPU` in config.json, which was ignored there.
    #[test]
    fn gos_own_names_count_in_config_json() {
        fn capital(value: &Value) -> Value {
            match value {
                Value::Object(members) => members
                    .iter()
                    .map(|(key, item)| (key[..1].to_uppercase() + &key[1..], capital(item)))
                    .collect(),
                Value::Array(list) => list.iter().map(capital).collect(),
                other => other.clone(),
            }
        }
        let mut all = all();
        all.hugepage_limits[0].page_size = "2MB".into();
        all.memory.as_mut().unwrap().kernel_tcp = Some(1);
        all.cpu.as_mut().unwrap().shares = Some(2);
        let plain = serde_json::to_value(&all).unwrap();
        let text = capital(&plain).to_string().replace("\"Cpu\"", "\"CPU\"");
        let got: Resources<'_> = super::super::parse(&text).unwrap();
        assert_eq!(serde_json::to_value(got).unwrap(), plain);
        assert!(text.contains("ThrottleReadIOPSDevice") && text.contains("\"CPU\""), "{text}");
    }

    /// What runc's suite makes of `CPU` in a config that has `cpu` already.
    #[test]
    fn both_spellings_of_a_name_are_put_together() {
        let text = r#"{"hostname": "h", "linux": {"resources": {"CPU": {"Cpus": "0", "Shares": 1},
            "cpu": {"shares": 7, "quota": 5000}, "pids": {"limit": 3}}}}"#;
        let refusal = super::super::parse::<super::super::Spec<'_>>(text).unwrap_err();
        let text = merged(text, &refusal).unwrap();
        let spec: super::super::Spec<'_> = super::super::parse(&text).unwrap();
        assert_eq!(&*spec.hostname, "h");
        let resources = spec.linux.unwrap().resources.unwrap();
        let cpu = resources.cpu.unwrap();
        assert_eq!((&*cpu.cpus, cpu.shares, cpu.quota), ("0", Some(7), Some(5000)));
        assert_eq!(resources.pids.unwrap().limit, Some(3));

        for text in [
            r#"{"linux": {"resources": {"cpu": {}, "cpu": 5}}}"#,
            r#"{"hostname": "a", "hostname": "b"}"#,
        ] {
            let refusal = super::super::parse::<super::super::Spec<'_>>(text).unwrap_err();
            assert_eq!(merged(text, &refusal), None, "{refusal}");
        }
    }

    #[test]
    fn what_is_spelled_right_stays_as_it_is() {
        assert_eq!(
            spelled(r#"{"cpu": {"shares": 1}, "pids": {"limit": 5}, "x": {"CPU": 1}}"#),
            None
        );
        assert_eq!(spelled("{"), None);
    }
}
