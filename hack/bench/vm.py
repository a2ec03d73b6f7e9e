#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench.py, or another program of this directory, in a guest of hack/vm: cgroup v2 with all controllers, systemd,
Debian 13's crun and runc. It has no compiler, so measure and floor are compiled here. The guest is emulated: compare
ratios, no milliseconds with those of elsewhere.

    hack/bench/vm.py bench.py --limits      the smallest memory limit under which busybox starts
    hack/bench/vm.py systemd.py             the systemd driver: time, and messages over the bus

What follows the program's name are its own options; the exit status is its own. -s DIR before it shares a directory
for reading, with other runtimes to compare with.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from subjects import compile_tool, libc, write_filter

HERE = Path(__file__).resolve().parent
LIMIT = 3600


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-s", "--share", action="append", default=[], metavar="DIR")
    parser.add_argument("program", choices=["bench.py", "systemd.py"])
    parser.add_argument("options", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="creel-tools-") as folder:
        tools = Path(folder)
        config = json.loads((HERE / "bundle.json").read_text())
        write_filter(config, tools)
        (tools / "libc").write_text(libc())
        for name in ("floor", "measure"):
            compile_tool(name, tools, tools)
        shares = [word for path in [folder, *options.share] for word in ("-s", path)]
        inside = ["python3", str(HERE / options.program), "--tools", folder, *options.options]
        vm = [str(HERE.parent / "vm/vm"), "run", *shares, "-e", "PYTHONDONTWRITEBYTECODE=1", "-l", str(LIMIT)]
        return subprocess.run([*vm, *inside]).returncode


sys.exit(main())
