#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# End to end: Podman, as root and with its own storage, runs containers with RUNTIME.
#
#   sudo tests/e2e/podman.sh                   the release build of this tree
#   sudo RUNTIME=/usr/sbin/runc tests/e2e/podman.sh
#   E2E_CGROUPS=v1                             hide a hybrid machine's cgroup2 (crun needs that)
#   ONLY=PATTERN                               only the tests whose name matches the glob
#
# Prints TAP and a closing count. Without the tools it needs it prints what is missing and fails,
# or succeeds if E2E_ALLOW_SKIP=1.

. "$(dirname "$0")/lib.sh" || exit 1
need podman=podman conmon=conmon busybox=busybox-static jq=jq ip=iproute2 unshare=util-linux \
  script=bsdutils
sandbox "$0"

CALLS=$E2E_DIR/calls
WRAPPER=$E2E_DIR/bin/creel      # stands for RUNTIME and notes the calls
IMAGE=localhost/e2e/busybox

podman_config <<TOML
driver = "overlay"
graphroot = "$E2E_DIR/graph"
runroot = "/run/e2e-storage"
TOML
export CONTAINERS_CONF=$E2E_DIR/containers.conf CONTAINERS_STORAGE_CONF=$E2E_DIR/storage.conf
export TMPDIR=$E2E_DIR

PODMAN=("$(command -v podman)" --runroot /run/e2e-storage --tmpdir /run/e2e-libpod)
podman() { NOTIFY_SOCKET=${NOTIFY:-} timeout --foreground -k 5 60 "${PODMAN[@]}" "$@"; }
buildah() { timeout --foreground -k 5 60 "$(type -P buildah)" "$@"; }
BARE=(--cgroup-parent "/$E2E_ID") NEW=(--network none "${BARE[@]}") INPOD=()
POD=(--network none --cgroup-parent "/$E2E_ID" --infra-image "$IMAGE" --infra-command "sleep 1000")
# A cgroup of its own: buildah takes the parent for the container itself.
BUILD=(--cgroup-parent "/$E2E_ID/build") ISOLATION=oci WORK=$E2E_DIR/work OWNER=0:0
OPTIONS=()
run() { podman run --rm --network none --cgroup-parent "/$E2E_ID" "${OPTIONS[@]}" "$IMAGE" "$@"; }
# with OPTION... -- COMMAND
with() {
  local OPTIONS=()
  while [ "$1" != -- ]; do OPTIONS+=("$1"); shift; done
  shift
  run "$@"
}
# background NAME COMMAND
background() {
  local name=$1
  shift
  podman run -d --name "$name" --network none --cgroup-parent "/$E2E_ID" "${OPTIONS[@]}" "$IMAGE" "$@" >/dev/null
}
field() { podman inspect --format "{{.$2}}" "$1"; }
is() { [ "$(field "$1" State.Status)" = "$2" ]; }
remove() { podman rm -f -t 0 "$@" >/dev/null 2>&1; }
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
explain() { tail -n 2 "$CALLS" | cut -c1-300 | sed 's/^/# call: /'; }

import_image() {
  busybox_root "$E2E_DIR/rootfs"
  tar -C "$E2E_DIR/rootfs" --numeric-owner --owner=0 --group=0 -cf "$E2E_DIR/root.tar" .
  podman import -q --change ENV=FROM_IMAGE=yes --change ENV=PATH=/bin --change CMD=sh \
    "$E2E_DIR/root.tar" "$IMAGE" >/dev/null || return 1
  has "$(podman images --format '{{.Repository}}')" "$IMAGE"
}
t_runtime() {
  same creel "$(podman info --format '{{.Host.OCIRuntime.Name}}')" name
  has "$(podman info --format '{{.Host.OCIRuntime.Version}}')" "$("$RUNTIME" --version | head -n 1)"
}

# --- run ---

