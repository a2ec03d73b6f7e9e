# SPDX-License-Identifier: Apache-2.0
"""The guest's image and its snapshot, made once for what goes into them and kept outside of the tree."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import machine
from machine import Broken, Guest, note

HERE = Path(__file__).resolve().parent
INPUTS = ["image.sh", "guest/agent", "guest/agent.service"]
KEPT = 3


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("VM_CACHE") or Path(base) / "creel-vm")


def digest(*parts):
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def qemu_version():
    try:
        words = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise Broken("qemu-system-x86_64 is missing: hack/deps.sh vm") from None
    return words.splitlines()[0].removeprefix("QEMU emulator version ")


def image_dir():
    return cache() / digest(*[(HERE / name).read_bytes() for name in INPUTS])


def snapshot_dir(image):
    return image / f"snapshot-{digest(json.dumps(machine.settings()).encode(), qemu_version().encode())}"


def has_snapshots():
    """Memory in a file that the guest reads as it needs it: QEMU 9."""
    return int(qemu_version().split(".")[0]) >= 9 and not os.environ.get("VM_COLD")


@contextmanager
def locked(name):
    """One maker at a time; the others wait, and find what it made."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make(path, how):
    """A directory that is there whole, or not at all."""
    new = path.with_name(path.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        how(new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    new.rename(path)


def build(new):
    if os.geteuid() != 0:
        raise Broken("the image is made as root (debootstrap)")
    if subprocess.run([HERE / "image.sh", new]).returncode:
        raise Broken("the image could not be made")


def snapshot(image, new):
    begun = time.monotonic()
    disk = new / "disk.qcow2"
    # By a relative name: the directory is renamed when it is whole.
    backing = ["-b", "../root.img", "-F", "raw"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, disk], check=True)
    with Guest(image) as guest:
        try:
            guest.boot(disk, keep=True)
            note(f"booted in {time.monotonic() - begun:.0f} s")
            guest.save(new)
        except Broken as error:
            raise Broken(f"{error}\n{guest.tail()}") from None


def prune(current):
    """Images of other states of the sources, but the last few: other work trees may have them."""
    others = [path for path in cache().iterdir() if (path / "used").exists() and path != current]
    others.sort(key=lambda path: (path / "used").stat().st_mtime, reverse=True)
    for path in others[KEPT - 1 :]:
        note(f"removing the old image {path.name}")
        shutil.rmtree(path, ignore_errors=True)


def ensure():
    """The image's directory and the snapshot's, None without one; both are made if they are missing."""
    image = image_dir()
    qemu_version()
    with locked("lock"):
        if not image.exists():
            note(f"making the image {image.name} in {cache()}")
            make(image, build)
        (image / "used").touch()
        prune(image)
        if not has_snapshots():
            note("booting each time: snapshots take QEMU 9, and VM_COLD unset")
            return image, None
        kept = snapshot_dir(image)
        if not kept.exists():
            make(kept, lambda new: snapshot(image, new))
        return image, kept


@contextmanager
def started(shares):
    """A fresh guest with these shares."""
    image, kept = ensure()
    with Guest(image, shares) as guest:
        begun = time.monotonic()
        try:
            if kept:
                guest.restore(kept)
            else:
                guest.boot()
            guest.settle()
            note(f"guest ready in {time.monotonic() - begun:.1f} s (pid {guest.qemu.pid})")
            yield guest
            guest.off()
        except Broken as error:
            raise Broken(f"{error}\n{guest.tail()}") from None
