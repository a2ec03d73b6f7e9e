# SPDX-License-Identifier: Apache-2.0
# What the end-to-end tests share: TAP output, the sandbox they run in, and its removal.
#
# A test script sources this file, states what it needs, and calls `sandbox "$@"`. That runs the
# script once more as the first process of its own pid, mount and net namespaces, with a tmpfs on
# /run, and removes whatever is left when that process is gone: processes die with the pid
# namespace, mounts with the mount namespace; cgroups and files are removed by exact name.

set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
RUNTIME=${RUNTIME:-$ROOT/build/creel}

passed=0 failed=0 skipped=0
diag() { sed 's/^/# /' <<<"$*"; }

# check NAME COMMAND [ARG...]: one test. COMMAND explains itself with `diag` or `fail`.
# It may return 77 after `skip REASON`.
check() {
  local name=$1 n=$((passed + failed + skipped + 1)) out rc
  shift
  out=$(set -u; "$@" 2>&1)
  rc=$?
  if [ $rc = 0 ]; then
    passed=$((passed + 1)); echo "ok $n - $name"
  elif [ $rc = 77 ]; then
    skipped=$((skipped + 1)); echo "ok $n - $name # SKIP ${out##*$'\n'}"
  else
    failed=$((failed + 1)); echo "not ok $n - $name"
    diag "${out:-exit code $rc, nothing printed}"
    explain
  fi
}

# tests: reads lines "FUNCTION NAME", runs those whose name matches the glob ONLY.
tests() {
  local test name
  while read -r -u 3 test name; do
    # shellcheck disable=SC2053 # a glob on purpose
    [[ $name == ${ONLY:-*} ]] && check "$name" "$test" 3<&-
  done 3<&0 </dev/null
}

# Called after a failure; a script replaces it to show logs.
explain() { :; }
skip() { echo "$*"; exit 77; }
fail() { echo "$*"; exit 1; }

# same WANT GOT [WHAT]
same() { [ "$1" = "$2" ] || fail "${3:-value}: want '$1', got '$2'"; }
# has TEXT PART
has() { [[ $1 == *"$2"* ]] || fail "no '$2' in: $1"; }
# code WANT COMMAND...: the command's exit code; its output goes on.
code() {
  local want=$1 rc
  shift
  "$@"; rc=$?
  [ $rc = "$want" ] || { echo "exit code: want $want, got $rc: $*" >&2; return 1; }
}
# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "never came: $*"
    sleep 0.1
  done
}

# The manager sets a new terminal's size a little after the start.
SIZED='for i in 1 2 3 4 5 6 7 8 9; do [ "$(stty size)" = "33 77" ] && break; sleep 0.2; done; stty size'

# in_terminal COMMAND...: under a pseudo terminal of 33 by 77; prints without carriage returns.
in_terminal() {
  local line
  printf -v line '%q ' "$@"
  rm -f "$E2E_DIR/typed"; mkfifo "$E2E_DIR/typed"
  # Open for reading and writing: its end never comes.
  timeout -k 5 60 script -qec "stty rows 33 cols 77; $line" /dev/null 0<>"$E2E_DIR/typed" | tr -d '\r'
  return "${PIPESTATUS[0]}"
}

finish() {
  echo "1..$((passed + failed + skipped))"
  echo "$passed passed, $failed failed, $skipped skipped"
  [ $failed = 0 ]
}

