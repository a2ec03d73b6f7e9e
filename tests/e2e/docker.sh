#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# End to end: Docker's daemon, with a containerd and a registry of its own, runs containers with RUNTIME.
#
#   sudo tests/e2e/docker.sh                   the release build of this tree
#   sudo tests/e2e/docker.sh --quick           without live restore, user namespaces and Swarm
#   sudo RUNTIME=/usr/sbin/runc tests/e2e/docker.sh
#   ONLY=PATTERN                               only the tests whose name matches the glob
#   PARTS="run exec"                           only these files of docker/ (each can stand alone)
#   DOCKER=/usr/bin/docker                     the client; it should be of the daemon's release
#
# The daemon gets the blocks of README.md and docs/managers.md word for word as its /etc/docker/daemon.json, in a mount
# namespace in which RUNTIME stands at the path that they name.
#
# Prints TAP and a closing count. Without the tools it needs it prints what is missing and fails,
# or succeeds if E2E_ALLOW_SKIP=1.

. "$(dirname "$0")/lib.sh" || exit 1
need dockerd=docker.io containerd=containerd docker-registry=docker-registry iptables=iptables busybox=busybox-static \
  jq=jq ip=iproute2 unshare=util-linux script=bsdutils tar=tar
# Debian's client before any other on the path: that is the daemon's own.
DOCKER=${DOCKER:-$([ -x /usr/bin/docker ] && echo /usr/bin/docker || command -v docker)}
export DOCKER
case ${1:-} in
  '') PARTS=${PARTS:-image run limits share exec life net restore checkpoint userns swarm} ;;
  --quick) PARTS=${PARTS:-image run limits share exec life net} ;;
  *) echo "$0: only --quick" >&2; exit 2 ;;
esac
export PARTS
sandbox "$0"

CALLS=$E2E_DIR/calls
WRAPPER=/usr/local/sbin/creel     # the snippets' path; here a program that notes the calls and becomes RUNTIME
IMAGE=e2e/busybox
RUNTIME_ROOT=/run/docker/runtime-runc/moby
LOG=$E2E_DIR/dockerd.log
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_DEFAULT_PLATFORM
export DOCKER_CONFIG=$E2E_DIR/client TMPDIR=$E2E_DIR

docker() { timeout --foreground -k 5 120 "$DOCKER" "$@"; }
# run [OPTION...] -- COMMAND: in the foreground, removed afterwards
run() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  docker run --rm "${options[@]}" "$IMAGE" "$@"
}
# background NAME [OPTION...] -- COMMAND
background() {
  local options=(--name "$1")
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  docker run -d "${options[@]}" "$IMAGE" "$@" >/dev/null
}
field() { docker inspect --format "{{.$2}}" "$1"; }
is() { [ "$(field "$1" State.Status)" = "$2" ]; }
id_of() { field "$1" Id; }
pid() { field "$1" State.Pid; }
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
# away NAME: no such container
away() { ! docker inspect --type container "$1" >/dev/null 2>&1; }
remove() { docker rm -fv "$@" >/dev/null 2>&1; }
# says NAME TEXT: its log has the text
says() { docker logs "$1" 2>&1 | grep -qF -- "$2"; }
# cgroup_file NAME V1 V2: the value of a limit, V1 being controller/file and V2 a file
cgroup_file() {
  local h id; id=$(id_of "$1") || return 1
  for h in $(hierarchies); do
    [ "${h##*/}" = "${2%%/*}" ] && [ -f "$h/$E2E_ID/$id/${2#*/}" ] && cat "$h/$E2E_ID/$id/${2#*/}" && return
  done
  for h in $(hierarchies); do
    [ -f "$h/$E2E_ID/$id/$3" ] && cat "$h/$E2E_ID/$id/$3" && return
  done
  fail "neither $2 nor $3 of $1"
}
# What the daemon complained of since the last failure.
logged=0
explain() {
  tail -n +"$((logged + 1))" "$LOG" | grep -E 'level=(error|fatal)' | tail -n 3 | cut -c1-300 | sed 's/^/# dockerd: /'
  logged=$(wc -l <"$LOG")
}
# http HOST PORT PATH: what is there. Debian's static busybox ends its wget by SIGSEGV.
http() (
  # A published port takes the connection and drops it while nobody listens behind it.
  trap '' PIPE
  exec 9<>"/dev/tcp/$1/$2" && printf 'GET %s HTTP/1.0\r\n\r\n' "$3" >&9 && read -r -t 5 word <&9 &&
    [[ $word == *" 200 "* ]] && timeout 5 cat <&9 | awk 'body { print } { sub(/\r$/, "") } $0 == "" { body = 1 }'
)

