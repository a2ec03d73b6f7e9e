// SPDX-License-Identifier: Apache-2.0
//! The annotations of config.json that are crun's: what they are called, and which of them are refused
//! by name. Those that are taken are read in the home of the property that they change; those of creel
//! itself are in rules.rs.

use crate::bail;
use crate::error::Result;
use crate::oci::Spec;

/// Being there is enough; Podman's `--group-add keep-groups` sets it.
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// Files that hooks write to, appended to.
pub(crate) const HOOKS_OUTPUT: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];
/// A socket that is sent a pidfd of init.
pub(crate) const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// Which option a mount label is given by.
pub(crate) const MOUNT_CONTEXT_TYPE: &str = "run.oci.mount_context_type";
/// `linux.seccomp.listenerPath`, where that is not set.
pub(crate) const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";
/// An unknown system call in the profile is an error.
pub(crate) const SECCOMP_FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";
/// A finished filter, in base64, in the place of `linux.seccomp`.
pub(crate) const SECCOMP_BPF_DATA: &str = "run.oci.seccomp_bpf_data";
/// Where a systemd of old finds its named hierarchy on a host with v2 alone.
pub(crate) const FORCE_CGROUP_V1: &str = "run.oci.systemd.force_cgroup_v1";
/// The cgroup below the unit's that the container is in.
pub(crate) const SYSTEMD_SUBGROUP: &str = "run.oci.systemd.subgroup";
/// The cgroup below the container's that its process starts in.
pub(crate) const DELEGATE_CGROUP: &str = "run.oci.delegate-cgroup";

/// They lead to files, sockets or programs of the host's; for `features`.
pub(crate) const UNSAFE: &str = "run.oci.";

const HANDLER: &str = "run.oci.handler";
const SECCOMP_PLUGINS: &str = "run.oci.seccomp.plugins";
const WASM: &str = "module.wasm.image/variant";

/// The annotation's text.
pub(crate) fn get<'a>(spec: &'a Spec<'_>, name: &str) -> Option<&'a str> {
    spec.annotations.get(name).map(|value| &**value)
}

/// What would have to be another program than creel: refused, so that nothing runs unlike it was meant.
pub(crate) fn check(spec: &Spec<'_>) -> Result<()> {
    if let Some(handler) = get(spec, HANDLER) {
        bail!(
            "annotations[{HANDLER}]: {handler:?}: creel has no handlers for virtual machines or WebAssembly"
        );
    }
    if let Some(plugins) = get(spec, SECCOMP_PLUGINS) {
        bail!(
            "annotations[{SECCOMP_PLUGINS}]: {plugins:?}: creel loads no plugins; use linux.seccomp.listenerPath"
        );
    }
    if let Some(variant) = get(spec, WASM).filter(|variant| wants_wasm(spec, variant)) {
        bail!("annotations[{WASM}]: {variant:?}: creel has no handler for WebAssembly");
    }
    Ok(())
}

/// A pod's annotations are all of its containers': `compat-smart` means those with a module.
fn wants_wasm(spec: &Spec<'_>, variant: &str) -> bool {
    let program = spec.process.as_ref().and_then(|process| process.args.first());
    let is_module = program.is_some_and(|program| {
        let name = program.to_ascii_lowercase();
        name.ends_with(".wasm") || name.ends_with(".wat")
    });
    variant == "compat" || variant == "compat-smart" && is_module
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(annotations: &str, program: &str) -> String {
        let text = format!(
            r#"{{"annotations":{{{annotations}}},"process":{{"args":["{program}"],"cwd":"/"}}}}"#
        );
        let spec: Spec<'_> = crate::oci::parse(&text).expect("JSON");
        check(&spec).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn handlers_and_plugins_are_refused_by_name() {
        assert_eq!(
            refusal(r#""run.oci.handler":"krun""#, "sh"),
            "annotations[run.oci.handler]: \"krun\": creel has no handlers for virtual machines or WebAssembly"
        );
        assert_eq!(
            refusal(r#""run.oci.seccomp.plugins":"a.so""#, "sh"),
            "annotations[run.oci.seccomp.plugins]: \"a.so\": creel loads no plugins; use linux.seccomp.listenerPath"
        );
    }

    #[test]
    fn a_pod_with_modules_may_have_other_containers() {
        let wasm = |variant: &str, program| {
            refusal(&format!(r#""module.wasm.image/variant":"{variant}""#), program)
        };
        assert_eq!(
            wasm("compat", "sh"),
            "annotations[module.wasm.image/variant]: \"compat\": creel has no handler for WebAssembly"
        );
        assert!(wasm("compat-smart", "/app.WASM").contains("no handler for WebAssembly"));
        assert_eq!(wasm("compat-smart", "sh"), "");
        assert_eq!(wasm("other", "sh"), "");
    }
}
