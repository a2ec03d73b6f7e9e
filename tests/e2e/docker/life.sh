# SPDX-License-Identifier: Apache-2.0
# How containers end and begin again, and what the daemon tells of it. Sourced by ../docker.sh.

t_kill() {
  background killed -- sh -c 'trap "exit 21" USR1; echo ready; while :; do sleep 0.05; done' || return 1
  wait_for 5 says killed ready
  docker kill -s USR1 killed >/dev/null || return 1
  same 21 "$(docker wait killed)" "exit code"
  docker kill killed >/dev/null 2>&1 && fail "killed what had ended"
  docker start killed >/dev/null && docker kill killed >/dev/null || return 1
  same 137 "$(docker wait killed)" "exit code"
  remove killed
  background killed -- sh -c 'trap "exit 64" 64; echo ready; while :; do sleep 0.05; done' || return 1
  wait_for 5 says killed ready
  docker kill -s 64 killed >/dev/null && same 64 "$(docker wait killed)" "exit code, real-time signal"
  remove killed
}
t_stop() {
  background stopped -- sh -c 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.05; done' || return 1
  wait_for 5 says stopped ready
  docker stop stopped >/dev/null || return 1
  same "exited 3" "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' stopped)"
  says stopped bye || fail "no word in the log"
  remove stopped
  background stopped --stop-signal USR2 -- sh -c 'trap "exit 5" USR2; echo ready; while :; do sleep 0.05; done' || return 1
  wait_for 5 says stopped ready
  docker stop stopped >/dev/null && same 5 "$(field stopped State.ExitCode)" "with a signal of its own"
  remove stopped
  background stopped -- sleep 300 || return 1
  docker stop -t 1 stopped >/dev/null && same 137 "$(field stopped State.ExitCode)" "deaf to it"
  remove stopped
}
t_restart() {
  background stopped -- sh -c 'echo begun; sleep 300' || return 1
  local p; p=$(pid stopped)
  docker restart -t 0 stopped >/dev/null || return 1
  [ "$p" != "$(pid stopped)" ] && gone "$p" || fail "the process is the old one: $p"
  wait_for 5 test 2 = "$(docker logs stopped | grep -c begun)"
  docker stop -t 0 stopped >/dev/null && docker start stopped >/dev/null && same running "$(field stopped State.Status)" "started again"
  remove stopped
}
t_restart_policy() {
  background stopped --restart on-failure:2 -- sh -c 'echo try; exit 1' || return 1
  wait_for 15 is stopped exited
  same "2 3" "$(field stopped RestartCount) $(docker logs stopped | grep -c try)" "restarts, attempts"
  remove stopped
  background stopped --restart always -- sleep 300 || return 1
  local p; p=$(pid stopped)
  kill -KILL "$p"
  wait_for 10 eval 'is stopped running && [ "$(pid stopped)" != '"$p"' ]'
  remove stopped
}
t_wait() {
  background waited -- sh -c 'sleep 0.5; exit 6' || return 1
  same 6 "$(docker wait waited)"
  same 6 "$(docker wait waited)" "once it has ended"
  remove waited
}
t_create_start() {
  docker create --name made -i "$IMAGE" sh -c 'read l; echo made $l; exit 6' >/dev/null || return 1
  same created "$(field made State.Status)"
  same "made it" "$(echo it | code 6 docker start -ai made)" output
  remove made
  docker create --name made "$IMAGE" true >/dev/null && docker rm made >/dev/null && away made
}
t_events() {
  local since out; since=$(date +%s.%N)
  background noted -- sleep 300 || return 1
  docker exec noted true && docker pause noted >/dev/null && docker unpause noted >/dev/null && docker update --cpu-shares 100 noted >/dev/null &&
    docker kill noted >/dev/null && docker wait noted >/dev/null && docker rm noted >/dev/null || return 1
  out=$(docker events --since "$since" --until "$(date +%s.%N)" --filter type=container --filter container=noted --format '{{.Action}}' | sed 's/:.*//' | xargs)
  same "create start exec_create exec_start exec_die pause unpause update kill die destroy" "$out"
}
t_event_oom() {
  controllers memory
  local since; since=$(date +%s.%N)
  docker run --name hungry --memory 24m --memory-swap 24m "$IMAGE" sh -c 'x=$(dd if=/dev/zero bs=1M count=64 | tr "\0" a)' >/dev/null 2>&1
  has "$(docker events --since "$since" --until "$(date +%s.%N)" --filter container=hungry --format '{{.Action}}')" oom
  remove hungry
}
health() { [ "$(field checked State.Health.Status)" = "$1" ]; }
t_health() {
  background checked --health-cmd 'test -e /tmp/well' --health-interval 300ms --health-retries 2 --health-start-period 0s -- sleep 300 || return 1
  health starting || fail "at first: $(field checked State.Health.Status)"
  docker exec checked touch /tmp/well && wait_for 20 health healthy && docker exec checked rm /tmp/well && wait_for 20 health unhealthy || return 1
  has "$(docker ps --filter name=checked --format '{{.Status}}')" unhealthy
  same 1 "$(docker inspect --format '{{(index .State.Health.Log 0).ExitCode}}' checked | sed 's/^0$/1/')" "a line of its log"
  remove checked
}
t_health_timeout() {
  background checked --health-cmd 'sleep 60' --health-interval 200ms --health-timeout 500ms --health-retries 1 -- sleep 300 || return 1
  wait_for 20 health unhealthy
  remove checked
}
t_many() {
  local i pids=()
  for i in 1 2 3 4 5 6 7 8; do run -- sh -c "exit $i" & pids+=($!); done
  for i in 1 2 3 4 5 6 7 8; do wait "${pids[i - 1]}"; same "$i" $? "exit code of the one with $i"; done
}

tests <<'LIST'
t_kill kill
t_stop stop
t_restart restart
t_restart_policy run --restart
t_wait wait
t_create_start create, then start -ai
t_events events
t_event_oom events: out of memory
t_health health check
t_health_timeout health check that hangs
t_many run, eight at once
LIST