# readme_snippet: the JSON block under README's word Docker
readme_snippet() { awk '/^\*\*Docker\*\*/ { here = 1 } here && /^```/ { if (inside++) exit; next } inside' "$ROOT/README.md"; }
# configure NAME: /etc/docker/daemon.json from a document
configure() {
  if [ "$1" = readme ]; then readme_snippet; else snippet "$1"; fi >/etc/docker/daemon.json
  jq -e '.runtimes.creel.path == "'$WRAPPER'"' /etc/docker/daemon.json >/dev/null ||
    fail "no snippet for $1: $(cat /etc/docker/daemon.json)"
}
# start_docker [OPTION...]: the daemon, whose pid is in $E2E_DIR/daemon
start_docker() {
  # 20.10 lowers its own score, for which root needs CAP_SYS_RESOURCE.
  dockerd --help | grep -q -- --oom-score-adjust && set -- --oom-score-adjust 0 "$@"
  # A runc on the daemon's path, for BuildKit, which knows no other name.
  PATH=$E2E_DIR/bin:$PATH dockerd --data-root "$E2E_DIR/data" --cgroup-parent "/$E2E_ID" "$@" \
    </dev/null >>"$LOG" 2>&1 &
  echo $! >"$E2E_DIR/daemon"
  wait_for 60 docker version
}
# reload: the daemon reads its configuration anew
reloaded() { [ "$(grep -c 'Reloaded configuration' "$LOG")" -gt "$1" ]; }
reload() {
  local before; before=$(grep -c 'Reloaded configuration' "$LOG")
  kill -HUP "$(cat "$E2E_DIR/daemon")"
  wait_for 20 reloaded "$before"
}
stop_docker() {
  local p; p=$(cat "$E2E_DIR/daemon")
  kill "$p"
  wait_for 60 gone "$p"
}

# What installing would do, in this mount namespace only.
install_here() {
  mkdir -p /etc/docker "$E2E_DIR/bin"
  touch "$E2E_DIR/bin/runtime" && mount --bind "$RUNTIME" "$E2E_DIR/bin/runtime"
  RUNTIME=$E2E_DIR/bin/runtime
  mount -t tmpfs -o mode=755 tmpfs /etc/docker
  mount -t tmpfs -o mode=755 tmpfs "${WRAPPER%/*}"
  recorder "$WRAPPER" "$CALLS"
  ln -s "$WRAPPER" "$E2E_DIR/bin/runc"
}

# What failed tests left, so that it does not fail the next part.
tidy() {
  docker swarm leave --force; docker rm -fv $(docker ps -aq); docker volume prune -f; docker network prune -f
} >/dev/null 2>&1

t_commands() {
  local c
  for c in create start exec kill delete pause resume update; do
    grep -qE -- "--root [^ ]+ .*--log-format json .*\b$c\b" "$CALLS" || fail "Docker never gave the command $c"
  done
}
# What a daemon without containers has kept.
kept() {
  local h
  docker ps -aq || echo "no daemon"
  docker volume ls -q; docker network ls -q --filter type=custom
  pgrep -fa containerd-shim; pgrep -fa "$WRAPPER|$RUNTIME"; ls -A "$RUNTIME_ROOT" 2>/dev/null
  for h in $(hierarchies); do find "$h/$E2E_ID" -mindepth 1 -type d ! -name buildkit 2>/dev/null; done
  grep -E "overlay2/|/run/docker/(runtime|containerd)" /proc/self/mounts
}
nothing_kept() { [ -z "$(kept)" ]; }
t_clean() {
  (wait_for 5 nothing_kept) >/dev/null
  same "" "$(kept)" left
}

install_here
head -c 3000000 /dev/urandom >"$E2E_DIR/noise"
busybox_root "$E2E_DIR/rootfs"
echo "# $("$RUNTIME" --version | head -n 1), $("$DOCKER" --version), $(containerd --version | cut -d' ' -f1,3)"
. "$HERE/docker/start.sh"
if [ "$failed" != 0 ]; then
  diag "without these there is nothing to test; the daemon's last words: $(tail -n 5 "$LOG")"
  finish; exit
fi
for part in $PARTS; do
  before=$failed
  . "$HERE/docker/$part.sh"
  [ "$failed" = "$before" ] || tidy
done
if [ "${ONLY:-*}" = "*" ]; then
  case " $PARTS " in *" exec "*" life "*) check "Docker gave the commands" t_commands ;; esac
  check "nothing is left" t_clean
  check "the null device is untouched" null_device
fi
stop_docker
finish
