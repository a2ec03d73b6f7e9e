// SPDX-License-Identifier: Apache-2.0
//! The compiler against expectations written by hand, a naive evaluation, libseccomp,
//! seccompiler and the kernel.

mod differential;
mod kernel;
mod measure;
mod model;
mod oracle;
mod second;
mod tables;

use libc::sock_filter;

use super::arch::Arch;
use super::bpf::interpreter;
use super::naive::around;
use super::{Filter, naive};
use crate::error::Result;
use crate::oci;

/// The `linux.seccomp` that Docker 20.10, containerd 1.6 and Podman 4.3 write by default.
const DEFAULTS: [(&str, &str); 3] = [
    ("docker", include_str!("../../../../tests/data/seccomp-docker.json")),
    ("containerd", include_str!("../../../../tests/data/seccomp-containerd.json")),
    ("podman", include_str!("../../../../tests/data/seccomp-podman.json")),
];

/// All architectures that there are numbers for.
pub(super) const ARCHES: [Arch; 8] = [
    Arch::X86_64,
    Arch::X86,
    Arch::X32,
    Arch::Aarch64,
    Arch::Arm,
    Arch::Riscv64,
    Arch::S390x,
    Arch::Ppc64le,
];

fn parse(json: &str) -> oci::Seccomp<'_> {
    serde_json::from_str(json).expect("the test's own profile")
}

/// Compiles for `native` on a kernel that has every flag.
fn compile(json: &str, native: Arch) -> Result<Filter> {
    let filter =
        Filter::plan_for(&parse(json), native, |_| true)?.expect("the profile is not empty");
    interpreter::check(&filter.program);
    Ok(filter)
}

fn data(arch: Arch, number: u32, values: [u64; 6]) -> [u32; 16] {
    naive::data(arch, arch.audit(), number, values)
}

fn evaluate(program: &[sock_filter], arch: Arch, number: u32, values: [u64; 6]) -> u32 {
    interpreter::run(program, &data(arch, number, values)).0
}

/// A small generator of random numbers (xorshift), for points that need no shrinking.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
