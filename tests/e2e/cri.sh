#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# End to end: containerd's CRI plugin with CNI, asked as a kubelet asks, runs pods with RUNTIME.
#
#   sudo tests/e2e/cri.sh                      the release build of this tree
#   sudo RUNTIME=/usr/sbin/runc tests/e2e/cri.sh
#   tests/e2e/cri.sh --quick                   some of the parts
#   PARTS="pods streams"                       these files of tests/e2e/cri/, pods first: its pod is used by the others
#   CONTAINERD=DIR                             containerd, its shim and ctr from there; 2.x as well
#   E2E_CGROUPS=v1                             hide a hybrid machine's cgroup2 (crun needs that)
#   ONLY=PATTERN                               only the tests whose name matches the glob
#
# The configuration is that of docs/managers.md: the handler of its RuntimeClass, which its block of
# config.toml ties to the runtime. Prints TAP and a closing count. Without the tools it needs it
# prints what is missing and fails, or succeeds if E2E_ALLOW_SKIP=1.

PATH=${CONTAINERD:+$CONTAINERD:}$PATH
. "$(dirname "$0")/lib.sh" || exit 1
need containerd=containerd ctr=containerd containerd-shim-runc-v2=containerd busybox=busybox-static \
  jq=jq /usr/bin/python3=python3 ip=iproute2 iptables=iptables unshare=util-linux \
  /usr/lib/cni/bridge=containernetworking-plugins
case ${1:-} in
  '') ;;
  --quick) export PARTS="pods streams life" ;;
  *) echo "cri.sh: unknown option $1" >&2; exit 2 ;;
esac
/usr/bin/python3 -c "import grpc" 2>/dev/null || need "python3 with grpc=python3-grpcio"
sandbox "$0"

export PYTHONDONTWRITEBYTECODE=1
SOCKET=$E2E_DIR/containerd.sock
CALLS=$E2E_DIR/calls
WRAPPER=$E2E_DIR/bin/creel      # stands for RUNTIME and notes the calls
IMAGE=e2e.test/busybox:latest
PAUSE=e2e.test/pause:latest
RUNTIME_ROOT=/run/containerd/runc/k8s.io
MAJOR=$(containerd --version | sed 's/.* v\?\([0-9]\)\..*/\1/')

ctr() { timeout --foreground -k 5 60 ctr --address "$SOCKET" --namespace k8s.io "$@"; }
cri() { timeout --foreground -k 5 90 /usr/bin/python3 "$HERE/cri/client.py" "$SOCKET" "$@"; }
# ask METHOD ID-FIELD ID: the calls that take nothing but an id
ask() { cri "$1" "$(jq -nc --arg k "$2" --arg v "$3" '{($k):$v}')"; }
id() { cat "$E2E_DIR/ids/$1"; }

