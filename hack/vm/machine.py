# SPDX-License-Identifier: Apache-2.0
"""One guest under QEMU: its start, orders to it, its end. It never outlives this process."""

import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# What a snapshot depends on, beside the image and QEMU.
MACHINE = "q35,hpet=off,smm=off,vmport=off"
CPU = "Nehalem,+pdpe1gb"
MEMORY = "3G"
PROCESSORS = 2
CMDLINE = (
    "root=/dev/vda rw console=ttyS0 quiet loglevel=4 panic=-1 nokaslr mitigations=off no5lvl "
    "tsc=reliable clocksource=tsc no_timer_check hugepages=16"
)
SHARES = 4
# Seconds: a busy machine without hardware virtualisation takes its time.
BOOT_LIMIT = 240
GRACE = 30


class Broken(Exception):
    """The guest did not do what it was asked for."""


def accel():
    """Emulation, unless VM_ACCEL=kvm says that this machine has the real thing."""
    return os.environ.get("VM_ACCEL", "tcg,thread=multi,tb-size=512")


def settings():
    return [MACHINE, accel(), CPU, MEMORY, PROCESSORS, CMDLINE, SHARES]


def note(text):
    print(f"[vm] {text}", file=sys.stderr, flush=True)


class Share:
    """A directory of this machine, at the same path in the guest unless `at` says where."""

    def __init__(self, path, at=None, writable=False):
        self.path = Path(path).resolve()
        self.at = Path(at) if at else self.path
        self.writable = writable


class Qmp:
    """QEMU's control socket."""

    def __init__(self, connection):
        self.file = connection.makefile("rw")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        for line in self.file:
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Broken(f"QEMU refused {command}: {answer['error']['desc']}")
        raise Broken(f"QEMU ended during {command}")


