# SPDX-License-Identifier: Apache-2.0
"""runc's bats suite in guests, from a checkout elsewhere that has its test programs and images.

RUNC_SRC names it: `make test-binaries` has been run there, and tests/integration/get-images.sh.
"""

import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import image
from machine import Broken, Share, note

STAGE = "/run/stage"
# The suite looks for errors that begin with this name, which creel takes from its own.
SUITE_NAME = "runc"
# The subordinate ids of the guest's user, as image.sh leaves them to useradd.
IDS = {"ROOTLESS_UIDMAP_START": "100000", "ROOTLESS_UIDMAP_LENGTH": "65536"}
IDS |= {"ROOTLESS_GIDMAP_START": "100000", "ROOTLESS_GIDMAP_LENGTH": "65536"}
# What the suite's own runner prepares as root for an ordinary user without systemd.
DELEGATE = """
cd /sys/fs/cgroup
top=runc-cgroups-integration-test
mkdir $top
chgrp rootless $top $top/cgroup.subtree_control $top/cgroup.procs cgroup.procs
chmod g+rwx $top $top/cgroup.subtree_control $top/cgroup.procs cgroup.procs
"""
# The suite asks Go for nothing but the architecture. Its aux directory belongs to a mapped id.
PREPARE = f"""
set -e
mkdir -p /usr/local/bin /tmp/aux
printf '#!/bin/sh\\n[ "$2" = GOARCH ] && echo amd64\\nexit 0\\n' >/usr/local/bin/go
chmod 755 /usr/local/bin/go
install -m 755 {STAGE}/runtime /usr/local/bin/"$1"
chown 100024 /tmp/aux
"""
# A terminal whose input never ends, as the tests of terminals want it.
RUN = """
sleep infinity | script -qefc 'bats --tap "$FILE" >"$OUT" 2>&1' /dev/null >/dev/null &
script=$!
until [ -e "$OUT.done" ]; do
    kill -0 $script 2>/dev/null || break
    sleep 0.2
done
cat "$OUT"
"""
MODES = {"root": ("root", False), "root-systemd": ("root", True)}
MODES |= {"user": ("rootless", False), "user-systemd": ("rootless", True)}


def add_arguments(parser):
    parser.add_argument("-m", "--mode", action="append", choices=MODES, help="default: root")
    parser.add_argument("-r", "--runtime", action="append", metavar="PATH", help="default: build/creel; guest:runc is the guest's")
    parser.add_argument("-f", "--filter", default="", metavar="REGEX", help="only tests whose name matches")
    parser.add_argument("-o", "--output", metavar="DIR", help="keep each file's TAP there")
    parser.add_argument("-l", "--limit", type=int, default=900, metavar="SECONDS", help="for one file")
    parser.add_argument("files", nargs="+", metavar="FILE", help="such as update or cgroups.bats; all")


def source():
    path = os.environ.get("RUNC_SRC")
    if not path or not (Path(path) / "tests/cmd/_bin").is_dir():
        raise Broken("RUNC_SRC must name a checkout of runc with its test programs built (tests/cmd/_bin)")
    return Path(path).resolve()


def chosen(names, suite):
    if names == ["all"]:
        return sorted(path.stem for path in suite.glob("*.bats"))
    stems = [name.removesuffix(".bats") for name in names]
    for stem in stems:
        if not (suite / f"{stem}.bats").exists():
            raise Broken(f"no file {stem}.bats in {suite}")
    return stems


def environment(name, program, suite, stem, pattern):
    user, systemd = MODES[name]
    out = "/tmp/bats-out"
    env = {"RUNC": program, "FILE": str(suite / f"{stem}.bats"), "OUT": out, "TERM": "dumb"}
    env |= {"RUNC_ALLOW_UNSAFE_TESTS": "yes", "BATS_TEST_TIMEOUT": "180", "TMPDIR": "/var/tmp"}
    env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if pattern:
        env["BATS_FILTER"] = pattern
    if systemd:
        env["RUNC_USE_SYSTEMD"] = "yes"
    if user == "root":
        env["HOME"] = "/root"
    else:
        env |= IDS | {"HOME": f"/home/{user}", "ROOTLESS_AUX_UID": "1024", "ROOTLESS_AUX_DIR": "/tmp/aux"}
        env["ROOTLESS_FEATURES"] = "idmap" if systemd else "idmap+cgroup"
    return env


