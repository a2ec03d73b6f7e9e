# SPDX-License-Identifier: Apache-2.0
# One container, c, stays from the first of these tests to the last: the order matters.
# Sourced by ../containerd.sh.

t_detached() {
  background c sh -c 'trap "exit 7" USR1; while :; do sleep 0.05; done' || return 1
  same RUNNING "$(status c)"
  local p; p=$(pid c)
  [ -d "/proc/$p" ] || fail "no process $p"
  same running "$("$RUNTIME" --root "$RUNTIME_ROOT" state c | jq -r .status)" "the runtime's own state"
  same "$p" "$("$RUNTIME" --root "$RUNTIME_ROOT" state c | jq -r .pid)" "the runtime's own pid"
}
t_exec() {
  same "yes 1" "$(execute c sh -c 'echo $FROM_IMAGE $(cat /proc/1/comm | wc -l)')" &&
    has "$(execute c ps)" "sleep 0.05"
}
t_exec_codes() { local i; for i in 0 1 7 126 127 255; do code $i execute c sh -c "exit $i" || return 1; done; }
t_exec_streams() {
  execute c sh -c 'echo one; echo two >&2' >"$E2E_DIR/o" 2>"$E2E_DIR/e" || return 1
  same one "$(cat "$E2E_DIR/o")" stdout
  same two "$(cat "$E2E_DIR/e")" stderr
  same "$(sha256sum <"$E2E_DIR/noise")" "$(execute c cat <"$E2E_DIR/noise" | sha256sum)" "3 MB in and out"
}
t_exec_options() {
  EXEC=(--cwd /etc)
  same /etc "$(execute c pwd)" cwd
  EXEC=(--user user)
  same 1000:1000 "$(execute c sh -c 'echo $(id -u):$(id -g)')" "user by name"
  EXEC=(--user 12:34)
  same 12:34 "$(execute c sh -c 'echo $(id -u):$(id -g)')" "user by number"
}
t_exec_inside() {
  local ns p; p=$(pid c)
  for ns in pid mnt net ipc uts; do
    same "$(readlink "/proc/$p/ns/$ns")" "$(execute c readlink "/proc/self/ns/$ns")" "$ns namespace"
  done
  # As seen from outside: the lines of the first process and of the exec'd one agree.
  EXEC=(--detach)
  execute c sleep 77
  wait_for 5 pgrep -fx "sleep 77"
  same "$(cat "/proc/$p/cgroup")" "$(cat "/proc/$(pgrep -fx "sleep 77")/cgroup")" "cgroups"
  same "$(grep -E '^(Cap|NoNew|Seccomp:)' "/proc/$p/status")" \
    "$(grep -E '^(Cap|NoNew|Seccomp:)' "/proc/$(pgrep -fx "sleep 77")/status")" "privileges"
  kill "$(pgrep -fx "sleep 77")"
}
t_exec_terminal() {
  local out
  out=$(in_terminal ctr_alone task exec --tty --exec-id tty1 c sh -c "tty; $SIZED; exit 5")
  same 5 $? "exit code, having printed '$out'"
  has "$out" /dev/pts/
  has "$out" "33 77"
}
t_exec_errors() {
  local out
  out=$(execute c /no/such/program 2>&1) && fail "started: $out"
  [[ $out =~ no\ such\ file\ or\ directory|executable\ file\ not\ found ]] || fail "missing program: $out"
  out=$(execute c /etc/plain 2>&1) && fail "started: $out"
  has "$out" "permission denied"
  same RUNNING "$(status c)"
}
t_many_execs() {
  local i pids=()
  for i in 1 2 3 4 5 6 7 8; do
    ctr task exec --exec-id "many$i" c sh -c "exit $i" >/dev/null 2>&1 & pids+=($!)
  done
  for i in 1 2 3 4 5 6 7 8; do
    wait "${pids[i - 1]}"
    same "$i" $? "exit code of the one with $i"
  done
}
t_ps() {
  local out; out=$(ctr task ps c | awk 'NR > 1 { print $1 }')
  has " $(xargs <<<"$out") " " $(pid c) "
  EXEC=(--detach)
  execute c sleep 78
  wait_for 5 pgrep -fx "sleep 78"
  has " $(ctr task ps c | awk 'NR > 1 { print $1 }' | xargs) " " $(pgrep -fx "sleep 78") "
}
t_kill_exec() {
  ctr task exec --exec-id victim c sleep 79 </dev/null >/dev/null 2>&1 &
  local client=$! c
  wait_for 5 pgrep -fx "sleep 79"
  ctr task kill --exec-id victim -s SIGKILL c || return 1
  wait $client; c=$?
  same 137 $c "exit code"
  same RUNNING "$(status c)" "the container"
}
t_pause() {
  local p before
  p=$(pid c)
  ctr task pause c || return 1
  same PAUSED "$(status c)"
  same paused "$("$RUNTIME" --root "$RUNTIME_ROOT" state c | jq -r .status)" "the runtime's own state"
  before=$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$p/stat")
  sleep 0.6
  same "$before" "$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$p/stat")" "cpu time while paused"
  local out; out=$(execute c true 2>&1) && fail "exec in a paused container: $out"
  ctr task resume c || return 1
  same RUNNING "$(status c)"
  same back "$(execute c echo back)"
}
t_metrics() {
  controllers pids memory
  local out; out=$(ctr task metrics --format json c) || fail "$out"
  local pids; pids=$(jq -r '[.. | objects | select(has("pids"))][0].pids.current' <<<"$out")
  local memory; memory=$(jq -r '[.. | objects | select(has("usage") or has("usage_in_bytes"))][0] | length' <<<"$out")
  [[ $pids =~ ^[1-9] ]] || fail "pids: '$pids' in $out"
  [[ $memory =~ ^[1-9] ]] || fail "no memory usage in $out"
}
# ctr cannot do it: by the shim's own interface, as containerd does for its clients.
t_update() {
  controllers memory pids cpu
  python3 "$HERE/shim-update.py" "$STATE/io.containerd.runtime.v2.task/$NS/c/address" c \
    '{"memory":{"limit":134217728},"pids":{"limit":55},"cpu":{"shares":333,"quota":70000,"period":100000}}' || return 1
  same 134217728 "$(cgroup_file c memory/memory.limit_in_bytes memory.max)" memory
  same 55 "$(cgroup_file c pids/pids.max pids.max)" pids
  same 70000 "$(cgroup_file c cpu/cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" "cpu quota"
}
t_update_refused() {
  controllers cpu
  local out
  out=$(python3 "$HERE/shim-update.py" "$STATE/io.containerd.runtime.v2.task/$NS/c/address" c \
    '{"cpu":{"quota":5}}' 2>&1) && fail "a quota of 5 microseconds was taken: $out"
  has "${out,,}" "invalid argument"
  same RUNNING "$(status c)"
}
t_restart() {
  local p; p=$(cat "$E2E_DIR/daemon")
  kill "$p"
  wait_for 10 gone "$p"
  start_containerd
  same RUNNING "$(status c)"
  same again "$(execute c echo again)"
}
t_signal() {
  local p; p=$(pid c)
  ctr task kill -s SIGUSR1 c || return 1
  wait_for 10 is c STOPPED
  wait_for 10 gone "$p"
  ended c 7
  ctr container delete c || return 1
  nothing_left c
}

tests <<'LIST'
t_detached detached: running
t_exec detached: exec
t_exec_codes detached: exec passes exit codes through
t_exec_streams detached: exec passes streams through
t_exec_options detached: exec with user and working directory
t_exec_inside detached: exec joins namespaces, cgroups, privileges
t_exec_terminal detached: exec with a terminal
t_exec_errors detached: exec of what cannot run
t_many_execs detached: eight execs at once
t_ps detached: ps
t_kill_exec detached: kill an exec
t_pause detached: pause and resume
t_metrics detached: metrics
t_update detached: update
t_update_refused detached: update that the kernel refuses
t_restart detached: containerd starts anew
t_signal detached: a signal ends it, nothing is left
LIST
