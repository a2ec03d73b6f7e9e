# SPDX-License-Identifier: Apache-2.0
"""The project's own tests in guests: what was built here runs there, as root and as an ordinary user."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import image
from machine import Broken, Share, note

STAGE = "/run/stage"
# What no kernel has a part in, and what emulation makes slow: the machine itself has run it.
PURE = ["seccomp::tests::model", "seccomp::tests::tables", "seccomp::tests::differential", "both_versions_allow_the_same"]
# A whole test file; the guest is slower than the machine by far.
LIMIT = 1200


@dataclass(frozen=True)
class Mode:
    """Who runs the tests, and who makes the cgroups."""

    user: str
    driver: str

    def env(self):
        env = {"RUNTIME": "/usr/local/bin/creel", "CREEL_TEST_CGROUP_DRIVER": self.driver, "RUST_TEST_THREADS": "1"}
        env |= {"CREEL_TEST_DEBIAN_ROOT": "/run/debian", "INSIDE": f"{STAGE}/inside"}
        # /tmp is a tmpfs without devices there.
        env["TMPDIR"] = "/var/tmp"
        if self.user != "root":
            env |= {"CREEL_TEST_ROOTLESS": "1", "HOME": f"/home/{self.user}"}
        return env


# What runs when time is short, and in which modes: both users, both drivers.
SHORT = ["lifecycle", "exec", "systemd", "conformance:cgroup", "conformance:limit", "conformance:memory", "conformance:cpu"]
SHORT_MODES = ["root", "user-systemd"]

MODES = {
    "root": Mode("root", "cgroupfs"),
    "root-systemd": Mode("root", "systemd"),
    "user": Mode("rootless", "cgroupfs"),
    "user-systemd": Mode("rootless", "systemd"),
}


@dataclass
class Ring:
    """A program of tests: the unit tests, a file of tests/, the conformance driver."""

    name: str
    program: Path
    words: list = field(default_factory=list)

    def command(self):
        words = [f"{STAGE}/{self.program.name}", *self.words]
        if self.name != "conformance":
            words.append("--nocapture")
        if self.name == "unit":
            words += [word for pure in PURE for word in ("--skip", pure)]
        return words

    def fits(self, mode):
        """What is the same in each mode, or only there for one of them."""
        if self.name in ("unit", "debian", "systemd"):
            # The last ones take systemd by themselves.
            return mode.driver == "cgroupfs"
        if self.name == "conformance":
            return mode == MODES["root"]
        # They become that user by themselves, or are about what only root can do.
        return mode.user == "root" or self.name not in ("rootless", "bundles", "broken")


@dataclass
class Result:
    passed: int = 0
    failed: int = 0
    skips: list = field(default_factory=list)


def add_arguments(parser):
    parser.add_argument("-m", "--mode", action="append", choices=MODES, help="default: each of them, two with --short")
    parser.add_argument("-v", "--verbose", action="store_true", help="all output, not only that of failures")
    parser.add_argument("--short", action="store_true", help=f"a few minutes: {' '.join(SHORT)}")
    parser.add_argument("--creel", default="build/creel", help="the binary under test (default: build/creel)")
    parser.add_argument("names", nargs="*", metavar="NAME", help="unit, conformance, a file of tests/; NAME:WORD narrows it")


def built(tree):
    """Builds the test programs and gives their names and paths."""
    words = ["cargo", "test", "--no-run", "--locked", "--quiet", "--message-format=json", "--bin", "creel", "--test", "*"]
    done = subprocess.run(words, cwd=tree, stdout=subprocess.PIPE)
    if done.returncode:
        raise Broken("the tests could not be built")
    programs = {}
    for line in done.stdout.splitlines():
        about = json.loads(line)
        if about.get("executable") and about["profile"]["test"]:
            programs[about["target"]["name"].replace("creel", "unit")] = Path(about["executable"])
    words = ["cargo", "build", "--release", "--locked", "--quiet", "--message-format=json", "--package", "conformance"]
    done = subprocess.run(words, cwd=tree, stdout=subprocess.PIPE)
    if done.returncode:
        raise Broken("the conformance programs could not be built")
    for line in done.stdout.splitlines():
        about = json.loads(line)
        if about.get("executable") and about["target"]["name"] in ("driver", "inside"):
            programs[about["target"]["name"]] = Path(about["executable"])
    return programs


def stage_files(programs, creel, stage):
    """Copies of a moment: a build during the run changes nothing."""
    for name, path in [*programs.items(), ("creel", creel)]:
        try:
            shutil.copy(path, stage / name)
        except OSError as error:
            raise Broken(f"{path}: {error.strerror} (make build)") from None
    # Debug information is most of a test program, and it is read over a slow line.
    subprocess.run(["strip", "--strip-debug", *stage.iterdir()], check=False, stderr=subprocess.DEVNULL)


def rings(programs, names, stage):
    """The chosen ones; unit tests first, conformance last."""
    every = ["unit", *sorted(set(programs) - {"unit", "driver", "inside"}), "conformance"]
    chosen = {}
    for text in names or every:
        name, _, word = text.partition(":")
        if name not in every:
            raise Broken(f"no tests are called {name}: there are {', '.join(every)}")
        chosen.setdefault(name, []).extend([word] if word else [])
    of = {"conformance": "driver"}
    return [Ring(name, stage / of.get(name, name), chosen[name]) for name in every if name in chosen]


def prepare(guest):
    """creel where every user finds it, and the guest's own Debian as a root file system for containers."""
    script = f"install -m 755 {STAGE}/creel /usr/local/bin/creel && mkdir -p /run/debian && mount --bind / /run/debian"
    if guest.run(["sh", "-c", script]):
        raise Broken("the guest could not be prepared")


