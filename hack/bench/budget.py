#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What run, exec, state and list may cost, without a clock: instructions and system calls.

    hack/bench/budget.py [--creel build/creel]            fails where one is 3 percent above budget.json
    hack/bench/budget.py --record                         writes budget.json anew: look at the difference

For the release build, on a bare cgroup2 mount and a config of its own (bundle.json without what a kernel may
have or not), so that the figures are those of the code, from start to end, without the container's program.
Instructions are counted one by one by steps.c: callgrind, which would do, neither follows execveat nor knows the
mount calls. One run; of the calls the least of six, since who looks whether a program was executed may look twice.
A missing tool is a SKIP with its name. A new compiler may need a new record.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import types
from pathlib import Path

from subjects import Site

HERE = Path(__file__).resolve().parent
FILE = HERE / "budget.json"
COMMANDS, ALLOWED, ROUNDS = ("run", "exec", "state", "list"), 1.03, 6
LISTED = 20
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def plain(config):
    """Without what differs from one kernel, or one machine, to the next."""
    linux = config["linux"]
    linux["maskedPaths"] = ["/proc/keys", "/sys/firmware"]
    linux["readonlyPaths"] = ["/proc/sys", "/proc/irq"]
    linux["resources"] = {"devices": linux["resources"]["devices"]}
    linux["sysctl"] = {}


def arguments(command, site):
    runtime = site.runtimes[0]
    long, short = f"long-{runtime.name}", str(runtime.short)
    if command == "list":
        return [*map(str, runtime.many_base[1:]), "list"]
    what = {"run": ["run", "--bundle", short, "budget"], "exec": ["exec", long, "/bin/true"], "state": ["state", long]}
    return ["--root", str(site.work / f"state-{runtime.name}"), *what[command]]


def spawn(argv):
    done = subprocess.run(argv, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"budget: {' '.join(argv[:6])} …: {done.stderr.strip()[-600:]}")


def instructions(command, site):
    """Of creel's processes together, up to the container's program."""
    out = site.work / "count"
    spawn([str(site.work / "steps"), str(out), str(site.work / "writable/creel"), *arguments(command, site)])
    return int(out.read_text())


def calls(command, site):
    out = site.work / "strace"
    spawn(["strace", "-f", "-o", str(out), str(site.work / "writable/creel"), *arguments(command, site)])
    count, gone = 0, set()
    for line in out.read_text().splitlines():
        pid, rest = line.split(maxsplit=1)
        if pid in gone or rest.startswith(("+++", "---")) or "resumed>" in rest:
            continue
        count += 1
        if rest.startswith('execve("/bin/true"'):
            gone.add(pid)
    return count


def prepare(site, creel):
    """What the commands need; creel itself, where it has to protect its file."""
    binary = site.work / "writable/creel"
    binary.parent.mkdir()
    shutil.copy(creel, binary)
    site.runtimes[0].up()
    # The first one leaves its filter for the next.
    site.runtimes[0].exec()
    site.runtimes[0].fill(LISTED)
    return binary


def measure(creel):
    tools = {"instructions": ("gcc", instructions), "calls": ("strace", calls)}
    able = {}
    for kind, (tool, count) in tools.items():
        if shutil.which(tool):
            able[kind] = count
        else:
            print(f"SKIP {kind}: no {tool} here (apt-get install {tool})")
    options = types.SimpleNamespace(runtimes={"creel": str(creel)}, plain=plain)
    found = {}
    with Site("v2", options) as site:
        if "instructions" in able:
            site.compile("steps")
        prepare(site, creel)
        for command in COMMANDS:
            for kind, count in able.items():
                rounds = ROUNDS if kind == "calls" else 1
                least = min(count(command, site) for _ in range(rounds))
                found.setdefault(command, {})[kind] = least
    return found


def compare(found, recorded):
    """Prints each; the number of those that are too many."""
    over = 0
    for command, kinds in found.items():
        for kind, now in kinds.items():
            before = recorded.get(command, {}).get(kind)
            if before is None:
                print(f"SKIP {command}: {kind}: {now}, nothing recorded for {platform.machine()}")
                continue
            verdict = "ok" if now <= before * ALLOWED else "TOO MANY"
            if now < before / ALLOWED:
                verdict = "fewer: --record keeps them so"
            over += verdict == "TOO MANY"
            print(f"{command}: {kind}: {now}, budget {before} ({now / before - 1:+.1%}): {verdict}")
    return over


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--creel", default=str(HERE.parents[1] / "build/creel"))
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("SKIP budget: it needs root, to make containers")
        return
    if not shutil.which("busybox"):
        print("SKIP budget: no busybox here (apt-get install busybox-static)")
        return
    creel = Path(options.creel).resolve()
    if not os.access(creel, os.X_OK):
        raise SystemExit(f"budget: no release build at {options.creel} (make build)")
    found = measure(creel)
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    if options.record:
        recorded[platform.machine()] = found
        FILE.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
        print(f"recorded: {found}")
    elif compare(found, recorded.get(platform.machine(), {})):
        sys.exit("budget: a change costs more than 3 percent; if it must, say why and --record")


if __name__ == "__main__":
    main()