class Guest:
    def __init__(self, image, shares=()):
        self.image = image
        self.shares = list(shares)
        if len(self.shares) > SHARES:
            raise Broken(f"no more than {SHARES} directories can be shared")
        self.dir = Path(tempfile.mkdtemp(prefix="creel-vm."))
        self.qemu = None
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.qemu and self.qemu.poll() is None:
            self.qemu.kill()
            self.qemu.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def words(self, disk, keep, extra):
        empty = self.dir / "empty"
        empty.mkdir()
        words = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config"]
        words += ["-display", "none", "-no-reboot", "-machine", MACHINE, "-accel", accel(), "-cpu", CPU]
        words += ["-smp", str(PROCESSORS), "-m", MEMORY, "-pidfile", self.dir / "qemu.pid"]
        words += ["-kernel", self.image / "vmlinuz", "-initrd", self.image / "initrd.img", "-append", CMDLINE]
        changes = "off" if keep else "on"
        words += ["-drive", f"file={disk},if=none,id=disk,snapshot={changes},cache=unsafe,aio=threads"]
        words += ["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-serial-pci"]
        words += ["-chardev", f"socket,path={self.dir}/command,server=on,wait=off,id=command"]
        words += ["-device", "virtserialport,chardev=command,name=command"]
        words += ["-serial", f"file:{self.dir}/console", "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off"]
        for number in range(SHARES):
            share = self.shares[number] if number < len(self.shares) else Share(empty)
            access = "off" if share.writable else "on"
            path = str(share.path).replace(",", ",,")
            words += ["-fsdev", f"local,id=share{number},path={path},security_model=none,multidevs=remap,readonly={access}"]
            words += ["-device", f"virtio-9p-pci,fsdev=share{number},mount_tag=share{number}"]
        return words + list(extra)

    def launch(self, disk, keep=False, extra=()):
        # Its temporary copy of the disk goes where the guest's files are.
        environment = {**os.environ, "TMPDIR": str(self.dir)}
        log = (self.dir / "qemu").open("wb")
        self.qemu = subprocess.Popen(
            self.words(disk, keep, extra), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
        self.port = self.connect("command")
        self.port.settimeout(1)
        self.control = Qmp(self.connect("qmp"))

    def connect(self, name):
        connection = socket.socket(socket.AF_UNIX)
        while True:
            try:
                connection.connect(str(self.dir / name))
                return connection
            except OSError:
                if self.qemu.poll() is not None:
                    raise Broken(f"QEMU ended with {self.qemu.returncode}") from None
                time.sleep(0.01)

    def boot(self, disk=None, keep=False):
        """From nothing."""
        self.launch(disk or self.image / "root.img", keep)
        self.frames(b"r", time.monotonic() + BOOT_LIMIT, "the guest did not come up")

    def restore(self, snapshot):
        """From a snapshot that `save` has made."""
        self.launch(snapshot / "disk.qcow2", extra=["-incoming", "defer"])
        self.capabilities()
        self.control("migrate-incoming", uri=f"file:{snapshot}/memory")
        while self.control("query-status")["status"] == "inmigrate":
            time.sleep(0.02)
        self.control("cont")

    def save(self, snapshot):
        """Memory to a file; the disk is the overlay that this guest was booted with."""
        self.control("stop")
        self.capabilities()
        self.control("migrate-set-parameters", **{"max-bandwidth": 10**10})
        self.control("migrate", uri=f"file:{snapshot}/memory")
        while (status := self.control("query-migrate").get("status")) not in ("completed", "failed"):
            time.sleep(0.05)
        if status == "failed":
            raise Broken("QEMU could not store the guest's memory")
        self.control("quit")
        self.qemu.wait()

    def capabilities(self):
        wanted = [{"capability": name, "state": True} for name in ["mapped-ram", "multifd"]]
        self.control("migrate-set-capabilities", capabilities=wanted)

    def settle(self):
        """After boot or restore: the time, fresh random numbers, the shares."""
        self.order("clock", now=time.time(), entropy=secrets.token_hex(64))
        for number, share in enumerate(self.shares):
            self.order("mount", tag=f"share{number}", at=str(share.at), ro=not share.writable)

    def order(self, name, wait=60, output=None, **details):
        self.port.sendall(json.dumps({"order": name, **details}).encode() + b"\n")
        outcome = json.loads(self.frames(b"x", time.monotonic() + wait, f"no answer to {name}", output))
        if "error" in outcome:
            raise Broken(f"{name}: {outcome['error']}")
        return outcome

    def run(self, argv, user="root", env=None, cwd="/", limit=600, output=None):
        """A command's exit status. `output` is called with its bytes, and whether they are errors."""
        details = {"argv": argv, "user": user, "env": env or {}, "cwd": cwd, "limit": limit}
        outcome = self.order("run", limit + GRACE, output or copy, **details)
        if outcome["over"]:
            note(f"stopped after its limit of {limit} s: {' '.join(argv)[:200]}")
            return 124
        return outcome["status"]

    def frames(self, until, end, trouble, output=None):
        """Reads to the frame of that kind and gives its data."""
        while True:
            while len(self.pending) >= 5:
                size = struct.unpack(">I", self.pending[1:5])[0]
                if len(self.pending) < 5 + size:
                    break
                kind, data = self.pending[:1], self.pending[5 : 5 + size]
                self.pending = self.pending[5 + size :]
                if kind == until:
                    return data
                if output:
                    output(data, kind == b"e")
            if time.monotonic() > end:
                raise Broken(trouble)
            try:
                more = self.port.recv(1 << 20)
            except TimeoutError:
                continue
            if not more:
                self.qemu.wait()
                raise Broken(f"{trouble}: the guest is gone")
            self.pending += more

    def off(self):
        self.port.sendall(b'{"order": "off"}\n')
        try:
            self.qemu.wait(GRACE)
        except subprocess.TimeoutExpired:
            note("the guest did not switch itself off")

    def tail(self, lines=40):
        """What explains a failure: the end of the serial console, and QEMU's own words."""
        parts = []
        for name in ["console", "qemu"]:
            path = self.dir / name
            text = path.read_text(errors="replace").strip() if path.exists() else ""
            if text:
                parts.append(f"-- the end of {name}:\n" + "\n".join(text.splitlines()[-lines:]))
        return "\n".join(parts) or "-- nothing on the serial console"


def copy(data, is_error):
    stream = sys.stderr.buffer if is_error else sys.stdout.buffer
    stream.write(data)
    stream.flush()


def ends_on_signals():
    """So that `with Guest` ends the guest whichever way this process goes."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
