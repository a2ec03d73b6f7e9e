// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp.architectures`: what the kernel calls them in a filter, and what differs between
//! them. Pure.

use crate::bail;
use crate::error::Result;
use crate::oci;

/// An architecture that creel has system call numbers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
    S390x,
    Ppc64le,
}

/// The spec's names. Without an `Arch`: a name to accept, of a machine that creel is not built for.
const ARCHITECTURES: &[(&str, Option<Arch>)] = &[
    ("SCMP_ARCH_AARCH64", Some(Arch::Aarch64)),
    ("SCMP_ARCH_ARM", Some(Arch::Arm)),
    ("SCMP_ARCH_LOONGARCH64", None),
    ("SCMP_ARCH_M68K", None),
    ("SCMP_ARCH_MIPS", None),
    ("SCMP_ARCH_MIPS64", None),
    ("SCMP_ARCH_MIPS64N32", None),
    ("SCMP_ARCH_MIPSEL", None),
    ("SCMP_ARCH_MIPSEL64", None),
    ("SCMP_ARCH_MIPSEL64N32", None),
    ("SCMP_ARCH_PARISC", None),
    ("SCMP_ARCH_PARISC64", None),
    ("SCMP_ARCH_PPC", None),
    ("SCMP_ARCH_PPC64", None),
    ("SCMP_ARCH_PPC64LE", Some(Arch::Ppc64le)),
    ("SCMP_ARCH_RISCV64", Some(Arch::Riscv64)),
    ("SCMP_ARCH_S390", None),
    ("SCMP_ARCH_S390X", Some(Arch::S390x)),
    ("SCMP_ARCH_SH", None),
    ("SCMP_ARCH_SHEB", None),
    ("SCMP_ARCH_X32", Some(Arch::X32)),
    ("SCMP_ARCH_X86", Some(Arch::X86)),
    ("SCMP_ARCH_X86_64", Some(Arch::X86_64)),
];

pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|(name, _)| *name)
}

/// The architectures to compile for on `native`: itself first, then those of the profile that its
/// kernel can run. The others are never seen by the filter, so they need no code.
pub(super) fn plan(listed: &[oci::Str<'_>], native: Arch) -> Result<Vec<Arch>> {
    let mut chosen = vec![native];
    for (at, name) in listed.iter().enumerate() {
        let Some((_, arch)) = ARCHITECTURES.iter().find(|row| *name == row.0) else {
            bail!("linux.seccomp.architectures[{at}]: unknown architecture {:?}", name.as_str());
        };
        if native == Arch::S390x && *name == "SCMP_ARCH_S390" {
            bail!("linux.seccomp.architectures[{at}]: SCMP_ARCH_S390 is not supported");
        }
        if let Some(arch) = arch.filter(|arch| arch.host() == native)
            && !chosen.contains(&arch)
        {
            chosen.push(arch);
        }
    }
    Ok(chosen)
}

impl Arch {
    #[cfg(target_arch = "x86_64")]
    pub(super) const NATIVE: Self = Self::X86_64;
    #[cfg(target_arch = "aarch64")]
    pub(super) const NATIVE: Self = Self::Aarch64;
    #[cfg(target_arch = "riscv64")]
    pub(super) const NATIVE: Self = Self::Riscv64;
    #[cfg(target_arch = "s390x")]
    pub(super) const NATIVE: Self = Self::S390x;
    #[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
    pub(super) const NATIVE: Self = Self::Ppc64le;

    /// `AUDIT_ARCH_*` of linux/audit.h: the ELF machine, 64 bit, little endian. x32 has none of its
    /// own: its calls are x86_64's with bit 30 in the number.
    pub(super) fn audit(self) -> u32 {
        const WIDE: u32 = 0x8000_0000;
        const LITTLE: u32 = 0x4000_0000;
        match self {
            Self::X86_64 | Self::X32 => WIDE | LITTLE | 62,
            Self::X86 => LITTLE | 3,
            Self::Aarch64 => WIDE | LITTLE | 183,
            Self::Arm => LITTLE | 40,
            Self::Riscv64 => WIDE | LITTLE | 243,
            Self::S390x => WIDE | 22,
            Self::Ppc64le => WIDE | LITTLE | 21,
        }
    }

    /// The native architecture of the kernel that runs this one's programs.
    fn host(self) -> Self {
        match self {
            Self::X86_64 | Self::X86 | Self::X32 => Self::X86_64,
            Self::Aarch64 | Self::Arm => Self::Aarch64,
            Self::Riscv64 | Self::S390x | Self::Ppc64le => self,
        }
    }

    /// What every number has set.
    pub(super) fn number_bits(self) -> u32 {
        if self == Self::X32 { X32_BIT } else { 0 }
    }

    /// Whether arguments are compared as 64 bits. On the 32-bit ABIs (x32 among them) libseccomp
    /// looks at the low half of the argument and of the profile's value only; so do we.
    pub(super) fn is_wide(self) -> bool {
        !matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }

    pub(super) fn is_big_endian(self) -> bool {
        self == Self::S390x
    }

    /// Whether socketcall(2) and ipc(2) reach the calls that they multiplex.
    pub(super) fn has_multiplexers(self) -> bool {
        matches!(self, Self::X86 | Self::S390x | Self::Ppc64le)
    }
}

/// `__X32_SYSCALL_BIT`.
pub(super) const X32_BIT: u32 = 0x4000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(listed: &[&'static str], native: Arch) -> Result<Vec<Arch>> {
        plan(&listed.iter().map(|name| oci::Str::from(*name)).collect::<Vec<_>>(), native)
    }

    #[test]
    fn native_is_added_and_foreign_machines_need_no_code() {
        assert_eq!(planned(&[], Arch::X86_64).unwrap(), [Arch::X86_64]);
        let listed = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_MIPS"];
        assert_eq!(planned(&listed, Arch::X86_64).unwrap(), [Arch::X86_64, Arch::X86, Arch::X32]);
        assert_eq!(planned(&listed, Arch::Aarch64).unwrap(), [Arch::Aarch64]);
        let error = planned(&["SCMP_ARCH_X86", "amd64"], Arch::X86_64).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.seccomp.architectures[1]: unknown architecture \"amd64\""
        );
    }

    #[test]
    fn audit_numbers_are_those_of_linux_audit_h() {
        assert_eq!(Arch::X86_64.audit(), 0xc000_003e);
        assert_eq!(Arch::X86.audit(), 0x4000_0003);
        assert_eq!(Arch::Aarch64.audit(), 0xc000_00b7);
        assert_eq!(Arch::Arm.audit(), 0x4000_0028);
        assert_eq!(Arch::Riscv64.audit(), 0xc000_00f3);
        assert_eq!(Arch::S390x.audit(), 0x8000_0016);
        assert_eq!(Arch::Ppc64le.audit(), 0xc000_0015);
    }
}