t_output() { same hello "$(run echo hello)"; }
t_exit_codes() { local c; for c in 0 1 3 42 126 127 137 255; do code $c run sh -c "exit $c" || return 1; done; }
t_streams() {
  run sh -c 'echo one; echo two >&2' >"$E2E_DIR/o" 2>"$E2E_DIR/e" || return 1
  same one "$(cat "$E2E_DIR/o")" stdout
  same two "$(cat "$E2E_DIR/e")" stderr
}
t_stdin() {
  same "$(sha256sum <"$E2E_DIR/noise")" "$(with -i -- cat <"$E2E_DIR/noise" | sha256sum)" "3 MB in and out"
}
t_options() {
  same yes-here "$(with -e GIVEN=here -- sh -c 'echo $FROM_IMAGE-$GIVEN')" environment
  same /etc "$(with --workdir /etc -- pwd)" "working directory"
  same 1000:1000 "$(with --user user -- sh -c 'echo $(id -u):$(id -g)')" user
  same named "$(with --hostname named -- hostname)" hostname
  has "$(with --read-only -- sh -c 'touch /x' 2>&1)" "Read-only file system"
  has "$(with --tmpfs /t:size=64k -- grep ' /t ' /proc/mounts)" "size=64k"
  mkdir -p "$E2E_DIR/shared" && echo before >"$E2E_DIR/shared/f"
  same before "$(with -v "$E2E_DIR/shared:/host:ro" -- cat /host/f)" "bind mount"
  has "$(with -v "$E2E_DIR/shared:/host:ro" -- touch /host/f 2>&1)" "Read-only file system"
}
t_security() {
  same 2 "$(run awk '/^Seccomp:/ { print $2 }' /proc/self/status)" "seccomp mode"
  same 1 "$(with --security-opt no-new-privileges -- awk '/^NoNewPrivs/ { print $2 }' /proc/self/status)" no_new_privs
  same 0000000000000000 "$(with --cap-drop all -- awk '/^CapEff/ { print $2 }' /proc/self/status)" "no capability"
  same 0000000000000001 "$(with --cap-drop all --cap-add chown -- awk '/^CapEff/ { print $2 }' /proc/self/status)" "one capability"
}
t_user_namespace() {
  same "0 100000 65536" "$(with --uidmap 0:100000:65536 --gidmap 0:100000:65536 -- cat /proc/self/uid_map | xargs)"
}
t_limits() {
  controllers pids memory cpu
  local out
  out=$(with --pids-limit 77 --memory 64m --cpus 0.5 -- sh -c 'cat /sys/fs/cgroup/pids.max \
    /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes \
    /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null')
  same "77 67108864 50000" "$(xargs <<<"${out% 100000}")"
}
t_terminal() {
  local out
  out=$(in_terminal "${PODMAN[@]}" run --rm -it --network none --cgroup-parent "/$E2E_ID" "$IMAGE" \
    sh -c "tty; $SIZED; exit 9")
  same 9 $? "exit code, having printed '$out'"
  has "$out" /dev/pts/0
  has "$out" "33 77"
}

# --- 125, 126, 127 ---

t_run_127() {
  code 127 run /no/such/program || return 1
  code 127 run nosuchprogram
}
t_run_126() { code 126 run /etc/plain && code 126 run /etc; }
t_run_125() { code 125 with --no-such-flag -- true; }
t_runtime_flag() {
  local out
  out=$(podman --runtime-flag no-such-flag run --rm --network none --cgroup-parent "/$E2E_ID" "$IMAGE" true 2>&1) && fail "taken: $out"
  has "$out" no-such-flag
}
t_exec_codes() {
  local c
  background x sleep 300 || return 1
  for c in 0 1 7 125 255; do code $c podman exec x sh -c "exit $c" || return 1; done
  code 127 podman exec x /no/such/program || return 1
  code 127 podman exec x nosuchprogram || return 1
  code 126 podman exec x /etc/plain || return 1
  code 126 podman exec x /etc || return 1
  code 125 podman exec nosuchcontainer true
}

# --- a container that stays: x, from the test above ---

t_exec() {
  same yes "$(podman exec x sh -c 'echo $FROM_IMAGE')" environment
  same "$(sha256sum <"$E2E_DIR/noise")" "$(podman exec -i x cat <"$E2E_DIR/noise" | sha256sum)" "3 MB in and out"
  same "1000 /etc here" "$(podman exec --user user --workdir /etc -e GIVEN=here x sh -c 'echo $(id -u) $(pwd) $GIVEN')" options
  podman exec -d x sleep 77
  wait_for 5 pgrep -fx "sleep 77"
  has "$(podman top x args)" "sleep 77"
  kill "$(pgrep -fx "sleep 77")"
}
t_exec_terminal() {
  local out
  out=$(in_terminal "${PODMAN[@]}" exec -it x sh -c "tty; $SIZED; exit 5")
  same 5 $? "exit code, having printed '$out'"
  has "$out" /dev/pts/
  has "$out" "33 77"
}
t_pause() {
  podman pause x >/dev/null && same paused "$(field x State.Status)" &&
    podman unpause x >/dev/null && same running "$(field x State.Status)" && same back "$(podman exec x echo back)"
}
t_update() {
  controllers memory
  podman update --memory 128m x >/dev/null || return 1
  has "$(podman exec x sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null')" 134217728
}
t_remove() {
  local p; p=$(field x State.Pid)
  podman rm x >/dev/null 2>&1 && fail "removed while running"
  podman rm -f -t 0 x >/dev/null || return 1
  wait_for 5 gone "$p"
}

