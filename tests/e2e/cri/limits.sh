# SPDX-License-Identifier: Apache-2.0
# Limits, their update, and the figures that are read back. In the pod p of pods.sh.
# Sourced by ../cri.sh.

t_limits() {
  controllers memory cpu cpuset
  container p lim '.linux.resources = {memory_limit_in_bytes:67108864, cpu_quota:50000, cpu_period:100000, cpu_shares:512, cpuset_cpus:"0", oom_score_adj:900}' \
    sh -c 'x=$(head -c 5000000 /dev/zero | tr "\0" x); while :; do sleep 0.05; done' || return 1
  same 67108864 "$(cgroup_file lim memory/memory.limit_in_bytes memory.max)" memory
  same "50000 100000" "$(cgroup_file lim cpu/cpu.cfs_quota_us cpu.max | xargs | sed 's/^50000$/50000 100000/')" "cpu quota"
  same 0 "$(cgroup_file lim cpuset/cpuset.cpus cpuset.cpus)" cpuset
  same 900 "$(sync lim cat /proc/1/oom_score_adj)" oom_score_adj
  case $(find /sys/fs/cgroup -path "*$E2E_ID/p/$(id lim)" -type d 2>/dev/null) in '') fail "not below the pod's cgroup_parent" ;; esac
}
t_update() {
  controllers memory cpu
  cri UpdateContainerResources "$(jq -nc --arg i "$(id lim)" '{container_id:$i, linux:{memory_limit_in_bytes:134217728, cpu_quota:30000, cpu_period:100000, cpu_shares:256}}')" >/dev/null || return 1
  same 134217728 "$(cgroup_file lim memory/memory.limit_in_bytes memory.max)" memory
  same 30000 "$(cgroup_file lim cpu/cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" "cpu quota"
  same 134217728 "$(status lim resources.linux.memory_limit_in_bytes)" "in the status"
  same 1 "$(status lim state)" state
  # Less than is in use cannot be had, and is said.
  local out; out=$(cri UpdateContainerResources "$(jq -nc --arg i "$(id lim)" '{container_id:$i, linux:{cpu_quota:1}}')" 2>&1) && fail "taken: $out"
  has "${out,,}" "invalid argument"
}
t_stats() {
  local out
  out=$(ask ContainerStats container_id "$(id lim)") || return 1
  jq -e '.stats | .attributes.metadata.name == "lim" and .cpu.usage_core_nano_seconds.value > 0 and .memory.working_set_bytes.value > 1000000
    and .writable_layer.used_bytes.value >= 0' <<<"$out" >/dev/null || fail "$out"
  out=$(cri ListContainerStats "{\"filter\":{\"pod_sandbox_id\":\"$(id p)\"}}")
  [ "$(jq '.stats | length' <<<"$out")" -ge 4 ] || fail "$out"
  out=$(ask PodSandboxStats pod_sandbox_id "$(id p)") || return 1
  jq -e '.stats.linux | .process.process_count.value > 4 and .memory.usage_bytes.value > 1000000 and .network.default_interface.name == "eth0"
    and (.containers | length) >= 4' <<<"$out" >/dev/null || fail "$out"
}
t_metrics() {
  local out; out=$(busybox wget -qO- http://127.0.0.1:1338/v1/metrics) || return 1
  grep -E "^container_memory_usage_(usage_)?bytes\{.*$(id lim)" <<<"$out" | grep -q 'namespace="k8s.io"' || fail "no figure for the container among $(wc -l <<<"$out") lines"
  grep -qE "^container_pids_current\{.*$(id lim).* [1-9]" <<<"$out" || fail "no number of processes"
}
t_pod_metrics() {
  local out
  out=$(cri ListPodSandboxMetrics 2>&1) || { [ "$MAJOR" = 1 ] && skip "containerd 1 has no such call"; fail "$out"; }
  [ "$(jq '.pod_metrics | length' <<<"$out")" -gt 0 ] || [ "$MAJOR" = 2 ] || fail "$out"
}
t_oom() {
  controllers memory
  container p hog '.linux.resources = {memory_limit_in_bytes:16777216, memory_swap_limit_in_bytes:16777216}' \
    sh -c 'sleep 0.5; x=$(head -c 60000000 /dev/zero | tr "\0" x); sleep 300' || return 1
  wait_for 20 is hog 2
  same "OOMKilled 137" "$(status hog reason) $(status hog exit_code)" "reason and code"
}
t_end() { remove lim; }

tests <<'LIST'
t_limits limits, below the pod's cgroup
t_update update of a running container
t_stats stats of a container, of all, of the pod
t_metrics metrics of containerd
t_pod_metrics metrics of the pods
t_oom out of memory is told
t_end the container of these tests goes
LIST
