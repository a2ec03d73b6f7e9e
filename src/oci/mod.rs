// SPDX-License-Identifier: Apache-2.0
//! runtime-spec 1.3 as plain types: config.json as it is written, strings borrowed from the file.
//! No decision is taken here. Enumerations stay strings, so that the property's home can refuse an
//! unknown value by name; unknown properties are ignored, as config.md#extensibility demands;
//! `null` reads as absent, as Go's decoder has it.

mod linux;
mod locate;
mod names;
mod process;
mod resources;
mod text;
mod update;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

pub(crate) use linux::*;
pub(crate) use locate::{parse, parse_list};
pub(crate) use names::{merged, spelled};
pub(crate) use process::*;
pub(crate) use resources::*;
pub(crate) use text::Str;
pub(crate) use update::Changes;

/// The version of runtime-spec that creel implements.
pub(crate) const VERSION: &str = "1.3.0";

/// Names to strings, in the names' order.
pub(crate) type Map<'a> = BTreeMap<Str<'a>, Str<'a>>;

/// `null` is the default value.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// config.json, whole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub oci_version: Str<'a>,
    #[serde(borrow)]
    pub process: Option<Process<'a>>,
    #[serde(borrow)]
    pub root: Option<Root<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub hostname: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub domainname: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub mounts: Vec<Mount<'a>>,
    #[serde(borrow)]
    pub hooks: Option<Hooks<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub annotations: Map<'a>,
    #[serde(borrow)]
    pub linux: Option<Linux<'a>>,
}

/// `root`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Root<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub path: Str<'a>,
    #[serde(deserialize_with = "nullable")]
    pub readonly: bool,
}

/// One of `mounts`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Mount<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub destination: Str<'a>,
    #[serde(borrow, rename = "type", deserialize_with = "nullable")]
    pub kind: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub source: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub options: Vec<Str<'a>>,
    #[serde(deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
}

/// `hooks`: six points.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Hooks<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub prestart: Vec<Hook<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub create_runtime: Vec<Hook<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub create_container: Vec<Hook<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub start_container: Vec<Hook<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub poststart: Vec<Hook<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub poststop: Vec<Hook<'a>>,
}

/// One hook.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Hook<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub path: Str<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub args: Vec<Str<'a>>,
    /// Absent: the environment of the runtime (or, in the container, of the container).
    #[serde(borrow)]
    pub env: Option<Vec<Str<'a>>>,
    /// Seconds; must be greater than zero.
    pub timeout: Option<i64>,
}

/// A line of an id map: `size` ids from `container_id` are `host_id` and the following outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_size_in_lower_case_is_read_as_by_go() {
        let limits: Resources<'_> = parse(r#"{"hugepageLimits": [{"pagesize": "2MB"}]}"#).unwrap();
        assert_eq!(limits.hugepage_limits[0].page_size, "2MB");
    }

    /// The captured configs, read by the specification's own Rust types and by ours.
    #[test]
    fn the_captured_configs_read_the_same_through_oci_spec() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bundles");
        let mut count = 0;
        for entry in std::fs::read_dir(dir).expect("the captured bundles") {
            let path = entry.expect("an entry").path().join("config.json");
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let theirs: oci_spec::runtime::Spec = serde_json::from_str(&text).expect("oci-spec");
            let ours: Spec<'_> = parse(&text).expect("creel");
            let (process, other) = (ours.process.expect("a process"), theirs.process());
            let other = other.as_ref().expect("a process");
            assert_eq!(process.args, other.args().clone().unwrap_or_default(), "{path:?}");
            assert_eq!(process.env, other.env().clone().unwrap_or_default(), "{path:?}");
            assert_eq!(process.no_new_privileges, other.no_new_privileges().unwrap_or(false));
            assert_eq!(process.user.uid, other.user().uid());
            let mounts = theirs.mounts().as_ref().expect("mounts");
            for (mount, other) in ours.mounts.iter().zip(mounts) {
                assert_eq!(Some(&*mount.destination), other.destination().to_str());
                assert_eq!(mount.options, other.options().clone().unwrap_or_default());
            }
            let (linux, other) =
                (ours.linux.expect("linux"), theirs.linux().as_ref().expect("linux"));
            let syscalls =
                other.seccomp().as_ref().and_then(|s| s.syscalls().as_ref().map(Vec::len));
            assert_eq!(linux.seccomp.map(|seccomp| seccomp.syscalls.len()), syscalls);
            assert_eq!(linux.masked_paths, other.masked_paths().clone().unwrap_or_default());
            assert_eq!(ours.mounts.len(), mounts.len());
            count += 1;
        }
        assert!(count >= 14, "only {count} configs");
    }
}
