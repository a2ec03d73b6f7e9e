#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes hack/hot/functions: the functions that a container's life goes through, for the linker (hack/hot/cc).

    make hot

It builds creel with its symbols into target/hot, follows run, exec, state, list, create, start and delete one
instruction at a time (hack/bench/steps.c) with cgroup v1 and with v2 and the bundle of the benchmark, and notes which
functions they were in; ten minutes. Names that no longer exist do no harm, and a function that is missing costs a
page or two: it is worth doing again after larger changes. x86_64, root.
"""

import bisect
import os
import platform
import subprocess
import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
sys.path.insert(0, str(TREE / "hack/bench"))

import budget  # noqa: E402
from subjects import Site  # noqa: E402

TARGET = "x86_64-unknown-linux-musl"


def build():
    """With symbols; else as `make build` does."""
    environment = dict(os.environ, CARGO_PROFILE_RELEASE_STRIP="none", CARGO_TARGET_DIR=str(TREE / "target/hot"))
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--target", TARGET, "--bin", "creel"],
        cwd=TREE, env=environment, check=True,
    )
    return TREE / "target/hot" / TARGET / "release/creel"


def functions(creel):
    """(first address, name as it reads), by rising address."""
    text = subprocess.run(["nm", "-C", "-n", creel], check=True, capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in text.splitlines()]
    return [(int(row[0], 16), row[2]) for row in rows if len(row) == 3 and row[1] in "tTwW"]


def executed(creel, view):
    """The addresses of all commands together."""
    found = set()
    with Site(view, types.SimpleNamespace(runtimes={"creel": str(creel)})) as site:
        out, places = site.work / "count", site.work / "places"
        site.compile("steps")
        binary = budget.prepare(site, creel)
        budget.ENVIRONMENT["STEPS_PLACES"] = str(places)

        def follow(arguments):
            budget.spawn([str(site.work / "steps"), str(out), str(binary), *arguments])
            found.update(int(line, 16) for line in places.read_text().split())

        for command in budget.COMMANDS:
            follow(budget.arguments(command, site))
        base = ["--root", str(site.work / "state-creel")]
        create = [*base, "create", "--bundle", str(site.runtimes[0].short), "hot"]
        delete = [*base, "delete", "--force", "hot"]
        # Its init ends with who follows it.
        follow(create)
        budget.spawn([str(binary), *delete])
        # No pipes: the init would keep them open.
        subprocess.run([str(binary), *create], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        follow([*base, "start", "hot"])
        follow(delete)
    return found


def main():
    if os.geteuid() != 0 or platform.machine() != "x86_64":
        raise SystemExit("list.py: needs root, and an x86_64 machine")
    creel = build()
    known = functions(creel)
    starts = [start for start, _ in known]
    addresses = executed(creel, "v1") | executed(creel, "v2")
    names = {known[bisect.bisect_right(starts, at) - 1][1] for at in addresses if at >= starts[0]}
    (HERE / "functions").write_text("".join(f"{name}\n" for name in sorted(names)))
    print(f"hack/hot/functions: {len(names)} of {len(known)} functions")


if __name__ == "__main__":
    main()
