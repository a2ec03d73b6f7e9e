// SPDX-License-Identifier: Apache-2.0
//! This host, for any bundle: calls of the kernel, namespaces, cgroups, capabilities, ids, seccomp,
//! security modules, filesystems, helpers. Each finding points to the property that would ask for it.

use std::fs::{read_link, read_to_string};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, Pid, access, geteuid};

use super::Level::{Error, Note, Warning};
use super::{Finding, ids};
use crate::cgroup::{Hierarchies, Manager};
use crate::child::seccomp;
use crate::cli::args::Globals;
use crate::namespace::{self, KINDS, Kind};
use crate::oci;
use crate::sys::{self, mount, openat2, pidfd};

pub(super) fn look(globals: &Globals) -> Vec<Finding> {
    let mut found = kernel();
    found.extend(KINDS.into_iter().flat_map(namespace));
    found.extend(cgroups());
    found.extend(systemd(globals));
    found.extend(privileges());
    found.extend(subordinate_ids());
    found.extend(seccomp_support());
    found.extend(security_modules());
    found.extend(filesystems());
    found.extend(resctrl());
    found.extend(state_root(&globals.root));
    found.extend(criu());
    found
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    Some(read_to_string(path).ok()?.trim().to_owned())
}

fn number(path: impl AsRef<Path>) -> Option<u64> {
    text(path)?.parse().ok()
}

/// A call that is tried, the Linux that brought it, and what is so without it.
type Call = (&'static str, fn() -> Result<(), Errno>, &'static str, Finding);

fn kernel() -> Vec<Finding> {
    let release = text("/proc/sys/kernel/osrelease").unwrap_or_else(|| "of unknown release".into());
    let mut found = vec![Finding::new(Note, "", format!("Linux {release}"))];
    let slower = |what: &str| Finding::new(Note, "", what);
    let calls: [Call; 5] = [
        (
            "open_tree and fsopen",
            || mount::fsopen(c"tmpfs").map(drop),
            "5.2",
            Finding::new(Error, "/mounts", "nothing can be mounted, and so no container made"),
        ),
        (
            "clone3",
            sys::clone::has_clone3,
            "5.3",
            slower("clone is used, and the cgroup is joined afterwards"),
        ),
        (
            "pidfd_open",
            || pidfd::pidfd_open(Pid::this()).map(drop),
            "5.3",
            slower("exec is refused"),
        ),
        (
            "openat2",
            || {
                let flags = OFlag::O_PATH;
                openat2::openat2(AT_FDCWD, "/", flags, ResolveFlag::RESOLVE_NO_SYMLINKS).map(drop)
            },
            "5.6",
            slower("paths below the root are looked up one component at a time"),
        ),
        (
            "mount_setattr",
            || {
                let root = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
                mount::mount_setattr(root.as_fd(), mount::Depth::One, &mount::Setattr::default())
            },
            "5.12",
            Finding::new(
                Warning,
                "/mounts/0/uidMappings",
                "id-mapped mounts and recursive mount options are refused",
            ),
        ),
    ];
    for (call, try_it, since, without) in calls {
        // Any other answer is that of a kernel that knows the call.
        if try_it() == Err(Errno::ENOSYS) {
            let text = format!("this kernel has no {call} (Linux {since}): {}", without.found);
            let hint =
                format!("Linux {since} or newer, and no seccomp filter around creel that hides it");
            found.push(Finding { found: text, ..without }.with_hint(hint));
        }
    }
    found
}

/// Why no namespace of this kind could be made here.
pub(super) fn namespace(kind: &Kind) -> Vec<Finding> {
    let at = "/linux/namespaces";
    let mut found = Vec::new();
    let name = kind.oci;
    if read_link(format!("/proc/self/ns/{}", kind.proc)).is_err() {
        let hint = "a kernel that is configured with it";
        let text = format!("this kernel has no {name} namespaces");
        found.push(Finding::new(Error, at, text).with_hint(hint));
        return found;
    }
    let file = format!("/proc/sys/user/max_{}_namespaces", kind.proc);
    if number(&file) == Some(0) {
        let text = format!("no {name} namespace may be made: {file} is 0");
        found.push(Finding::new(Error, at, text).with_hint(format!("raise {file}")));
    }
    if *kind == namespace::USER && !geteuid().is_root() {
        for (file, refused) in [
            ("/proc/sys/kernel/unprivileged_userns_clone", 0),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1),
        ] {
            if number(file) == Some(refused) {
                let text =
                    format!("an ordinary user may make no user namespaces: {file} is {refused}");
                let hint = format!("as root: echo {} > {file}", 1 - refused);
                found.push(Finding::new(Error, at, text).with_hint(hint));
            }
        }
    }
    found
}

/// Controllers, by the names of v1 and v2, with the property that needs them.
const CONTROLLERS: [(&str, &str, &str); 8] = [
    ("cpu", "cpu", "/linux/resources/cpu/shares"),
    ("cpuset", "cpuset", "/linux/resources/cpu/cpus"),
    ("memory", "memory", "/linux/resources/memory"),
    ("pids", "pids", "/linux/resources/pids"),
    ("blkio", "io", "/linux/resources/blockIO"),
    ("hugetlb", "hugetlb", "/linux/resources/hugepageLimits"),
    ("rdma", "rdma", "/linux/resources/rdma"),
    ("freezer", "", "/linux/cgroupsPath"),
];

