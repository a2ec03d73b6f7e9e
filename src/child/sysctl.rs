// SPDX-License-Identifier: Apache-2.0
//! `linux.sysctl`. Only what the container's own namespaces hold may be set.
//! Child side, after the root is entered; written through a private procfs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use super::rootfs::Proc;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci;
use crate::sys::Inside;

/// What belongs to the IPC namespace, besides `fs.mqueue.*`.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What to write, in the order of the names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sysctl(Vec<Write>);

#[derive(Debug, PartialEq, Eq)]
struct Write {
    /// As it is in the config.
    name: String,
    /// Below /proc.
    file: String,
    value: String,
}

impl Sysctl {
    pub(crate) fn plan(spec: &oci::Spec<'_>) -> Result<Self> {
        let Some(linux) = &spec.linux else {
            return Ok(Self::default());
        };
        let mut writes = Vec::with_capacity(linux.sysctl.len());
        for (name, value) in &linux.sysctl {
            let dotted = dotted(name);
            check(&dotted, &linux.namespaces).context(|| format!("linux.sysctl: {name}"))?;
            let file = format!("sys/{}", swap_separators(&dotted));
            writes.push(Write { name: name.to_string(), file, value: value.to_string() });
        }
        Ok(Self(writes))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For `check`: names that this kernel does not have. What belongs to an interface may be there in the
    /// container only.
    pub(crate) fn foresee(&self) -> Vec<(&str, Error)> {
        let is_of_interface = |file: &str| file.contains("/conf/") || file.contains("/neigh/");
        let missing = self.0.iter().filter(|write| {
            !is_of_interface(&write.file) && !Path::new("/proc").join(&write.file).exists()
        });
        let error = |Write { name, value, .. }: &Write| {
            Error::from(Errno::ENOENT).within(format!("linux.sysctl: {name}: write {value:?}"))
        };
        missing.map(|write| (write.name.as_str(), error(write))).collect()
    }

    pub(crate) fn apply(&self, proc: &Proc, _: &Inside) -> Result<()> {
        for Write { name, file, value } in &self.0 {
            proc.write(file, value.as_bytes())
                .context(|| format!("linux.sysctl: {name}: write {value:?}"))?;
        }
        Ok(())
    }
}

/// sysctl(8): whichever of `.` and `/` comes first is the separator; the other stands for a dot
/// within a name (`net/ipv4/conf/eth0.1/forwarding`).
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => swap_separators(name),
        _ => name.to_owned(),
    }
}

fn swap_separators(name: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

fn check(name: &str, namespaces: &[oci::Namespace<'_>]) -> Result<()> {
    if name.split(['.', '/']).any(str::is_empty) || name.contains('\0') {
        bail!("not a name of a sysctl");
    }
    let namespace = |kind: &str| namespaces.iter().find(|ns| *ns.kind == *kind);
    let needs = |kind: &str| match namespace(kind) {
        Some(_) => Ok(()),
        None => bail!("not allowed in the host's {kind} namespace"),
    };
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        return needs("ipc");
    }
    if name.starts_with("net.") {
        needs("network")?;
        let path = namespace("network").map_or("", |ns| ns.path.as_str());
        if !path.is_empty() && is_own_network(path)? {
            bail!("not allowed in the host's network namespace");
        }
        return Ok(());
    }
    // Limits of the user namespace; without one of its own they would be the host's.
    if name.starts_with("user.") {
        return needs("user");
    }
    match name {
        "kernel.domainname" if namespace("uts").is_some() => Ok(()),
        "kernel.hostname" if namespace("uts").is_some() => {
            bail!("conflicts with the property hostname")
        }
        _ => bail!("not in a separate kernel namespace"),
    }
}

/// Whether the path is the namespace that creel runs in.
fn is_own_network(path: &str) -> Result<bool> {
    let id = |path: &str| -> Result<(u64, u64)> {
        let stat = std::fs::metadata(path).context(|| format!("network namespace {path}"))?;
        Ok((stat.dev(), stat.ino()))
    };
    Ok(id(path)? == id("/proc/self/ns/net")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Sysctl> {
        Sysctl::plan(&oci::parse(json).expect("valid JSON"))
    }

    fn set(name: &str, namespaces: &str) -> Result<Sysctl> {
        plan(&format!(
            r#"{{"linux": {{"sysctl": {{"{name}": "1"}}, "namespaces": [{namespaces}]}}}}"#
        ))
    }

    const IPC_NS: &str = r#"{"type": "ipc"}"#;
    const NET_NS: &str = r#"{"type": "network"}"#;
    const UTS_NS: &str = r#"{"type": "uts"}"#;

    #[test]
    fn both_notations_give_the_same_file() {
        let file = "sys/net/ipv4/conf/eno2.100/rp_filter";
        assert_eq!(set("net.ipv4.conf.eno2/100.rp_filter", NET_NS).unwrap().0[0].file, file);
        assert_eq!(set("net/ipv4/conf/eno2.100/rp_filter", NET_NS).unwrap().0[0].file, file);
    }

    #[test]
    fn only_what_a_namespace_holds() {
        let error = |name, namespaces| set(name, namespaces).unwrap_err().to_string();
        assert!(set("kernel.shmmax", IPC_NS).is_ok() && set("fs.mqueue.msg_max", IPC_NS).is_ok());
        assert_eq!(
            error("kernel.shmmax", NET_NS),
            "linux.sysctl: kernel.shmmax: not allowed in the host's ipc namespace"
        );
        assert_eq!(
            error("net.core.somaxconn", IPC_NS),
            "linux.sysctl: net.core.somaxconn: not allowed in the host's network namespace"
        );
        assert_eq!(
            error("kernel.core_pattern", IPC_NS),
            "linux.sysctl: kernel.core_pattern: not in a separate kernel namespace"
        );
        assert!(set("kernel.domainname", UTS_NS).is_ok());
        assert!(error("kernel.hostname", UTS_NS).ends_with("conflicts with the property hostname"));
        assert!(error("user.max_mnt_namespaces", UTS_NS).ends_with("host's user namespace"));
        assert!(set("user.max_mnt_namespaces", r#"{"type": "user"}"#).is_ok());
    }

    #[test]
    fn a_path_to_our_own_network_is_the_hosts() {
        let own = r#"{"type": "network", "path": "/proc/self/ns/net"}"#;
        let error = set("net.core.somaxconn", own).unwrap_err().to_string();
        assert!(error.ends_with("not allowed in the host's network namespace"), "{error}");
    }

    #[test]
    fn a_name_cannot_climb() {
        let error = set("net/../../kernel/core_pattern", NET_NS).unwrap_err().to_string();
        assert!(error.ends_with("not a name of a sysctl"), "{error}");
    }
}
