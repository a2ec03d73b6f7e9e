# SPDX-License-Identifier: Apache-2.0
# What root's Podman and an ordinary user's must do alike: pods, kube play, builds, units, health.
# Sourced by ../podman.sh and ../podman-rootless.sh, which have podman, run, with, field, remove,
# and lists of options: NEW of each new container, BARE without its network, INPOD of one in a pod,
# POD of each pod, BUILD of builds. WORK is a directory of the user's, OWNER the user.

t_rootfs() {
  busybox_root "$WORK/tree" && chown -R "$OWNER" "$WORK/tree" || return 1
  same "plain data" "$(podman run --rm "${NEW[@]}" --rootfs "$WORK/tree" sh -c 'echo plain $(cat /etc/plain); echo new >/written')"
  same new "$(cat "$WORK/tree/written")" "written to the directory itself"
  rm -rf "$WORK/tree"
}
t_pod_life() {
  podman pod create --name life "${POD[@]}" --share net,ipc,uts,pid --hostname podname >/dev/null || return 1
  podman run -d --pod life --name l1 "${INPOD[@]}" "$IMAGE" sleep 321 >/dev/null || return 1
  podman run -d --pod life --name l2 "${INPOD[@]}" "$IMAGE" sleep 322 >/dev/null || return 1
  local ns
  for ns in net ipc uts pid; do
    same "$(podman exec l1 readlink "/proc/self/ns/$ns")" "$(podman exec l2 readlink "/proc/self/ns/$ns")" "$ns"
  done
  has "$(podman exec l2 ps)" "sleep 321"
  same podname "$(podman exec l1 hostname)" hostname
  podman pod stop -t 0 life >/dev/null && wait_for 10 eval '[ "$(field l1 State.Status)" = exited ]'
  podman pod start life >/dev/null && same "running running" "$(field l1 State.Status) $(field l2 State.Status)" "started again"
  podman pod pause life >/dev/null 2>&1 && podman pod unpause life >/dev/null
  podman pod rm -f -t 0 life >/dev/null || return 1
  same "" "$(podman ps -aq --filter name=l1)" left
}
t_kube() {
  mkdir -p "$WORK/kube" && echo mounted >"$WORK/kube/f" && chown -R "$OWNER" "$WORK/kube" || return 1
  cat >"$WORK/pod.yaml" <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {SETTING: from-the-map}
---
apiVersion: v1
kind: Pod
metadata:
  name: played
  labels: {app: e2e}
spec:
  hostname: kubepod
  restartPolicy: Never
  containers:
    - name: first
      image: $IMAGE
      command: ["sh", "-c", "echo \$SETTING; cat /host/f; sleep 323"]
      envFrom: [{configMapRef: {name: settings}}]
      volumeMounts: [{name: host, mountPath: /host, readOnly: true}]
      securityContext: {runAsUser: 1000, capabilities: {drop: [all]}}
    - name: second
      image: $IMAGE
      command: ["sleep", "324"]
      workingDir: /etc
      volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes:
    - name: host
      hostPath: {path: $WORK/kube}
    - name: scratch
      emptyDir: {}
YAML
  local out
  out=$(podman kube play --network none "$WORK/pod.yaml" 2>&1) || fail "$out"
  wait_for 10 eval '[ "$(podman logs played-first | wc -l)" = 2 ]'
  same "from-the-map mounted" "$(podman logs played-first | xargs)" "environment and volume"
  same "1000 0000000000000000" "$(podman exec played-first sh -c 'echo $(id -u) $(awk "/^CapEff/ { print \$2 }" /proc/self/status)')" "security context"
  same "kubepod /etc" "$(podman exec played-second sh -c 'echo $(hostname) $(pwd)')" "pod"
  same creel "$(field played-first OCIRuntime)" runtime
  podman exec played-second touch /scratch/f || return 1
  has "$(podman kube generate played 2>/dev/null)" "hostname: kubepod"
  podman kube down "$WORK/pod.yaml" >/dev/null || return 1
  same "" "$(podman pod ps -q --filter name=played)" "left after kube down"
}
# The documentation's Pod has a runtimeClassName, which Podman passes over.
t_kube_class() {
  snippet pod | sed "s|image: busybox|image: $IMAGE|" >"$WORK/class.yaml"
  podman kube play --network none "$WORK/class.yaml" >/dev/null || return 1
  same "running creel" "$(field hello-hello State.Status) $(field hello-hello OCIRuntime)"
  podman kube down "$WORK/class.yaml" >/dev/null
}
t_health() {
  podman run -d --name sick "${NEW[@]}" --health-cmd 'test -f /healthy' --health-interval disable --health-retries 2 \
    "$IMAGE" sleep 325 >/dev/null || return 1
  podman healthcheck run sick >/dev/null; podman healthcheck run sick >/dev/null && fail "healthy without the file"
  same unhealthy "$(field sick State.Health.Status)"
  podman exec sick touch /healthy && podman healthcheck run sick || fail "unhealthy with the file"
  same healthy "$(field sick State.Health.Status)"
  remove sick
}
t_build() {
  mkdir -p "$WORK/build" && cat >"$WORK/build/Containerfile" <<CONTAINERFILE
FROM $IMAGE
ARG WHAT=nothing
ENV MADE=here
RUN echo \$WHAT >/made && id -u >>/made
RUN ["sh", "-c", "test \$(cat /proc/self/status | awk '/^Seccomp:/ { print \$2 }') = 2"]
USER 1000
RUN id -u >/tmp/user
CMD ["sh", "-c", "cat /made /tmp/user; echo \$MADE"]
CONTAINERFILE
  chown -R "$OWNER" "$WORK/build"
  local out
  out=$("$@" --build-arg WHAT=something -t e2e/built "$WORK/build" 2>&1) || fail "$(tail -n 5 <<<"$out")"
  same "something 0 1000 here" "$(podman run --rm "${NEW[@]}" localhost/e2e/built | xargs)"
  printf 'FROM %s\nRUN exit 23\n' "$IMAGE" >"$WORK/build/Failing"
  out=$("$@" -f "$WORK/build/Failing" "$WORK/build" 2>&1) && fail "RUN exit 23 was built"
  has "$out" 23
  podman rmi -f localhost/e2e/built >/dev/null
}
t_podman_build() { t_build podman build --isolation "$ISOLATION" --network none "${BUILD[@]}"; }
t_buildah() {
  type -P buildah >/dev/null || skip "buildah is not installed"
  t_build buildah bud --runtime "$WRAPPER" --isolation "$ISOLATION" --network none "${BUILD[@]}" || return 1
  grep -qE -- '(^| )(create|run) .*--bundle [^ ]*/buildah' "$CALLS" || fail "buildah never called the runtime"
}
# The unit's own command is run as systemd would, with a socket for its readiness.
t_unit() {
  local unit command
  podman create --name unit "${NEW[@]}" "$IMAGE" sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done' >/dev/null || return 1
  unit=$(podman generate systemd --new --name unit) || return 1
  remove unit
  has "$unit" "Type=notify"
  printf '%s\n' "$unit" >"$E2E_DIR/container-unit.service"
  if command -v systemd-analyze >/dev/null; then
    command=$(systemd-analyze verify "$E2E_DIR/container-unit.service" 2>&1 | grep container-unit)
    same "" "$command" "systemd-analyze verify"
  fi
  # ExecStart over its lines, specifiers filled in; systemd's own quoting is a shell's here.
  command=$(sed -n '/^ExecStart=/,/[^\\]$/p' <<<"$unit" | sed 's/^ExecStart=[^ ]*//; s/\\$//' | tr '\n' ' ' | sed "s|%t/%n|$WORK/unit|g; s|\\\$\\\$|\$|g")
  notified "$WORK/notify" >"$E2E_DIR/notified" &
  local waiter=$!
  wait_for 10 test -S "$WORK/notify"
  # Above all that matters: --sdnotify=conmon, --cgroups=no-conmon, --replace, --cidfile.
  NOTIFY=$WORK/notify eval "podman $command" >/dev/null || fail "$command"
  wait $waiter || fail "never told ready"
  has "$(cat "$E2E_DIR/notified")" READY=1
  same "$(field unit State.ConmonPid)" "$(sed -n 's/^MAINPID=//p' "$E2E_DIR/notified" | tail -n 1)" "the main process"
  same running "$(field unit State.Status)"
  podman stop -t 5 --ignore --cidfile "$WORK/unit.ctr-id" >/dev/null 2>&1 || podman stop -t 5 unit >/dev/null
  wait_for 5 eval '! podman container exists unit'
}
# notified SOCKET: prints what comes until READY=1 was among it
notified() {
  timeout 30 /usr/bin/python3 -c 'import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
while True:
    text = s.recv(4096).decode()
    print(text, flush=True)
    if "READY=1" in text:
        break' "$1"
}
t_descriptors() {
  # Podman passes on descriptors from 3 upwards; the runtime is told --preserve-fds.
  same given "$(with --preserve-fds 1 -- sh -c 'cat <&3' 3<<<given)" run
}
t_namespaces_of_another() {
  podman run -d --name base "${NEW[@]}" "$IMAGE" sleep 326 >/dev/null || return 1
  local ns
  for ns in pid ipc net; do
    local option=--$ns; [ $ns = net ] && option=--network
    same "$(podman exec base readlink "/proc/self/ns/$ns")" \
      "$(podman run --rm "${BARE[@]}" "$option" container:base "$IMAGE" readlink "/proc/self/ns/$ns")" "$ns of another container"
  done
  for ns in pid ipc uts; do
    same "$(readlink "/proc/self/ns/$ns")" "$(with "--$ns" host -- readlink "/proc/self/ns/$ns")" "$ns of the host"
  done
  remove base
}
t_restart_policy() {
  podman run -d --name again "${NEW[@]}" --restart on-failure:2 "$IMAGE" sh -c 'exit 3' >/dev/null || return 1
  wait_for 15 eval '[ "$(field again RestartCount) $(field again State.Status)" = "2 exited" ]'
  remove again
}
t_init() {
  [ -x /usr/libexec/podman/catatonit ] || command -v catatonit >/dev/null || skip "catatonit is not installed"
  has "$(with --init -- sh -c 'cat /proc/1/comm')" init
}
t_attach() {
  podman run -d -i --name at "${NEW[@]}" "$IMAGE" cat >/dev/null || return 1
  has "$(echo through | podman attach at 2>/dev/null)" through
  remove at
}
t_volume() {
  podman volume create v >/dev/null || return 1
  with -v v:/v -- sh -c 'echo kept >/v/f' || return 1
  same kept "$(with -v v:/v:ro -- cat /v/f)"
  with -v v:/v:nosuid,nodev,noexec -- grep ' /v ' /proc/mounts | grep -q 'nosuid,nodev,noexec' || fail "options"
  podman volume rm v >/dev/null
}
t_no_cgroups() {
  local h
  podman run -d --name free "${NEW[@]:0:2}" --cgroups disabled "$IMAGE" sleep 329 >/dev/null || return 1
  grep -q -- '--cgroup-manager disabled.* create ' "$CALLS" || fail "Podman did not tell the runtime"
  for h in $(hierarchies); do
    [ -z "$(find "$h" -maxdepth 4 -name "*$(podman inspect --format '{{.Id}}' free)*" ! -name '*conmon*' 2>/dev/null)" ] || fail "a cgroup in $h"
  done
  same back "$(podman exec free echo back)" exec
  podman stop -t 0 free >/dev/null && same exited "$(field free State.Status)"
  remove free
}
t_stats() {
  podman run -d --name st "${NEW[@]}" "$IMAGE" sh -c 'while :; do :; done' >/dev/null || return 1
  local out; out=$(podman stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsageBytes}}' st 2>&1); local rc=$?
  remove st
  [ $rc = 0 ] || { has "$out" "stats is not supported in rootless mode without cgroups v2"; skip "podman: $out"; }
  [[ $out =~ ^st\ [1-9] ]] || fail "$out"
}

BOTH=$(cat <<'LIST'
t_rootfs run from a directory, --rootfs
t_pod_life a pod: shared namespaces, stop, start
t_kube kube play
t_kube_class kube play of the documentation's pod
t_health a health check
t_podman_build podman build
t_buildah buildah
t_unit a systemd unit's command, and its readiness
t_descriptors descriptors are passed on
t_namespaces_of_another namespaces of another container and of the host
t_restart_policy a restart policy
t_init run with an init
t_attach attach
t_volume a volume
t_no_cgroups --cgroups=disabled
t_stats stats
LIST
)