# --- the end ---

t_kill() {
  background k sh -c 'trap "exit 21" USR1; while :; do sleep 0.05; done' || return 1
  sleep 0.3
  podman kill -s USR1 k >/dev/null || return 1
  same 21 "$(podman wait k)" "exit code"
  remove k
  background k sleep 300 && podman kill k >/dev/null || return 1
  same 137 "$(podman wait k)" "exit code"
  podman kill k >/dev/null 2>&1 && fail "killed what had ended"
  remove k
}
t_real_time_signal() {
  background k sh -c 'trap "exit 64" 64; while :; do sleep 0.05; done' || return 1
  sleep 0.3
  podman kill -s SIGRTMAX k >/dev/null || return 1
  same 64 "$(podman wait k)" "exit code"
  remove k
}
t_stop() {
  background s sh -c 'trap "echo bye; exit 3" TERM; while :; do sleep 0.05; done' || return 1
  sleep 0.3
  podman stop -t 10 s >/dev/null || return 1
  same 3 "$(field s State.ExitCode)" "exit code"
  same bye "$(podman logs s)" log
  podman start s >/dev/null && same running "$(field s State.Status)"
  podman restart -t 0 s >/dev/null && same running "$(field s State.Status)" "after restart"
  remove s
}
t_create_start() {
  podman create --name c --network none --cgroup-parent "/$E2E_ID" "$IMAGE" sh -c 'echo made; exit 6' >/dev/null || return 1
  same made "$(code 6 podman start --attach c)" output
  remove c
}
t_commands() {
  local c
  for c in create start exec kill delete; do
    grep -qE -- "(^| )$c( |$)" "$CALLS" || fail "podman never gave the command $c"
  done
}
t_clean() {
  local out h
  out=$(podman ps -aq; pgrep -fa conmon; pgrep -fa "$WRAPPER|$RUNTIME"
    for h in $(hierarchies); do find "$h/$E2E_ID" -mindepth 1 -type d -name 'libpod-*' ! -name 'libpod-conmon*' 2>/dev/null; done)
  same "" "$out" left
}