# pod NAME [FILTER]: runs one, with jq's FILTER over its configuration; its id is `id NAME`.
pod() {
  mkdir -p "$E2E_DIR/logs/$1"
  jq -nc --arg n "$1" --arg e "$E2E_ID" --arg d "$E2E_DIR/logs/$1" '{metadata:{name:$n, uid:("uid-"+$n), namespace:"default"},
    log_directory:$d, labels:{app:$n}, linux:{cgroup_parent:"/\($e)/\($n)",
    security_context:{namespace_options:{pid:1}}}} | '"${2:-.}" >"$E2E_DIR/pods/$1" || return 1
  local out
  out=$(cri RunPodSandbox "$(jq -c --arg h "$HANDLER" '{config:., runtime_handler:$h}' "$E2E_DIR/pods/$1")" 2>&1) || fail "$out"
  jq -r .pod_sandbox_id <<<"$out" >"$E2E_DIR/ids/$1"
}
# create POD NAME FILTER COMMAND...; start NAME; container does both.
create() {
  local pod=$1 name=$2 filter=${3:-.} request out
  shift 3
  request=$(jq -nc --arg n "$name" --arg i "$IMAGE" --arg p "$(id "$pod")" --slurpfile s "$E2E_DIR/pods/$pod" \
    '{pod_sandbox_id:$p, sandbox_config:$s[0], config:({metadata:{name:$n}, image:{image:$i}, command:$ARGS.positional,
    log_path:"\($n).log", linux:{resources:{}, security_context:{namespace_options:{pid:1}, seccomp:{profile_type:0}}}} | '"$filter"')}' \
    --args -- "$@") || return 1
  out=$(cri CreateContainer "$request" 2>&1) || fail "$out"
  jq -r .container_id <<<"$out" >"$E2E_DIR/ids/$name"
}
start() { ask StartContainer container_id "$(id "$1")" >/dev/null; }
container() { create "$@" && start "$2"; }
# run POD NAME FILTER COMMAND...: waits for its end, prints what it wrote
run() {
  container "$@" || return 1
  wait_for 20 is "$2" 2
  log "$1" "$2"
}
log() { cut -d' ' -f4- "$E2E_DIR/logs/$1/$2.log"; }
status() { ask ContainerStatus container_id "$(id "$1")" | jq -r ".status.$2"; }
is() { [ "$(status "$1" state)" = "$2" ]; }      # 0 created, 1 running, 2 exited
pid() { "$RUNTIME" --root "$RUNTIME_ROOT" state "$(id "$1")" | jq -r .pid; }
stop() { cri StopContainer "$(jq -nc --arg i "$(id "$1")" --argjson t "${2:-0}" '{container_id:$i, timeout:$t}')" >/dev/null; }
remove() { stop "$1" 0 && ask RemoveContainer container_id "$(id "$1")" >/dev/null; }
remove_pod() { ask StopPodSandbox pod_sandbox_id "$(id "$1")" >/dev/null && ask RemovePodSandbox pod_sandbox_id "$(id "$1")" >/dev/null; }
# sync NAME COMMAND...: exec-sync; prints its output, both streams, and ends with its exit code
sync() {
  local out name=$1
  shift
  out=$(cri ExecSync "$(jq -nc --arg i "$(id "$name")" '{container_id:$i, cmd:$ARGS.positional, timeout:20}' --args -- "$@")") || return 125
  jq -rj '.stdout, .stderr' <<<"$out"
  return "$(jq .exit_code <<<"$out")"
}
# exec_request NAME FLAGS COMMAND...: FLAGS among tty stdin stdout stderr
exec_request() {
  local name=$1 flags=$2
  shift 2
  jq -nc --arg i "$(id "$name")" --arg f "$flags" '{container_id:$i, cmd:$ARGS.positional}
    + ($f | split(" ") | map({(.):1}) | add)' --args -- "$@"
}
# cgroup_file NAME V1 V2: the value of a container's limit, V1 being controller/file
cgroup_file() {
  local h c file
  for h in $(hierarchies); do
    [ "${h##*/}" = "${2%%/*}" ] && file=${2#*/} || file=$3
    c=$(find "$h/$E2E_ID" -type d -name "*$(id "$1")*" 2>/dev/null | head -n 1)
    [ -n "$c" ] && [ -f "$c/$file" ] && cat "$c/$file" && return
  done
  return 1
}
explain() { grep -E 'level=(error|fatal)' "$E2E_DIR/containerd.log" | tail -n 3 | cut -c1-400 | sed 's/^/# containerd: /'; }

# The documentation's block, and what the sandbox needs: places of its own, no registry, CNI.
config() {
  local runtime images cri=io.containerd.grpc.v1.cri
  if [ "$MAJOR" = 1 ]; then
    runtime=$cri images="sandbox_image = \"$PAUSE\""
    snippet containerd-2
  else
    runtime=io.containerd.cri.v1.runtime
    images="[plugins.\"io.containerd.cri.v1.images\".pinned_images]
      sandbox = \"$PAUSE\""
    snippet containerd-3
  fi >"$E2E_DIR/snippet.toml"
  head -n 1 "$E2E_DIR/snippet.toml"
  cat <<TOML
root = "$E2E_DIR/root"
state = "$E2E_DIR/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "$SOCKET"
[ttrpc]
  address = "$SOCKET.ttrpc"
[metrics]
  address = "127.0.0.1:1338"
TOML
  tail -n +2 "$E2E_DIR/snippet.toml"
  if [ $cri != $runtime ]; then
    printf '%s\n' "$images" "[plugins.\"$cri\"]"; images=
  else
    echo "[plugins.\"$cri\"]"
  fi
  cat <<TOML
  $images
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
$([ $cri = $runtime ] || echo "[plugins.\"$runtime\"]")
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
[plugins."$runtime".cni]
  conf_dir = "$E2E_DIR/cni"
  bin_dir = "/usr/lib/cni"
TOML
}
cni() {
  mkdir -p "$E2E_DIR/cni"
  cat >"$E2E_DIR/cni/10-e2e.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "e2e", "plugins": [
  {"type": "bridge", "bridge": "e2e0", "isGateway": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.77.0/24"}]], "dataDir": "$E2E_DIR/ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}
start_containerd() {
  PATH=$E2E_DIR/bin:$PATH containerd --config "$E2E_DIR/config.toml" --log-level info </dev/null >>"$E2E_DIR/containerd.log" 2>&1 &
  echo $! >"$E2E_DIR/daemon"
  wait_for 30 ready
}
ready() {
  local bad
  bad=$(cri Status | jq -c '[.status.conditions[] | select(.status != 1) | select(.type | test("Ready"))]') && [ "$bad" = "[]" ]
}
import_images() {
  busybox_root "$E2E_DIR/rootfs"
  oci_image "$E2E_DIR/layout" "$IMAGE" "$E2E_DIR/rootfs" '{"Env":["PATH=/bin","FROM_IMAGE=yes"],"Cmd":["sh"],"WorkingDir":"/"}'
  # What a pause image's program is for: to stay, to end when told to, to reap.
  oci_image "$E2E_DIR/layout" "$PAUSE" "$E2E_DIR/rootfs" \
    '{"Env":["PATH=/bin"],"Entrypoint":["sh","-c","trap \"exit 0\" TERM INT; while :; do sleep 3600 & wait; done"]}'
  tar -C "$E2E_DIR/layout" -cf "$E2E_DIR/image.tar" oci-layout index.json blobs
  ctr images import --all-platforms "$E2E_DIR/image.tar" >/dev/null || return 1
  wait_for 10 eval 'cri ListImages | grep -q e2e.test/pause'
  same "$IMAGE" "$(cri ImageStatus "{\"image\":{\"image\":\"$IMAGE\"}}" | jq -r '.image.repo_tags[]')"
  [ "$(cri ImageFsInfo | jq '.image_filesystems | length')" -gt 0 ] || fail "no image filesystem"
}

t_commands() {
  local c
  for c in create start exec kill delete update; do
    grep -qE -- "--root [^ ]+ .*--log-format json .*\b$c\b" "$CALLS" || fail "containerd never gave the command $c"
  done
}
# containerd 2 leaves the shim of a pod whose first process was killed, with any runtime.
shims() { pgrep -fa containerd-shim | if [ "$MAJOR" = 1 ]; then cat; else grep -vF "$(id crash)"; fi; }
t_clean() {
  local out h
  (wait_for 10 eval '[ -z "$(shims)" ]') # the last of them ends a little after its pod
  out=$(cri ListPodSandbox | jq -r '.items[].id'; cri ListContainers | jq -r '.containers[].id'
    shims; ls -A "$RUNTIME_ROOT" 2>/dev/null; pgrep -fa "$WRAPPER|$RUNTIME"
    grep "$E2E_DIR/state" /proc/self/mounts; find "$E2E_DIR/ipam" -name '10.*'
    for h in $(hierarchies); do find "$h/$E2E_ID" -mindepth 2 -type d 2>/dev/null; done)
  for h in "$E2E_DIR"/ids/*; do out=${out//$(cat "$h")/<${h##*/}>}; done
  same "" "$(head -n 12 <<<"$out")" left
}

