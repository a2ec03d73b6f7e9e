// SPDX-License-Identifier: Apache-2.0
//! `features`: what this runtime supports, as features.md of runtime-spec defines it. Every list comes
//! from the module that implements it; here is only the document.

use crate::json::Json;
use crate::oci;

/// All that the document says.
#[derive(Debug, Clone)]
pub(crate) struct Tables<'a> {
    /// Hook points, in the order they run.
    pub hooks: Vec<&'a str>,
    /// In any order, as all lists here that say nothing else: the document has them sorted.
    pub mount_options: Vec<&'a str>,
    pub namespaces: Vec<&'a str>,
    /// In the order of the kernel's numbers.
    pub capabilities: Vec<&'a str>,
    pub cgroup: Cgroup,
    pub seccomp: Seccomp<'a>,
    pub apparmor: bool,
    pub selinux: bool,
    pub intel_rdt: IntelRdt,
    pub memory_policy: MemoryPolicy<'a>,
    /// Mounts with uidMappings and gidMappings.
    pub idmap: bool,
    pub net_devices: bool,
    /// Facts beside the specification: name and value.
    pub annotations: Vec<(&'a str, &'a str)>,
    /// Annotations (or, ending in a dot, prefixes) in config.json that change what is done.
    pub unsafe_annotations: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cgroup {
    pub v1: bool,
    pub v2: bool,
    pub systemd: bool,
    pub systemd_user: bool,
    pub rdma: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Seccomp<'a> {
    pub actions: Vec<&'a str>,
    pub operators: Vec<&'a str>,
    pub archs: Vec<&'a str>,
    /// Flags that are understood, in the table's order.
    pub known_flags: Vec<&'a str>,
    /// Of them, those that the running kernel takes.
    pub supported_flags: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct IntelRdt {
    pub enabled: bool,
    pub schemata: bool,
    pub monitoring: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct MemoryPolicy<'a> {
    pub modes: Vec<&'a str>,
    pub flags: Vec<&'a str>,
}

/// The lowest version of runtime-spec whose configurations run.
const OLDEST: &str = "1.0.0";

/// The document, indented by four, with a newline at the end.
pub(crate) fn render(tables: &Tables<'_>) -> String {
    let annotations = tables.annotations.iter().map(|(name, value)| (*name, Json::Text(value)));
    let mut annotations: Vec<_> = annotations.collect();
    annotations.sort_by_key(|pair| pair.0);
    let document = Json::Object(vec![
        ("ociVersionMin", Json::Text(OLDEST)),
        ("ociVersionMax", Json::Text(oci::VERSION)),
        ("hooks", Json::texts(&tables.hooks)),
        ("mountOptions", sorted(&tables.mount_options)),
        ("linux", linux(tables)),
        ("annotations", Json::Object(annotations)),
        ("potentiallyUnsafeConfigAnnotations", Json::texts(&tables.unsafe_annotations)),
    ]);
    document.pretty("    ") + "\n"
}

fn linux<'a>(tables: &Tables<'a>) -> Json<'a> {
    let (cgroup, rdt) = (tables.cgroup, tables.intel_rdt);
    let cgroup = Json::Object(vec![
        ("v1", Json::Bool(cgroup.v1)),
        ("v2", Json::Bool(cgroup.v2)),
        ("systemd", Json::Bool(cgroup.systemd)),
        ("systemdUser", Json::Bool(cgroup.systemd_user)),
        ("rdma", Json::Bool(cgroup.rdma)),
    ]);
    let intel_rdt = Json::Object(vec![
        ("enabled", Json::Bool(rdt.enabled)),
        ("schemata", Json::Bool(rdt.schemata)),
        ("monitoring", Json::Bool(rdt.monitoring)),
    ]);
    let memory_policy = Json::Object(vec![
        ("modes", sorted(&tables.memory_policy.modes)),
        ("flags", sorted(&tables.memory_policy.flags)),
    ]);
    Json::Object(vec![
        ("namespaces", sorted(&tables.namespaces)),
        ("capabilities", Json::texts(&tables.capabilities)),
        ("cgroup", cgroup),
        ("seccomp", seccomp(&tables.seccomp)),
        ("apparmor", enabled(tables.apparmor)),
        ("selinux", enabled(tables.selinux)),
        ("intelRdt", intel_rdt),
        ("memoryPolicy", memory_policy),
        ("mountExtensions", Json::Object(vec![("idmap", enabled(tables.idmap))])),
        ("netDevices", enabled(tables.net_devices)),
    ])
}

