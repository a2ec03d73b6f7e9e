#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# End to end: Podman of an ordinary user, with subordinate ids and storage of its own, runs containers
# with RUNTIME. The user exists in the sandbox only; no network but those of the containers themselves.
#
#   sudo tests/e2e/podman-rootless.sh                   the release build of this tree
#   sudo RUNTIME=/usr/sbin/runc tests/e2e/podman-rootless.sh
#   ONLY=PATTERN                                        only the tests whose name matches the glob
#
# Prints TAP and a closing count. Without the tools it needs it prints what is missing and fails,
# or succeeds if E2E_ALLOW_SKIP=1.

. "$(dirname "$0")/lib.sh" || exit 1
need podman=podman conmon=conmon busybox=busybox-static ip=iproute2 unshare=util-linux \
  setpriv=util-linux newuidmap=uidmap newgidmap=uidmap script=bsdutils
sandbox "$0"

CALLS=$E2E_DIR/calls
WRAPPER=$E2E_DIR/bin/creel      # stands for RUNTIME and notes the calls
IMAGE=localhost/e2e/busybox
ID=60300
HOME=$E2E_DIR/home
XDG_RUNTIME_DIR=/run/user/$ID

user_of_the_sandbox() {
  local file
  mkdir -p "$E2E_DIR/etc" "$HOME" "$XDG_RUNTIME_DIR" "$E2E_DIR/bin"
  chown $ID:$ID "$HOME" "$XDG_RUNTIME_DIR"
  chmod 700 "$XDG_RUNTIME_DIR"
  cp /etc/passwd /etc/group "$E2E_DIR/etc"
  echo "e2e:x:$ID:$ID::$HOME:/bin/sh" >>"$E2E_DIR/etc/passwd"
  echo "e2e:x:$ID:" >>"$E2E_DIR/etc/group"
  echo "e2e:1000000:65536" | tee "$E2E_DIR/etc/subuid" >"$E2E_DIR/etc/subgid"
  for file in passwd group subuid subgid; do
    [ -e /etc/$file ] || skip "no /etc/$file to cover"
    mount --bind "$E2E_DIR/etc/$file" /etc/$file || return 1
  done
  # The runtime may lie where only root gets to.
  : >"$E2E_DIR/bin/runtime"
  mount --bind "$RUNTIME" "$E2E_DIR/bin/runtime"
}

podman_config <<TOML
driver = "vfs"
TOML

GROUPS_OF=--clear-groups
user() {
  (cd "$HOME" && exec setpriv --reuid $ID --regid $ID $GROUPS_OF -- env -i PATH="$PATH" HOME="$HOME" \
    XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR" USER=e2e TERM=xterm TMPDIR="$HOME" ${NOTIFY:+NOTIFY_SOCKET="$NOTIFY"} \
    CONTAINERS_CONF="$E2E_DIR/containers.conf" CONTAINERS_STORAGE_CONF="$E2E_DIR/${STORAGE:-storage}.conf" "$@")
}
PODMAN=("$(command -v podman)" --tmpdir "$XDG_RUNTIME_DIR/libpod")
podman() { user timeout --foreground -k 5 90 "${PODMAN[@]}" "$@"; }
buildah() { user timeout --foreground -k 5 90 buildah "$@"; }
BARE=() NEW=(--network none) INPOD=() POD=(--network none --infra-image "$IMAGE" --infra-command "sleep 1000")
BUILD=() ISOLATION=rootless WORK=$HOME/work OWNER=$ID:$ID
run() { podman run --rm --network none "$IMAGE" "$@"; }
# with OPTION... -- COMMAND
with() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  podman run --rm --network none "${options[@]}" "$IMAGE" "$@"
}
field() { podman inspect --format "{{.$2}}" "$1"; }
remove() { podman rm -f -t 0 "$@" >/dev/null 2>&1; }
explain() { tail -n 2 "$CALLS" | cut -c1-300 | sed 's/^/# call: /'; }