def read_rust(text, result):
    """Counts the harness's lines; a test that printed SKIP has not passed. One test at a time prints."""
    counts = re.search(r"^test result: .*? (\d+) passed; (\d+) failed", text, re.M)
    if not counts:
        # The CVE suite and the racing fuzzer have a harness of their own.
        return read_tap(text, result)
    result.passed, result.failed = map(int, counts.groups())
    for part in re.split(r"^test (?=\S+ \.\.\. )", text, flags=re.M)[1:]:
        name = part.split(" ", 1)[0]
        reasons = re.findall(r"\bSKIP:? (.*)", part)
        if reasons and re.search(r"^ok$", part, re.M):
            result.passed -= 1
            result.skips.append(f"{name}: {'; '.join(dict.fromkeys(reasons))}")


def read_tap(text, result):
    counts = re.search(r"^(\d+) passed, (\d+) failed, \d+ skipped$", text, re.M)
    if not counts:
        result.failed += 1
        return
    result.passed, result.failed = map(int, counts.groups())
    result.skips = re.findall(r"^# SKIP (.*)", text, re.M)


def left_behind(guest):
    """Cgroups and units that no test may leave."""
    found = bytearray()
    script = "find /sys/fs/cgroup -mindepth 1 ( -name 'creel-*' -o -name 'conformance-*' -o -name 'cgroup-test-*' )"
    script = script.replace("(", "\\(").replace(")", "\\)")
    script += " -type d; systemctl list-units --all --plain --no-legend 'creel-*' 'conformance-*'"
    guest.run(["sh", "-c", script], output=lambda data, _: found.extend(data))
    return found.decode(errors="replace").strip()


def perform(guest, mode, ring, tree, verbose):
    """One ring; prints its line, and its output if it failed."""
    begun = time.monotonic()
    output = bytearray()

    def take(data, is_error):
        output.extend(data)
        if verbose:
            os.write(2 if is_error else 1, data)

    status = guest.run(ring.command(), mode.user, mode.env(), str(tree), LIMIT, take)
    text = output.decode(errors="replace")
    result = Result()
    (read_tap if ring.name == "conformance" else read_rust)(text, result)
    if left := left_behind(guest):
        result.failed += 1
        text += f"\nleft behind:\n{left}\n"
    # A failure that the counts do not show, such as the limit, is one all the same.
    result.failed = result.failed or int(status != 0)
    if result.failed and not verbose:
        print(text)
    counts = f"{result.passed} passed, {result.failed} failed, {len(result.skips)} skipped"
    print(f"{'FAIL' if result.failed else 'pass'}  {counts:40}  {time.monotonic() - begun:4.0f} s", flush=True)
    return result


def in_mode(name, chosen, tree, stage, verbose):
    mode = MODES[name]
    results = []
    shares = [Share(tree), Share(stage, at=STAGE)]
    with ExitStack() as stack:
        guest = None
        for ring in chosen:
            if not ring.fits(mode):
                continue
            print(f"{name:14}{ring.name:16}", end="", flush=True)
            try:
                if guest is None:
                    guest = stack.enter_context(image.started(shares))
                    prepare(guest)
                result = perform(guest, mode, ring, tree, verbose)
            except Broken as error:
                print(f"FAIL  {error}\n{guest.tail() if guest else ''}", flush=True)
                result = Result(failed=1)
            results.append(result)
            if result.failed:
                # What it left may fail the next ones.
                stack.pop_all().__exit__(None, None, None)
                guest = None
    return results


def main(args, tree):
    results = []
    with tempfile.TemporaryDirectory(prefix="creel-vm-stage.") as directory:
        stage = Path(directory)
        programs = built(tree)
        stage_files(programs, tree / args.creel, stage)
        stage.chmod(0o755)
        chosen = rings(programs, args.names or (SHORT if args.short else []), stage)
        for name in args.mode or (SHORT_MODES if args.short else MODES):
            results += in_mode(name, chosen, tree, stage, args.verbose)
    skips = [skip for result in results for skip in result.skips]
    for skip in sorted(set(skips)):
        print(f"SKIP {skip}")
    passed, failed = (sum(getattr(result, which) for result in results) for which in ("passed", "failed"))
    if not results:
        note("nothing was chosen that these modes can run")
        return 1
    print(f"virtual machine: {passed} passed, {failed} failed, {len(skips)} skipped")
    return 1 if failed or not passed else 0
