// SPDX-License-Identifier: Apache-2.0
//! `linux.personality`: the execution domain, see personality(2). It is inherited over execve.
//! Child side, before seccomp, whose profiles often allow few personalities.

use nix::sys::personality::{self, Persona};

use crate::bail;
use crate::error::{Context, Result};
use crate::log;
use crate::oci;
use crate::sys::Inside;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Personality {
    Linux,
    Linux32,
}

impl Personality {
    pub(crate) fn plan(linux: Option<&oci::Linux<'_>>) -> Result<Option<Self>> {
        let Some(wanted) = linux.and_then(|linux| linux.personality.as_ref()) else {
            return Ok(None);
        };
        if !wanted.flags.is_empty() {
            // The specification defines none; runc warns and goes on.
            let flags = wanted.flags.iter().map(oci::Str::as_str).collect::<Vec<_>>().join(" ");
            log::warn(&format!("ignoring unsupported personality flags: [{flags}]"));
        }
        match wanted.domain.as_str() {
            "LINUX" => Ok(Some(Self::Linux)),
            "LINUX32" => Ok(Some(Self::Linux32)),
            other => bail!("linux.personality.domain: invalid personality domain {other:?}"),
        }
    }

    pub(crate) fn apply(self, _: &Inside) -> Result<()> {
        let domain = match self {
            Self::Linux => Persona::empty(),
            Self::Linux32 => Persona::from_bits_retain(PER_LINUX32),
        };
        personality::set(domain).context(|| format!("linux.personality.domain: {self:?}"))?;
        Ok(())
    }
}

const PER_LINUX32: i32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::inside;

    fn plan(domain: &str) -> Result<Option<Personality>> {
        let personality = oci::Personality { domain: domain.into(), flags: Vec::new() };
        Personality::plan(Some(&oci::Linux {
            personality: Some(personality),
            ..Default::default()
        }))
    }

    #[test]
    fn two_domains_are_known() {
        assert_eq!(plan("LINUX").unwrap(), Some(Personality::Linux));
        assert_eq!(plan("LINUX32").unwrap(), Some(Personality::Linux32));
        assert_eq!(Personality::plan(None).unwrap(), None);
        let text = "linux.personality.domain: invalid personality domain \"BSD\"";
        assert_eq!(plan("BSD").unwrap_err().to_string(), text);
    }

    #[test]
    fn uname_tells_a_32_bit_machine() {
        inside(|me| {
            Personality::Linux32.apply(me)?;
            let machine = nix::sys::utsname::uname()?.machine().to_owned();
            assert!(["i686", "armv8l"].iter().any(|name| machine == **name), "{machine:?}");
            Personality::Linux.apply(me)?;
            assert_eq!(nix::sys::utsname::uname()?.machine(), std::env::consts::ARCH);
            Ok(())
        });
    }
}