import_image() {
  busybox_root "$E2E_DIR/rootfs"
  tar -C "$E2E_DIR/rootfs" --numeric-owner --owner=0 --group=0 -cf "$E2E_DIR/root.tar" .
  podman import -q --change ENV=PATH=/bin --change CMD=sh "$E2E_DIR/root.tar" "$IMAGE" >/dev/null || return 1
  has "$(podman images --format '{{.Repository}}')" "$IMAGE"
}

t_rootless() {
  same "true creel" "$(podman info --format '{{.Host.Security.Rootless}} {{.Host.OCIRuntime.Name}}')"
  same "0 $ID 1 1 1000000 65536" "$(run cat /proc/self/uid_map | xargs)" "the map"
}
t_output() { same hello "$(run echo hello)"; }
t_exit_codes() { local c; for c in 0 3 127 137 255; do code $c run sh -c "exit $c" || return 1; done; }
t_users() {
  same 0:0 "$(run sh -c 'echo $(id -u):$(id -g)')" root
  same 1000:1000 "$(with --user user -- sh -c 'echo $(id -u):$(id -g)')" user
  same "$ID:$ID" "$(with --userns keep-id -- sh -c 'echo $(id -u):$(id -g)')" keep-id
  same "0:0 0 1" "$(with --uidmap 0:0:1 --gidmap 0:0:1 -- sh -c 'echo $(id -u):$(id -g) $(cut -c1-100 /proc/self/uid_map)' | awk '{ print $1, $2, $4 }')" "one id"
}
t_keep_groups() {
  local GROUPS_OF="--groups 60301,60302"
  # The pause process holds the groups of the first command.
  podman system migrate >/dev/null 2>&1
  same 3 "$(with --group-add keep-groups -- grep Groups: /proc/self/status | wc -w)" "with keep-groups"
  GROUPS_OF=--clear-groups
  podman system migrate >/dev/null 2>&1
}
t_mounts() {
  mkdir -p "$HOME/shared" && echo before >"$HOME/shared/f" && chown -R $ID:$ID "$HOME/shared"
  same before "$(with -v "$HOME/shared:/host:ro" -- cat /host/f)" "bind mount"
  has "$(with -v "$HOME/shared:/host:ro" -- touch /host/f 2>&1)" "Read-only file system"
  with -v "$HOME/shared:/host" -- touch /host/new || return 1
  same $ID "$(stat -c %u "$HOME/shared/new")" "owner of a new file"
  has "$(with --read-only -- sh -c 'touch /x' 2>&1)" "Read-only file system"
  has "$(with --tmpfs /t:size=64k -- grep ' /t ' /proc/mounts)" "size=64k"
  has "$(with --privileged -- sh -c 'mount -t tmpfs t /mnt 2>&1 || mkdir /mnt && mount -t tmpfs t /mnt; grep /mnt /proc/mounts')" tmpfs
}
t_security() {
  same 2 "$(run awk '/^Seccomp:/ { print $2 }' /proc/self/status)" "seccomp mode"
  same 0000000000000000 "$(with --cap-drop all -- awk '/^CapEff/ { print $2 }' /proc/self/status)" "no capability"
}
t_terminal() {
  local out
  out=$(in_terminal setpriv --reuid $ID --regid $ID --clear-groups env -i PATH="$PATH" HOME="$HOME" \
    XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR" TERM=xterm CONTAINERS_CONF="$E2E_DIR/containers.conf" \
    CONTAINERS_STORAGE_CONF="$E2E_DIR/storage.conf" "${PODMAN[@]}" run --rm -it --network none "$IMAGE" \
    sh -c "tty; $SIZED; exit 9")
  same 9 $? "exit code, having printed '$out'"
  has "$out" /dev/pts/0
  has "$out" "33 77"
}
t_errors() {
  code 127 run nosuchprogram || return 1
  code 126 run /etc/plain
}
t_exec() {
  podman run -d --name x --network none "$IMAGE" sleep 300 >/dev/null || return 1
  same "0 1" "$(podman exec x sh -c 'echo $(id -u) $(readlink /proc/1/exe | grep -c busybox)')" ids
  same "1000 /etc here" "$(podman exec --user user --workdir /etc -e GIVEN=here x sh -c 'echo $(id -u) $(pwd) $GIVEN')" options
  local c; for c in 0 7 255; do code $c podman exec x sh -c "exit $c" || return 1; done
  code 127 podman exec x nosuchprogram || return 1
  same given "$(echo given | podman exec -i x cat)" input
  podman exec -d x sleep 77 || return 1
  wait_for 10 sh -c "pgrep -fx 'sleep 77'"
  has "$(podman top x args)" "sleep 77"
}
t_stop() {
  podman stop -t 0 x >/dev/null || return 1
  same exited "$(field x State.Status)"
  podman start x >/dev/null && same running "$(field x State.Status)" "started again"
  podman kill -s KILL x >/dev/null || return 1
  same 137 "$(podman wait x)" "exit code"
  remove x
}
# The infra container's namespaces are joined by path, the user namespace is Podman's.
t_pod() {
  podman pod create --name p --network none --infra-image "$IMAGE" --infra-command "sleep 300" >/dev/null || return 1
  podman run -d --pod p --name a "$IMAGE" sh -c 'hostname from-a; sleep 300' >/dev/null || return 1
  podman run -d --pod p --name b "$IMAGE" sleep 300 >/dev/null || return 1
  same "$(podman exec a readlink /proc/self/ns/net)" "$(podman exec b readlink /proc/self/ns/net)" network
  same "$(podman exec a readlink /proc/self/ns/ipc)" "$(podman exec b readlink /proc/self/ns/ipc)" ipc
  [ "$(podman exec a readlink /proc/self/ns/mnt)" != "$(podman exec b readlink /proc/self/ns/mnt)" ] || fail "one mount namespace"
  podman pod rm -f -t 0 p >/dev/null
}
# A container with a user namespace below Podman's.
t_nested_user_namespace() {
  podman run -d --name n --network none --uidmap 0:1:1000 --gidmap 0:1:1000 "$IMAGE" sleep 300 >/dev/null || return 1
  same "0 1 1000" "$(podman exec n cat /proc/self/uid_map | xargs)" map
  same 0 "$(podman exec n id -u)" root
  same 5 "$(podman exec --user 5 n id -u)" user
  remove n
}
# keep-id with a volume: what the user owns outside is his inside too.
t_keep_id() {
  mkdir -p "$WORK/kept" && chown $OWNER "$WORK/kept" || return 1
  with --userns keep-id -v "$WORK/kept:/kept" -- touch /kept/f || return 1
  same $ID "$(stat -c %u "$WORK/kept/f")" "owner of a new file"
  same "200:210" "$(with --userns keep-id:uid=200,gid=210 -- sh -c 'echo $(id -u):$(id -g)')" "as another id"
  same $ID "$(with --userns keep-id --user $ID -- stat -Lc %u /proc/self)" "user and keep-id"
}
tun() { [ -c /dev/net/tun ] && user sh -c ': <>/dev/net/tun' 2>/dev/null || skip "/dev/net/tun cannot be opened here"; }
t_slirp() {
  type -P slirp4netns >/dev/null || skip "slirp4netns is not installed"
  tun
  has "$(podman run --rm --network slirp4netns "$IMAGE" ip addr show tap0)" "inet 10.0.2.100/24"
  podman run -d --name web --network slirp4netns -p 127.0.0.1:18081:8080 "$IMAGE" \
    sh -c 'mkdir /w; echo served >/w/f; exec httpd -f -p 8080 -h /w' >/dev/null || return 1
  wait_for 10 busybox wget -qO- http://127.0.0.1:18081/f
  same served "$(busybox wget -qO- http://127.0.0.1:18081/f)" "by the published port"
  # The other way: the user's own loopback, by slirp's gateway.
  (cd "$WORK" && mkdir -p www && echo outside >www/f && exec busybox httpd -f -p 127.0.0.1:18082 -h www) &
  local server=$!
  same outside "$(podman run --rm --network slirp4netns:allow_host_loopback=true "$IMAGE" wget -qO- http://10.0.2.2:18082/f)" "out of the container"
  kill $server
  remove web
}
t_fuse_overlayfs() {
  type -P fuse-overlayfs >/dev/null || skip "fuse-overlayfs is not installed"
  [ -c /dev/fuse ] && user sh -c ': <>/dev/fuse' 2>/dev/null || skip "/dev/fuse cannot be opened here"
  overlay fuse "mount_program = \"$(type -P fuse-overlayfs)\"" fuse.fuse-overlayfs
}
# The kernel's own overlayfs in a user namespace, since Linux 5.13.
t_overlayfs() { overlay native "" overlay; }
# overlay NAME LINE TYPE: the same few things on another storage
overlay() {
  mkdir -p "$WORK/$1" && chown $OWNER "$WORK/$1" || return 1
  printf '%s\n' '[storage]' 'driver = "overlay"' "rootless_storage_path = \"$WORK/$1\"" "graphroot = \"$WORK/$1\"" "runroot = \"$XDG_RUNTIME_DIR/$1\"" \
    '[storage.options.overlay]' "$2" >"$E2E_DIR/$1.conf"
  local STORAGE=$1
  PODMAN=("${PODMAN[0]}" --tmpdir "$XDG_RUNTIME_DIR/libpod-$1")
  podman import -q --change ENV=PATH=/bin "$E2E_DIR/root.tar" "$IMAGE" >/dev/null || return 1
  same "$3" "$(run awk '$2 == "/" { print $3 }' /proc/mounts)" "the root's type"
  podman run -d --name o --network none "$IMAGE" sh -c 'echo kept >/f; sleep 327' >/dev/null || return 1
  wait_for 5 podman exec o test -f /f
  same kept "$(podman exec --user 0 o cat /f)" exec
  has "$(podman diff o)" "A /f"
  podman commit -q o e2e/committed >/dev/null || return 1
  remove o
  same kept "$(podman run --rm --network none localhost/e2e/committed cat /f)" "after a commit"
  podman rmi -fa >/dev/null
}
# Without cgroups a limit is an error and not forgotten.
t_update() {
  podman run -d --name u --network none "$IMAGE" sleep 328 >/dev/null || return 1
  local out; out=$(podman update --memory 64m u 2>&1); local rc=$?
  remove u
  [ $rc = 0 ] && has "$out" "" && skip "this user has cgroups"
  [ -n "$out" ] || fail "refused without a word"
}
t_commands() {
  local c
  for c in create start exec kill delete; do
    grep -qE -- "(^| )$c( |$)" "$CALLS" || fail "podman never gave the command $c"
  done
}
t_clean() { same "" "$(podman ps -aq; pgrep -fa "^$(command -v conmon)"; pgrep -fa "$WRAPPER|bin/runtime")" left; }

check "the user of the sandbox" user_of_the_sandbox
RUNTIME=$E2E_DIR/bin/runtime
recorder "$WRAPPER" "$CALLS"
mkdir "$WORK" && chown $OWNER "$WORK"
user "$RUNTIME" --version >/dev/null || { echo "the user cannot execute $RUNTIME" >&2; exit 1; }
echo "# $("$RUNTIME" --version | head -n 1), $(command podman --version)"
check "import of an image made here" import_image

. "$HERE/podman/both.sh"
tests <<'LIST'
t_rootless podman is rootless, with all its ids
t_output run prints
t_exit_codes run passes exit codes through
t_users run as users, keep-id, one id alone
t_keep_groups run with the caller's groups
t_mounts run with mounts
t_security run with seccomp and capabilities
t_terminal run with a terminal
t_errors run of what does not exist or cannot be executed
t_exec exec with options, detached, with input
t_stop stop, start, kill, wait
t_pod a pod of two
t_nested_user_namespace a user namespace below podman's
t_keep_id keep-id: files, another id
t_slirp a network by slirp4netns
t_fuse_overlayfs a root on fuse-overlayfs
t_overlayfs a root on the kernel's overlayfs
t_update update without cgroups
LIST
tests <<<"$BOTH"
if [ "${ONLY:-*}" = "*" ]; then
  check "podman gave the commands" t_commands
  check "nothing is left" t_clean
  check "the null device is untouched" null_device
fi
finish
