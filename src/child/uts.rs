// SPDX-License-Identifier: Apache-2.0
//! `hostname` and `domainname`.
//! Child side, in the new UTS namespace; nothing depends on it.

use crate::bail;
use crate::error::{Context, Result};
use crate::oci;
use crate::sys::{Inside, uts};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Uts {
    hostname: Option<String>,
    domainname: Option<String>,
}

/// `__NEW_UTS_LEN`.
const LONGEST: usize = 64;

impl Uts {
    pub(crate) fn plan(spec: &oci::Spec<'_>) -> Result<Self> {
        Ok(Self {
            hostname: name("hostname", &spec.hostname)?,
            domainname: name("domainname", &spec.domainname)?,
        })
    }

    /// Whether a UTS namespace is needed.
    #[cfg(test)]
    pub(crate) fn is_set(&self) -> bool {
        self.hostname.is_some() || self.domainname.is_some()
    }

    pub(crate) fn apply(&self, _: &Inside) -> Result<()> {
        if let Some(name) = &self.hostname {
            nix::unistd::sethostname(name).context(|| format!("hostname: set {name:?}"))?;
        }
        if let Some(name) = &self.domainname {
            uts::setdomainname(name).context(|| format!("domainname: set {name:?}"))?;
        }
        Ok(())
    }
}

fn name(property: &str, name: &str) -> Result<Option<String>> {
    if name.len() > LONGEST {
        bail!("{property}: {name:?} is longer than {LONGEST} bytes");
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::inside;

    fn plan(hostname: &str, domainname: &str) -> Result<Uts> {
        Uts::plan(&oci::Spec {
            hostname: hostname.into(),
            domainname: domainname.into(),
            ..Default::default()
        })
    }

    #[test]
    fn an_empty_name_is_absent_and_a_long_one_refused() {
        assert!(!plan("", "").unwrap().is_set());
        assert!(plan("", "x").unwrap().is_set());
        let long = "x".repeat(65);
        let refusal = plan("a", &long).unwrap_err().to_string();
        assert_eq!(refusal, format!("domainname: {long:?} is longer than 64 bytes"));
    }

    #[test]
    fn names_are_set() {
        let uts = plan("box", "example.org").unwrap();
        inside(|me| {
            uts.apply(me)?;
            let names = nix::sys::utsname::uname()?;
            assert_eq!(names.nodename(), "box");
            assert_eq!(names.domainname(), "example.org");
            Ok(())
        });
    }
}
