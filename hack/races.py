#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Commands on one container at the same moment: one winner, known words from the others, nothing left.

    hack/races.py --runtime build/creel --rounds 5000
    hack/races.py --runtime build/creel create start-delete

A round starts 64 processes at once for each race. Whatever comes out, every process must end within 30 s, every error
line must be one that is listed here, the state must fit to who has won, and after `delete --force` no process, cgroup,
mount or state directory may be there. Needs root, busybox (static), Python's standard library.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from soak import Soak  # noqa: E402

PATIENCE = 30.0
GONE = [
    r"container does not exist", r"container not running", r"cannot exec in a stopped container",
    r"cannot start a container that has stopped", r"container init ended before it could be started",
    # Between two steps of a command its container was taken away: the step is named, with ENOENT and the like.
    r".*: (ENOENT: no such file or directory|ENODEV: no such device|ESRCH: no such process)",
]
EXISTS = [r"container with given ID already exists"]
LIVES = [r"cannot delete container \S+ that is not stopped: (creating|created|running|paused)"]
KILLED = [
    r"container init ended before it executed the program: signal: SIGKILL",
    r".*: EPIPE: broken pipe", r".*ECHILD.*", r".*cgroup.*: (EBUSY|EAGAIN): .*",
    r"the pid namespace has no init any more.*", r"clone3: ENOMEM: .*", r".*join.*: (EINVAL|EPERM|ENOMEM): .*",
]
PAUSE = [r"container not running", r"container not paused", r"cannot exec in a paused container.*", r"pause: freeze cgroup .*"]


