# SPDX-License-Identifier: Apache-2.0
# Containers that outlive the daemon and its containerd. Sourced by ../docker.sh.

t_restore_on() {
  configure docker-live-restore && reload || return 1
  same true "$(docker info --format '{{.LiveRestoreEnabled}}')" "live restore"
  background counts --restart no -- sh -c 'i=0; while :; do echo count $i; i=$((i + 1)); sleep 0.2; done' &&
    background typed -it -- sh -c 'while read l; do echo read $l; done' &&
    background ends -- sh -c 'until [ -e /end ]; do sleep 0.1; done; exit 7' &&
    background leaves -- sh -c 'until [ -e /end ]; do sleep 0.1; done; exit 9' &&
    background health --health-cmd 'test -e /well' --health-interval 300ms -- sh -c 'touch /well; sleep 300' &&
    background frozen -- sh -c 'while :; do sleep 0.1; done' && docker pause frozen >/dev/null || return 1
  wait_for 5 says counts "count 1"
}
note_pids() { local n; for n in counts typed ends leaves health frozen; do pid $n >"$E2E_DIR/pid.$n"; done; }
# still NAME...: running, with the pid that was noted
still() {
  local n
  for n; do
    [ -d "/proc/$(cat "$E2E_DIR/pid.$n")" ] || fail "the process of $n is gone"
    same "$(cat "$E2E_DIR/pid.$n")" "$(pid "$n")" "pid of $n"
  done
}
end_down() { # NAME: while the daemon is away
  local p; p=$(cat "$E2E_DIR/pid.$1")
  touch "/proc/$p/root/end"
  wait_for 10 gone "$p"
}
working() {
  same running "$(field counts State.Status)" && same back "$(docker exec counts echo back)" || return 1
  local last; last=$(docker logs --tail 1 counts)
  wait_for 5 says counts "count $((${last##* } + 3))"
  same paused "$(field frozen State.Status)" "the paused one"
}
t_restore_term() {
  note_pids
  stop_docker
  [ -d "/proc/$(cat "$E2E_DIR/pid.counts")" ] || fail "it ended with the daemon"
  end_down ends
  start_docker || return 1
  still counts typed leaves health frozen && working || return 1
  wait_for 10 is ends exited
  same 7 "$(field ends State.ExitCode)" "exit code of the one that ended meanwhile"
}
t_restore_kill() {
  local daemon containerd; daemon=$(cat "$E2E_DIR/daemon"); containerd=$(cat /run/docker/containerd/containerd.pid)
  kill -KILL "$daemon" "$containerd"
  wait_for 10 gone "$daemon"; wait_for 10 gone "$containerd"
  end_down leaves
  start_docker || return 1
  still counts typed health frozen && working || return 1
  wait_for 10 is leaves exited
  same 9 "$(field leaves State.ExitCode)" "exit code of the one that ended meanwhile"
}
t_restore_use() {
  docker unpause frozen >/dev/null && same running "$(field frozen State.Status)" || return 1
  wait_for 10 eval '[ "$(field health State.Health.Status)" = healthy ]'
  docker update --cpu-shares 200 counts >/dev/null && has "$(docker top counts)" count || return 1
  in_terminal "$DOCKER" attach --sig-proxy=false typed >/dev/null &
  local client=$!
  wait_for 5 test -p "$E2E_DIR/typed"; sleep 1
  printf 'word\n' >"$E2E_DIR/typed"
  wait_for 10 says typed "read word"
  printf '\020\021' >"$E2E_DIR/typed"; wait_for 10 gone $client
  docker stop -t 0 counts >/dev/null && same 137 "$(field counts State.ExitCode)" "exit code" || return 1
  docker start counts >/dev/null && same running "$(field counts State.Status)" "started again" || return 1
  local p; p=$(pid counts)
  docker rm -f counts typed ends leaves health frozen >/dev/null
  gone "$p" || fail "process $p is still there"
}
t_restore_off() {
  # A reload leaves on what the file no longer names.
  configure docker-default && stop_docker && start_docker || return 1
  same false "$(docker info --format '{{.LiveRestoreEnabled}}')" "live restore"
  background lives -- sleep 300 || return 1
  local p; p=$(pid lives)
  stop_docker
  gone "$p" || fail "without it, process $p outlived the daemon"
  start_docker || return 1
  same exited "$(field lives State.Status)" && remove lives
}

tests <<'LIST'
t_restore_on live restore: docs/managers.md's snippet, without a restart
t_restore_term live restore: the daemon ends and begins again
t_restore_kill live restore: daemon and containerd are killed
t_restore_use live restore: used on, stopped, started
t_restore_off live restore: without it, containers end with the daemon
LIST
