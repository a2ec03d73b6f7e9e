#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a small Debian root file system for the tests, by debootstrap's first stage (files in place, no
# package configured), from the mirror that this machine's apt uses. Made once; prints its path.
# Usage: hack/debian-root.sh [DIR]
set -eu
cd "$(dirname "$0")/.."
dir=${1:-build/debian-root}
if [ ! -e "$dir/.complete" ]; then
    mirror=$(hack/debian-mirror.sh)
    rm -rf "$dir"
    mkdir -p "$(dirname "$dir")"
    debootstrap --foreign --variant=minbase "${mirror#* }" "$dir" "${mirror% *}" >"$dir.log" 2>&1 ||
        { tail -5 "$dir.log" >&2; exit 1; }
    # The package files are not needed, nor what the second stage would read.
    rm -rf "$dir/var/cache/apt/archives" "$dir/debootstrap" "$dir.log"
    # The first stage may point these at the host's.
    for mount_point in proc sys dev; do
        rm -rf "${dir:?}/$mount_point"
        mkdir "$dir/$mount_point"
    done
    : >"$dir/.complete"
fi
realpath "$dir"