def read(text):
    """Each test's outcome, and how many were planned."""
    planned = re.search(r"^1\.\.(\d+)", text, re.M)
    results = {}
    for bad, name, skip in re.findall(r"^(not )?ok \d+ (.*?)(?: in \d+\w+)?(?: # (skip\b.*|timeout\b.*))?$", text, re.M):
        kind = "failed" if bad else "skipped" if skip.startswith("skip") else "passed"
        results[name] = kind
    for number in range(len(results), int(planned[1]) if planned else 1):
        results[f"(no result {number + 1})"] = "failed"
    return results


def one_file(name, runtime, suite, tree, stem, args):
    """A fresh guest for each file."""
    user, _ = MODES[name]
    in_guest = runtime.startswith("guest:")
    called = Path(runtime.removeprefix("guest:")).name
    with tempfile.TemporaryDirectory(prefix="creel-vm-stage.") as directory:
        stage = Path(directory)
        stage.chmod(0o755)
        shutil.copy("/bin/true" if in_guest else tree / runtime, stage / "runtime")
        shares = [Share(suite.parents[1]), Share(stage, at=STAGE)]
        output = bytearray()
        with image.started(shares) as guest:
            guest.run(["sh", "-c", PREPARE, "sh", "unused" if in_guest else SUITE_NAME])
            if name == "user":
                guest.run(["sh", "-ec", DELEGATE])
            program = f"/usr/sbin/{called}" if in_guest else f"/usr/local/bin/{SUITE_NAME}"
            env = environment(name, program, suite, stem, args.filter)
            script = RUN.replace("--tap", "--tap" + (' --filter "$BATS_FILTER"' if args.filter else ""))
            script = script.replace("2>&1'", "2>&1; touch \"$OUT.done\"'")
            cwd = str(suite)
            guest.run(["bash", "-c", script], user, env, cwd, args.limit, lambda data, _: output.extend(data))
    text = output.decode(errors="replace")
    if args.output:
        target = Path(args.output) / f"{name}-{Path(called).name}-{stem}.tap"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return read(text)


def label(runtime):
    return runtime if runtime.startswith("guest:") else Path(runtime).name


def table(name, runtimes, stems, results):
    heads = [label(runtime) for runtime in runtimes]
    print(f"\n{name + ': passed/failed/skipped':34}" + "".join(f"{head:>18}" for head in heads))
    totals = [Counter() for _ in runtimes]
    for stem in stems:
        cells = []
        for number, runtime in enumerate(runtimes):
            counts = Counter(results[runtime, stem].values())
            totals[number] += counts
            cells.append(cell(counts))
        print(f"{stem:34}" + "".join(f"{text:>18}" for text in cells))
    print(f"{'total':34}" + "".join(f"{cell(counts):>18}" for counts in totals))
    first, others = runtimes[0], runtimes[1:]
    for stem in stems:
        for test, kind in results[first, stem].items():
            there = [results[other, stem].get(test, "absent") for other in others]
            if kind == "failed" or any(kind != one for one in there):
                print(f"  {stem}: {test}: {kind}" + "".join(f", {label(o)} {k}" for o, k in zip(others, there)))


def cell(counts):
    return "/".join(str(counts[kind]) for kind in ("passed", "failed", "skipped"))


def main(args, tree):
    suite = source() / "tests/integration"
    stems = chosen(args.files, suite)
    runtimes = args.runtime or ["build/creel"]
    failed = False
    for name in args.mode or ["root"]:
        results = {}
        for stem in stems:
            for runtime in runtimes:
                try:
                    found = one_file(name, runtime, suite, tree, stem, args)
                except Broken as error:
                    note(f"{stem}: {error}")
                    found = {"(the guest)": "failed"}
                results[runtime, stem] = found
                note(f"{name} {label(runtime)} {stem}: {cell(Counter(found.values()))}")
        table(name, runtimes, stems, results)
        failed |= any("failed" in results[runtimes[0], stem].values() for stem in stems)
    return int(failed)
