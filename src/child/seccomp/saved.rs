// SPDX-License-Identifier: Apache-2.0
//! A filter as bytes, in the byte order of the machine: what the first `exec` compiles is read back by
//! the next ones. Pure. Whatever is not exactly what `to_bytes` wrote is no filter.

use libc::{c_ulong, sock_filter};

use super::{Filter, Listener};

/// The last byte counts formats.
const MAGIC: &[u8; 8] = b"creelbp\x01";

impl Filter {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (path, metadata) = match &self.listener {
            Some(Listener { path, metadata }) => (path.as_str(), metadata.as_str()),
            None => ("", ""),
        };
        let mut bytes = Vec::with_capacity(64 + self.program.len() * 8 + path.len());
        bytes.extend(MAGIC);
        bytes.extend(self.flags.to_ne_bytes());
        for length in [self.program.len(), path.len(), metadata.len()] {
            bytes.extend((length as u32).to_ne_bytes());
        }
        for sock_filter { code, jt, jf, k } in &self.program {
            bytes.extend(code.to_ne_bytes());
            bytes.extend([*jt, *jf]);
            bytes.extend(k.to_ne_bytes());
        }
        bytes.extend(path.as_bytes());
        bytes.extend(metadata.as_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (flags, rest) = rest.split_first_chunk()?;
        let (count, rest) = length(rest)?;
        let (path, rest) = length(rest)?;
        let (metadata, rest) = length(rest)?;
        let (program, text) = rest.split_at_checked(count.checked_mul(8)?)?;
        if magic != MAGIC || program.is_empty() || text.len() != path.checked_add(metadata)? {
            return None;
        }
        let (path, metadata) = std::str::from_utf8(text).ok()?.split_at_checked(path)?;
        Some(Self {
            program: program.as_chunks().0.iter().map(instruction).collect(),
            flags: c_ulong::from_ne_bytes(*flags),
            listener: (!path.is_empty())
                .then(|| Listener { path: path.to_owned(), metadata: metadata.to_owned() }),
        })
    }
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some((u32::from_ne_bytes(*length) as usize, rest))
}

fn instruction(&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]) -> sock_filter {
    let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([k0, k1, k2, k3]));
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci;

    fn filter(json: &str) -> Filter {
        let profile: oci::Seccomp<'_> = serde_json::from_str(json).expect("JSON");
        Filter::plan(&profile).expect("valid").expect("not empty")
    }

    #[test]
    fn what_was_saved_comes_back() {
        for json in [
            include_str!("../../../tests/data/seccomp-docker.json"),
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/ä","listenerMetadata":"m",
                "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        ] {
            let filter = filter(json);
            let back = Filter::from_bytes(&filter.to_bytes()).expect("it was just written");
            let program = |filter: &Filter| -> Vec<_> {
                filter.program.iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect()
            };
            assert_eq!(program(&filter), program(&back));
            assert_eq!((filter.flags, filter.listener), (back.flags, back.listener));
        }
    }

    #[test]
    fn anything_else_is_no_filter() {
        let bytes = filter(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).to_bytes();
        for length in 0..bytes.len() {
            assert!(Filter::from_bytes(&bytes[..length]).is_none(), "{length}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(Filter::from_bytes(&longer).is_none());
        for at in [0, 7, 16, 19, 20, 27] {
            let mut other = bytes.clone();
            other[at] ^= 0x81;
            assert!(Filter::from_bytes(&other).is_none(), "byte {at}");
        }
    }
}
