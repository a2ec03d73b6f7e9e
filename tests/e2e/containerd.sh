#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# End to end: containerd, started by hand in its own namespaces, runs containers with RUNTIME.
#
#   sudo tests/e2e/containerd.sh               the release build of this tree
#   sudo RUNTIME=/usr/sbin/runc tests/e2e/containerd.sh
#   E2E_CGROUPS=v1                             hide a hybrid machine's cgroup2 (crun needs that)
#   ONLY=PATTERN                               only the tests whose name matches the glob
#
# Prints TAP and a closing count. Without the tools it needs it prints what is missing and fails,
# or succeeds if E2E_ALLOW_SKIP=1.

. "$(dirname "$0")/lib.sh" || exit 1
need containerd=containerd ctr=containerd containerd-shim-runc-v2=containerd busybox=busybox-static \
  jq=jq python3=python3 ip=iproute2 unshare=util-linux script=bsdutils
sandbox "$0"

NS=$E2E_ID                     # the containerd namespace is the cgroup parent's name as well
STATE=$E2E_DIR/state
ADDRESS=$E2E_DIR/containerd.sock
CALLS=$E2E_DIR/calls
WRAPPER=$E2E_DIR/bin/runc       # stands for RUNTIME and notes the calls
IMAGE=e2e.test/busybox:latest
USER_IMAGE=e2e.test/user:latest
RUNTIME_ROOT=/run/containerd/runc/$NS

ctr() { timeout --foreground -k 5 60 ctr --address "$ADDRESS" --namespace "$NS" "$@"; }
# run [OPTION...] ID COMMAND: in the foreground, removed afterwards
run() { ctr run --rm --runc-binary "$WRAPPER" "${OPTIONS[@]}" "$IMAGE" "$@"; }
# with OPTION... -- ID COMMAND
with() {
  local OPTIONS=()
  while [ "$1" != -- ]; do OPTIONS+=("$1"); shift; done
  shift
  run "$@"
}
OPTIONS=()
# background ID COMMAND: detached
background() { ctr run -d --runc-binary "$WRAPPER" "${OPTIONS[@]}" "$IMAGE" "$@" </dev/null; }
execute() { local id=$1; shift; ctr task exec --exec-id "x$RANDOM$RANDOM" "${EXEC[@]}" "$id" "$@"; }
EXEC=()
status() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
pid() { ctr task ls | awk -v id="$1" '$1 == id { print $2 }'; }
is() { [ "$(status "$1")" = "$2" ]; }
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
# remove ID: whatever state it is in
remove() {
  ctr task delete --force "$1" >/dev/null 2>&1
  ctr container delete "$1" >/dev/null 2>&1
}
# cgroup_file ID V1 V2: the value of a limit, "V1" being controller/file and "V2" a file.
cgroup_file() {
  local h
  for h in $(hierarchies); do
    [ "${h##*/}" = "${2%%/*}" ] && [ -f "$h/$NS/$1/${2#*/}" ] && cat "$h/$NS/$1/${2#*/}" && return
  done
  for h in $(hierarchies); do
    [ -f "$h/$NS/$1/$3" ] && cat "$h/$NS/$1/$3" && return
  done
  return 1
}
# ended ID CODE: deletes a stopped task, whose exit code ctr only tells in words
ended() {
  local out; out=$(ctr task delete "$1" 2>&1) || fail "delete: $out"
  has "$out" "exit code $2"
}
# left ID: what a container that is gone should not have left
left() {
  local h
  for h in $(hierarchies); do [ ! -e "$h/$NS/$1" ] || echo "cgroup $h/$NS/$1"; done
  [ ! -e "$RUNTIME_ROOT/$1" ] || echo "$RUNTIME_ROOT/$1"
  [ ! -e "$STATE/io.containerd.runtime.v2.task/$NS/$1" ] || echo "the task's directory"
  grep "/$NS/$1/" /proc/self/mounts
}
nothing_left() { local l; l=$(left "$1"); [ -z "$l" ] || fail "left by $1: $l"; }
explain() { grep 'level=error' "$E2E_DIR/containerd.log" | tail -n 3 | cut -c1-300 | sed 's/^/# containerd: /'; }

start_containerd() {
  cat >"$E2E_DIR/config.toml" <<-TOML
	version = 2
	root = "$E2E_DIR/root"
	state = "$STATE"
	disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
	[grpc]
	  address = "$ADDRESS"
	[ttrpc]
	  address = "$ADDRESS.ttrpc"
	TOML
  mkdir -p "$E2E_DIR/root" "$STATE"
  chmod 711 "$E2E_DIR/root" "$STATE"
  PATH=$E2E_DIR/bin:$PATH containerd --config "$E2E_DIR/config.toml" --log-level info </dev/null >>"$E2E_DIR/containerd.log" 2>&1 &
  echo $! >"$E2E_DIR/daemon"
  wait_for 30 ctr version
}

import_image() {
  busybox_root "$E2E_DIR/rootfs"
  oci_image "$E2E_DIR/layout" "$IMAGE" "$E2E_DIR/rootfs" \
    '{"Env":["PATH=/bin","FROM_IMAGE=yes"],"Cmd":["sh"],"WorkingDir":"/"}'
  oci_image "$E2E_DIR/layout" "$USER_IMAGE" "$E2E_DIR/rootfs" \
    '{"Env":["PATH=/bin"],"Cmd":["sh"],"User":"user","WorkingDir":"/tmp"}'
  tar -C "$E2E_DIR/layout" -cf "$E2E_DIR/image.tar" oci-layout index.json blobs
  ctr images import --all-platforms "$E2E_DIR/image.tar" >/dev/null || return 1
  has "$(ctr images ls -q)" "$IMAGE"
}

t_calls() {
  local c
  for c in create start exec kill delete pause resume update ps; do
    grep -qE -- "--root [^ ]+ .*--log-format json .*\b$c\b" "$CALLS" || fail "containerd never gave the command $c"
  done
}
t_clean() {
  local out
  out=$(ctr task ls -q; ctr container ls -q; pgrep -fa containerd-shim; ls -A "$RUNTIME_ROOT" 2>/dev/null
    pgrep -fa "$WRAPPER|$RUNTIME"; grep "$STATE" /proc/self/mounts
    for h in $(hierarchies); do find "$h/$NS" -mindepth 1 -type d 2>/dev/null; done)
  same "" "$out" left
}

# ctr for use under script(1), which runs programs and not functions
printf '#!/bin/sh\nexec "%s" --address "%s" --namespace "%s" "$@"\n' "$(command -v ctr)" "$ADDRESS" "$NS" \
  >"$E2E_DIR/ctr_alone"
chmod 755 "$E2E_DIR/ctr_alone"
PATH=$PATH:$E2E_DIR
mkdir "$E2E_DIR/bin"
head -c 3000000 /dev/urandom >"$E2E_DIR/noise"
recorder "$WRAPPER" "$CALLS"
start_containerd
echo "# $("$RUNTIME" --version | head -n 1), $(containerd --version | cut -d' ' -f1,3)"
check "import of an image made here" import_image

. "$HERE/containerd/run.sh"
. "$HERE/containerd/errors.sh"
. "$HERE/containerd/detached.sh"
. "$HERE/containerd/ending.sh"
if [ "${ONLY:-*}" = "*" ]; then
  check "containerd gave the commands" t_calls
  check "nothing is left" t_clean
  check "the null device is untouched" null_device
fi
kill "$(cat "$E2E_DIR/daemon")"
finish
