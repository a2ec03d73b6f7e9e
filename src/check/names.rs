// SPDX-License-Identifier: Apache-2.0
//! Names in config.json that no type of `oci` has: a misspelt property is silently without effect. The
//! known names are those that the types' own decoders ask for.

use std::cell::Cell;

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::pointer::push;
use crate::oci;

type Names = &'static [&'static str];

/// Where an object is and what its members are called; `*` is any item of a list or of a map.
type Row = (&'static str, fn() -> Names);

const ROWS: &[Row] = &[
    ("", of::<oci::Spec<'_>>),
    ("/process", of::<oci::Process<'_>>),
    ("/process/consoleSize", of::<oci::ConsoleSize>),
    ("/process/user", of::<oci::User<'_>>),
    ("/process/capabilities", of::<oci::Capabilities<'_>>),
    ("/process/rlimits/*", of::<oci::Rlimit<'_>>),
    ("/process/scheduler", of::<oci::Scheduler<'_>>),
    ("/process/ioPriority", of::<oci::IoPriority<'_>>),
    ("/process/execCPUAffinity", of::<oci::ExecCpuAffinity<'_>>),
    ("/root", of::<oci::Root<'_>>),
    ("/mounts/*", of::<oci::Mount<'_>>),
    ("/mounts/*/uidMappings/*", of::<oci::IdMapping>),
    ("/mounts/*/gidMappings/*", of::<oci::IdMapping>),
    ("/hooks", of::<oci::Hooks<'_>>),
    ("/hooks/prestart/*", of::<oci::Hook<'_>>),
    ("/hooks/createRuntime/*", of::<oci::Hook<'_>>),
    ("/hooks/createContainer/*", of::<oci::Hook<'_>>),
    ("/hooks/startContainer/*", of::<oci::Hook<'_>>),
    ("/hooks/poststart/*", of::<oci::Hook<'_>>),
    ("/hooks/poststop/*", of::<oci::Hook<'_>>),
    ("/linux", of::<oci::Linux<'_>>),
    ("/linux/namespaces/*", of::<oci::Namespace<'_>>),
    ("/linux/uidMappings/*", of::<oci::IdMapping>),
    ("/linux/gidMappings/*", of::<oci::IdMapping>),
    ("/linux/timeOffsets/*", of::<oci::TimeOffset>),
    ("/linux/devices/*", of::<oci::Device<'_>>),
    ("/linux/netDevices/*", of::<oci::NetDevice<'_>>),
    ("/linux/intelRdt", of::<oci::IntelRdt<'_>>),
    ("/linux/memoryPolicy", of::<oci::MemoryPolicy<'_>>),
    ("/linux/personality", of::<oci::Personality<'_>>),
    ("/linux/seccomp", of::<oci::Seccomp<'_>>),
    ("/linux/seccomp/syscalls/*", of::<oci::Syscall<'_>>),
    ("/linux/seccomp/syscalls/*/args/*", of::<oci::Arg<'_>>),
    ("/linux/resources", of::<oci::Resources<'_>>),
    ("/linux/resources/devices/*", of::<oci::DeviceRule<'_>>),
    ("/linux/resources/memory", of::<oci::Memory>),
    ("/linux/resources/cpu", of::<oci::Cpu<'_>>),
    ("/linux/resources/pids", of::<oci::Pids>),
    ("/linux/resources/blockIO", of::<oci::BlockIo>),
    ("/linux/resources/blockIO/weightDevice/*", of::<oci::WeightDevice>),
    ("/linux/resources/blockIO/throttleReadBpsDevice/*", of::<oci::ThrottleDevice>),
    ("/linux/resources/blockIO/throttleWriteBpsDevice/*", of::<oci::ThrottleDevice>),
    ("/linux/resources/blockIO/throttleReadIOPSDevice/*", of::<oci::ThrottleDevice>),
    ("/linux/resources/blockIO/throttleWriteIOPSDevice/*", of::<oci::ThrottleDevice>),
    ("/linux/resources/hugepageLimits/*", of::<oci::HugepageLimit<'_>>),
    ("/linux/resources/network", of::<oci::Network<'_>>),
    ("/linux/resources/network/priorities/*", of::<oci::InterfacePriority<'_>>),
    ("/linux/resources/rdma/*", of::<oci::Rdma>),
];

/// Of other platforms, in the specification.
const FOREIGN: Names = &["solaris", "windows", "vm", "zos", "freebsd"];

/// A name that nothing reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub pointer: String,
    /// The same name in the specification's own case.
    pub meant: Option<&'static str>,
    pub is_foreign: bool,
}

/// The names at the top of config.json.
pub(super) fn of_config() -> Names {
    of::<oci::Spec<'_>>()
}

pub(super) fn unknown(config: &Value) -> Vec<Unknown> {
    let mut found = Vec::new();
    walk(config, "", "", &mut found);
    found
}

fn walk(value: &Value, pointer: &str, pattern: &str, found: &mut Vec<Unknown>) {
    let below = |token: &str| {
        let mut below = pointer.to_owned();
        push(&mut below, token);
        below
    };
    match value {
        Value::Array(items) => {
            let pattern = format!("{pattern}/*");
            for (i, item) in items.iter().enumerate() {
                walk(item, &below(&i.to_string()), &pattern, found);
            }
        }
        Value::Object(members) => {
            let names = ROWS.iter().find(|row| row.0 == pattern).map(|row| row.1());
            for (name, member) in members {
                let Some(names) = names else {
                    walk(member, &below(name), &format!("{pattern}/*"), found);
                    continue;
                };
                if names.contains(&name.as_str()) {
                    walk(member, &below(name), &format!("{pattern}/{name}"), found);
                    continue;
                }
                // The specification's spelling is the one in lower case; Go's is known beside it.
                let alike = names.iter().filter(|known| known.eq_ignore_ascii_case(name));
                let meant = alike.max().copied();
                let is_foreign = pattern.is_empty() && FOREIGN.contains(&name.as_str());
                found.push(Unknown { pointer: below(name), meant, is_foreign });
            }
        }
        _ => {}
    }
}

/// The names of a struct's members: its decoder says them before it asks for anything.
fn of<'de, T: Deserialize<'de>>() -> Names {
    let asked = Cell::new(&[][..]);
    // It always ends in the asker's refusal.
    let _ = T::deserialize(Asker(&asked));
    asked.get()
}

struct Asker<'a>(&'a Cell<Names>);

impl<'de> Deserializer<'de> for Asker<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Names,
        _: V,
    ) -> Result<V::Value, Error> {
        self.0.set(fields);
        Err(Error::custom(""))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom(""))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_nothing_reads_is_found_wherever_it_is() {
        let config = json!({
            "ociVersion": "1.3.0", "windows": {"x": 1}, "hostName": "x",
            "annotations": {"any": "thing"},
            "mounts": [{"destination": "/a"}, {"dest": "/b"}],
            "linux": {"sysctl": {"a.b": "1"}, "netDevices": {"eth0": {"nam": "x"}},
                      "resources": {"unified": {"x": "y"}, "memory": {"lImit": 1}}}});
        let pointers: Vec<_> = unknown(&config)
            .into_iter()
            .map(|found| (found.pointer, found.meant, found.is_foreign))
            .collect();
        let mut wanted = [
            ("/windows", None, true),
            ("/hostName", Some("hostname"), false),
            ("/mounts/1/dest", None, false),
            ("/linux/netDevices/eth0/nam", None, false),
            ("/linux/resources/memory/lImit", Some("limit"), false),
        ]
        .map(|(pointer, meant, foreign)| (pointer.to_owned(), meant, foreign));
        wanted.sort();
        let mut pointers = pointers;
        pointers.sort();
        assert_eq!(pointers, wanted);
    }

    /// The specification's own schemas name no property that is missing here.
    #[test]
    fn the_specification_s_names_are_known() {
        let Some(dir) = std::env::var_os("OCI_SCHEMA") else {
            println!("SKIP: OCI_SCHEMA does not say where the specification's schema is");
            return;
        };
        let read = |name: &str| -> Value {
            let text = std::fs::read_to_string(std::path::Path::new(&dir).join(name)).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let (config, linux) = (read("config-schema.json"), read("config-linux.json"));
        let keys = |value: &Value| -> Vec<String> {
            value["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let check = |names: Names, wanted: Vec<String>, but: &[&str]| {
            for name in wanted.iter().filter(|name| !but.contains(&name.as_str())) {
                assert!(names.contains(&name.as_str()), "{name} is not among {names:?}");
            }
        };
        check(of::<oci::Spec<'_>>(), keys(&config), FOREIGN);
        let process = &config["properties"]["process"];
        // What Windows has instead of args.
        check(of::<oci::Process<'_>>(), keys(process), &["commandLine"]);
        check(of::<oci::Hooks<'_>>(), keys(&config["properties"]["hooks"]), &[]);
        let linux = &linux["linux"];
        check(of::<oci::Linux<'_>>(), keys(linux), &[]);
        check(of::<oci::Seccomp<'_>>(), keys(&linux["properties"]["seccomp"]), &[]);
        check(of::<oci::Resources<'_>>(), keys(&linux["properties"]["resources"]), &[]);
        for (name, names) in [
            ("memory", of::<oci::Memory>()),
            ("cpu", of::<oci::Cpu<'_>>()),
            ("blockIO", of::<oci::BlockIo>()),
        ] {
            check(names, keys(&linux["properties"]["resources"]["properties"][name]), &[]);
        }
    }
}
