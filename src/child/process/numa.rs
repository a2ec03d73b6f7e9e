// SPDX-License-Identifier: Apache-2.0
//! `linux.memoryPolicy`: the NUMA policy, see set_mempolicy(2). It is inherited over execve.
//! Child side; no call without it.

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::mask::Mask;
use crate::oci;
use crate::sys::Inside;
use crate::sys::sched::set_mempolicy;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Numa {
    mode: i32,
    nodes: Option<Mask>,
}

/// How many nodes a mode takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nodes {
    None,
    Some,
    Any,
}

/// Numbers as in the kernel's mempolicy.h; `features` lists the names.
const MODES: [(&str, i32, Nodes); 7] = [
    ("MPOL_DEFAULT", 0, Nodes::None),
    ("MPOL_PREFERRED", 1, Nodes::Any),
    ("MPOL_BIND", 2, Nodes::Some),
    ("MPOL_INTERLEAVE", 3, Nodes::Some),
    ("MPOL_LOCAL", 4, Nodes::None),
    ("MPOL_PREFERRED_MANY", 5, Nodes::Some),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, Nodes::Some),
];

const FLAGS: [(&str, i32); 3] = [
    ("MPOL_F_STATIC_NODES", 1 << 15),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
];

impl Numa {
    pub(crate) fn plan(linux: Option<&oci::Linux<'_>>) -> Result<Option<Self>> {
        let Some(policy) = linux.and_then(|linux| linux.memory_policy.as_ref()) else {
            return Ok(None);
        };
        let name = policy.mode.as_str();
        let Some((_, mut mode, takes)) = MODES.into_iter().find(|(known, ..)| *known == name)
        else {
            bail!("linux.memoryPolicy.mode: invalid memory policy mode {name:?}");
        };
        let nodes = Mask::parse(&policy.nodes).context(|| {
            format!("linux.memoryPolicy.nodes: invalid memory policy nodes {:?}", policy.nodes)
        })?;
        for flag in &policy.flags {
            let known = FLAGS.into_iter().find(|(known, _)| flag == known);
            let (_, bit) = known.ok_or_else(|| {
                let text = "linux.memoryPolicy.flags: invalid memory policy flag";
                Error::text(format!("{text} {flag:?}"))
            })?;
            mode |= bit;
        }
        match (takes, &nodes) {
            (Nodes::None, Some(nodes)) => {
                let text = "memory policy mode requires 0 nodes but got";
                bail!("linux.memoryPolicy.nodes: {text} {} for {name}", nodes.count())
            }
            (Nodes::Some, None) => {
                let text = "memory policy mode requires at least one node but got 0";
                bail!("linux.memoryPolicy.nodes: {text} for {name}")
            }
            (Nodes::None | Nodes::Any, None) | (Nodes::Some | Nodes::Any, Some(_)) => {}
        }
        Ok(Some(Self { mode, nodes }))
    }

    pub(crate) fn apply(&self, _: &Inside) -> Result<()> {
        let nodes = self.nodes.as_ref().map_or(&[][..], Mask::words);
        set_mempolicy(self.mode, nodes).context(|| "linux.memoryPolicy: set_mempolicy")
    }
}

/// For `features`.
pub(crate) fn mode_names() -> Vec<&'static str> {
    MODES.iter().map(|(name, ..)| *name).collect()
}

/// For `features`.
pub(crate) fn flag_names() -> Vec<&'static str> {
    FLAGS.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::sys::sched::get_mempolicy;
    use crate::testing::inside;

    fn plan(mode: &str, nodes: &str, flags: &[&str]) -> Result<Option<Numa>> {
        let flags = flags.iter().map(|&flag| flag.into()).collect();
        let policy = oci::MemoryPolicy { mode: mode.into(), nodes: nodes.into(), flags };
        Numa::plan(Some(&oci::Linux { memory_policy: Some(policy), ..Default::default() }))
    }

    #[test]
    fn every_rule_names_its_property() {
        let refusal = |mode, nodes, flags| plan(mode, nodes, flags).unwrap_err().to_string();
        assert_eq!(
            refusal("", "", &[]),
            "linux.memoryPolicy.mode: invalid memory policy mode \"\""
        );
        assert_eq!(
            refusal("MPOL_BIND", "0", &["X"]),
            "linux.memoryPolicy.flags: invalid memory policy flag \"X\""
        );
        assert_eq!(
            refusal("MPOL_DEFAULT", "0-7", &[]),
            "linux.memoryPolicy.nodes: memory policy mode requires 0 nodes but got 8 for MPOL_DEFAULT"
        );
        assert_eq!(
            refusal("MPOL_BIND", "", &[]),
            "linux.memoryPolicy.nodes: memory policy mode requires at least one node but got 0 for MPOL_BIND"
        );
        assert_eq!(
            refusal("MPOL_BIND", "9876543210", &[]),
            "linux.memoryPolicy.nodes: invalid memory policy nodes \"9876543210\": 9876543210 is above 65536"
        );
    }

    #[test]
    fn mode_and_flags_are_one_number() {
        let numa = plan("MPOL_PREFERRED", "", &["MPOL_F_STATIC_NODES"]).unwrap().unwrap();
        assert_eq!(numa, Numa { mode: 1 | 1 << 15, nodes: None });
        assert_eq!(Numa::plan(None).unwrap(), None);
    }

    #[test]
    fn the_policy_is_in_force() {
        let numa = plan("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES"]).unwrap().unwrap();
        inside(|me| {
            if get_mempolicy() == Err(Errno::ENOSYS) {
                println!("SKIP: the kernel has no NUMA policies");
                return Ok(());
            }
            numa.apply(me)?;
            assert_eq!(get_mempolicy()?, 2 | 1 << 15);
            let error = plan("MPOL_BIND", "2000", &[])?.unwrap().apply(me).unwrap_err();
            let text = "linux.memoryPolicy: set_mempolicy: EINVAL: invalid argument";
            assert_eq!(error.to_string(), text);
            Ok(())
        });
    }
}