fn seccomp<'a>(seccomp: &Seccomp<'a>) -> Json<'a> {
    Json::Object(vec![
        ("enabled", Json::Bool(true)),
        ("actions", sorted(&seccomp.actions)),
        ("operators", sorted(&seccomp.operators)),
        ("archs", sorted(&seccomp.archs)),
        ("knownFlags", Json::texts(&seccomp.known_flags)),
        ("supportedFlags", Json::texts(&seccomp.supported_flags)),
    ])
}

fn enabled<'a>(yes: bool) -> Json<'a> {
    Json::Object(vec![("enabled", Json::Bool(yes))])
}

fn sorted<'a>(names: &[&'a str]) -> Json<'a> {
    let mut names = names.to_vec();
    names.sort_unstable();
    Json::texts(&names)
}

#[cfg(test)]
mod tests {
    use super::super::schema::violations;
    use super::*;

    fn tables() -> Tables<'static> {
        Tables {
            hooks: vec!["prestart", "createRuntime", "poststop"],
            mount_options: vec!["rw", "bind", "async"],
            namespaces: vec!["uts", "time", "cgroup"],
            capabilities: vec!["CAP_CHOWN", "CAP_AUDIT_READ"],
            cgroup: Cgroup { v1: true, v2: true, systemd: false, systemd_user: false, rdma: true },
            seccomp: Seccomp {
                actions: vec!["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"],
                operators: vec!["SCMP_CMP_EQ"],
                archs: vec!["SCMP_ARCH_X86_64"],
                known_flags: vec!["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"],
                supported_flags: vec![],
            },
            apparmor: true,
            selinux: true,
            intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: false },
            memory_policy: MemoryPolicy {
                modes: vec!["MPOL_LOCAL", "MPOL_BIND"],
                flags: vec!["MPOL_F_STATIC_NODES"],
            },
            idmap: true,
            net_devices: true,
            annotations: vec![("org.z", "1"), ("org.a", "")],
            unsafe_annotations: vec!["bundle", "org.systemd.property."],
        }
    }

    #[test]
    fn the_document_fits_the_specification_s_schema() {
        assert_eq!(violations("features-schema.json", &render(&tables())), [] as [String; 0]);
        // The schema does look into the lists.
        let wrong = Tables { capabilities: vec!["CHOWN"], namespaces: vec!["net"], ..tables() };
        let found = violations("features-schema.json", &render(&wrong));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("/linux/capabilities/0: "), "{found:?}");
    }

    #[test]
    fn lists_are_sorted_and_keys_in_runc_s_order() {
        let text = render(&tables());
        let head = "{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1.3.0\",\n    \"hooks\": [\n        \"prestart\",";
        assert!(text.starts_with(head), "{text}");
        let tail = "    \"annotations\": {\n        \"org.a\": \"\",\n        \"org.z\": \"1\"\n    },\n    \"potentiallyUnsafeConfigAnnotations\": [\n        \"bundle\",\n        \"org.systemd.property.\"\n    ]\n}\n";
        assert!(text.ends_with(tail), "{text}");
        let keys = [
            "namespaces",
            "capabilities",
            "cgroup",
            "seccomp",
            "apparmor",
            "selinux",
            "intelRdt",
            "memoryPolicy",
            "mountExtensions",
            "netDevices",
        ];
        let at = keys.map(|key| text.find(&format!("\n        \"{key}\": ")).expect(key));
        assert!(at.is_sorted(), "{at:?}");
        assert!(text.contains("\"async\",\n        \"bind\",\n        \"rw\"\n"), "{text}");
    }
}