# need_tools TOOL=PACKAGE...: without them nothing is tested, which is only a success where
# E2E_ALLOW_SKIP=1 says that this is known.
need() {
  local pair missing=()
  for pair; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair%%=*} (Debian: ${pair#*=})"); done
  [ -x "$RUNTIME" ] || missing+=("runtime $RUNTIME (set RUNTIME)")
  [ "$(id -u)" = 0 ] || missing+=("root")
  [ ${#missing[@]} = 0 ] && return
  local IFS=,
  echo "1..0 # SKIP missing: ${missing[*]}"
  echo "0 passed, 0 failed, 1 skipped"
  [ "${E2E_ALLOW_SKIP:-0}" = 1 ]
  exit
}

# The directories of the cgroup hierarchies, one a line.
hierarchies() {
  awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts
}

# thaw_tree, drop_tree NAME: the cgroup NAME in every hierarchy, with all below it.
thaw_tree() {
  local h f
  for h in $(hierarchies); do
    find "$h/$1" -name freezer.state -exec sh -c 'echo THAWED >"$0"' {} \; 2>/dev/null
    find "$h/$1" -name cgroup.freeze -exec sh -c 'echo 0 >"$0"' {} \; 2>/dev/null
  done
}
drop_tree() {
  local h
  for h in $(hierarchies); do
    [ -d "$h/$1" ] && find "$h/$1" -depth -type d -exec rmdir {} \; 2>/dev/null
  done
}

# sandbox SCRIPT: see above. Sets and exports E2E_DIR (private files) and E2E_ID (the name that
# everything outside the namespaces bears). Returns in the sandbox; outside it exits.
sandbox() {
  if [ "${E2E_INSIDE:-}" = 1 ]; then
    ip link set lo up
    private_dev
    mount --make-rshared /
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/lock
    cgroup_view "${E2E_CGROUPS:-}"
    return
  fi
  E2E_ID=creel-e2e-$$
  # Not below /run, which the sandbox hides. 0711, or user namespaces could not pass through.
  E2E_DIR=$(mktemp -d "${TMPDIR:-/tmp}/$E2E_ID.XXXXXX") && chmod 711 "$E2E_DIR" || exit 1
  RUNTIME=$(readlink -f "$RUNTIME")
  export E2E_ID E2E_DIR RUNTIME
  trap 'cleanup' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  E2E_INSIDE=1 unshare --pid --fork --kill-child --mount-proc --mount --net \
    --propagation private bash "$1" </dev/null &
  inside=$!
  wait $inside
  exit
}

# private_dev: a copy of /dev, so that a runtime which spoils a device node does it here only.
private_dev() {
  local d=$E2E_DIR/dev sub
  mkdir "$d" && mount -t tmpfs -o mode=755 tmpfs "$d" || exit 1
  find /dev -maxdepth 1 \( -type c -o -type b -o -type l \) -exec cp -a -t "$d" {} +
  mkdir "$d"/{pts,shm,net,mqueue}
  # For slirp4netns and fuse-overlayfs, which an ordinary user runs here; made where the kernel has them.
  [ -c /dev/net/tun ] && cp -a /dev/net/tun "$d/net" || mknod "$d/net/tun" c 10 200 2>/dev/null
  [ -c "$d/fuse" ] || mknod "$d/fuse" c 10 229 2>/dev/null
  chmod 666 "$d"/net/tun "$d/fuse" 2>/dev/null
  mount --rbind /dev/pts "$d/pts"
  mount -t tmpfs -o mode=1777 tmpfs "$d/shm"
  mount -t mqueue mqueue "$d/mqueue"
  chown 0:0 "$d/null" && chmod 666 "$d/null"
  mount --move "$d" /dev && rmdir "$d"
}
# The null device as it should be, before and after.
null_device() { same "character special file 1:3 666 0:0" "$(stat -c '%F %t:%T %a %u:%g' /dev/null)" /dev/null; }

# cgroup_view v1: in the private mount namespace, a hybrid machine without its cgroup2.
cgroup_view() {
  case $1 in
    '') ;;
    v1) umount /sys/fs/cgroup/unified ;;
    *) echo "E2E_CGROUPS=$1: only v1" >&2; exit 2 ;;
  esac
}

# controllers NAME...: skips a test on a machine without them.
controllers() {
  local c
  for c; do
    hierarchies | grep -q "/$c\$" || grep -qsw "$c" /sys/fs/cgroup/cgroup.controllers ||
      skip "no $c controller in this view of cgroups"
  done
}

cleanup() {
  local rc=$? i
  trap '' INT TERM HUP
  if kill -0 "$inside" 2>/dev/null; then
    thaw_tree "$E2E_ID"
    kill -KILL "$inside"
  fi
  # The namespace's first process ends only after all others: frozen ones need a thaw.
  wait "$inside" 2>/dev/null
  for i in 1 2 3 4 5 6 7 8 9 10; do
    thaw_tree "$E2E_ID"
    drop_tree "$E2E_ID"
    [ -z "$(left_trees)" ] && break
    sleep 0.2
  done
  rm -rf --one-file-system "$E2E_DIR"
  [ -z "$(left_trees)" ] || { diag "cgroups left behind: $(left_trees)"; rc=1; }
  [ ! -e "$E2E_DIR" ] || { diag "directory left behind: $E2E_DIR"; rc=1; }
  exit $rc
}
left_trees() { local h; for h in $(hierarchies); do [ -d "$h/$E2E_ID" ] && echo "$h/$E2E_ID"; done; }

