# SPDX-License-Identifier: Apache-2.0
# Ends, failures, a restart of containerd under running pods. In the pod p of pods.sh, which ends here.
# Sourced by ../cri.sh.

t_exit() {
  run p ends . sh -c 'exit 3' || return 1
  same "3 Error" "$(status ends exit_code) $(status ends reason)"
  run p fine . true || return 1
  same "0 Completed" "$(status fine exit_code) $(status fine reason)"
}
t_start_errors() {
  local out
  create p none . /no/such/program || return 1
  out=$(start none 2>&1) && fail started
  [[ $out =~ no\ such\ file\ or\ directory|executable\ file\ not\ found ]] || fail "$out"
  same 2 "$(status none state)" state
  has "StartError 128" "$(status none reason) $(status none exit_code)"
  create p plain . /etc/plain && out=$(start plain 2>&1) && fail started
  has "$out" "permission denied"
  remove none && remove plain
}
t_stop() {
  container p st . sh -c 'trap "exit 21" TERM; while :; do sleep 0.05; done' || return 1
  sleep 0.3
  stop st 10 && same 21 "$(status st exit_code)" "by SIGTERM"
  container p deaf . sh -c 'trap "" TERM; while :; do sleep 0.05; done' || return 1
  sleep 0.3
  stop deaf 1 && same 137 "$(status deaf exit_code)" "by SIGKILL after a second"
}
t_restart() {
  local before_a before_p out; before_a=$(pid a) before_p=$(pid p)
  container p short . sleep 3 || return 1
  kill "$(cat "$E2E_DIR/daemon")" && wait_for 10 eval "! kill -0 $(cat "$E2E_DIR/daemon") 2>/dev/null"
  sleep 3
  start_containerd || return 1
  same "$before_a $before_p" "$(pid a) $(pid p)" "processes"
  same "1 1" "$(status a state) $(status b state)" "states"
  # containerd 2 does not ask the shim for the code of what it finds ended, with any runtime.
  [[ "$(status short state) $(status short exit_code)" =~ ^2\ (0|255)$ ]] || fail "one that ended meanwhile: state $(status short state), code $(status short exit_code)"
  same 0 "$(ask PodSandboxStatus pod_sandbox_id "$(id p)" | jq .status.state)" "the pod's state"
  same back "$(sync b echo back)" exec-sync
  has "$(echo again | cri attach "$(jq -nc --arg i "$(id a)" '{container_id:$i, stdin:1, stdout:1}')" --until=again)" again
  container p later . sleep 300 && same 1 "$(status later state)" "a container after the restart"
}
t_killed() {
  local before; before=$(pid b)
  kill -KILL "$(cat "$E2E_DIR/daemon")" && wait_for 10 eval "! kill -0 $(cat "$E2E_DIR/daemon") 2>/dev/null"
  start_containerd || return 1
  same "$before 1" "$(pid b) $(status b state)"
  same back "$(sync b echo back)" exec-sync
}
t_checkpoint() {
  [ "$MAJOR" != 1 ] || skip "containerd 1.6 answers Unimplemented to CheckpointContainer"
  command -v criu >/dev/null || skip "criu is not installed"
  criu check >/dev/null 2>&1 || skip "criu check fails on this kernel"
  cri CheckpointContainer "$(jq -nc --arg i "$(id b)" --arg l "$E2E_DIR/b.tar" '{container_id:$i, location:$l, timeout:30}')" >/dev/null || return 1
  [ -s "$E2E_DIR/b.tar" ] || fail "no archive"
  same 1 "$(status b state)" "it goes on"
}
t_crash() {
  # The pod's own process is gone: the kubelet would make a new pod.
  pod crash && container crash left . sleep 316 || return 1
  kill -KILL "$(pid crash)"
  wait_for 10 eval '[ "$(ask PodSandboxStatus pod_sandbox_id "$(id crash)" | jq .status.state)" = 1 ]'
  remove_pod crash
  wait_for 5 eval '! pgrep -fx "sleep 316"'
}
t_many() {
  local i
  for i in 1 2 3 4 5 6; do (pod "many$i" && container "many$i" "in$i" . sleep 317) & done
  wait
  same 6 "$(pgrep -fxc 'sleep 317')" containers
  for i in 1 2 3 4 5 6; do remove_pod "many$i" & done
  wait
  same 0 "$(pgrep -fxc 'sleep 317')" "containers left"
}
t_remove() {
  remove later || return 1
  remove_pod p || return 1
  ask PodSandboxStatus pod_sandbox_id "$(id p)" >/dev/null 2>&1 && fail "still there"
  same "" "$(cri ListContainers | jq -r '.containers[].id')" containers
}

tests <<'LIST'
t_exit exit code and reason
t_start_errors what cannot be started
t_stop stop, in time and by force
t_restart containerd restarts under running pods
t_killed containerd is killed under running pods
t_checkpoint checkpoint
t_crash the pod's first process is killed
t_many six pods at once
t_remove the pod and all in it go
LIST