# The network that Podman sets up, with an address, names and a published port.
t_network() {
  [ -x /usr/lib/cni/bridge ] || [ -x /usr/lib/podman/netavark ] || skip "neither CNI plugins nor netavark are installed"
  podman network create --subnet 10.89.77.0/24 e2enet >/dev/null || return 1
  podman run -d --name web --network e2enet -p 18080:8080 "${BARE[@]}" "$IMAGE" sh -c 'mkdir /w; echo served >/w/f; exec httpd -f -p 8080 -h /w' >/dev/null || return 1
  local ip; ip=$(field web NetworkSettings.Networks.e2enet.IPAddress)
  wait_for 5 busybox wget -qO- "http://$ip:8080/f"
  same served "$(busybox wget -qO- "http://$ip:8080/f")" "by its address"
  same served "$(podman run --rm --network e2enet "${BARE[@]}" "$IMAGE" wget -qO- "http://$ip:8080/f")" "from another container"
  same served "$(busybox wget -qO- "http://10.89.77.1:18080/f")" "by the published port"
  remove web && podman network rm e2enet >/dev/null
}
t_update_more() {
  controllers memory cpu pids
  background u sleep 300 || return 1
  podman update --cpus 0.25 --cpu-shares 300 --cpuset-cpus 0 u >/dev/null || return 1
  local got; got=$(podman exec u sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpuset/cpuset.cpus 2>/dev/null ||
    cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpuset.cpus')
  [[ $(xargs <<<"$got") =~ ^25000\ (300|100000)\ 0$ ]] || fail "$got"
  remove u
}
t_devices() {
  same "1:5" "$(with --device /dev/zero:/dev/nothing -- stat -c %t:%T /dev/nothing)" device
  same 4242 "$(with --sysctl kernel.msgmax=4242 -- cat /proc/sys/kernel/msgmax)" sysctl
  same 77 "$(with --ulimit nofile=77:99 --ulimit nproc=1024:1024 -- sh -c 'ulimit -n')" ulimit
  same 700 "$(with --oom-score-adj 700 -- cat /proc/self/oom_score_adj)" oom_score_adj
  has "$(with --mount type=bind,src=/run,dst=/r,bind-propagation=rslave,ro -- grep ' /r ' /proc/self/mountinfo)" "master:"
}
t_cgroup_namespace() {
  # The path of its first hierarchy, as the container sees it.
  local path='head -n 1 /proc/self/cgroup | cut -d: -f3'
  same / "$(with --cgroupns private -- sh -c "$path")" private
  has "$(with --cgroupns host -- sh -c "$path")" "/$E2E_ID/libpod-"
}
t_id_mapped_volume() {
  mkdir -p "$E2E_DIR/mapped" && echo mine >"$E2E_DIR/mapped/f" && chmod 600 "$E2E_DIR/mapped/f" || return 1
  local ids=(--uidmap 0:100000:65536 --gidmap 0:100000:65536)
  same "0 mine" "$(with "${ids[@]}" -v "$E2E_DIR/mapped:/m:idmap" -- sh -c 'echo $(stat -c %u /m/f) $(cat /m/f)')" "owner inside"
  with "${ids[@]}" -v "$E2E_DIR/mapped:/m:idmap" -- touch /m/new || return 1
  same 0 "$(stat -c %u "$E2E_DIR/mapped/new")" "owner outside"
}
t_security_more() {
  echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}' >"$E2E_DIR/profile.json"
  has "$(with --security-opt "seccomp=$E2E_DIR/profile.json" -- mkdir /x 2>&1)" "not supported"
  same 0 "$(with --security-opt seccomp=unconfined -- awk '/^Seccomp:/ { print $2 }' /proc/self/status)" "seccomp off"
  same 0 "$(with --security-opt mask=/proc/version -- sh -c 'wc -c </proc/version')" "a masked path"
  same "0000000000000001 0000000000000001" "$(with --user 1000 --cap-drop all --cap-add chown -- awk '/^Cap(Eff|Amb)/ { print $2 }' /proc/self/status | xargs)" "a user's capability"
  same "0077" "$(with --umask 0077 -- sh -c umask)" umask
  same 50 "$(with --user 1000:1000 --group-add 50 -- sh -c 'id -G' | tr ' ' '\n' | grep -x 50)" "a group"
  has "$(with --shm-size 1m -- grep ' /dev/shm ' /proc/mounts)" size=1024k
}
t_checkpoint() {
  type -P criu >/dev/null || skip "criu is not installed"
  criu check >/dev/null 2>&1 || skip "criu check fails on this kernel"
  background ck sleep 300 || return 1
  podman container checkpoint ck >/dev/null && podman container restore ck >/dev/null && same running "$(field ck State.Status)"
  remove ck
}

mkdir "$E2E_DIR/bin" "$WORK"
head -c 3000000 /dev/urandom >"$E2E_DIR/noise"
recorder "$WRAPPER" "$CALLS"
echo "# $("$RUNTIME" --version | head -n 1), $(podman --version)"
check "import of an image made here" import_image

. "$HERE/podman/both.sh"
tests <<'LIST'
t_runtime the runtime has its name and version
t_output run prints
t_exit_codes run passes exit codes through
t_streams run keeps stdout and stderr apart
t_stdin run passes standard input on
t_options run with user, directory, environment, mounts
t_security run with seccomp, no_new_privs, capabilities
t_user_namespace run in a user namespace
t_limits run with limits
t_terminal run with a terminal
t_run_127 run of what does not exist is 127
t_run_126 run of what cannot be executed is 126
t_run_125 run that podman refuses is 125
t_runtime_flag a flag that the runtime does not know is an error naming it
t_exec_codes exec passes 125, 126 and 127 on
t_exec exec with options, detached, with input
t_exec_terminal exec with a terminal
t_pause pause and unpause
t_update update
t_remove remove, by force only while running
t_kill kill with USR1 and KILL
t_real_time_signal kill with a real-time signal
t_stop stop, start, restart
t_create_start create, then start attached
t_network a network, and a published port
t_update_more update of CPU limits
t_devices a device, a sysctl, limits, mount propagation
t_cgroup_namespace the cgroup namespace
t_id_mapped_volume an id-mapped volume
t_security_more a profile, masks, a user's capability, umask, groups
t_checkpoint checkpoint and restore
LIST
tests <<<"$BOTH"
if [ "${ONLY:-*}" = "*" ]; then
  check "podman gave the commands" t_commands
  check "nothing is left" t_clean
  check "the null device is untouched" null_device
fi
finish
