# SPDX-License-Identifier: Apache-2.0
"""Who is measured, with what, and where: Measure, Runtime, Floor, Site."""

import copy
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import machine
import seccomp_tree

HERE = Path(__file__).resolve().parent


class Failed(Exception):
    """A command that did not do its work: never a sample."""


class Measure:
    """measure.c at work: one command at a time, with what it cost."""

    def __init__(self, binary, folder):
        self.out, self.err = folder / "stdout", folder / "stderr"
        out, err = (os.open(path, os.O_RDWR | os.O_CREAT) for path in (self.out, self.err))
        script = 'exec "$0" 3>&"$1" 4>&"$2"'
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", script, str(binary), f"{out}", f"{err}"],
            pass_fds=(out, err),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(out)
        os.close(err)

    def _ask(self, *words):
        data = b"".join(word.encode() + b"\0" for word in words)
        self.process.stdin.write(struct.pack("=I", len(data)) + data)
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("measure ended early")
        names = ("status", "wall", "cpu", "rss", "faults", "voluntary", "involuntary")
        return dict(zip(names, map(int, line.split())))

    def run(self, *argv):
        sample = self._ask("r", *map(str, argv))
        if sample.pop("status") != 0:
            text = self.err.read_text(errors="replace") + self.out.read_text(errors="replace")
            raise Failed(
                " ".join(text.split())[:300] or f"{Path(argv[0]).name}: non-zero exit, no message"
            )
        return sample

    def reap(self, pid):
        sample = self._ask("k", str(pid))
        if sample.pop("status") != 0:
            raise Failed(
                f"container process {pid} did not exit with 0, or came back to somebody else"
            )
        return sample

    def many(self, count, at_once, *argv):
        """Runs `count` of them; "@" in a word is the number. Nanoseconds."""
        words = ["m", str(count), str(at_once), *map(str, argv)]
        data = b"".join(word.encode() + b"\0" for word in words)
        self.process.stdin.write(struct.pack("=I", len(data)) + data)
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("measure ended early")
        names = ("status", "wall", "median", "p99", "most", "failed")
        result = dict(zip(names, map(int, line.split())))
        if result.pop("status") != 0:
            text = " ".join(self.err.read_text(errors="replace").split())[:300]
            raise Failed(f"{result['failed']} of {count} failed: {text}")
        return result

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Runtime:
    """One runtime: state directory, a bundle for short runs, one for a container that stays."""

    def __init__(self, name, path, site):
        self.name, self.path, self.measure = name, path, site.measure
        self.base = [path, "--root", site.work / f"state-{name}"]
        self.pid_file = site.work / f"{name}.pid"
        self.short, self.long = (site.bundle(name, kind) for kind in ("short", "long"))
        self.version = machine.first_line([path, "--version"])
        self.stays, self.site, self.filled = False, site, 0

    def run(self):
        return self.measure.run(*self.base, "run", "--bundle", self.short, f"run-{self.name}")

    def cycle(self):
        """create, start, the container's own end, delete: each call, and the sum of all."""
        name = f"cycle-{self.name}"
        calls = {
            "create": self.measure.run(
                *self.base, "create", "--bundle", self.short, "--pid-file", self.pid_file, name
            )
        }
        pid = self.pid_file.read_text()
        calls["start"] = self.measure.run(*self.base, "start", name)
        init = self.measure.reap(pid)
        calls["delete"] = self.measure.run(*self.base, "delete", name)
        total = {key: sum(call[key] for call in calls.values()) for key in calls["create"]}
        total["rss"] = max(call["rss"] for call in calls.values())
        total["cpu"] += init["cpu"]
        total["calls"] = {
            call: {key: value[key] for key in ("wall", "cpu", "rss")}
            for call, value in calls.items()
        }
        return total

    def exec(self):
        return self.measure.run(*self.base, "exec", f"long-{self.name}", "/bin/true")

    def state(self):
        return self.measure.run(*self.base, "state", f"long-{self.name}")

    def kill(self):
        return self.measure.run(*self.base, "kill", f"long-{self.name}", "CONT")

    def list(self):
        return self.measure.run(*self.many_base, "list")

    def fill(self, count):
        """So many created containers in a state directory of their own, for `list`."""
        self.many_base = [self.path, "--root", self.measure.out.parent / f"many-{self.name}"]
        for number in range(count):
            self.measure.run(
                *self.many_base, "create", "--bundle", self.site.numbered(self.name, number), f"many-{number}"
            )
            self.filled = number + 1

    def empty(self):
        for number in range(self.filled):
            self.measure.run(*self.many_base, "delete", "--force", f"many-{number}")
        self.filled = 0

    def up(self):
        self.stays = True
        name = f"long-{self.name}"
        self.measure.run(
            *self.base, "create", "--bundle", self.long, "--pid-file", self.pid_file, name
        )
        self.long_pid = self.pid_file.read_text().strip()
        self.measure.run(*self.base, "start", name)

    def init_memory(self):
        name = f"memory-{self.name}"
        self.measure.run(
            *self.base, "create", "--bundle", self.short, "--pid-file", self.pid_file, name
        )
        pid = self.pid_file.read_text()
        time.sleep(0.05)
        found = machine.memory_of(pid)
        self.measure.run(*self.base, "start", name)
        self.measure.reap(pid)
        self.measure.run(*self.base, "delete", name)
        return found

    def forget(self, *kinds):
        for kind in kinds:
            subprocess.run(
                [*map(str, self.base), "delete", "--force", f"{kind}-{self.name}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=30,
            )


class Floor:
    name = "floor"

    def __init__(self, path, site):
        self.version = f"the kernel's work for this config (floor.c, static with {site.libc})"
        self.path, self.site = str(path), site

    def run(self):
        site = self.site
        return site.measure.run(
            self.path,
            *site.cgroups.floor_args("floor", site.config),
            "run",
            site.rootfs,
            site.sources,
            "/bin/true",
        )

    def exec(self):
        target = next((runtime for runtime in self.site.runtimes if runtime.stays), None)
        if target is None:
            raise Failed("no runtime has a container to enter")
        return self.site.measure.run(
            self.path,
            *self.site.cgroups.floor_args(f"long-{target.name}"),
            "exec",
            target.long_pid,
            "/bin/true",
        )

    def forget(self, *kinds):
        for folder in self.site.cgroups.folders:
            if (folder / "floor").exists():
                (folder / "floor").rmdir()


class Site:
    """All that one view needs, made before and taken away after."""

    def __init__(self, view, options):
        self.view, self.options, self.runtimes = view, options, []
        self.folder = Path(tempfile.mkdtemp(prefix="creel-bench-"))
        self.cgroups = self.measure = None

    def __enter__(self):
        try:
            return self._set_up()
        except BaseException:
            self.__exit__()
            raise

    def _set_up(self):
        machine.enter_view(self.view)
        self.work = self.folder
        machine.mount("bench", self.work, "tmpfs", data="mode=755")
        self.cgroups = machine.Cgroups(f"creel-bench-{os.getpid()}")
        self.cgroups.create()
        self.rootfs, self.sources = self.work / "rootfs", self.work / "sources"
        self._root()
        self.config = machine.load_bundle(HERE / "bundle.json")
        check_floor_is_complete(self.config)
        self.left_out = self.cgroups.fit(self.config)
        if hasattr(self.options, "plain"):
            self.options.plain(self.config)
        if not getattr(self.options, "tools", None):
            write_filter(self.config, self.work)
        floor, measure = (self.compile(name) for name in ("floor", "measure"))
        self.measure = Measure(measure, self.work)
        self.floor = Floor(floor, self)
        self.runtimes = [Runtime(name, path, self) for name, path in self.options.runtimes.items()]
        return self

    def compile(self, name):
        binary = self.work / name
        tools = getattr(self.options, "tools", None)
        if tools:
            shutil.copy(Path(tools) / name, binary)
            self.libc = (Path(tools) / "libc").read_text()
        else:
            self.libc = libc()
            compile_tool(name, self.work, self.work)
        return binary

    def _root(self):
        busybox = shutil.which("busybox")
        if not busybox:
            raise SystemExit("bench: no busybox on PATH (Debian: busybox-static)")
        for name in ("bin", "dev", "etc", "proc", "sys"):
            (self.rootfs / name).mkdir(parents=True)
        self.sources.mkdir()
        shutil.copy(busybox, self.rootfs / "bin/busybox")
        for name in ("sh", "true", "sleep"):
            (self.rootfs / "bin" / name).symlink_to("busybox")
        for name in ("resolv.conf", "hostname", "hosts"):
            (self.sources / name).touch()
            (self.rootfs / "etc" / name).touch()

    def numbered(self, runtime, number):
        """A small bundle with a cgroup of its own, made once."""
        folder = self.work / "numbered" / f"{runtime}-{number}"
        if not folder.exists():
            folder.mkdir(parents=True)
            config = self.changed(f"n{number}", runtime)
            (folder / "config.json").write_text(json.dumps(config))
        return folder

    def changed(self, kind, runtime):
        """The config with the paths of this site."""
        config = copy.deepcopy(self.config)
        config["root"]["path"] = str(self.rootfs)
        config["linux"]["cgroupsPath"] = f"/{self.cgroups.name}/{kind}-{runtime}"
        for m in config["mounts"]:
            if m["type"] == "bind":
                m["source"] = str(self.work / m["source"])
        return config

    def bundle(self, runtime, kind, change=None):
        config = self.changed(kind, runtime)
        if change:
            change(config)
        if kind == "long":
            config["process"]["args"] = ["/bin/sleep", "1000000"]
        folder = self.work / f"{kind}-{runtime}"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for runtime in self.runtimes:
            runtime.forget("run", "cycle", "memory", "long", "series")
            for number in range(runtime.filled):
                subprocess.run(
                    [*map(str, runtime.many_base), "delete", "--force", f"many-{number}"],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30,
                )
        if self.measure:
            self.measure.close()
        if self.cgroups:
            self.cgroups.remove()
        if os.path.ismount(self.folder):
            machine.umount(self.folder)
        self.folder.rmdir()


def write_filter(config, folder):
    """The profile as floor.c includes it."""
    (folder / "filter.h").write_text(seccomp_tree.header(config["linux"]["seccomp"]))


def libc():
    """musl where it is at hand: its start needs no CPUID, dear in a virtual machine."""
    is_musl = "CC" not in os.environ and shutil.which("musl-gcc")
    return "musl" if is_musl else "the C compiler's libc"


def compile_tool(name, headers, folder):
    """floor, measure, steps, static, into `folder`; `headers` has filter.h."""
    command = ["-O2", "-static", "-Wno-unused-result", "-I", headers, "-o", folder / name, HERE / f"{name}.c"]
    if libc() == "musl":
        triple = f"{os.uname().machine}-linux-gnu"
        of_kernel = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{triple}"]
        subprocess.run(["musl-gcc", *command, *of_kernel], check=True)
    else:
        subprocess.run([os.environ.get("CC", "cc"), *command], check=True)


def check_floor_is_complete(config):
    """floor.c has the config's lists written out: a bundle changed alone must not go unnoticed."""
    text = (HERE / "floor.c").read_text()
    wanted = [m["destination"] for m in config["mounts"] if m["type"] != "bind"]
    wanted = [path.lstrip("/") for path in wanted]
    wanted += config["linux"]["maskedPaths"] + config["linux"]["readonlyPaths"]
    wanted += [key.replace(".", "/") for key in config["linux"]["sysctl"]]
    wanted += config["process"]["capabilities"]["bounding"]
    missing = [item for item in wanted if item not in text]
    if missing:
        raise SystemExit(f"bench: floor.c does nothing about {', '.join(missing)}")
