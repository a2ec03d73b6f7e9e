#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs QEMU, as root: on Debian 12 from its backports, as 12's own is too old for snapshots of a
# guest's memory (it boots each time); else, and if there are none, the distribution's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v qemu-system-x86_64 >/dev/null && command -v qemu-img >/dev/null && exit 0
[ "$(id -u)" = 0 ] || { echo "qemu.sh: as root: apt-get install qemu-system-x86 qemu-utils" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
packages=(qemu-system-x86 qemu-utils)

from_backports() {
    local mirror=$1 release=$2 dir apt
    dir=$(mktemp -d)
    mkdir -p "$dir/lists/partial"
    printf 'deb %s %s main\n' "$mirror" "$release" "$mirror" "$release-backports" >"$dir/sources"
    # A source file of its own: the machine's are left as they are.
    apt=(apt-get -qq -o Dir::Etc::sourcelist="$dir/sources" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists="$dir/lists" -o Acquire::Check-Valid-Until=false)
    "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends -t "$release-backports" "${packages[@]}"
    local done=$?
    rm -rf "$dir"
    return $done
}

read -r mirror release < <("$here/../debian-mirror.sh") || release=none
if [ "$release" = bookworm ]; then
    from_backports "$mirror" "$release" >/dev/null && exit 0
    echo "qemu.sh: nothing from backports: taking the distribution's QEMU" >&2
fi
apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || {
    apt-get update -qq && apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
}
