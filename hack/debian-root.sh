#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a small Debian root file system for the tests, by debootstrap's first stage (files in place, no
# package configured), from the mirror that this machine's apt uses. Made once; prints its path.
# Usage: hack/debian-root.sh [DIR]
set -eu
cd "$(dirname "$0")/.."
dir=${1:-build/debian-root}
if [ ! -e "$dir/.complete" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN) $(COMPONENT)' 'Identifier: Packages' |
        awk '$3 == "Debian" && $4 == "main" && $2 !~ /-/ { print $1, $2; exit }')
    [ -n "$mirror" ] || { echo "debian-root.sh: apt knows no Debian mirror: run apt-get update" >&2; exit 1; }
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
