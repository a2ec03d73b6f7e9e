#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/child/seccomp/names/table.rs: every system call name and its number on each
architecture that creel compiles filters for.

Source: the kernel's own uapi headers as the crate linux-raw-sys carries them (one module per
architecture). The crate is only read here; creel does not depend on it.

    hack/gen-syscalls.py            fetches the crate with cargo into a temporary directory
    hack/gen-syscalls.py DIR        reads an unpacked linux-raw-sys
    hack/gen-syscalls.py --check    fails if the committed table is not what would be written
"""
import pathlib
import re
import subprocess
import sys
import tempfile

VERSION = "0.12.1"
ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "src/child/seccomp/names/table.rs"
# (constant in table.rs, module in the crate)
ARCHES = [("X86_64", "x86_64"), ("X86", "x86"), ("X32", "x32"), ("AARCH64", "aarch64"),
          ("ARM", "arm"), ("RISCV64", "riscv64"), ("S390X", "s390x"), ("PPC64LE", "powerpc64")]
X32_BIT = 0x40000000
ARM_PRIVATE = 0x0F0000
NONE = 0xFFFF


def fetch(into):
    crate = pathlib.Path(into)
    (crate / "src").mkdir()
    (crate / "src/lib.rs").write_text("")
    (crate / "Cargo.toml").write_text(
        '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
        f'[dependencies]\nlinux-raw-sys = {{ version = "={VERSION}", default-features = false }}\n')
    subprocess.run(["cargo", "vendor", "--quiet", "vendor"], cwd=crate, check=True,
                   stdout=subprocess.DEVNULL)
    return crate / "vendor/linux-raw-sys"


def numbers(source, module):
    text = (source / "src" / module / "general.rs").read_text()
    found = {name: int(n) for name, n in
             re.findall(r"pub const __NR_([a-z_]\w*): u32 = (\d+);", text)}
    # libseccomp and every profile know arm's private calls by their bare names.
    found |= {name: int(n) for name, n in
              re.findall(r"pub const __ARM_NR_([a-z]\w*): u32 = (\d+);", text)}
    # The count of system calls, and the first private number: not calls themselves.
    for name in ("syscalls", "arch_specific_syscall"):
        found.pop(name, None)
    return {name: encode(module, name, n) for name, n in found.items()}


def encode(module, name, n):
    """Fits the number into 16 bits; names/mod.rs has the inverse."""
    if module == "x32":
        n &= ~X32_BIT
    if module == "arm" and n >= ARM_PRIVATE:
        n = 0xF000 | (n - ARM_PRIVATE)
    assert n < NONE, (module, name, n)
    return n


def wrap(items, width=96):
    line, lines = "", []
    for item in items:
        if line and len(line) + len(item) > width:
            lines.append(line)
            line = ""
        line += item
    return lines + [line]


def render(source):
    tables = {const: numbers(source, module) for const, module in ARCHES}
    names = sorted(set().union(*tables.values()))
    starts = [0]
    for name in names:
        starts.append(starts[-1] + len(name))
    out = ["// SPDX-License-Identifier: Apache-2.0",
           "//! Written by hack/gen-syscalls.py from the kernel headers in linux-raw-sys "
           f"{VERSION}: do not edit.",
           "#![cfg_attr(rustfmt, rustfmt_skip)]",
           "",
           f"pub(super) const COUNT: usize = {len(names)};",
           "",
           "/// All names in byte order, one after the other.",
           'pub(super) static NAMES: &str = "\\']
    out += [f"    {line}\\" for line in wrap(names)]
    out += ['";', "", "/// Where each name starts in `NAMES`, and the end of the last.",
            "pub(super) static STARTS: [u16; COUNT + 1] = ["]
    out += [f"    {line.rstrip()}" for line in wrap([f"{n}, " for n in starts])]
    out += ["];"]
    for const, _ in ARCHES:
        table = tables[const]
        out += ["", f"pub(super) static {const}: [u16; COUNT] = ["]
        out += [f"    {line.rstrip()}" for line in
                wrap([f"{table.get(name, NONE)}, " for name in names])]
        out += ["];"]
    return "\n".join(out) + "\n"


def main(args):
    check = "--check" in args
    dirs = [arg for arg in args if not arg.startswith("--")]
    with tempfile.TemporaryDirectory() as scratch:
        text = render(pathlib.Path(dirs[0]) if dirs else fetch(scratch))
    if not check:
        OUT.write_text(text)
    elif OUT.read_text() != text:
        sys.exit(f"{OUT.relative_to(ROOT)} is not what {sys.argv[0]} writes")


main(sys.argv[1:])