# busybox_root DIR: a root file system of one static program and its names.
busybox_root() {
  local a d=$1
  mkdir -p "$d"/{bin,dev,etc,proc,root,run,sys,tmp,var/empty,lib}
  chmod 1777 "$d/tmp"
  cp "$(command -v busybox)" "$d/bin/busybox"
  for a in $("$d/bin/busybox" --list); do [ "$a" = busybox ] || ln -s busybox "$d/bin/$a"; done
  printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/:/bin/false \
    user:x:1000:1000:user:/tmp:/bin/sh >"$d/etc/passwd"
  printf '%s\n' root:x:0: daemon:x:1: extra:x:50:user user:x:1000: >"$d/etc/group"
  printf 'data\n' >"$d/etc/plain"
  chmod 644 "$d/etc/plain"
}

# oci_image DIR NAME ROOTDIR CONFIG-JSON: adds one image to the OCI layout DIR; CONFIG-JSON is
# the image configuration's "config" (Env, Cmd, User, WorkingDir).
oci_image() {
  local dir=$1 name=$2 root=$3 config=$4 arch layer conf manifest size
  case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
  mkdir -p "$dir/blobs/sha256"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$dir/oci-layout"
  [ -f "$dir/index.json" ] || echo '{"schemaVersion":2,"manifests":[]}' >"$dir/index.json"
  tar -C "$root" --numeric-owner --owner=0 --group=0 -cf "$dir/layer" .
  layer=$(blob "$dir" "$dir/layer")
  jq -nc --arg a "$arch" --arg l "sha256:$layer" --argjson c "$config" \
    '{architecture:$a, os:"linux", config:$c, rootfs:{type:"layers", diff_ids:[$l]}}' >"$dir/conf"
  conf=$(blob "$dir" "$dir/conf")
  jq -nc --arg l "sha256:$layer" --arg c "sha256:$conf" \
    --argjson ls "$(stat -c %s "$dir/blobs/sha256/$layer")" \
    --argjson cs "$(stat -c %s "$dir/blobs/sha256/$conf")" \
    '{schemaVersion:2, mediaType:"application/vnd.oci.image.manifest.v1+json",
      config:{mediaType:"application/vnd.oci.image.config.v1+json", digest:$c, size:$cs},
      layers:[{mediaType:"application/vnd.oci.image.layer.v1.tar", digest:$l, size:$ls}]}' >"$dir/man"
  size=$(stat -c %s "$dir/man")
  manifest=$(blob "$dir" "$dir/man")
  jq -c --arg m "sha256:$manifest" --argjson s "$size" --arg n "$name" --arg a "$arch" \
    '.manifests += [{mediaType:"application/vnd.oci.image.manifest.v1+json", digest:$m, size:$s,
      platform:{architecture:$a, os:"linux"},
      annotations:{"io.containerd.image.name":$n, "org.opencontainers.image.ref.name":"latest"}}]' \
    "$dir/index.json" >"$dir/index.new" && mv "$dir/index.new" "$dir/index.json"
}
blob() { # DIR FILE: moves the file to its place, prints its digest
  local sum
  sum=$(sha256sum <"$2" | cut -d' ' -f1)
  mv "$2" "$1/blobs/sha256/$sum"
  echo "$sum"
}

# snippet NAME: that block of docs/managers.md, with $WRAPPER where it has creel's path.
snippet() {
  awk -v mark="<!-- snippet: $1 -->" '$0 == mark { here = 1 } here && /^```/ { if (inside++) exit; next } inside' \
    "$ROOT/docs/managers.md" | sed "s|/usr/local/sbin/creel|$WRAPPER|" | grep .
}

# Podman's configuration in $E2E_DIR: the documentation's snippet, and what the sandbox needs.
# Standard input: what its storage has.
podman_config() {
  {
    printf '%s\n' '[containers]' 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]'
    snippet podman | sed '/^\[engine\]$/a cgroup_manager = "cgroupfs"\nevents_logger = "file"'
  } >"$E2E_DIR/containers.conf"
  { echo "[storage]"; cat; } >"$E2E_DIR/storage.conf"
  echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$E2E_DIR/policy.json"
}

# recorder FILE LOG: a program that notes each call and becomes the runtime. The tests use it as
# the runtime, so that they can tell which commands a manager really gave.
recorder() {
  printf '#!/bin/sh\nprintf "%%s\\n" "$*" >>%s\nexec %s "$@"\n' "$2" "$RUNTIME" >"$1"
  : >"$2"
  chmod 755 "$1"
  chmod 666 "$2"
}