fn cgroups() -> Vec<Finding> {
    let host = match Hierarchies::detect() {
        Err(error) => return vec![Finding::new(Error, "/linux/cgroupsPath", error.to_string())],
        Ok(host) => host,
    };
    if host.v1.is_empty() && host.unified.is_none() {
        let text = "no cgroup filesystem is mounted at /sys/fs/cgroup";
        return vec![Finding::new(Error, "/linux/cgroupsPath", text)];
    }
    let kind = match (host.is_unified(), host.unified.is_some()) {
        (true, _) => "cgroup v2",
        (false, true) => "cgroup v1, beside v2 (hybrid)",
        (false, false) => "cgroup v1",
    };
    let mut found = Vec::new();
    let mut there = Vec::new();
    for (v1, v2, at) in CONTROLLERS {
        let name = if host.is_unified() { v2 } else { v1 };
        if name.is_empty() {
            continue;
        }
        if host.has_unified(name) || host.v1_of(name).is_some() {
            there.push(name);
            continue;
        }
        let rare = matches!(name, "hugetlb" | "rdma");
        let text = match name {
            "freezer" => {
                "the freezer controller is not mounted: pause and resume are refused".to_owned()
            }
            name => format!("the {name} controller is not there: its limits are refused"),
        };
        let hint = "see /proc/cgroups; mount it, or boot without cgroup_disable=";
        found.push(Finding::new(if rare { Note } else { Warning }, at, text).with_hint(hint));
    }
    if !host.is_unified() && host.v1_of("devices").is_none() {
        let text = "linux.resources.devices: the devices controller is not mounted";
        found.push(Finding::new(Error, "/linux/resources/devices", text));
    }
    let text = format!("{kind} with {}", there.join(", "));
    found.push(Finding::new(Note, "/linux/resources", text).with_hint(""));
    found
}

fn systemd(globals: &Globals) -> Vec<Finding> {
    let runs = Path::new("/run/systemd/system").is_dir();
    let at = "/linux/cgroupsPath";
    match (runs, globals.cgroup_manager == Manager::Systemd) {
        (true, _) => {
            vec![
                Finding::new(Note, at, "systemd runs: both cgroup drivers can be used")
                    .with_hint(""),
            ]
        }
        (false, true) => {
            let text = "--systemd-cgroup: systemd does not run here";
            vec![Finding::new(Error, at, text).with_hint("leave --systemd-cgroup out")]
        }
        (false, false) => {
            let text =
                "systemd does not run: --systemd-cgroup is refused, the cgroupfs driver works";
            vec![Finding::new(Note, at, text).with_hint("")]
        }
    }
}

/// A mask of /proc/self/status, like CapEff.
fn mask(name: &str) -> Option<u64> {
    let status = text("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Whether this process may use it now.
pub(super) fn has_capability(name: &str) -> bool {
    let Ok(capability) = name.parse::<caps::Capability>() else { return false };
    mask("CapEff").is_some_and(|mask| mask & capability.bitmask() != 0)
}

fn privileges() -> Vec<Finding> {
    if !geteuid().is_root() {
        let text = "not root: every container needs a user namespace (`creel spec --rootless`)";
        return vec![Finding::new(Note, "/linux/namespaces", text).with_hint("")];
    }
    let mut found = Vec::new();
    if namespace::is_in_user_namespace() {
        let text = "root of a user namespace, not of the machine";
        found.push(Finding::new(Note, "/linux/uidMappings", text).with_hint(""));
    }
    if !has_capability("CAP_SYS_ADMIN") {
        let text = "root without CAP_SYS_ADMIN can make no namespaces";
        found.push(Finding::new(Error, "/linux/namespaces", text).with_hint("run creel with it"));
    }
    if !has_capability("CAP_SYS_RESOURCE") {
        let text = "root without CAP_SYS_RESOURCE: rlimits above its own, and a lower oomScoreAdj, are refused";
        let hint = "run creel with it, or ask for less";
        found.push(Finding::new(Warning, "/process/rlimits", text).with_hint(hint));
    }
    let permitted = mask("CapPrm").unwrap_or(u64::MAX);
    let mut all: Vec<_> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    let missing = all.iter().filter(|known| permitted & known.bitmask() == 0);
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    if !missing.is_empty() {
        let text = format!("no container gets {}: creel has not", missing.join(", "));
        found.push(Finding::new(Note, "/process/capabilities", text).with_hint(""));
    }
    found
}

fn subordinate_ids() -> Vec<Finding> {
    if geteuid().is_root() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let at = ["/linux/uidMappings", "/linux/gidMappings"];
    for ((file, ranges), at) in ids::subordinate().into_iter().zip(at) {
        let count: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        found.push(match count {
            0 => {
                let text = format!("{file} gives this user no ids: containers have one id only");
                let hint =
                    "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER";
                Finding::new(Warning, at, text).with_hint(hint)
            }
            _ => Finding::new(Note, at, format!("{count} ids of {file}")).with_hint(""),
        });
    }
    for (helper, at) in ["newuidmap", "newgidmap"].into_iter().zip(at) {
        if ids::find_program(helper).is_none() {
            let text = format!("{helper} is not installed: only the own id can be mapped");
            found.push(Finding::new(Warning, at, text).with_hint("install the uidmap package"));
        }
    }
    found
}

fn seccomp_support() -> Vec<Finding> {
    let Some(actions) = text("/proc/sys/kernel/seccomp/actions_avail") else {
        let text = "this kernel has no seccomp filters";
        let hint = "a kernel with CONFIG_SECCOMP_FILTER; or leave linux.seccomp out";
        return vec![Finding::new(Error, "/linux/seccomp", text).with_hint(hint)];
    };
    let lacking: Vec<&str> = seccomp::known_flags()
        .filter(|flag| !seccomp::supported_flags().any(|f| f == *flag))
        .collect();
    let mut found =
        vec![Finding::new(Note, "/linux/seccomp", format!("seccomp with {actions}")).with_hint("")];
    if !lacking.is_empty() {
        let text = format!("this kernel does not support {}", lacking.join(", "));
        found.push(Finding::new(Note, "/linux/seccomp/flags", text));
    }
    found
}

/// What AppArmor has loaded; None where that cannot be read.
pub(super) fn apparmor_profiles() -> Option<Vec<String>> {
    let profiles = read_to_string("/sys/kernel/security/apparmor/profiles").ok()?;
    Some(profile_names(&profiles))
}

/// `name (mode)` a line.
fn profile_names(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.rsplit_once(" (")?.0.to_owned())).collect()
}

