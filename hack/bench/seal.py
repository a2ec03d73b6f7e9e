#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What it costs that creel's own file cannot be overwritten from a container (src/seal.rs).

Runs `creel exec` for a container that does not exist, which ends right after the protection: from a
read-only mount, where none is needed, and from a writable one; as root (a read-only view), as an
ordinary user (a view made in a user namespace), and as one who may make none (a sealed copy). The two
alternate; the difference of the medians is the cost, and that of the best tenths what it is on a
machine that has nothing else to do.

usage, as root: hack/bench/seal.py [CREEL] [ROUNDS]"""
import ctypes
import os
import shutil
import statistics
import sys
import tempfile
import time

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_PRIVATE, MS_REC = 1, 32, 4096, 1 << 18, 1 << 14
CLONE_NEWNS, CLONE_NEWUSER, PR_SET_DUMPABLE = 0x20000, 0x10000000, 4
USER, WARM_UP = 65534, 20
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(path, flags):
    check(LIBC.mount(path.encode(), path.encode(), None, ctypes.c_ulong(flags), None), f"mount {path}")


def once(creel):
    """Microseconds from before its start to its end."""
    argv = [creel, "--root", "/nonexistent", "exec", "none", "true"]
    silent = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2)]
    begun = time.perf_counter_ns()
    pid = os.posix_spawn(creel, argv, {}, file_actions=silent)
    status = os.waitpid(pid, 0)[1]
    took = (time.perf_counter_ns() - begun) / 1000
    if os.waitstatus_to_exitcode(status) != 255:
        sys.exit(f"creel ended otherwise than expected: {status}")
    return took


def measure(who, top, rounds):
    times = {"writable": [], "read-only": []}
    for n in range(rounds + WARM_UP):
        for place in sorted(times, reverse=n % 2 == 1):
            took = once(f"{top}/{place}/creel")
            if n >= WARM_UP:
                times[place].append(took)
    medians, tenths = [], []
    for place in ("writable", "read-only"):
        tenth = statistics.quantiles(times[place], n=10)
        medians.append(tenth[4])
        tenths.append(tenth[0])
    print(f"{who}: median {medians[0] - medians[1]:.0f} us ({medians[0]:.0f} with it, {medians[1]:.0f} "
          f"without), best tenth {tenths[0] - tenths[1]:.0f} us; {rounds} rounds", flush=True)


def become_user():
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    # The files in /proc of a process that has changed its user are root's.
    check(LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")


def lose_user_namespaces():
    """Of the machine's many limits, this one is every user's own: no namespaces below one of his."""
    become_user()
    check(LIBC.unshare(CLONE_NEWUSER), "unshare")
    with open("/proc/self/uid_map", "w") as file:
        file.write(f"{USER} {USER} 1")
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    # Executed by another than root of the namespace, creel has no capabilities.


def apart(prepare, who, top, rounds):
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            measure(who, top, rounds)
            os._exit(0)
        except BaseException as error:
            print(f"{who}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    creel = sys.argv[1] if len(sys.argv) > 1 else "build/creel"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    failed = 0
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        for place in ("writable", "read-only"):
            os.mkdir(f"{top}/{place}")
            shutil.copy(creel, f"{top}/{place}/creel")

        def in_namespace(then):
            def prepare():
                check(LIBC.unshare(CLONE_NEWNS), "unshare")
                mount("/", MS_PRIVATE | MS_REC)
                mount(f"{top}/read-only", MS_BIND)
                mount(f"{top}/read-only", MS_BIND | MS_REMOUNT | MS_RDONLY)
                then()
            return prepare

        for who, then in (
            ("root, a read-only view", lambda: None),
            ("an ordinary user, a read-only view", become_user),
            ("without user namespaces, a sealed copy", lose_user_namespaces),
        ):
            failed |= apart(in_namespace(then), who, top, rounds)
    sys.exit(failed)


main()