class Races(Soak):
    def __init__(self, runtime, width):
        super().__init__(runtime, [])
        self.width, self.count, self.seen = width, 0, {}
        self.config["linux"]["resources"].pop("pids", None)

    def new(self, args=("/bin/sleep", "1000"), hooks=None):
        self.count += 1
        name = f"r{self.count}"
        self.config["process"]["args"] = list(args)
        self.config["linux"]["cgroupsPath"] = f"/{self.name}/{name}"
        self.config.pop("hooks", None)
        if hooks:
            self.config["hooks"] = hooks
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        return name

    def at_once(self, commands):
        """Runs them all at the same time; (exit status, error message) of each."""
        files = [self.work / f"err{i}" for i in range(len(commands))]
        running = []
        for command, file in zip(commands, files):
            with open(file, "w") as err:
                running.append(subprocess.Popen([*self.runtime, *command], stdin=subprocess.DEVNULL,
                                                stdout=subprocess.DEVNULL, stderr=err))
        results = []
        end = time.monotonic() + PATIENCE
        for command, process, file in zip(commands, running, files):
            try:
                status = process.wait(max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                status = None
            results.append((status, self.message(file)))
        return results

    def message(self, file):
        lines = [line for line in file.read_text().splitlines() if "level=warning" not in line]
        words = [re.sub(r'^.*level=error msg=', "", line) for line in lines if line]
        return " | ".join(json.loads(w) if w.startswith('"') else w for w in words)

    def expect(self, race, command, result, allowed, statuses=(0, 1, 255)):
        status, message = result
        if status is None:
            self.failures.append(f"{race}: {command} hangs")
        elif status not in statuses:
            self.failures.append(f"{race}: {command}: exit status {status}: {message[:200]}")
        elif status in (1, 255) and not any(re.fullmatch(p, message) for p in allowed):
            self.failures.append(f"{race}: {command}: unexpected: {message[:300]}")
        key = re.sub(r"r\d+|\d+|/\S+", "*", message)[:90] if status else "succeeds"
        self.seen.setdefault((race, command), {}).setdefault((status, key), 0)
        self.seen[race, command][status, key] += 1

    def fail_unless(self, what, race, words):
        if not what:
            self.failures.append(f"{race}: {words}")

    def state(self, name):
        out = subprocess.run([*self.runtime, "state", name], capture_output=True, text=True).stdout
        return json.loads(out)["status"] if out else "gone"

    def clear(self, race, *names):
        for name in names:
            (result,) = self.at_once([["delete", "--force", name]])
            if result[0] != 0:
                self.failures.append(f"{race}: delete --force: {result}")
        left = []
        for name in names:
            left += [str(p / name) for p in self.made if (p / name).exists()]
            if (self.work / "state" / name).exists():
                left.append("state directory")
        end = time.monotonic() + 5
        while self.orphans() and time.monotonic() < end:
            time.sleep(0.005)
        left += [f"process {pid}" for pid in self.orphans()]
        if left:
            self.failures.append(f"{race}: left: {left}")

    def orphans(self):
        self.reap()
        me = os.getpid()
        return [int(p) for p in Path(f"/proc/{me}/task/{me}/children").read_text().split()]

    # Each race: what is started at once, and what must be true of the outcome.

    def create(self):
        name = self.new()
        results = self.at_once([["create", "--bundle", str(self.bundle), name]] * self.width)
        for result in results:
            self.expect("create", "create", result, EXISTS)
        winners = sum(status == 0 for status, _ in results)
        self.fail_unless(winners == 1, "create", f"{winners} have won")
        self.fail_unless(self.state(name) == "created", "create", f"the container is {self.state(name)}")
        self.clear("create", name)

    def create_delete(self):
        name = self.new()
        half = self.width // 2
        commands = [["create", "--bundle", str(self.bundle), name], ["delete", "--force", name]] * half
        # A create whose directory is taken away says at which step it noticed.
        lost = EXISTS + GONE + KILLED + [r"container init is gone", r"container init ended .*", r".*: this kernel has no such file", r"linux.cgroupsPath: container's cgroup is not empty: .*", r"(lock|make|open|write) .*"]
        for command, result in zip(commands, self.at_once(commands)):
            self.expect("create-delete", command[0], result, lost)
        self.clear("create-delete", name)

    def start(self):
        name = self.new()
        self.at_once([["create", "--bundle", str(self.bundle), name]])
        results = self.at_once([["start", name]] * self.width)
        for result in results:
            self.expect("start", "start", result, [r"cannot start an already running container"])
        winners = sum(status == 0 for status, _ in results)
        self.fail_unless(winners == 1, "start", f"{winners} have won")
        self.clear("start", name)

    def start_delete(self):
        names = []
        for _ in range(self.width // 8):
            names.append(self.new())
            self.at_once([["create", "--bundle", str(self.bundle), names[-1]]])
        commands = [c for name in names for c in ([["start", name], ["delete", name]] * 4)]
        allowed = GONE + LIVES + KILLED + [r"cannot start an already running container", r"lock .*"]
        won = {}
        for command, result in zip(commands, self.at_once(commands)):
            self.expect("start-delete", command[0], result, allowed)
            if result[0] == 0:
                won.setdefault(command[1], []).append(command[0])
        for name, winners in won.items():
            self.fail_unless(len(set(winners)) == 1, "start-delete", f"{name}: {winners} have won")
        self.clear("start-delete", *names)

    def exec_kill(self):
        name = self.new()
        self.at_once([["create", "--bundle", str(self.bundle), name], ])
        self.at_once([["start", name]])
        commands = [["exec", name, "/bin/true"]] * (self.width - 1)
        commands.insert(self.width // 3, ["kill", name, "KILL"])
        for command, result in zip(commands, self.at_once(commands)):
            # 137: the program was killed with its pid namespace.
            statuses = (0, 255, 137) if command[0] == "exec" else (0,)
            self.expect("exec-kill", command[0], result, GONE + KILLED, statuses)
        self.clear("exec-kill", name)

    def pause_delete(self):
        names = []
        for _ in range(self.width // 8):
            names.append(self.new())
            self.at_once([["create", "--bundle", str(self.bundle), names[-1]]])
            self.at_once([["start", names[-1]]])
        commands = [c for n in names for c in ([["pause", n]] * 3 + [["resume", n]] * 3 + [["delete", "--force", n]] * 2)]
        for command, result in zip(commands, self.at_once(commands)):
            self.expect("pause-delete", command[0], result, GONE + PAUSE)
        self.clear("pause-delete", *names)

    def update_exit(self):
        names = []
        for _ in range(self.width // 8):
            names.append(self.new(("/bin/sleep", "0.03")))
            self.at_once([["create", "--bundle", str(self.bundle), names[-1]]])
        commands = []
        for n in names:
            commands += [["start", n]] + [["update", "--memory", str((80 + i) << 20), "--memory-swap", "-1", n] for i in range(7)]
        for command, result in zip(commands, self.at_once(commands)):
            self.expect("update-exit", command[0], result, GONE)
        self.clear("update-exit", *names)

    def lock(self):
        """A start that is killed while it holds the lock keeps nobody waiting."""
        name = self.new(hooks={"startContainer": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]})
        self.at_once([["create", "--bundle", str(self.bundle), name]])
        waiting = subprocess.Popen([*self.runtime, "start", name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.05)
        waiting.kill()
        waiting.wait()
        begun = time.monotonic()
        for result in self.at_once([["update", "--pids-limit", "50", name], ["start", name]]):
            self.expect("lock", "the next", result, [r"cannot start an already running container", r"container init ended .*"])
        self.fail_unless(time.monotonic() - begun < 10, "lock", "the next command waited")
        self.clear("lock", name)

    def gc_create(self):
        name = self.new()
        commands = [["gc", "--force"]] * (self.width // 2)
        commands.insert(self.width // 4, ["create", "--bundle", str(self.bundle), name])
        for command, result in zip(commands, self.at_once(commands)):
            self.expect("gc-create", command[0], result, [], (0,))
        self.fail_unless(self.state(name) == "created", "gc-create", f"the container is {self.state(name)}")
        self.clear("gc-create", name)


RACES = ("create", "create_delete", "start", "start_delete", "exec_kill", "pause_delete", "update_exit", "lock", "gc_create")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default=os.environ.get("RUNTIME", "build/creel"))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--width", type=int, default=64, help="processes at once")
    parser.add_argument("--seconds", type=float, default=None, help="begin no round after this time")
    parser.add_argument("races", nargs="*", help=f"of {', '.join(r.replace('_', '-') for r in RACES)}")
    args = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("races.py: needs root")
    chosen = [r.replace("-", "_") for r in args.races] or RACES
    runtime = shutil.which(args.runtime) or args.runtime
    races = Races(str(Path(runtime).resolve()), args.width)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    mounts, begun, rounds = Path("/proc/self/mountinfo").read_text(), time.monotonic(), 0
    try:
        (races.work / "state").mkdir()
        for _ in range(args.rounds):
            if args.seconds and time.monotonic() - begun > args.seconds:
                break
            for race in chosen:
                getattr(races, race)()
            rounds += 1
            if len(races.failures) > 20:
                break
    finally:
        races.close()
    if Path("/proc/self/mountinfo").read_text() != mounts:
        races.failures.append("mounts are left")
    for (race, command), outcomes in sorted(races.seen.items()):
        for (status, words), count in sorted(outcomes.items(), key=lambda o: -o[1]):
            print(f"{race:14} {command:8} {count:6} × {status} {words}")
    for failure in races.failures:
        print(f"FAIL {failure}")
    processes = sum(sum(o.values()) for o in races.seen.values())
    print(f"{rounds} rounds, {processes} processes in {time.monotonic() - begun:.0f} s: {len(races.failures)} problems")
    return 1 if races.failures else 0


if __name__ == "__main__":
    sys.exit(main())
