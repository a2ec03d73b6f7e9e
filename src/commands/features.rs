// SPDX-License-Identifier: Apache-2.0
//! `features`, from the tables that implement them.

use super::print;
use crate::ExitCode;
use crate::child::process::numa;
use crate::child::{rootfs, seccomp};
use crate::cli::features::{Cgroup, IntelRdt, MemoryPolicy, Seccomp, Tables, render};
use crate::error::Result;
use crate::{hooks, namespace};

pub(crate) fn features() -> Result<ExitCode> {
    let capabilities: Vec<String> = capabilities();
    let tables = Tables {
        hooks: hooks::POINTS.iter().map(|(_, name)| *name).collect(),
        mount_options: rootfs::names(),
        namespaces: namespace::KINDS.iter().map(|kind| kind.oci).collect(),
        capabilities: capabilities.iter().map(String::as_str).collect(),
        cgroup: Cgroup { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
        seccomp: Seccomp {
            actions: seccomp::known_actions().collect(),
            operators: seccomp::known_operators().collect(),
            archs: seccomp::known_archs().collect(),
            known_flags: seccomp::known_flags().collect(),
            supported_flags: seccomp::supported_flags().collect(),
        },
        apparmor: true,
        selinux: true,
        intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
        memory_policy: MemoryPolicy { modes: numa::mode_names(), flags: numa::flag_names() },
        idmap: true,
        net_devices: true,
        annotations: vec![
            ("io.github.creel.version", env!("CARGO_PKG_VERSION")),
            ("io.github.creel.commit", option_env!("CREEL_COMMIT").unwrap_or("unknown")),
            ("io.github.creel.checkpoint.enabled", "true"),
        ],
        unsafe_annotations: vec![
            "org.systemd.property.",
            crate::criu::CONFIG_ANNOTATION,
            crate::annotations::UNSAFE,
        ],
    };
    print(&render(&tables))?;
    Ok(ExitCode::SUCCESS)
}

/// Every capability that the running kernel could know, by the kernel's numbers.
fn capabilities() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}
