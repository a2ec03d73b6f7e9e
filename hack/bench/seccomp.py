#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the seccomp filters of creel, crun and runc cost, for Docker's default profile.

    hack/bench/seccomp.py --creel build/creel [--runtime NAME=PATH]... [--rounds 20] [--markdown FILE]

Each runtime's filter is read back from a container of its own (so it needs a kernel with
CONFIG_CHECKPOINT_RESTORE), loaded again and again in fresh processes, and lived under: a loop of system
calls in a container, interleaved with the other runtimes' and with one that has no filter. Needs root,
a C compiler and Python's standard library. How long compiling takes is measured by creel's own tests
(`make bench-seccomp` runs both).
"""

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

HERE = Path(__file__).resolve().parent
NONE = "no filter"
KINDS = ("allowed", "argument checked", "denied")
# getppid, personality(0xffffffff), nfsservctl, as calls.c makes them on x86_64.
CALLS = ((110, 0), (135, 0xFFFFFFFF), (180, 0))
AUDIT_ARCH_X86_64 = 0xC000003E


class Bench:
    """A mount namespace, a cgroup folder and a root with one program; all gone afterwards."""

    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="creel-bench-"))
        self.cgroups = None

    def __enter__(self):
        # Only v1 where there is both: crun refuses a hybrid.
        is_hybrid = machine.v2_mount() not in (None, machine.CGROUP)
        machine.enter_view("v1" if is_hybrid else "host")
        machine.mount("bench", self.folder, "tmpfs", data="mode=755")
        self.cgroups = machine.Cgroups(f"creel-bench-{os.getpid()}")
        self.cgroups.create()
        root = self.folder / "rootfs"
        for name in ("dev", "etc", "proc", "sys"):
            (root / name).mkdir(parents=True)
        self.calls = root / "calls"
        subprocess.run(["cc", "-O2", "-static", "-o", self.calls, HERE / "calls.c"], check=True)
        return self

    def __exit__(self, *_):
        if self.cgroups:
            self.cgroups.remove()
        machine.umount(self.folder)
        self.folder.rmdir()

    def bundle(self, name, args, has_filter):
        config = machine.load_bundle(HERE / "bundle.json")
        self.cgroups.fit(config)
        config["root"]["path"] = str(self.folder / "rootfs")
        config["linux"]["cgroupsPath"] = f"/{self.cgroups.name}/{name}"
        config["mounts"] = [m for m in config["mounts"] if m["type"] != "bind"]
        config["process"]["args"] = ["/calls", *args]
        if not has_filter:
            del config["linux"]["seccomp"]
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def command(self, path, *words):
        return [path, "--root", str(self.folder / "state"), *map(str, words)]

    def filter(self, name, path):
        """(instructions, nanoseconds to load) of what this runtime loads."""
        bundle, pid_file = self.bundle("dump", ["wait"], True), self.folder / "pid"
        run = self.command(path, "run", "--detach", "--bundle", bundle, "--pid-file", pid_file, "dump")
        devnull = subprocess.DEVNULL
        subprocess.run(run, check=True, stdin=devnull, stdout=devnull)
        try:
            time.sleep(0.2)
            file = self.folder / f"{name}.bpf"
            dump = [self.calls, "dump", pid_file.read_text().strip(), file]
            count = int(subprocess.run(dump, check=True, capture_output=True).stdout)
        finally:
            subprocess.run(self.command(path, "delete", "--force", "dump"), check=True)
        return count, file

    def install(self, file):
        command = [self.calls, "install", file, "200"]
        return int(subprocess.run(command, check=True, capture_output=True).stdout)

    def loop(self, path, has_filter):
        bundle = self.bundle("loop", ["loop", "4000", "100"], has_filter)
        command = self.command(path, "run", "--bundle", bundle, "loop")
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wanted = "EPERM" if has_filter else "ENOSYS"
        if done.returncode != 0 or f"nfsservctl: {wanted}" not in done.stderr:
            raise SystemExit(f"bench: {path}: {done.stderr.strip() or done.returncode}")
        return [float(word) for word in done.stdout.split()]


def steps(program, number, argument):
    """How many instructions the kernel runs for a call."""
    data = [number, AUDIT_ARCH_X86_64, 0, 0, argument & 0xFFFFFFFF, argument >> 32] + [0] * 10
    tests = {
        0x15: lambda a, k: a == k,
        0x25: lambda a, k: a > k,
        0x35: lambda a, k: a >= k,
        0x45: lambda a, k: a & k != 0,
    }
    at = a = count = 0
    while True:
        code, jt, jf, k = struct.unpack_from("=HBBI", program, at * 8)
        at, count = at + 1, count + 1
        if code == 0x06:  # ret
            return count
        if code == 0x20:  # ld
            a = data[k // 4]
        elif code == 0x54:  # and
            a &= k
        elif code == 0x05:  # ja
            at += k
        else:
            at += jt if tests[code](a, k) else jf


def measure(bench, runtimes, rounds):
    filters = {name: bench.filter(name, path) for name, path in runtimes.items()}
    loads = {name: [] for name in runtimes}
    samples = {name: [] for name in [*runtimes, NONE]}
    subjects = [(name, path, True) for name, path in runtimes.items()]
    subjects.append((NONE, next(iter(runtimes.values())), False))
    for number in range(rounds):
        turn = number % len(subjects)
        for name, path, has_filter in subjects[turn:] + subjects[:turn]:
            samples[name].append(bench.loop(path, has_filter))
            if has_filter:
                loads[name].append(bench.install(filters[name][1]))
    rows = []
    for name, calls in samples.items():
        medians = [statistics.median(call[kind] for call in calls) for kind in range(len(KINDS))]
        count = filters[name][0] if name in filters else None
        load = statistics.median(loads[name]) / 1000 if name in loads else None
        run = [steps(filters[name][1].read_bytes(), *c) for c in CALLS] if name in filters else None
        rows.append((name, count, load, run, medians))
    return rows


def table(rows):
    base = rows[-1][4]
    lines = [
        "| Docker's profile | instructions | loading it | run per call | "
        + " | ".join(f"{kind} call" for kind in KINDS)
        + " |",
        "|---|---|---|---|" + "---|" * len(KINDS),
    ]
    for name, count, load, run, medians in rows:
        cells = [name, count or "–", f"{load:.0f} µs" if load else "–"]
        # The kernel knows from loading that the first one is allowed whatever its arguments.
        cells.append(f"0 ({run[0]}), {run[1]}, {run[2]}" if run else "–")
        for value, without in zip(medians, base):
            more = "" if name == NONE else f" ({value - without:+.0f})"
            cells.append(f"{value:.0f} ns{more}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--creel", required=True)
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--markdown", metavar="FILE")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root, as the runtimes do")
    runtimes = {"creel": os.path.realpath(options.creel)}
    given = dict(item.split("=", 1) for item in options.runtime)
    for name in ("crun", "runc"):
        path = given.get(name) or shutil.which(name)
        if path:
            runtimes[name] = os.path.realpath(path)
        else:
            print(f"bench: no {name} here: left out", file=sys.stderr)
    for name, path in runtimes.items():
        print(f"{name}: {machine.first_line([path, '--version'])}")
    with Bench(options) as bench:
        text = table(measure(bench, runtimes, options.rounds))
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text)


if __name__ == "__main__":
    main()
