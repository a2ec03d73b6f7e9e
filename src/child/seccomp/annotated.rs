// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp` with what crun's annotations say of it. Parent side.

use libc::sock_filter;

use super::Filter;
use super::names::Name;
use crate::annotations::{SECCOMP_BPF_DATA, SECCOMP_FAIL_UNKNOWN, SECCOMP_RECEIVER, get};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci;
use crate::sys::seccomp::flag_is_supported;

/// The environment's word for the annotation, as with crun.
const RECEIVER_VARIABLE: &str = "RUN_OCI_SECCOMP_RECEIVER";

/// The kernel's limit.
const LONGEST: usize = 4096;

/// Whether there may be a filter at all.
pub(crate) fn is_set(spec: &oci::Spec<'_>) -> bool {
    profile(spec).is_some() || get(spec, SECCOMP_BPF_DATA).is_some()
}

/// `None`: the config asks for no filter.
pub(crate) fn plan(spec: &oci::Spec<'_>) -> Result<Option<Filter>> {
    if let Some(data) = get(spec, SECCOMP_BPF_DATA) {
        let doing = || format!("annotations[{SECCOMP_BPF_DATA}]");
        return finished(data, profile(spec)).context(doing).map(Some);
    }
    let Some(profile) = profile(spec) else { return Ok(None) };
    if get(spec, SECCOMP_FAIL_UNKNOWN).is_some_and(|value| value != "0") {
        refuse_unknown(profile)?;
    }
    match receiver(spec, profile)? {
        None => Filter::plan(profile),
        Some(path) => Filter::plan(&oci::Seccomp { listener_path: path.into(), ..profile.clone() }),
    }
}

fn profile<'a>(spec: &'a oci::Spec<'a>) -> Option<&'a oci::Seccomp<'a>> {
    spec.linux.as_ref()?.seccomp.as_ref()
}

/// Who gets the listener, where the config itself names nobody.
fn receiver(spec: &oci::Spec<'_>, profile: &oci::Seccomp<'_>) -> Result<Option<String>> {
    if !profile.listener_path.is_empty() {
        return Ok(None);
    }
    let (name, path) = match get(spec, SECCOMP_RECEIVER) {
        Some(path) => (format!("annotations[{SECCOMP_RECEIVER}]"), path.to_owned()),
        None => match std::env::var(RECEIVER_VARIABLE) {
            Ok(path) => (RECEIVER_VARIABLE.to_owned(), path),
            Err(_) => return Ok(None),
        },
    };
    if !path.starts_with('/') {
        bail!("{name}: {path:?} is not absolute");
    }
    Ok(Some(path))
}

fn refuse_unknown(profile: &oci::Seccomp<'_>) -> Result<()> {
    for (at, syscall) in profile.syscalls.iter().enumerate() {
        for (i, name) in syscall.names.iter().enumerate() {
            if Name::find(name).into_iter().next().is_none() {
                bail!(
                    "linux.seccomp.syscalls[{at}].names[{i}]: unknown system call {:?} ({SECCOMP_FAIL_UNKNOWN})",
                    name.as_str()
                );
            }
        }
    }
    Ok(())
}

/// Instructions as the kernel takes them, in the byte order of the machine. What they do is not looked
/// at, but by the kernel.
fn finished(data: &str, profile: Option<&oci::Seccomp<'_>>) -> Result<Filter> {
    let bytes = base64(data).ok_or_else(|| Error::text("not base64"))?;
    let (instructions, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || instructions.is_empty() || instructions.len() > LONGEST {
        bail!("{} bytes are not 1 to {LONGEST} instructions of 8 bytes", bytes.len());
    }
    let program = instructions.iter().map(instruction).collect();
    let flags = super::flags(profile.and_then(|p| p.flags.as_deref()), flag_is_supported)?;
    Ok(Filter { program, flags, listener: None })
}

fn instruction(&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]) -> sock_filter {
    let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([k0, k1, k2, k3]));
    sock_filter { code, jt, jf, k }
}

/// RFC 4648, padded or not; None for any other character, or bits that are left over.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let text = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    (bits & ((1 << held) - 1) == 0 && held < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, plain) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg", b"foob"),
            ("Zm9vYmFy\n", b"foobar"),
            ("+/8=", b"\xfb\xff"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(plain), "{text}");
        }
        for bad in ["Z", "Zh==", "Z g=", "Zm9v=Zm9v", "Zm9v-"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }

    fn refusal(annotation: &str, value: &str) -> String {
        let text = format!(
            r#"{{"annotations":{{"{annotation}":"{value}"}},"linux":{{"seccomp":{{"defaultAction":
                "SCMP_ACT_ALLOW","syscalls":[{{"names":["mkdir","nope"],"action":"SCMP_ACT_NOTIFY"}}]}}}}}}"#
        );
        let spec: oci::Spec<'_> = oci::parse(&text).expect("JSON");
        plan(&spec).unwrap_err().to_string()
    }

    #[test]
    fn refusals_name_the_annotation() {
        for (annotation, value, message) in [
            (SECCOMP_BPF_DATA, "?", "annotations[run.oci.seccomp_bpf_data]: not base64"),
            (
                SECCOMP_BPF_DATA,
                "Zm9v",
                "annotations[run.oci.seccomp_bpf_data]: 3 bytes are not 1 to 4096 instructions of 8 bytes",
            ),
            (SECCOMP_RECEIVER, "x", "annotations[run.oci.seccomp.receiver]: \"x\" is not absolute"),
            (
                SECCOMP_FAIL_UNKNOWN,
                "1",
                "linux.seccomp.syscalls[0].names[1]: unknown system call \"nope\" (run.oci.seccomp_fail_unknown_syscall)",
            ),
            (
                SECCOMP_FAIL_UNKNOWN,
                "0",
                "linux.seccomp.listenerPath: not set, but a rule has SCMP_ACT_NOTIFY",
            ),
        ] {
            assert_eq!(refusal(annotation, value), message);
        }
    }

    #[test]
    fn a_finished_program_is_taken_as_it_is() {
        // BPF_RET | BPF_K, SECCOMP_RET_ALLOW, on a little-endian machine.
        let data = "BgAAAAAA/38=";
        let text = format!(r#"{{"annotations":{{"{SECCOMP_BPF_DATA}":"{data}"}}}}"#);
        let spec: oci::Spec<'_> = oci::parse(&text).expect("JSON");
        let filter = plan(&spec).expect("valid").expect("a filter");
        assert_eq!(filter.program.len(), 1);
        if cfg!(target_endian = "little") {
            assert_eq!((filter.program[0].code, filter.program[0].k), (6, 0x7fff_0000));
        }
        assert!(is_set(&spec) && !is_set(&oci::Spec::default()));
    }
}
