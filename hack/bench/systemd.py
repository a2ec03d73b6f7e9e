#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The systemd driver: time of create+start+delete, and what goes over the system bus for one command.

    hack/bench/vm.py systemd.py                      in a guest of hack/vm, with what it has
    hack/bench/systemd.py --creel build/creel        as root on a host with systemd and cgroup v2

Times are medians of interleaved rounds, in rotated order. Messages are those that `busctl monitor` sees, without the
bus's own about names: calls (with those that systemd makes about its caller), answers, signals.
"""

import argparse
import collections
import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import report
from bench import RELEASE, find_runtimes
from subjects import Failed, Site

# For what systemd still says when the command is done.
SETTLE = 1.5
# Seconds.
LIMIT = 30


class Bus:
    """What goes over the system bus, but for the talk of those who are on it already, systemd excepted."""

    def __init__(self, folder):
        self.log, self.seen = folder / "bus", 0
        self.process = subprocess.Popen(
            ["busctl", "monitor", "--system", "--json=short"],
            stdout=self.log.open("wb"), stderr=subprocess.DEVNULL,
        )
        names = subprocess.run(
            ["busctl", "--system", "--unique", "--no-legend", "list"], check=True, capture_output=True, text=True
        )
        words = [line.split() for line in names.stdout.splitlines()]
        self.others = {name for name, pid, *_ in words if pid != "1"}
        end = time.monotonic() + LIMIT
        while not self.ask(time.monotonic() + 1):
            if time.monotonic() > end or self.process.poll() is not None:
                raise Failed("busctl monitor sees nothing")

    def ask(self, end):
        """A question of our own, and all until it was seen; None: not by then."""
        ask = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId"]
        subprocess.run(["busctl", "--system", "call", *ask], check=True, stdout=subprocess.DEVNULL)
        while time.monotonic() < end:
            text = self.log.read_text()
            lines = text[: text.rfind("\n") + 1].splitlines()
            fresh = [json.loads(line) for line in lines[self.seen :]]
            ours = {one["sender"] for one in fresh if one.get("member") == "GetId"}
            # The last message is about the asker's name, which the bus takes back.
            if any(is_gone(one, ours) for one in fresh):
                self.seen = len(lines)
                left_out = ours | self.others
                return [one for one in fresh if not left_out & {one.get("sender"), one.get("destination")}] or [{}]
            time.sleep(0.05)
        return None

    def messages(self):
        """Those since the last time."""
        time.sleep(SETTLE)
        found = self.ask(time.monotonic() + LIMIT)
        if found is None:
            raise Failed("busctl monitor sees nothing any more")
        return [one for one in found if one]

    def counts(self):
        """`calls + answers + signals`, and the calls' names."""
        found, names = collections.Counter(), collections.Counter()
        for one in self.messages():
            kind = one["type"]
            if kind == "signal" and one.get("sender") == "org.freedesktop.DBus":
                continue
            found[kind if kind in ("method_call", "signal") else "answer"] += 1
            if kind == "method_call":
                names[one["member"]] += 1
        numbers = f"{found['method_call']} + {found['answer']} + {found['signal']}"
        return numbers, " ".join(f"{name}×{n}" if n > 1 else name for name, n in sorted(names.items()))

    def close(self):
        self.process.terminate()
        self.process.wait()


def is_gone(message, names):
    if message.get("member") != "NameOwnerChanged":
        return False
    name, _, owner = message["payload"]["data"]
    return name in names and not owner


def bundle(site, runtime, args):
    def change(config):
        config["linux"]["cgroupsPath"] = f"system.slice:creel-bench:{runtime.name}"
        config["process"]["args"] = args

    return site.bundle(runtime.name, "systemd", change)


def base(runtime):
    return [*runtime.base, "--systemd-cgroup"]


def cycle(site, runtime):
    """create, start, the container's end, delete: nanoseconds."""
    name, run = f"systemd-{runtime.name}", site.measure.run
    folder = bundle(site, runtime, ["/bin/true"])
    wall = run(*base(runtime), "create", "--bundle", folder, "--pid-file", runtime.pid_file, name)["wall"]
    wall += run(*base(runtime), "start", name)["wall"]
    site.measure.reap(runtime.pid_file.read_text())
    return wall + run(*base(runtime), "delete", name)["wall"]


def messages(site, runtime, bus):
    """{command: (numbers, names)}"""
    name, found = f"systemd-{runtime.name}", {}

    def one(title, *argv):
        bus.messages()
        site.measure.run(*base(runtime), *argv)
        found[title] = bus.counts()

    folder = bundle(site, runtime, ["/bin/sleep", "1000000"])
    one("create", "create", "--bundle", folder, "--pid-file", runtime.pid_file, name)
    site.measure.run(*base(runtime), "start", name)
    one("exec", "exec", name, "/bin/true")
    one("update --pids-limit", "update", "--pids-limit", "100", name)
    one("delete --force, running", "delete", "--force", name)
    folder = bundle(site, runtime, ["/bin/true"])
    site.measure.run(*base(runtime), "create", "--bundle", folder, "--pid-file", runtime.pid_file, name)
    site.measure.run(*base(runtime), "start", name)
    site.measure.reap(runtime.pid_file.read_text())
    one("delete, ended", "delete", name)
    return found


def times(site, able, rounds):
    walls = {runtime.name: [] for runtime in able}
    for number in range(rounds + 1):
        turn = number % len(able)
        for runtime in able[turn:] + able[:turn]:
            wall = cycle(site, runtime)
            if number:
                walls[runtime.name].append(wall / 1e6)
    medians = {name: statistics.median(values) for name, values in walls.items()}
    head = ["", "wall ms: median (min)", *(f"/{name}" for name in medians)]
    rows = [
        [name, f"{medians[name]:.0f} ({min(walls[name]):.0f})", *(f"{medians[name] / other:.2f}" for other in medians.values())]
        for name in medians
    ]
    return report.table([head, *rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--creel", default=str(RELEASE))
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tools", metavar="DIR", help="measure and floor are there, built: see vm.py")
    options = parser.parse_args()
    if os.geteuid() != 0 or not Path("/run/systemd/system").is_dir() or not shutil.which("busctl"):
        raise SystemExit("systemd.py: needs root, systemd as the first process, and busctl")
    options.runtimes = find_runtimes([f"creel={options.creel}", *options.runtime])
    with Site("host", options) as site:
        able, found, bus = [], {}, Bus(site.work)
        try:
            for runtime in site.runtimes:
                try:
                    found[runtime.name] = messages(site, runtime, bus)
                    able.append(runtime)
                except Failed as error:
                    print(f"not measured: {runtime.name}: {error}")
                    runtime.forget("systemd")
        finally:
            bus.close()
        for runtime in able:
            print(f"{runtime.name}: {runtime.version}")
        print(f"\ncreate+start+delete with --systemd-cgroup ({options.rounds} rounds)\n")
        print(times(site, able, options.rounds))
        print("\nover the bus: calls + answers + signals\n")
        commands = list(next(iter(found.values())))
        print(report.table([["", *found], *([c, *(found[name][c][0] for name in found)] for c in commands)]))
        for name in found:
            print(f"\n{name}: " + "; ".join(f"{c}: {found[name][c][1] or '-'}" for c in commands))


if __name__ == "__main__":
    main()