fn security_modules() -> Vec<Finding> {
    let module = |name: &str, is_on: bool, property: &str| {
        let text = match is_on {
            true => format!("{name} is on"),
            false => {
                format!("{name} is off: a config that names a profile or label of it is refused")
            }
        };
        Finding::new(Note, property, text).with_hint("")
    };
    let yes = text("/sys/module/apparmor/parameters/enabled").is_some_and(|text| text == "Y");
    let selinux = Path::new("/sys/fs/selinux/enforce").exists();
    vec![
        module("AppArmor", yes, "/process/apparmorProfile"),
        module("SELinux", selinux, "/process/selinuxLabel"),
    ]
}

fn filesystems() -> Vec<Finding> {
    let Some(known) = text("/proc/filesystems") else {
        let text = "/proc is not a procfs: creel reads its own facts there";
        return vec![Finding::new(Error, "/mounts", text).with_hint("mount -t proc proc /proc")];
    };
    let known: Vec<&str> =
        known.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let missing = ["proc", "sysfs", "tmpfs", "devpts", "mqueue"];
    let missing: Vec<&str> = missing.into_iter().filter(|kind| !known.contains(kind)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let text = format!("this kernel has no {}, which most configs mount", missing.join(", "));
    vec![Finding::new(Warning, "/mounts", text).with_hint("load its module, or mount it nowhere")]
}

fn resctrl() -> Vec<Finding> {
    let wanted = oci::IntelRdt::default();
    let linux = oci::Linux { intel_rdt: Some(wanted), ..oci::Linux::default() };
    let error = crate::parent::resctrl::Resctrl::plan(&linux, "check").err();
    error
        .map(|error| Finding::new(Note, "/linux/intelRdt", error.to_string()))
        .into_iter()
        .collect()
}

fn state_root(root: &Path) -> Vec<Finding> {
    let existing = root.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    let Err(errno) = access(existing, wanted) else { return Vec::new() };
    let why = crate::error::describe(errno);
    let text = format!("--root {}: write to {existing:?}: {why}", root.display());
    let hint = "name another directory with --root, or set XDG_RUNTIME_DIR";
    vec![Finding::new(Error, "", text).with_hint(hint)]
}

fn criu() -> Vec<Finding> {
    if ids::find_program("criu").is_some() {
        return Vec::new();
    }
    let text = "criu is not installed: checkpoint and restore are refused";
    vec![Finding::new(Note, "", text).with_hint("install CRIU 3.12 or newer")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_with_their_spaces() {
        let text = "docker-default (enforce)\n/usr/bin/man (complain)\na b (c) (kill)\n";
        assert_eq!(profile_names(text), ["docker-default", "/usr/bin/man", "a b (c)"]);
    }

    #[test]
    fn every_finding_points_into_a_config() {
        let root = std::path::PathBuf::from("/nowhere");
        let globals =
            Globals { root, root_is_explicit: true, cgroup_manager: Manager::Fs, rootless: None };
        let found = look(&globals);
        assert!(found.iter().any(|f| f.found.starts_with("Linux ")), "{found:?}");
        for finding in &found {
            let top = finding.pointer.split('/').nth(1);
            assert!(top.is_none_or(|top| super::super::names::of_config().contains(&top)));
            let is_bad = finding.level != Note;
            assert!(!is_bad || !finding.hint.is_empty(), "no hint: {finding:?}");
        }
    }
}
