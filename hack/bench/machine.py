# SPDX-License-Identifier: Apache-2.0
"""The machine as a bench run sees it: mount namespace, cgroup view, own cgroup folder, facts."""

import ctypes
import json
import os
import platform
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
CLONE_NEWNS, MNT_DETACH = 0x20000, 2
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 0x1000, 0x2000, 0x4000, 0x40000
CONTROLLER_OF = {"memory": "memory", "cpu": "cpu", "pids": "pids", "blockIO": "io"}
DEFAULT_DEVICES = ["c 1:7 rwm", "c 5:2 rwm", "c 136:* rwm", "c *:* m", "b *:* m"]

_libc = ctypes.CDLL(None, use_errno=True)


def _check(what, result):
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def mount(source, target, kind, flags=0, data=None):
    def encode(text):
        return None if text is None else str(text).encode()

    _check(
        f"mount {kind or source} at {target}",
        _libc.mount(
            encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)
        ),
    )


def umount(target):
    _check(f"unmount {target}", _libc.umount2(str(target).encode(), MNT_DETACH))


def enter_view(view):
    """A private mount namespace: whatever is mounted from here on goes with this process."""
    _check("unshare mount namespace", _libc.unshare(CLONE_NEWNS))
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    if view == "v2":
        unmount_cgroups()
        mount("none", CGROUP, "cgroup2")
    elif view == "v1" and v2_mount() == CGROUP:
        raise RuntimeError("view v1: this machine has no v1 hierarchies at /sys/fs/cgroup")
    elif view == "v1" and v2_mount():
        only_v1()


def unmount_cgroups():
    for point in reversed([m["point"] for m in mounts() if is_below(m["point"], CGROUP)]):
        umount(point)


def only_v1():
    """/sys/fs/cgroup anew, without the v2 folder: crun takes an empty one for a hierarchy."""
    v1 = [Path(m["point"]).name for m in mounts() if m["kind"] == "cgroup"]
    with tempfile.TemporaryDirectory() as staging:
        mount("cgroup", staging, "tmpfs", data="mode=755")
        for name in v1:
            (Path(staging) / name).mkdir()
            mount(CGROUP / name, f"{staging}/{name}", None, MS_BIND)
        unmount_cgroups()
        mount(staging, CGROUP, None, MS_MOVE)


def is_below(path, folder):
    return Path(path) == folder or folder in Path(path).parents


def mounts():
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        kind, _, options = right.split(" ", 2)
        found.append({"point": left.split()[4], "kind": kind, "options": options.split(",")})
    return found


def v2_mount():
    for m in mounts():
        if m["kind"] == "cgroup2" and is_below(m["point"], CGROUP):
            return Path(m["point"])
    return None


def describe_cgroups():
    v1 = sorted({Path(m["point"]).name for m in mounts() if m["kind"] == "cgroup"})
    v2 = v2_mount()
    text = f"v1: {' '.join(v1)}" if v1 else ""
    if v2:
        controllers = (v2 / "cgroup.controllers").read_text().strip() or "no controllers"
        text += f"{'; ' if text else ''}v2 at {v2}: {controllers}"
    return text


