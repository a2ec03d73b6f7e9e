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

# The kernel collects keys and charges of memory when it likes.
SLACK = {"keys": lambda had: had // 2 + 10, "memory_kib": lambda had: had // 4}

# Milliseconds that a median may differ because the machine does something else.
NOISE = 5.0


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
        return self.judge(before, after, tenths, containers > alive * 2)

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

    def judge(self, before, after, tenths, is_level):
        bad = list(self.failures)
        for key, value in after.items():
            # The state root itself stays, and a few pages of the page cache.
            allowed = {"files": 1, "memory_kib": 16384}.get(key, 0) + SLACK.get(key, lambda had: 0)(before[key])
            if value > before[key] + allowed:
                bad.append(f"{key}: {before[key]} before, {value} after")
        if is_level and len(tenths) >= 3:
            (early, had), (late, has) = tenths[1], tenths[-1]
            for key in had:
                if has[key] > had[key] + SLACK.get(key, lambda had: 0)(had[key]):
                    bad.append(f"{key} grew from {had[key]} to {has[key]} with as many alive")
            for step in early:
                print(f"{step}: last tenth / second tenth = {late[step] / early[step]:.2f}")
                if late[step] > early[step] * 2 + NOISE:
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
