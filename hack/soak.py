#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many containers, one after the other: does anything grow?

    hack/soak.py --runtime build/creel --containers 10000 --alive 50
    hack/soak.py --runtime build/creel --containers 1000 --alive 1000

Each container is created, started, exec'ed into, and when as many as --alive are there, the oldest is killed and
deleted. After each tenth a line says what the commands took and what there is: the state directory's files, our
cgroups, mounts, keys, this process's descriptors and children. All of these have to be a function of how many are
alive, and at the end nothing. Needs root, busybox (static), Python's standard library.
"""

import argparse
import collections
import ctypes
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PR_SET_CHILD_SUBREAPER = 36
STEPS = ("create", "start", "exec", "kill", "delete")

# The kernel collects keys when it likes, and charges memory 64 pages at a time, per processor
# (MEMCG_CHARGE_BATCH, mm/memcontrol.c).
SLACK = {"keys": lambda had: had // 2 + 10, "memory_kib": lambda had: had // 4 + 256 * os.cpu_count()}

# A median of fewer calls than these says nothing about whether a command became slower.
CALLS = 100

# Milliseconds that a median may differ because the machine does something else.
NOISE = 5.0


def grown(reports):
    """The names of what grew over `reports`, each what there was with as many alive, and from what to what.

    What the kernel gives back late is up and down by itself, so there the least of each half counts:

    >>> soak_took_the_kernels_charges_for_growth = [1984, 2824, 2552, 2828, 2404, 2024, 2068, 2412, 2516]
    >>> list(grown([{"memory_kib": had} for had in soak_took_the_kernels_charges_for_growth]))
    []
    >>> list(grown([{"memory_kib": 2000 + n * 1024} for n in range(9)]))
    [('memory_kib', 2000, 6096)]
    >>> list(grown([{"keys": 15}, {"keys": 80}, {"keys": 14}, {"keys": 90}, {"keys": 20}]))
    []
    >>> list(grown([{"keys": n * 20} for n in range(9)]))
    [('keys', 0, 80)]

    Of all else not one more may be there at the end:

    >>> list(grown([{"files": 41, "mounts": 20}] * 8 + [{"files": 42, "mounts": 20}]))
    [('files', 41, 42)]
    """
    half = len(reports) // 2
    for key in reports[0]:
        values = [report[key] for report in reports]
        if key in SLACK:
            had, has = min(values[:half]), min(values[half:])
            allowed = SLACK[key](had)
        else:
            had, has, allowed = values[0], values[-1], 0
        if has > had + allowed:
            yield key, had, has


class Soak:
    def __init__(self, runtime, options):
        self.work = Path(tempfile.mkdtemp(prefix="creel-soak-"))
        self.name = self.work.name
        self.runtime = [runtime, "--root", str(self.work / "state"), *options]
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.bundle = self.work / "bundle"
        binaries = self.bundle / "rootfs/bin"
        binaries.mkdir(parents=True)
        for folder in ("proc", "sys", "dev", "tmp"):
            (self.bundle / "rootfs" / folder).mkdir()
        shutil.copy("/bin/busybox", binaries / "busybox")
        for name in ("true", "sleep"):
            (binaries / name).symlink_to("busybox")
        self.config = json.loads((HERE / "bench/bundle.json").read_text())
        self.config["process"]["args"] = ["/bin/sleep", "100000"]
        self.config["mounts"] = [m for m in self.config["mounts"] if not m["source"].startswith("sources/")]
        self.config["linux"]["namespaces"].append({"type": "cgroup"})
        self.made = self.make_parents()
        self.times = {step: [] for step in STEPS}
        self.failures = []

    def hierarchies(self):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, rest = line.split(" - ")
            if rest.split()[0] in ("cgroup", "cgroup2"):
                yield Path(fields.split()[4])

    def make_parents(self):
        made = []
        have = set()
        for top in self.hierarchies():
            if (top / "cgroup.controllers").exists():
                have |= set((top / "cgroup.controllers").read_text().split())
            else:
                have |= set(top.name.split(","))
            place = top / self.name
            place.mkdir()
            made.append(place)
            if (top / "tasks").exists() and (place / "cpuset.cpus").exists():
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (place / file).write_text((top / file).read_text())
        # Limits that this view has no controller for are left out.
        needs = {"memory": "memory", "cpu": "cpu", "pids": "pids", "blockIO": None}
        for key, controller in needs.items():
            if controller not in have:
                self.config["linux"]["resources"].pop(key, None)
        return made

    def call(self, step, *argv):
        begun = time.monotonic()
        err = self.work / "stderr"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(err), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        pid = os.posix_spawn(self.runtime[0], [*self.runtime, *argv], os.environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        self.times[step].append(time.monotonic() - begun)
        if status != 0:
            self.failures.append(f"{' '.join(argv)}: {os.waitstatus_to_exitcode(status)}: {err.read_text().strip()[:300]}")
            print(f"  {self.failures[-1]}", flush=True)
        return status == 0

    def reap(self):
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                return

    def begin(self, name):
        self.config["linux"]["cgroupsPath"] = f"/{self.name}/{name}"
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        self.call("create", "create", "--bundle", str(self.bundle), name)
        self.call("start", "start", name)
        self.call("exec", "exec", name, "/bin/true")

    def end(self, name):
        self.call("kill", "kill", name, "KILL")
        deadline = time.monotonic() + 10
        pid = self.pids.pop(name)
        # The init is ours to reap, as a manager's would be.
        while time.monotonic() < deadline and os.waitpid(pid, os.WNOHANG)[0] == 0:
            time.sleep(0.0005)
        self.call("delete", "delete", name)

    def pid_of(self, name):
        return json.loads((self.work / "state" / name / "state.json").read_text())["pid"]

    def there_is(self):
        """What a leak would make grow."""
        files = sum(1 + len(f) for _, _, f in os.walk(self.work / "state"))
        cgroups = sum(len(d) for place in self.made for _, d, _ in os.walk(place))
        me = os.getpid()
        return {
            "files": files,
            "cgroups": cgroups,
            "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
            "keys": sum(self.name in line or "creel" in line or "_ses" in line for line in Path("/proc/keys").read_text().splitlines()),
            "memory_kib": self.memory() // 1024,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "children": len(Path(f"/proc/{me}/task/{me}/children").read_text().split()),
        }

    def memory(self):
        """Charged to all of our containers together, kernel memory included."""
        for place in self.made:
            for file in ("memory.usage_in_bytes", "memory.current"):
                if (place / file).exists():
                    return int((place / file).read_text())
        return 0

    def kernel(self):
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return {key: int(fields[key].split()[0]) // 1024 for key in ("MemAvailable", "SUnreclaim")}

    def run(self, containers, alive):
        self.pids, living, before = {}, collections.deque(), self.there_is()
        print(f"before: {before}, kernel (MiB): {self.kernel()}", flush=True)
        tenths, begun = [], time.monotonic()
        for count in range(1, containers + 1):
            name = f"s{count}"
            self.begin(name)
            self.pids[name] = self.pid_of(name)
            living.append(name)
            if len(living) > alive:
                self.end(living.popleft())
            self.reap_others()
            if count % max(containers // 10, 1) == 0:
                tenths.append(self.report(count, len(living), begun))
            if len(self.failures) > 20:
                break
        top = self.there_is()
        print(f"with {len(living)} alive: {top}, kernel (MiB): {self.kernel()}", flush=True)
        while living:
            self.end(living.popleft())
        self.report(containers, 0, begun)
        time.sleep(0.5)
        self.reap()
        after = self.there_is()
        print(f"after: {after}, kernel (MiB): {self.kernel()}", flush=True)
        return self.judge(before, after, tenths, containers > alive * 2, containers >= 10 * CALLS)

    def reap_others(self):
        """Orphans that are nobody's init any more."""
        me = os.getpid()
        ours = set(self.pids.values())
        for child in Path(f"/proc/{me}/task/{me}/children").read_text().split():
            if int(child) not in ours:
                try:
                    os.waitpid(int(child), os.WNOHANG)
                except ChildProcessError:
                    pass

    def report(self, count, living, begun):
        line = {}
        for step in STEPS:
            times, self.times[step] = self.times[step], []
            if times:
                line[step] = statistics.median(times) * 1000
        words = ", ".join(f"{step} {ms:.1f} ms" for step, ms in line.items())
        print(f"{count} ({living} alive, {time.monotonic() - begun:.0f} s): {words}; {self.there_is()}", flush=True)
        return line, self.there_is()

    def judge(self, before, after, tenths, is_level, is_long):
        bad = list(self.failures)
        for key, value in after.items():
            # The state root itself stays, and a few pages of the page cache.
            allowed = {"files": 1, "memory_kib": 16384}.get(key, 0) + SLACK.get(key, lambda had: 0)(before[key])
            if value > before[key] + allowed:
                bad.append(f"{key}: {before[key]} before, {value} after")
        if is_level and len(tenths) >= 3:
            for key, had, has in grown([there for _, there in tenths[1:]]):
                bad.append(f"{key} grew from {had} to {has} with as many alive")
            early, late = tenths[1][0], tenths[-1][0]
            for step in early:
                print(f"{step}: last tenth / second tenth = {late[step] / early[step]:.2f}")
                if is_long and late[step] > early[step] * 2 + NOISE:
                    bad.append(f"{step} takes {late[step]:.1f} ms, {early[step]:.1f} before")
        return bad

    def close(self):
        for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.2)
        self.reap()
        for place in self.made:
            for folder, _, _ in os.walk(place, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError as error:
                    print(f"  {folder}: {error}")
        shutil.rmtree(self.work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default=os.environ.get("RUNTIME", "build/creel"))
    parser.add_argument("--containers", type=int, default=10000)
    parser.add_argument("--alive", type=int, default=50)
    args = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("soak.py: needs root")
    runtime = shutil.which(args.runtime) or args.runtime
    soak = Soak(str(Path(runtime).resolve()), [])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    try:
        bad = soak.run(args.containers, args.alive)
    finally:
        soak.close()
    for line in bad:
        print(f"FAIL {line}")
    print(f"{args.containers} containers, {args.alive} alive, {time.monotonic() - begun:.0f} s: {len(bad)} problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
