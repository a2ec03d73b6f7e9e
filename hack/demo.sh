#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a bundle from busybox and runs one container whose output shows what it is isolated from.
# Usage: hack/demo.sh CREEL
set -eu
creel=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/rootfs/bin"
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for applet in sh hostname id ps ls mount grep cat echo touch ip wc; do
    ln -s busybox "$work/rootfs/bin/$applet"
done
cat >"$work/rootfs/demo" <<'EOS'
echo "Hello from a container made by creel."
echo "  host name      $(hostname)"
echo "  my pid         $$"
echo "  processes      $(ps | wc -l) lines of ps, where the host has $HOST_PROCESSES"
echo "  interfaces     $(ls /sys/class/net | tr '\n' ' ')"
echo "  user           $(id -u), capabilities $(grep CapEff /proc/self/status | cut -f2)"
echo "  seccomp, nnp   $(grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | cut -f2 | tr '\n' ' ')"
touch /x 2>/dev/null && echo "  root           writable" || echo "  root           read-only"
echo "  /proc/keys     $(wc -c </proc/keys) bytes (masked)"
EOS
(cd "$work" && "$creel" spec)
sed -i -e 's/"terminal": true/"terminal": false/' -e 's|"sh"|"/bin/sh", "/demo"|' \
    -e "s|\"TERM=xterm\"|\"TERM=xterm\", \"HOST_PROCESSES=$(ps ax | wc -l)\"|" "$work/config.json"
"$creel" run --bundle "$work" "creel-demo-$$"
echo
echo "That was: creel spec; creel run --bundle DIR ID. Next: make test, make install, README.md."
