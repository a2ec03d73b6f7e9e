#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a container finds mounted, by creel and by its peers: /proc/self/mountinfo from inside, for a
table of configs. Every difference is printed; those with a reason in EXPECTED (and docs/compat.md)
are no failure.

    hack/mount-table.py --creel build/creel [--peer runc=/usr/sbin/runc] [--peer crun=/usr/bin/crun] [NAME...]

Needs root and busybox. Works in a mount namespace of its own; crun refuses a hybrid cgroup machine,
so the table is taken without the cgroup2 side of one.
"""

import argparse
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]
BASE = {
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/busybox", "sh", "-c", "cat /proc/self/mountinfo; echo; stat -c '%n %a %u:%g %F' $LOOK"],
        "env": ["PATH=/bin", "LOOK=/mnt/a"],
        "cwd": "/",
    },
    "root": {"path": "rootfs"},
    "hostname": "table",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    ],
    "linux": {
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        "resources": {"devices": [{"allow": True, "access": "rwm"}]},
    },
}

# Runtime, rows, why creel's answer is another one. See docs/compat.md.
EXPECTED = [
    ("runc", "tmpfs r(ro|noatime)", "runc takes recursive options for bind mounts only, and drops them elsewhere"),
    ("runc", "cgroup ro", "runc leaves the tmpfs over the v1 hierarchies writable"),
    ("runc", "cgroup rw", "v1 hierarchies in another order"),
    ("runc", "id-mapped tmpfs", "runc maps the ids of bind mounts only"),
    ("runc", "user namespace, idmap", "runc cannot copy the source in the clone's mount namespace"),
    ("crun", "tmpfs (no)?symfollow|tmpfs (silent|loud)", "crun does not know the option"),
    ("crun", "tmpfs (rshared|unbindable)", "crun drops the propagation of a new filesystem"),
    ("crun", "tmpfs on a new directory", "crun gives the directory on the way a mode of 1755"),
    ("crun", "bind bind,nosymfollow|bind rbind,r(nosymfollow|relatime)", "crun takes relatime for nosymfollow, and does not know that"),
    ("crun", "(bind rbind,|tmpfs )r(no|nodir|strict)atime", "crun sets the access time without clearing the old mode"),
    ("crun", "bind rbind,ro,rrw", "crun's rrw does not undo ro"),
    ("crun", "bind r?bind,r?(shared|unbindable)", "crun makes all private again"),
    ("crun", "(user namespace, )?tight source, (bind|bind,noexec|rbind,rrw)", "crun clears the source's flags that are not named"),
    ("crun", "tight source, bind,ro", "crun keeps the source's flags for ro only"),
    ("crun", "user namespace, tight source, bind,(rw|suid|atime|strictatime|nodiratime)", "crun clears locked flags through a mount that its parent made"),
    ("crun", "proc nosuid.*|sysfs|user namespace|ext4.*", "crun sets ro on the mount only, not on the filesystem"),
    ("crun", "cgroup r[ow]", "another tmpfs over the v1 hierarchies; crun's nosymfollow"),
    ("crun", "masked paths", "crun covers files with the host's null device, directories with one of its state directory"),
    ("crun", "devices", "crun makes /dev/core where there is no /proc/kcore"),
    ("crun", "id-mapped tmpfs", "crun does not hand the mode of the directory on"),
    ("crun", "user namespace, device", "crun binds a file of its own where the host's ids are not mapped"),
    ("crun", "proc file not listed", "crun has no list"),
]


def reason_for(runtime, name):
    return next((why for who, rows, why in EXPECTED if who == runtime and re.fullmatch(rows, name)), None)


def mount(kind, options=(), source=None, at="/mnt/a", **more):
    return {"destination": at, "type": kind, "source": source or kind, "options": list(options), **more}


def bind(options, source="src", at="/mnt/a", **more):
    return mount("bind", options, f"@BUNDLE@/{source}", at, **more)


def rows():
    """Name, list of further mounts, change of the config."""
    def one(name, *mounts, **change):
        return name, list(mounts), change

    for option in ("ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime",
                   "nodiratime", "diratime", "relatime", "norelatime", "strictatime", "nostrictatime",
                   "sync", "async", "dirsync", "lazytime", "nolazytime", "nosymfollow", "symfollow",
                   "silent", "loud", "size=1m", "mode=0700", "mode=1777,uid=5,gid=6", "nr_inodes=100",
                   "tmpcopyup", "rshared", "slave", "private", "unbindable", "rro", "rnoatime"):
        yield one(f"tmpfs {option}", mount("tmpfs", option.split(",")))
    yield one("tmpfs plain", mount("tmpfs"))
    yield one("tmpfs tmpcopyup ro", mount("tmpfs", ["tmpcopyup", "ro", "nosuid"]))
    yield one("tmpfs on a directory with a mode", mount("tmpfs", at="/mode"), look="/mode")
    yield one("tmpfs on a new directory", mount("tmpfs", at="/new/er"), look="/new /new/er")
    yield one("tmpfs through a link", mount("tmpfs", at="/link/x"), look="/mnt/a/x")
    for option in ("bind", "rbind", "bind,ro", "rbind,ro", "bind,nosuid,nodev", "bind,noexec", "bind,noatime",
                   "bind,strictatime", "bind,relatime", "bind,nodiratime", "bind,nosymfollow", "rbind,rro",
                   "rbind,rnosuid,rnodev", "rbind,rnoexec", "rbind,rnoatime", "rbind,rnodiratime",
                   "rbind,rstrictatime", "rbind,rrelatime", "rbind,rnosymfollow", "rbind,ro,rrw",
                   "rbind,private", "rbind,rprivate", "rbind,shared", "rbind,rshared", "rbind,slave",
                   "rbind,rslave", "bind,unbindable", "rbind,runbindable", "bind,sync", "bind,rw", "bind,suid"):
        yield one(f"bind {option}", bind(option.split(",")))
    for option in ("bind", "bind,rw", "bind,suid,exec,dev", "bind,ro", "rbind,rrw", "bind,atime", "bind,relatime"):
        yield one(f"tight source, {option}", bind(option.split(","), "tight"))
    yield one("bind of a file", bind(["bind", "ro"], "src/file", "/mnt/made/file"), look="/mnt/made/file")
    yield one("bind without a type", mount("", ["bind"], "@BUNDLE@/src"))
    yield one("bind of type none", mount("none", ["rbind"], "@BUNDLE@/src"))
    yield one("bind, then remount", bind(["bind"]), bind(["bind", "remount", "ro"]))
    yield one("bind over a mount", mount("tmpfs"), bind(["bind"]))
    yield one("bind below a mount", mount("tmpfs"), bind(["bind"], at="/mnt/a/b"))
    yield one("bind from inside the root", bind(["bind"], "rootfs/mnt"))
    for option in ("", "hidepid=2", "subset=pid", "nosuid,nodev,noexec,ro"):
        yield one(f"proc {option}", mount("proc", filter(None, option.split(","))))
    yield one("sysfs", mount("sysfs", ["nosuid", "noexec", "nodev", "ro"], at="/sys"))
    yield one("mqueue", mount("mqueue", ["nosuid", "noexec", "nodev"], at="/dev/mqueue"))
    yield one("devpts", mount("devpts", ["newinstance", "gid=5"]))
    yield one("ramfs", mount("ramfs"))
    yield one("overlay", mount("overlay", ["lowerdir=@BUNDLE@/src", "upperdir=@BUNDLE@/up", "workdir=@BUNDLE@/work"]))
    yield one("ext4 on a loop device", mount("ext4", ["ro"], "@LOOP@"))
    yield one("cgroup ro", mount("cgroup", ["nosuid", "noexec", "nodev", "ro", "relatime"], at="/sys/fs/cgroup"))
    yield one("cgroup rw", mount("cgroup", ["nosuid", "noexec", "nodev", "rw"], at="/sys/fs/cgroup"))
    for form in ("shared", "slave", "private", "unbindable"):
        for kind in (form, "r" + form):
            yield one(f"rootfsPropagation {kind}", linux={"rootfsPropagation": kind})
    yield one("rootfsPropagation rshared with a shared bind", bind(["rbind", "rshared"]), linux={"rootfsPropagation": "rshared"})
    yield one("read-only root", mount("tmpfs"), root={"path": "rootfs", "readonly": True})
    yield one("masked paths", linux={"maskedPaths": ["/proc/keys", "/proc/none", "/mnt/a", "/etc/passwd", "/mode"]})
    yield one("read-only paths", linux={"readonlyPaths": ["/proc/sys", "/proc/none", "/mnt/a", "/etc/passwd"]})
    yield one("/dev as a bind", mount("bind", ["rbind"], "/dev", "/dev"))
    yield one("read-only /dev", mount("tmpfs", ["ro", "nosuid"], at="/dev"))
    yield one("devices", linux={"devices": [
        {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1, "gid": 2},
        {"path": "/dev/deep/er", "type": "c", "major": 1, "minor": 5},
        {"path": "/dev/fifo", "type": "p"}]}, look="/dev/x /dev/deep/er /dev/fifo /dev/null /dev/ptmx /dev/fd /dev/core")
    maps = {"uidMappings": [{"containerID": 0, "hostID": 7000, "size": 1000}],
            "gidMappings": [{"containerID": 0, "hostID": 8000, "size": 1000}]}
    yield one("id-mapped bind", bind(["bind"], **maps), look="/mnt/a /mnt/a/file")
    yield one("id-mapped bind by option", bind(["bind", "idmap"], **maps), look="/mnt/a /mnt/a/file")
    yield one("recursively id-mapped bind", bind(["rbind", "ridmap"], **maps), look="/mnt/a /mnt/a/below")
    yield one("id-mapped tmpfs", mount("tmpfs", ["idmap"], **maps))
    yield one("idmap without maps", bind(["bind", "idmap"]))
    yield one("id-mapped proc", mount("proc", ["idmap"], **maps))
    yield one("user namespace", mount("sysfs", ["ro"], at="/sys"), mount("mqueue", at="/dev/mqueue"), user=True)
    yield one("user namespace, idmap", bind(["bind", "idmap"]), user=True, look="/mnt/a /mnt/a/file")
    yield one("user namespace, device", user=True, linux={"devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]}, look="/dev/fuse /dev/null")
    for option in ("bind", "bind,rw", "bind,suid", "bind,ro", "bind,noexec", "bind,atime", "bind,strictatime", "bind,nodiratime"):
        yield one(f"user namespace, tight source, {option}", bind(option.split(","), "tight"), user=True)
    yield one("proc file", bind(["bind"], "src/file", "/proc/cpuinfo"))
    yield one("proc file not listed", bind(["bind"], "src/file", "/proc/version"))


class Site:
    def __init__(self, work):
        self.work = work
        self.loop = None

    def run(self, *command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def prepare(self, bundle):
        root = bundle / "rootfs"
        for path in ("bin", "proc", "sys", "dev", "etc", "mnt/a", "mode", "tmp"):
            (root / path).mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), root / "bin/busybox")
        for tool in ("sh", "cat", "stat"):
            (root / "bin" / tool).symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:0:0::/:\n")
        (root / "mnt/a/here").write_text("x")
        (root / "link").symlink_to("/mnt/a")
        os.chmod(root / "mode", 0o1710)
        for name in ("src", "tight", "up", "work"):
            (bundle / name).mkdir()
        self.run("mount", "-t", "tmpfs", "src", bundle / "src")
        self.run("mount", "--make-shared", bundle / "src")
        (bundle / "src/file").write_text("text")
        (bundle / "src/below").mkdir()
        self.run("mount", "-t", "tmpfs", "-o", "noexec", "below", bundle / "src/below")
        self.run("mount", "-t", "tmpfs", "-o", "ro,nosuid,nodev,noexec,noatime", "tight", bundle / "tight")

    def loop_device(self):
        """An ext4 image; None where there are no loop devices or mkfs."""
        if self.loop is None:
            image = self.work / "image"
            try:
                with open(image, "wb") as file:
                    file.truncate(4 << 20)
                self.run("mkfs.ext4", "-q", image)
                self.loop = subprocess.run(["losetup", "--show", "-f", image], check=True, capture_output=True, text=True).stdout.strip()
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"SKIP ext4 on a loop device: {error}")
                self.loop = ""
        return self.loop

    def close(self):
        if self.loop:
            self.run("losetup", "-d", self.loop)


def config_of(bundle, site, mounts, change):
    config = copy.deepcopy(BASE)
    config["mounts"] += mounts
    change = dict(change)
    look = change.pop("look", None)
    if look:
        config["process"]["env"][-1] = f"LOOK={look}"
    if change.pop("user", False):
        config["linux"]["namespaces"] += [{"type": "user"}]
        config["linux"] |= {"uidMappings": MAP, "gidMappings": MAP}
    config["linux"] |= change.pop("linux", {})
    config |= change
    text = json.dumps(config).replace("@BUNDLE@", str(bundle))
    if "@LOOP@" in text:
        text = text.replace("@LOOP@", site.loop_device())
    return text


OPTION_NOISE = re.compile(r"^(inode64|huge=.*|seclabel|size=\d+k|nr_inodes=\d+k?)$")


def normal(line, names):
    """One line of mountinfo, without what differs from run to run."""
    left, right = line.split(" - ")
    fields = left.split()
    kind, source, superblock = right.split(" ", 2)
    peers = " ".join(sorted(re.sub(r":\d+", "", field) for field in fields[6:]))
    def options(text):
        return ",".join(sorted(text.split(",")))
    text = f"{fields[4]}: {kind} {source} of {fields[3]} ({options(fields[5])}) [{options(superblock)}] {peers}".rstrip()
    for name, to in names:
        text = text.replace(name, to)
    return text


def outcome(runtime, path, work, site, name, mounts, change):
    bundle = Path(tempfile.mkdtemp(dir=work))
    os.chmod(bundle, 0o755)
    try:
        site.prepare(bundle)
        if change.get("user"):
            subprocess.run(["chown", "-R", "100000:100000", bundle / "rootfs"], check=True)
        (bundle / "config.json").write_text(config_of(bundle, site, mounts, change))
        ident = f"mount-table-{os.getpid()}"
        base = [path, "--root", str(work / f"state-{runtime}")]
        ran = subprocess.run([*base, "run", "--bundle", bundle, ident], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        subprocess.run([*base, "delete", "--force", ident], capture_output=True, timeout=60)
        if "\n\n" not in ran.stdout:
            return None, (ran.stderr.strip().splitlines() or ["no output"])[-1]
        mountinfo, _, look = ran.stdout.partition("\n\n")
        names = [(str(bundle), "BUNDLE"), (bundle.name, "BUNDLE"), (ident, "ID")]
        return [normal(line, names) for line in mountinfo.splitlines()] + look.splitlines(), ran.stderr.strip()
    finally:
        for top in ("tight", "src"):
            subprocess.run(["umount", "-R", bundle / top], capture_output=True)
        shutil.rmtree(bundle)


def of_crun(lines):
    """crun makes what it binds private where runc and creel keep it a slave, and its devices in user
    namespaces nosuid and noexec."""
    device = re.compile(r"^(/dev/\w+: devtmpfs .*)\((?:noexec,nosuid,)?")
    return [device.sub(r"\1(", re.sub(r" master\b", "", line)) for line in lines]


def differences(runtime, ours, theirs):
    (mine, said), (other, told) = ours, theirs
    if mine is None and other is None:
        return []
    if mine is None or other is None:
        return [f"creel: {'refuses: ' + said if mine is None else 'takes it'}", f"peer: {'refuses: ' + told if other is None else 'takes it'}"]
    if runtime == "crun":
        mine, other = of_crun(mine), of_crun(other)
        # Devices in another order.
        mine, other = sorted(mine), sorted(other)
    found = [f"only creel: {line}" for line in mine if line not in other]
    found += [f"only peer: {line}" for line in other if line not in mine]
    if not found and mine != other:
        found.append("in another order")
    return found


def table(options, work):
    site = Site(work)
    same = expected = surprises = 0
    try:
        for name, mounts, change in rows():
            if options.names and not any(wanted in name for wanted in options.names):
                continue
            if "loop" in name and not site.loop_device():
                continue
            ours = outcome("creel", options.creel, work, site, name, mounts, change)
            for peer in options.peer:
                runtime, path = peer.split("=", 1)
                found = differences(runtime, ours, outcome(runtime, path, work, site, name, mounts, change))
                reason = reason_for(runtime, name)
                if not found and not reason:
                    same += 1
                    continue
                if found and reason:
                    expected += 1
                    print(f"differs {runtime}: {name}: {reason}")
                else:
                    surprises += 1
                    print(f"DIFFERS {runtime}: {name}" + ("" if found else f": no longer, but expected: {reason}"))
                if not reason or options.verbose:
                    print("".join(f"    {line}\n" for line in found), end="")
    finally:
        site.close()
    print(f"{same} the same, {expected} differ as expected, {surprises} surprises")
    return surprises == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--creel", required=True)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--verbose", action="store_true", help="also what differs as expected")
    parser.add_argument("names", nargs="*", help="rows whose name contains one of these")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("SKIP mount-table: needs root")
        return True
    if os.environ.get("MOUNT_TABLE") != "inside":
        os.environ["MOUNT_TABLE"] = "inside"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    if os.path.isdir("/sys/fs/cgroup/unified"):
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)
    options.peer = options.peer or [f"{name}={path}" for name in ("runc", "crun") if (path := shutil.which(name))]
    options.creel = os.path.realpath(options.creel)
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o755)
        return table(options, Path(work))


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
