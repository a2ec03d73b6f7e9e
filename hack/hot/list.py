#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes hack/hot/functions: the functions that a container's life goes through, for the linker (hack/hot/cc).

    make hot

It builds creel with its symbols into target/hot, follows run, exec, state, list, create, start and delete one
instruction at a time (hack/bench/steps.c) with cgroup v1 and with v2 and the bundle of the benchmark, and notes which
functions they were in; ten minutes. First are those that run before creel executes itself, then the ones of
containers' inits, which are processes of their own and have to come by each page again, then the rest; each by its
first use. Names that no longer exist do no harm, and a function that is missing costs a page or two: it is worth
doing again after larger changes. x86_64, root.
"""

import bisect
import os
import platform
import re
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
    """With symbols and a map of what was linked where; else as `make build` does."""
    into = TREE / "target/hot"
    linked = into / "map"
    environment = dict(os.environ, CARGO_PROFILE_RELEASE_STRIP="none", CARGO_TARGET_DIR=str(into))
    # As a setting: RUSTFLAGS would take the place of those in .cargo/config.toml.
    setting = f'target.{TARGET}.rustflags=["-C", "link-arg=-Wl,-Map={linked}"]'
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--target", TARGET, "--bin", "creel", "--config", setting],
        cwd=TREE, env=environment, check=True,
    )
    return into / TARGET / "release/creel", linked


def readable(creel):
    """How the names of functions read."""
    names, texts = (
        [line.split(None, 2)[2] for line in subprocess.check_output(["nm", *option, creel], text=True).splitlines()]
        for option in (["-p"], ["-pC"])
    )
    return dict(zip(names, texts))


def sections(linked):
    """(first address, length, name, file) of each of the code, by rising address."""
    found, name = [], None
    for line in linked.read_text().partition("\nLinker script and memory map\n")[2].splitlines():
        # A long name has a line to itself.
        match = re.match(r" (\.text\S*)?(?:\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S.*))?$", line)
        name = (match[1] or name) if match else None
        if name and match[2]:
            found.append((int(match[2], 16), int(match[3], 16), name, match[4].rpartition("/")[2]))
            name = None
    return sorted(section for section in found if section[1])


def entry(section, texts):
    """Its line in hack/hot/functions (script.awk)."""
    _, _, name, file = section
    if file.endswith(".rcgu.o"):
        symbol = name.removeprefix(".text.").removeprefix("unlikely.")
        return texts.get(symbol, symbol)
    return f"*{file.replace('(', ':').removesuffix(')')}({name})"


def executed(creel, view):
    """(address, stage), as steps.c has it, of all commands one after the other."""
    found = []
    with Site(view, types.SimpleNamespace(runtimes={"creel": str(creel)})) as site:
        out, places = site.work / "count", site.work / "places"
        site.compile("steps")
        binary = budget.prepare(site, creel)
        budget.ENVIRONMENT["STEPS_PLACES"] = str(places)

        def follow(arguments):
            budget.spawn([str(site.work / "steps"), str(out), str(binary), *arguments])
            rows = [line.split() for line in places.read_text().splitlines()]
            # One that does not execute itself has a single stage, which is not the start of others.
            again = any(stage == "1" for _, stage in rows)
            found.extend((int(at, 16), int(stage) or int(not again)) for at, stage in rows)

        for command in budget.COMMANDS:
            follow(budget.arguments(command, site))
        # One that has to be waited for: being followed takes longer than /bin/true.
        follow([*budget.arguments("exec", site)[:-1], "/bin/sleep", "5"])
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
    creel, linked = build()
    known, texts = sections(linked), readable(creel)
    starts = [section[0] for section in known]
    used = {stage: {} for stage in (0, 2, 1)}
    # In that order: the view of v2 stays (machine.py). Most containers have v2, whose order it shall be.
    older, newer = executed(creel, "v1"), executed(creel, "v2")
    for at, stage in newer + older:
        section = known[bisect.bisect_right(starts, at) - 1]
        if section[0] <= at < section[0] + section[1]:
            used[stage].setdefault(entry(section, texts))
    names = list(dict.fromkeys(name for stage in used.values() for name in stage))
    (HERE / "functions").write_text("".join(f"{name}\n" for name in names))
    print(f"hack/hot/functions: {len(names)} of {len(known)} functions")


if __name__ == "__main__":
    main()
