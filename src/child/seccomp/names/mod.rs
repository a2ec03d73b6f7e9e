// SPDX-License-Identifier: Apache-2.0
//! System call names to numbers, per architecture. Pure; the numbers come from the kernel's headers
//! by way of hack/gen-syscalls.py. 499 names: 13.7 KB of tables; made of them by the compiler, a 2 KB
//! hash index and each architecture's names by rising number, so that a profile's 400 names cost
//! microseconds.

mod table;

use super::arch::Arch;
use table::{COUNT, NAMES, STARTS};

const NONE: u16 = 0xffff;
const SLOTS: usize = 1024;
static INDEX: [u16; SLOTS] = index();

/// A name of the table: the same for all architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name(u16);

impl Name {
    /// `None`: no architecture has a system call of that name.
    pub(super) fn find(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes(), 0, name.len());
        while INDEX[slot] != NONE {
            let found = Self(INDEX[slot]);
            if found.as_str() == name {
                return Some(found);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    pub(super) fn as_str(self) -> &'static str {
        let at = usize::from(self.0);
        &NAMES[usize::from(STARTS[at])..usize::from(STARTS[at + 1])]
    }

    /// The number as `seccomp_data.nr` has it: with bit 30 on x32.
    pub(super) fn number(self, arch: Arch) -> Option<u32> {
        let number = column(arch)[usize::from(self.0)];
        match (number, arch) {
            (NONE, _) => None,
            (0xf000.., Arch::Arm) => Some(0x000f_0000 | u32::from(number & 0x0fff)),
            _ => Some(u32::from(number) | arch.number_bits()),
        }
    }

    /// How many there are: `index` is below.
    pub(super) const COUNT: usize = COUNT;

    pub(super) fn index(self) -> usize {
        self.0.into()
    }

    /// Those that `arch` has, by rising number; a few have two names.
    pub(super) fn by_number(arch: Arch) -> impl Iterator<Item = (u32, Self)> {
        let with_number = move |name| Some((Self(name).number(arch)?, Self(name)));
        order(arch).iter().copied().map_while(with_number)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..COUNT as u16).map(Self)
    }
}

fn column(arch: Arch) -> &'static [u16; COUNT] {
    match arch {
        Arch::X86_64 => &table::X86_64,
        Arch::X86 => &table::X86,
        Arch::X32 => &table::X32,
        Arch::Aarch64 => &table::AARCH64,
        Arch::Arm => &table::ARM,
        Arch::Riscv64 => &table::RISCV64,
        Arch::S390x => &table::S390X,
        Arch::Ppc64le => &table::PPC64LE,
    }
}

/// The names by rising number, those without one at the end.
fn order(arch: Arch) -> &'static [u16; COUNT] {
    match arch {
        Arch::X86_64 => const { &sorted(&table::X86_64) },
        Arch::X86 => const { &sorted(&table::X86) },
        Arch::X32 => const { &sorted(&table::X32) },
        Arch::Aarch64 => const { &sorted(&table::AARCH64) },
        Arch::Arm => const { &sorted(&table::ARM) },
        Arch::Riscv64 => const { &sorted(&table::RISCV64) },
        Arch::S390x => const { &sorted(&table::S390X) },
        Arch::Ppc64le => const { &sorted(&table::PPC64LE) },
    }
}

const fn sorted(column: &[u16; COUNT]) -> [u16; COUNT] {
    let mut order = [0; COUNT];
    let mut count = 0;
    while count < COUNT {
        let mut at = count;
        while at > 0 && column[order[at - 1] as usize] > column[count] {
            order[at] = order[at - 1];
            at -= 1;
        }
        order[at] = count as u16;
        count += 1;
    }
    order
}

/// FNV-1a over `bytes[from..to]`, as a slot of `INDEX`.
const fn hash(bytes: &[u8], from: usize, to: usize) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = from;
    while at < to {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}

/// Open addressing, half full.
const fn index() -> [u16; SLOTS] {
    let mut slots = [NONE; SLOTS];
    let mut name = 0;
    while name < COUNT {
        let mut slot = hash(NAMES.as_bytes(), STARTS[name] as usize, STARTS[name + 1] as usize);
        while slots[slot] != NONE {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = name as u16;
        name += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again_and_numbers_are_those_of_the_headers() {
        for name in Name::all() {
            assert_eq!(Name::find(name.as_str()), Some(name), "{}", name.as_str());
        }
        assert_eq!(Name::find("no_such_call"), None);
        assert_eq!(Name::find(""), None);
        let number = |name, arch| Name::find(name).and_then(|name| name.number(arch));
        assert_eq!(number("read", Arch::X86_64), Some(0));
        assert_eq!(number("read", Arch::X86), Some(3));
        assert_eq!(number("read", Arch::X32), Some(0x4000_0000));
        assert_eq!(number("execve", Arch::X32), Some(0x4000_0000 + 520));
        assert_eq!(number("read", Arch::Aarch64), Some(63));
        assert_eq!(number("open", Arch::Aarch64), None);
        assert_eq!(number("set_tls", Arch::Arm), Some(0x000f_0005));
        assert_eq!(number("riscv_hwprobe", Arch::Riscv64), Some(258));
        assert_eq!(number("setgroups32", Arch::S390x), None);
        assert_eq!(number("swapcontext", Arch::Ppc64le), Some(249));
    }

    #[test]
    fn numbers_rise() {
        for arch in super::super::tests::ARCHES {
            let names: Vec<_> = Name::by_number(arch).collect();
            let count = Name::all().filter(|name| name.number(arch).is_some()).count();
            assert_eq!(names.len(), count, "{arch:?}");
            assert!(names.is_sorted_by_key(|name| name.0), "{arch:?}");
            assert!(names.iter().all(|(number, name)| name.number(arch) == Some(*number)));
        }
    }
}
