# SPDX-License-Identifier: Apache-2.0
# `docker checkpoint`, which is experimental and needs CRIU on a kernel that it knows. Sourced by ../docker.sh.

t_checkpoint() {
  command -v criu >/dev/null || skip "CRIU is not installed"
  local out; out=$(criu check 2>&1) || skip "criu check: $(grep -m 1 Error <<<"$out")"
  configure docker-default && stop_docker && start_docker --experimental || return 1
  background counts --security-opt seccomp=unconfined -- sh -c 'i=0; while :; do echo count $i; i=$((i + 1)); sleep 0.1; done' || return 1
  wait_for 10 says counts "count 3"
  docker checkpoint create --leave-running counts first >/dev/null && same running "$(field counts State.Status)" || return 1
  docker checkpoint create counts second >/dev/null || return 1
  wait_for 10 is counts exited
  has "$(docker checkpoint ls counts)" second
  local last; last=$(docker logs --tail 1 counts); last=${last##* }
  docker start --checkpoint second counts || return 1
  wait_for 10 says counts "count $((last + 3))"
  same 1 "$(docker logs counts | grep -cx "count 0")" "it began once"
  docker checkpoint rm counts first && docker checkpoint rm counts second && remove counts
  stop_docker && start_docker
}

tests <<'LIST'
t_checkpoint checkpoint, start --checkpoint
LIST
