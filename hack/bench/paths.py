#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What masked paths, and mounts that are on the host already, add to `run`.

    hack/bench/paths.py --creel build/creel [--runtime crun=PATH] [--runtime runc=PATH] [--rounds 15]

Interleaved; wall time and CPU time of the runtime and all that it started, medians, minimum in brackets.
On a busy machine the CPU time is the one to read. In a mount namespace of its own, without the cgroup2 side of a
hybrid machine (which crun refuses). Needs root and busybox.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MASKS = (0, 64, 512)
MOUNTS = (0, 100, 1000)


def bundle(work, masks):
    """Half of the masked paths are directories, half files."""
    top = work / f"masks-{masks}"
    root = top / "rootfs"
    for path in ("bin", "proc", "dev", "m"):
        (root / path).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/true")
    paths = []
    for number in range(masks):
        path = root / "m" / str(number)
        path.mkdir() if number % 2 else path.touch()
        paths.append(f"/m/{number}")
    config = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "resources": {"devices": [{"allow": True, "access": "rwm"}]},
            "maskedPaths": paths,
        },
    }
    (top / "config.json").write_text(json.dumps(config))
    return top


def run(path, state, place):
    argv = [path, "--root", state, "run", "--bundle", str(place), f"paths-{os.getpid()}"]
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        took = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            said.seek(0)
            raise SystemExit(f"paths: {argv[0]}: {said.read().decode(errors='replace').strip()}")
    return took * 1000, (used.ru_utime + used.ru_stime) * 1000


def rows(runtimes, cases, rounds):
    """cases: (title, place). Samples by runtime and title."""
    samples = {(name, title): [] for name in runtimes for title, _ in cases}
    for number in range(rounds + 1):
        for name, (path, state) in runtimes.items():
            for title, place in cases:
                took = run(path, state, place)
                if number:
                    samples[name, title].append(took)
    return samples


def show(runtimes, titles, samples, what):
    for index, kind in enumerate(("wall", "CPU")):
        print(f"| {what}: {kind} ms | " + " | ".join(map(str, titles)) + " | the last over the first |")
        print("|---|" + "---|" * (len(titles) + 1))
        for name in runtimes:
            found = [[sample[index] for sample in samples[name, title]] for title in titles]
            cells = [f"{statistics.median(one):.2f} ({min(one):.2f})" for one in found]
            more = [of(found[-1]) - of(found[0]) for of in (statistics.median, min)]
            print(f"| {name} | " + " | ".join(cells) + f" | {more[0]:+.2f} ({more[1]:+.2f}) |")
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--creel", required=True)
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most", type=float, metavar="MS",
                        help="fail if creel's 512 masked paths cost more CPU time than this")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("paths: needs root, as the runtimes do")
    if os.environ.get("BENCH_PATHS") != "inside":
        os.environ["BENCH_PATHS"] = "inside"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    if os.path.isdir("/sys/fs/cgroup/unified"):
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)
    given = options.runtime or [f"{n}={p}" for n in ("crun", "runc") if (p := shutil.which(n))]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        runtimes = {n: (p, str(work / f"state-{n}")) for n, _, p in
                    (one.partition("=") for one in [f"creel={os.path.realpath(options.creel)}", *given])}
        cases = [(count, bundle(work, count)) for count in MASKS]
        samples = rows(runtimes, cases, options.rounds)
        show(runtimes, MASKS, samples, "masked paths, `run`")
        masks = {count: min(sample[1] for sample in samples["creel", count]) for count in MASKS}
        place, made, parts = cases[0][1], 0, {}
        hill = work / "mounts"
        hill.mkdir()
        try:
            for count in MOUNTS:
                while made < count:
                    (hill / str(made)).mkdir()
                    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", hill / str(made)], check=True)
                    made += 1
                parts |= rows(runtimes, [(count, place)], options.rounds)
        finally:
            for number in range(made):
                subprocess.run(["umount", hill / str(number)], check=True)
        show(runtimes, MOUNTS, parts, "mounts on the host, `run`")
    if options.most is not None and masks[512] - masks[0] > options.most:
        raise SystemExit(f"paths: 512 masked paths cost {masks[512] - masks[0]:.1f} ms, more than {options.most}")


if __name__ == "__main__":
    main()