mkdir -p "$E2E_DIR"/{bin,ids,pods,logs,root,state}
chmod 711 "$E2E_DIR"/{root,state}
head -c 3000000 /dev/urandom >"$E2E_DIR/noise"
recorder "$WRAPPER" "$CALLS"
HANDLER=$(snippet runtimeclass | awk '$1 == "handler:" { print $2 }')
cni
config >"$E2E_DIR/config.toml"
echo "# $("$RUNTIME" --version | head -n 1), $(containerd --version | cut -d' ' -f1,3)"
check "containerd starts with the documentation's configuration" start_containerd
check "import of images made here" import_images
if [ $failed != 0 ]; then
  grep -vE 'level=info' "$E2E_DIR/containerd.log" | tail -n 20 | cut -c1-400 | sed 's/^/# containerd: /'
  finish
  exit
fi

ALL="pods security streams limits life"
for part in ${PARTS:-$ALL}; do . "$HERE/cri/$part.sh"; done
if [ "${ONLY:-*}" = "*" ]; then
  [ "${PARTS:-$ALL}" != "$ALL" ] || check "containerd gave the commands" t_commands
  case " ${PARTS:-$ALL} " in *" life "*) check "nothing is left" t_clean ;; esac
  check "the null device is untouched" null_device
fi
kill "$(cat "$E2E_DIR/daemon")"
finish
