#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every system call of a runtime's commands, killed at it, with each plausible error, and with a signal.

    hack/crash-matrix/matrix.py --runtime build/creel             everything
    hack/crash-matrix/matrix.py --runtime build/creel --every 10  each tenth point
    hack/crash-matrix/matrix.py --runtime /usr/sbin/runc create   one command of another runtime

After SIGKILL at a call, `delete --force` has to return 0 and leave no process, cgroup, mount, unit or state
directory. After an error, the command has to succeed all the same, or to exit with an error, one line that says
why, and nothing left of what it had begun. After SIGTERM, SIGINT or SIGHUP (in turn), it has finished and returns 0,
or has undone everything and ends by that signal or with 128 + its number. Needs root, a C compiler, busybox (static), Python's standard library.
"""

import argparse
import ctypes
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = 20.0
PR_SET_CHILD_SUBREAPER = 36

# What the kernel can plausibly answer. A call that is not named gets the default. One with an empty list cannot
# fail; or it does its work also when it says that it failed (close), so that skipping it would prove nothing; or
# it is libc's own at the start of a program (mmap, brk), which ends before it has done anything.
ERRNOS = {
    "open": "EACCES EMFILE EIO", "openat": "EACCES EMFILE EIO", "openat2": "EACCES EMFILE EAGAIN",
    "read": "EIO", "pread64": "EIO", "getdents64": "EIO", "readlink": "EACCES", "readlinkat": "EACCES",
    "write": "ENOSPC EIO", "pwrite64": "ENOSPC EIO", "writev": "ENOSPC",
    "mmap": "", "brk": "", "mremap": "", "mprotect": "",
    "clone": "EAGAIN ENOMEM", "clone3": "EAGAIN ENOMEM EPERM", "fork": "EAGAIN", "vfork": "EAGAIN",
    "execve": "EACCES ENOMEM", "execveat": "EACCES ENOMEM", "unshare": "EPERM ENOSPC", "setns": "EPERM",
    "mount": "EPERM ENOMEM", "umount2": "EBUSY", "pivot_root": "EINVAL", "open_tree": "EPERM EMFILE",
    "move_mount": "EPERM", "fsopen": "EPERM EMFILE", "fsmount": "EPERM EMFILE", "fsconfig": "EINVAL",
    "mount_setattr": "EPERM", "bpf": "EPERM ENOMEM", "seccomp": "EINVAL ENOMEM",
    "mkdir": "ENOSPC EROFS", "mkdirat": "ENOSPC EROFS", "mknod": "EPERM", "mknodat": "EPERM ENOSPC",
    "rmdir": "EBUSY", "unlink": "EIO", "unlinkat": "EBUSY EIO", "rename": "ENOSPC", "renameat": "ENOSPC",
    "renameat2": "ENOSPC", "symlinkat": "ENOSPC", "symlink": "ENOSPC", "link": "EPERM", "linkat": "EPERM",
    "socketpair": "EMFILE", "socket": "EMFILE", "pipe2": "EMFILE", "signalfd4": "EMFILE", "dup": "EMFILE",
    "fcntl": "EMFILE", "flock": "ENOLCK", "sendmsg": "ENOBUFS", "recvmsg": "ENOMEM", "kill": "EPERM",
    "pidfd_send_signal": "EPERM", "pidfd_open": "EMFILE", "statfs": "EIO", "fstatfs": "EIO", "stat": "EIO",
    "lstat": "EIO", "fstat": "EIO", "newfstatat": "EIO", "statx": "EIO", "chdir": "EACCES", "fchdir": "EACCES",
    "capset": "EPERM", "setresuid": "EAGAIN", "setresgid": "EPERM", "setgroups": "EPERM", "fchown": "EPERM",
    "fchownat": "EPERM", "chmod": "EPERM", "fchmod": "EPERM", "fchmodat": "EPERM", "keyctl": "EDQUOT",
    "sched_setaffinity": "EINVAL", "prlimit64": "EPERM", "ioctl": "EIO", "sethostname": "EPERM",
    "close": "", "exit": "", "exit_group": "", "rt_sigreturn": "", "rt_sigprocmask": "", "rt_sigaction": "",
    "arch_prctl": "", "set_tid_address": "", "getpid": "", "gettid": "", "getuid": "", "geteuid": "",
    "getgid": "", "getegid": "", "getppid": "", "umask": "", "munmap": "", "set_robust_list": "", "rseq": "",
    "getrandom": "", "futex": "", "nanosleep": "", "clock_nanosleep": "", "sched_yield": "", "madvise": "",
    "sigaltstack": "", "tgkill": "", "wait4": "", "waitid": "", "poll": "", "ppoll": "", "epoll_pwait": "",
    "epoll_ctl": "", "restart_syscall": "", "getcwd": "ENOENT", "setsid": "EPERM", "prctl": "EINVAL",
}
DEFAULT_ERRNO = "EPERM"


def syscall_names(prepared):
    if prepared:
        return {int(nr): name for nr, name in json.loads((prepared / "names.json").read_text()).items()}
    source = subprocess.run(
        ["cc", "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"],
        check=True, capture_output=True, text=True,
    ).stdout
    return {int(nr): name for name, nr in re.findall(r"#define __NR_(\w+) (\d+)$", source, re.M)}


def compile_injector(target):
    # Static: where it is shared to, there may be another C library.
    subprocess.run(["cc", "-O2", "-static", "-o", str(target), str(HERE / "inject.c")], check=True)


def prepare(folder):
    """What takes a compiler, for a machine that has none."""
    folder.mkdir(parents=True, exist_ok=True)
    compile_injector(folder / "inject")
    (folder / "names.json").write_text(json.dumps(syscall_names(None)))


class Trial(Exception):
    """What is wrong after a trial."""


class Site:
    """The runtime under test, a bundle, and a place for state, cgroups and orphans."""

    def __init__(self, runtime, options, prepared):
        self.work = Path(tempfile.mkdtemp(prefix="creel-crash-"))
        self.name = self.work.name
        self.runtime = [runtime, "--root", str(self.work / "state"), *options]
        self.systemd = "--systemd-cgroup" in options
        self.count = 0
        self.inject = (prepared or self.work) / "inject"
        if not prepared:
            compile_injector(self.inject)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.bundle = self.work / "bundle"
        self.make_bundle()
        self.made = []
        # The parents are the test's own: a runtime leaves those that it made for the next container.
        for top in self.hierarchies():
            place = top / self.name
            if not place.exists():
                place.mkdir()
                self.made.append(place)
                cpuset = place / "cpuset.cpus"
                if (top / "tasks").exists() and cpuset.exists():
                    for file in ("cpuset.cpus", "cpuset.mems"):
                        (place / file).write_text((top / file).read_text())
        self.mounts = Path("/proc/self/mountinfo").read_text()

    def hierarchies(self):
        """Where a container's directory can be, one for each mounted hierarchy."""
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, rest = line.split(" - ")
            if rest.split()[0] in ("cgroup", "cgroup2"):
                yield Path(fields.split()[4])

    def make_bundle(self):
        binaries = self.bundle / "rootfs/bin"
        binaries.mkdir(parents=True)
        for folder in ("proc", "sys", "dev", "tmp"):
            (self.bundle / "rootfs" / folder).mkdir()
        shutil.copy("/bin/busybox", binaries / "busybox")
        for name in ("sh", "true", "sleep"):
            (binaries / name).symlink_to("busybox")
        config = json.loads((HERE.parent / "bench/bundle.json").read_text())
        config["process"]["args"] = ["/bin/sleep", "1000"]
        config["mounts"] = [m for m in config["mounts"] if not m["source"].startswith("sources/")]
        config["linux"]["namespaces"].append({"type": "cgroup"})
        resources = config["linux"]["resources"]
        for key in ("cpu", "blockIO"):
            resources.pop(key, None)
        self.limited = self.has_controllers("memory", "pids")
        if not self.limited:
            resources.pop("memory", None)
            resources.pop("pids", None)
        self.config = config

    def has_controllers(self, *wanted):
        have = set()
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, rest = line.split(" - ")
            if rest.split()[0] == "cgroup":
                have |= set(rest.split()[2].split(","))
            elif rest.split()[0] == "cgroup2":
                have |= set((Path(fields.split()[4]) / "cgroup.controllers").read_text().split())
        return have >= set(wanted)

    def write_config(self, name):
        path = f"system.slice:creel-crash:{name}" if self.systemd else f"/{self.name}/{name}"
        self.config["linux"]["cgroupsPath"] = path
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    def call(self, *argv, inject=None, timeout=PATIENCE):
        """Runs a command of the runtime; returns (exit status, stderr): -N for signal N, None for a hang.

        Orphans are reaped meanwhile, as an init would: one that nobody reaps keeps its pid namespace alive.
        """
        prefix = [str(self.inject), *inject, "--"] if inject is not None else []
        argv = [*prefix, *self.runtime, *argv]
        err = self.work / "stderr"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(err), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        command = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)
        end, status = time.monotonic() + timeout, None
        while status is None and time.monotonic() < end:
            pid, word = os.waitpid(-1, os.WNOHANG)
            if pid == command:
                status = os.waitstatus_to_exitcode(word)
            elif pid == 0:
                signal.sigtimedwait([signal.SIGCHLD], 0.05)
        if status is None:
            os.killpg(command, signal.SIGKILL)
            os.waitpid(command, 0)
        return status, err.read_text(errors="replace")

    def children(self):
        """Living children of this process: what the runtime left behind, and the containers' inits."""
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
        me = os.getpid()
        return [int(p) for p in Path(f"/proc/{me}/task/{me}/children").read_text().split()]

    def left(self, name):
        """What is there of a container that must be gone; waits a moment for dying processes."""
        end = time.monotonic() + 2
        while self.children() and time.monotonic() < end:
            time.sleep(0.002)
        found = []
        for pid in self.children():
            try:
                found.append(f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})")
            except FileNotFoundError:
                pass
        for top in self.hierarchies():
            for place in (top / self.name / name, top / "system.slice" / f"creel-crash-{name}.scope"):
                if place.exists():
                    found.append(f"cgroup {place}")
        if (self.work / "state" / name).exists():
            found.append("state directory")
        if Path("/proc/self/mountinfo").read_text() != self.mounts:
            found.append("mounts")
        if self.systemd:
            units = subprocess.run(
                ["systemctl", "list-units", "--all", "--no-legend", f"creel-crash-{name}*"],
                capture_output=True, text=True,
            ).stdout.split()
            if units:
                found.append("unit " + " ".join(units[:4]))
        return found

    def sweep(self, name):
        """By force what a trial left, so that the next one begins clean."""
        for pid in self.children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.call("delete", "--force", name)
        for top in self.hierarchies():
            place = top / self.name / name
            for _ in range(50):
                if not place.exists():
                    break
                for folder, _, _ in os.walk(place, topdown=False):
                    try:
                        os.rmdir(folder)
                    except OSError:
                        pass
                time.sleep(0.02)
        shutil.rmtree(self.work / "state" / name, ignore_errors=True)
        if self.systemd:
            subprocess.run(
                ["systemctl", "kill", "-s", "KILL", f"creel-crash-{name}.scope"], capture_output=True
            )
            subprocess.run(
                ["systemctl", "reset-failed", f"creel-crash-{name}.scope"], capture_output=True
            )
        self.children()
        # One that stays is said once.
        self.mounts = Path("/proc/self/mountinfo").read_text()

    def close(self):
        for place in self.made:
            for folder, _, _ in os.walk(place, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
        shutil.rmtree(self.work, ignore_errors=True)

    def limits(self, name):
        """The two limits that `update` changes, as they are."""
        values = []
        for top in self.hierarchies():
            for base in (top / self.name / name, top / "system.slice" / f"creel-crash-{name}.scope"):
                for file in ("memory.limit_in_bytes", "memory.max", "pids.max"):
                    try:
                        values.append((base / file).read_text().strip())
                    except OSError:
                        pass
        return values

    def status(self, name):
        out = subprocess.run([*self.runtime, "state", name], capture_output=True, text=True).stdout
        try:
            return json.loads(out)
        except ValueError:
            return {}


class Point(typing.NamedTuple):
    """The call-th (from 0) of the system calls with this number that a process of the command makes."""

    process: int
    nr: int
    call: int
    name: str

    def spec(self, action):
        return f"{self.process}.{self.nr}.{self.call}={action}"


class Command:
    """One command: what has to be there before, and what it is called with."""

    def __init__(self, name, before, argv, undoes=False):
        self.name, self.before, self.argv, self.undoes = name, before, argv, undoes


def commands(site):
    bundle = ["--bundle", str(site.bundle)]
    create = lambda n: ["create", *bundle, n]
    start = lambda n: ["start", n]
    pause = lambda n: ["pause", n]
    run = [create, start]
    limits = ["--memory", "83886080", "--memory-swap", "-1", "--pids-limit", "77"]
    return [
        Command("create", [], create, undoes=True),
        Command("start", [create], start),
        Command("run", [], lambda n: ["run", "--detach", *bundle, n], undoes=True),
        Command("exec", run, lambda n: ["exec", n, "/bin/true"]),
        Command("update", run, lambda n: ["update", *limits, n]),
        Command("pause", run, pause),
        Command("resume", [*run, pause], lambda n: ["resume", n]),
        Command("kill", run, lambda n: ["kill", n, "KILL"]),
        Command("delete", [create], lambda n: ["delete", n]),
        Command("delete --force", run, lambda n: ["delete", "--force", n]),
    ]


class Matrix:
    """One command's points, tried one after the other."""

    def __init__(self, site, command, names):
        self.site, self.command, self.names = site, command, names
        self.row = dict.fromkeys(("points", "kills", "left", "errors", "tolerated", "bad", "signals", "finished", "unsound", "unreached"), 0)
        self.changed = []
        self.problems = []

    def prepare(self):
        # Never one that another command has had: what is left of a bad trial is not in the way.
        self.site.count += 1
        name = f"c{self.site.count}"
        self.site.write_config(name)
        for step in self.command.before:
            status, err = self.site.call(*step(name))
            if status != 0:
                raise SystemExit(f"{self.command.name}: preparing failed: {status}: {err}")
        return name

    def injection(self, name):
        """For `start` and what follows, init's own calls count as well."""
        if self.command.name != "start":
            return []
        return ["-p", str(self.site.status(name)["pid"])]

    def points(self):
        name = self.prepare()
        listing = self.site.work / "calls"
        inject = [*self.injection(name), "-l", str(listing)]
        status, err = self.site.call(*self.command.argv(name), inject=inject)
        if status != 0:
            raise SystemExit(f"{self.command.name}: without any fault: {status}: {err}")
        self.changed = self.site.limits(name)
        self.site.sweep(name)
        rows = (map(int, line.split()) for line in listing.read_text().splitlines())
        return [Point(process, nr, call, self.names.get(nr, str(nr))) for process, nr, call in rows]

    def note(self, point, action, problem):
        where = f"{self.command.name}: process {point.process}, {point.name} number {point.call}"
        self.problems.append(f"{where} {action}: {problem}")
        print(f"  {self.problems[-1]}", flush=True)

    def kill(self, point):
        name = self.prepare()
        inject = [*self.injection(name), "-a", point.spec("kill")]
        status, _ = self.site.call(*self.command.argv(name), inject=inject)
        if status == 121:
            self.row["unreached"] += 1
        else:
            self.row["kills"] += 1
        problem = "hangs" if status is None else None
        deleted, err = self.site.call("delete", "--force", name)
        if deleted != 0:
            problem = f"delete --force: {deleted}: {err.strip()[:200]}"
        left = self.site.left(name)
        if left:
            problem = f"left: {', '.join(left)}"
        if problem:
            self.row["left"] += 1
            self.note(point, "killed", problem)
        self.site.sweep(name)

    def fail(self, point, error):
        name = self.prepare()
        before = self.site.limits(name)
        number = getattr(errno, error)
        inject = [*self.injection(name), "-a", point.spec(number)]
        status, err = self.site.call(*self.command.argv(name), inject=inject)
        if status == 121:
            self.row["unreached"] += 1
            self.site.sweep(name)
            return
        self.row["errors"] += 1
        problem = None
        if status is None:
            problem = "hangs"
        elif status == 0:
            self.row["tolerated"] += 1
        else:
            problem = self.refused(name, status, err, before)
        deleted, text = self.site.call("delete", "--force", name)
        if problem is None and deleted != 0:
            problem = f"delete --force: {deleted}: {text.strip()[:200]}"
        left = self.site.left(name)
        if problem is None and left:
            problem = f"left after delete --force: {', '.join(left)}"
        if problem:
            self.row["bad"] += 1
            self.note(point, error, problem)
        self.site.sweep(name)

    def refused(self, name, status, err, before):
        """The command said no: with one line, and without a trace."""
        if status < 0:
            return f"ended by signal {-status}: {err.strip()[:200]}"
        lines = [x for x in err.splitlines() if x.strip() and "level=warning" not in x]
        if len(lines) != 1:
            return f"{len(lines)} lines for exit status {status}: {err.strip()[:200]!r}"
        if self.command.undoes:
            left = self.site.left(name)
            if left:
                return f"left: {', '.join(left)}"
        if self.command.name == "update" and self.site.limits(name) != before:
            return f"limits half changed: {before} is {self.site.limits(name)}"
        if self.command.name == "exec" and len(self.site.children()) != 1:
            time.sleep(0.2)
            if len(self.site.children()) != 1:
                return "the process that exec began is still there"
        return None

    def interrupt(self, point, number):
        name = self.prepare()
        before = self.site.limits(name)
        inject = [*self.injection(name), "-a", point.spec(f"sig{int(number)}")]
        status, err = self.site.call(*self.command.argv(name), inject=inject)
        if status == 121:
            self.row["unreached"] += 1
            self.site.sweep(name)
            return
        self.row["signals"] += 1
        self.row["finished"] += status == 0
        problem = self.unsound(name, number, status, err, before)
        deleted, text = self.site.call("delete", "--force", name)
        if problem is None and deleted != 0:
            problem = f"delete --force: {deleted}: {text.strip()[:200]}"
        left = self.site.left(name)
        if problem is None and left:
            problem = f"left after delete --force: {', '.join(left)}"
        if problem:
            self.row["unsound"] += 1
            self.note(point, number.name, problem)
        self.site.sweep(name)

    def unsound(self, name, number, status, err, before):
        """What is wrong with how a command took a signal."""
        if status is None:
            return "hangs"
        if status not in (0, -number, 128 + number):
            return f"exit status {status}: {err.strip()[:200]}"
        if status == 0:
            return None
        if len([x for x in err.splitlines() if x.strip() and "level=warning" not in x]) > 1:
            return f"more than one line: {err.strip()[:200]!r}"
        if self.command.undoes:
            left = self.site.left(name)
            return f"left: {', '.join(left)}" if left else None
        if self.command.name == "update" and self.site.limits(name) not in (before, self.changed):
            return f"limits half changed: {before} is {self.site.limits(name)}"
        if self.command.name == "exec":
            end = time.monotonic() + 1
            while len(self.site.children()) > 1 and time.monotonic() < end:
                time.sleep(0.002)
            if len(self.site.children()) != 1:
                return "the process that exec began is still there"
        if self.command.name in ("start", "pause", "resume"):
            now = self.site.status(name).get("status")
            if now not in {"start": ("created", "running")}.get(self.command.name, ("running", "paused")):
                return f"the container is {now}"
            if now == "created" and self.site.call("start", name)[0] != 0:
                return "it cannot be started any more"
        if self.command.name == "delete":
            again, text = self.site.call("delete", name)
            if again != 0 and "does not exist" not in text:
                return f"delete again: {again}: {text.strip()[:200]}"
        return None

    def run(self, every, modes):
        points = self.points()
        self.row["points"] = len(points)
        for count, point in enumerate(points[::every]):
            if "kill" in modes:
                self.kill(point)
            if "error" in modes:
                for error in ERRNOS.get(point.name, DEFAULT_ERRNO).split():
                    self.fail(point, error)
            if "signal" in modes:
                self.interrupt(point, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[count % 3])


def table(rows):
    head = ["command", "calls", "killed at", "of these left something", "made to fail", "went on", "wrong", "signalled at", "finished", "unsound", "not reached"]
    keys = ["points", "kills", "left", "errors", "tolerated", "bad", "signals", "finished", "unsound", "unreached"]
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for name, row in rows.items():
        print(f"| `{name}` | " + " | ".join(str(row[key]) for key in keys) + " |")
    total = {key: sum(row[key] for row in rows.values()) for key in keys}
    print("| **all** | " + " | ".join(str(total[key]) for key in keys) + " |")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default=os.environ.get("RUNTIME", "build/creel"))
    parser.add_argument("--systemd-cgroup", action="store_true", help="with the systemd driver")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th point only")
    parser.add_argument("--modes", default="kill,error,signal", help="of these (default: all)")
    parser.add_argument("--prepare", type=Path, metavar="DIR", help="build there what takes a compiler, and end")
    parser.add_argument("--prepared", type=Path, metavar="DIR", help="take it from there")
    parser.add_argument("commands", nargs="*", help="only these: create, start, exec …")
    args = parser.parse_args()
    if args.prepare:
        prepare(args.prepare)
        return 0
    if os.geteuid() != 0:
        raise SystemExit("matrix.py: needs root")
    runtime = shutil.which(args.runtime) or args.runtime
    site = Site(str(Path(runtime).resolve()), ["--systemd-cgroup"] if args.systemd_cgroup else [], args.prepared)
    rows, names, began = {}, syscall_names(args.prepared), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for ignored in (signal.SIGINT, signal.SIGHUP):  # by nohup, or by a shell for its `&`; a command would keep to it
        if signal.getsignal(ignored) == signal.SIG_IGN:
            signal.signal(ignored, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        for command in commands(site):
            if args.commands and command.name not in args.commands:
                continue
            if command.name == "update" and not site.limited:
                print("SKIP update: no memory and pids controllers in this view")
                continue
            print(f"{command.name} …", flush=True)
            matrix = Matrix(site, command, names)
            rows[command.name] = matrix.row
            matrix.run(args.every, args.modes.split(","))
    finally:
        for pid in site.children():
            os.kill(pid, signal.SIGKILL)
        site.close()
        # Also of a run that was ended early.
        total = table(rows)
    bad = total["left"] + total["bad"] + total["unsound"]
    print(f"\n{total['kills'] + total['errors'] + total['signals']} faults in {time.monotonic() - began:.0f} s, {bad} with a wrong outcome")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