class Cgroups:
    """The folder `name` in every hierarchy, and what a container below it can be limited by."""

    def __init__(self, name):
        self.name = name
        self.v2 = v2_mount()
        self.is_v2 = self.v2 == CGROUP
        points = [
            Path(m["point"])
            for m in mounts()
            if m["kind"] in ("cgroup", "cgroup2") and is_below(m["point"], CGROUP)
        ]
        self.folders = [point / name for point in points]

    def create(self):
        for folder in self.folders:
            folder.mkdir()
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not self.is_v2 and (folder / file).exists():
                    (folder / file).write_text((folder.parent / file).read_text())
        if self.is_v2:
            offered = (self.folders[0] / "cgroup.controllers").read_text().split()
            if offered:
                switch_on = " ".join("+" + name for name in offered)
                (self.folders[0] / "cgroup.subtree_control").write_text(switch_on)

    def fit(self, config):
        """Leave out of a v2 config what no runtime could set here. Returns the names left out."""
        if not self.is_v2:
            return []
        config["linux"]["namespaces"].append({"type": "cgroup"})
        offered = (self.folders[0] / "cgroup.controllers").read_text().split()
        resources = config["linux"]["resources"]
        gone = [
            key
            for key, controller in CONTROLLER_OF.items()
            if key in resources and controller not in offered
        ]
        for key in gone:
            del resources[key]
        return gone

    def floor_args(self, leaf, config=None):
        """-c, -u and -w for floor: its directories, and with a config the writes into them."""
        args = ["-2"] if self.is_v2 else []
        for folder in self.folders:
            unified = not self.is_v2 and self.v2 and folder.parent == self.v2
            if config or (folder / leaf).exists():
                args += ["-u" if unified else "-c", str(folder / leaf)]
        for file, value in self._writes(config) if config else []:
            for folder in self.folders:
                if (folder / file).exists():
                    args += ["-w", f"{folder / leaf / file}={value}"]
        return args

    def _writes(self, config):
        resources = config["linux"]["resources"]
        memory, cpu = resources.get("memory", {}), resources.get("cpu", {})
        pids = resources.get("pids", {}).get("limit")
        if self.is_v2:
            shares = cpu.get("shares", 1024)
            return [
                (file, value)
                for file, value, wanted in (
                    ("memory.max", memory.get("limit"), memory),
                    ("memory.swap.max", memory.get("swap", 0) - memory.get("limit", 0), memory),
                    ("cpu.weight", 1 + (shares - 2) * 9999 // 262142, cpu),
                    ("cpu.max", f"{cpu.get('quota')} {cpu.get('period')}", cpu),
                    ("pids.max", pids, pids),
                )
                if wanted
            ]
        cpuset = [
            (file, (folder / file).read_text().strip())
            for folder in self.folders
            for file in ("cpuset.cpus", "cpuset.mems")
            if (folder / file).exists()
        ]
        rules = []
        for rule in resources["devices"]:
            if "major" in rule:
                text = f"{rule['type']} {rule['major']}:{rule['minor']} {rule['access']}"
                rules.append(("devices.allow" if rule["allow"] else "devices.deny", text))
        rules = (
            [("devices.deny", "a")] + [("devices.allow", rule) for rule in DEFAULT_DEVICES] + rules
        )
        return (
            cpuset
            + rules
            + [
                ("memory.limit_in_bytes", memory["limit"]),
                ("memory.memsw.limit_in_bytes", memory["swap"]),
                ("cpu.shares", cpu["shares"]),
                ("cpu.cfs_period_us", cpu["period"]),
                ("cpu.cfs_quota_us", cpu["quota"]),
                ("pids.max", pids),
            ]
        )

    def remove(self):
        """Ends what is left in our own folders and removes them, deepest first."""
        for folder in self.folders:
            below = [Path(top) for top, _, _ in os.walk(folder, topdown=False)]
            for directory in below:
                for _ in range(100):
                    try:
                        for pid in (directory / "cgroup.procs").read_text().split():
                            os.kill(int(pid), signal.SIGKILL)
                        directory.rmdir()
                        break
                    except FileNotFoundError:
                        break
                    except (OSError, ProcessLookupError):
                        time.sleep(0.05)
                else:
                    print(f"left behind: {directory}")


def first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    except OSError as error:
        return str(error)
    return (done.stdout or done.stderr).strip().split("\n")[0]


def loaded_size(binary):
    """(bytes of the binary, bytes with the shared libraries it loads, their number)."""
    done = subprocess.run(["ldd", binary], capture_output=True, text=True)
    libraries = set(re.findall(r"(/\S+) \(0x", done.stdout)) if done.returncode == 0 else set()
    own = os.path.getsize(os.path.realpath(binary))
    return (
        own,
        own + sum(os.path.getsize(os.path.realpath(path)) for path in libraries),
        len(libraries),
    )


def facts():
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": model.group(1) if model else "unknown",
        "cpus": len(os.sched_getaffinity(0)),
        "load at start": Path("/proc/loadavg").read_text().split()[0],
        "mounts": len(mounts()),
    }


def memory_of(pid):
    """Kilobytes of a waiting init: peak, resident now, and what it shares with nobody."""
    status = Path(f"/proc/{pid}/status").read_text()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(map(int, re.findall(r"^Private_\w+:\s+(\d+)", rollup, re.M)))
    return {
        "peak": int(re.search(r"^VmHWM:\s+(\d+)", status, re.M).group(1)),
        "resident": int(re.search(r"^Rss:\s+(\d+)", rollup, re.M).group(1)),
        "private": private,
    }


def load_bundle(path):
    return json.loads(Path(path).read_text())
