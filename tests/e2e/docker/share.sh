# SPDX-License-Identifier: Apache-2.0
# `docker run` with namespaces of the host or of another container. Sourced by ../docker.sh.

mine() { readlink "/proc/self/ns/$1"; }
inside() { local ns=$1; shift; run "$@" -- readlink "/proc/self/ns/$ns"; }

t_own() {
  local ns
  for ns in ipc pid uts net mnt; do
    [ "$(mine $ns)" != "$(inside $ns)" ] || fail "not its own: $ns"
  done
}
t_host() {
  local ns
  for ns in ipc pid uts; do same "$(mine $ns)" "$(inside $ns "--$ns" host)" "$ns namespace"; done
  same "$(mine net)" "$(inside net --network host)" "net namespace"
  same "$(hostname)" "$(run --uts host -- hostname)" "host name"
  same dockerd "$(run --pid host -- sh -c "cat /proc/$(cat "$E2E_DIR/daemon")/comm")" "the daemon, seen from inside"
}
t_container() {
  background sharer --ipc shareable --hostname sharer -- sh -c 'echo shared >/dev/shm/f; sleep 300' || return 1
  local ns
  for ns in ipc pid; do
    same "$(docker exec sharer readlink "/proc/1/ns/$ns")" "$(inside $ns "--$ns" container:sharer)" "$ns namespace"
  done
  same "$(docker exec sharer readlink /proc/1/ns/net)" "$(inside net --network container:sharer)" "net namespace"
  same shared "$(run --ipc container:sharer -- cat /dev/shm/f)" "its shared memory"
  has "$(run --pid container:sharer -- ps -o args)" "sleep 300"
  same "$(docker exec sharer ip -4 addr show eth0)" "$(run --network container:sharer -- ip -4 addr show eth0)" addresses
  same sharer "$(run --network container:sharer -- hostname)" "host name"
  remove sharer
  code 125 run --network container:nosuch -- true
}
t_container_ends() {
  # Who only joined a pid namespace dies with its first process.
  background first -- sleep 300 && background joined --pid container:first -- sleep 300 || return 1
  docker kill first >/dev/null
  wait_for 10 is joined exited
  same 137 "$(field joined State.ExitCode)" "exit code"
  remove first joined
}
t_cgroupns() {
  local host; host=$(mine cgroup)
  same "$host" "$(inside cgroup --cgroupns host)" host
  [ "$host" != "$(inside cgroup --cgroupns private)" ] || fail "private: not its own"
  same / "$(run --cgroupns private -- sh -c 'cut -d: -f3 /proc/self/cgroup | sort -u | grep -v hugetlb')" "its own path"
  has "$(run --cgroupns host -- cat /proc/self/cgroup)" "/$E2E_ID/"
}
t_ipc_modes() {
  same 0 "$(run --ipc none -- sh -c 'grep -c " /dev/shm " /proc/mounts')" "/dev/shm with none"
  background sharer --ipc private -- sleep 300 || return 1
  code 125 run --ipc container:sharer -- true
  remove sharer
}

tests <<'LIST'
t_own run: namespaces of its own
t_host run --ipc, --pid, --uts, --network host
t_container run --ipc, --pid, --network container:
t_container_ends run --pid container: ends with it
t_cgroupns run --cgroupns
t_ipc_modes run --ipc none, private
LIST
