# SPDX-License-Identifier: Apache-2.0
# kill, delete, and what is left when something dies.
# Sourced by ../containerd.sh.

t_kill() {
  background k1 sleep 300 || return 1
  ctr task kill -s SIGKILL k1 && wait_for 10 is k1 STOPPED
  ended k1 137
  ctr container delete k1
  # The first process of a pid namespace gets only the signals that it handles.
  background k2 sh -c 'trap "exit 21" TERM; while :; do sleep 0.05; done' || return 1
  ctr task kill k2 && wait_for 10 is k2 STOPPED
  ended k2 21
  ctr container delete k2
  nothing_left k1 && nothing_left k2
}
t_kill_all() {
  # Where the pid namespace is not its own, nothing else ends the children.
  OPTIONS=(--with-ns pid:/proc/1/ns/pid)
  background k3 sh -c 'sleep 91 & sleep 91 & trap "" TERM; wait; sleep 91' || return 1
  wait_for 5 eval '[ "$(pgrep -fcx "sleep 91")" = 2 ]'
  ctr task kill --all -s SIGKILL k3 && wait_for 10 is k3 STOPPED
  wait_for 5 eval '[ "$(pgrep -fcx "sleep 91")" = 0 ]'
  remove k3
  nothing_left k3
}
t_kill_stopped() {
  background k4 true || return 1
  wait_for 10 is k4 STOPPED
  local out; out=$(ctr task kill k4 2>&1) && fail "killed a stopped task: $out"
  [[ $out =~ "process already finished"|"not found" ]] || fail "$out"
  remove k4
  nothing_left k4
}
t_kill_paused() {
  background k5 sleep 300 || return 1
  ctr task pause k5 && same PAUSED "$(status k5)"
  ctr task kill -s SIGKILL k5
  ctr task resume k5 >/dev/null 2>&1
  wait_for 10 is k5 STOPPED
  remove k5
  nothing_left k5
}
t_delete_running() {
  background d1 sleep 300 || return 1
  local p out; p=$(pid d1)
  out=$(ctr task delete d1 2>&1) && fail "deleted while running: $out"
  ctr task delete --force d1 >/dev/null 2>&1
  wait_for 10 gone "$p"
  ctr container delete d1 || return 1
  nothing_left d1
}
t_create_start() {
  # Without a binary's name containerd takes "runc" from its PATH, which the wrapper comes first in.
  ctr container create "$IMAGE" s1 false || return 1
  code 1 ctr task start s1 </dev/null || return 1
  ctr container delete s1
  same 1 "$(grep -c -- 'create .*s1$' "$CALLS")" "calls of create"
  nothing_left s1
}
t_shim_dies() {
  background d2 sleep 300 || return 1
  local p shim; p=$(pid d2)
  shim=$(pgrep -f "containerd-shim-runc-v2 .*-id d2 ")
  kill -KILL "$shim"
  wait_for 15 gone "$p"
  wait_for 15 test ! -e "$RUNTIME_ROOT/d2"
  remove d2
  nothing_left d2
}
t_parallel() {
  local i pids=()
  for i in 1 2 3 4 5 6; do run "p$i" sh -c "sleep 0.2; exit $i" >/dev/null 2>&1 </dev/null & pids+=($!); done
  for i in 1 2 3 4 5 6; do wait "${pids[i - 1]}"; same "$i" $? "exit code of container $i"; done
}

tests <<'LIST'
t_kill kill with KILL and TERM
t_kill_all kill all
t_kill_stopped kill what has ended
t_kill_paused kill while paused
t_delete_running delete while running, by force only
t_create_start create, then start
t_shim_dies the shim is killed
t_parallel six at once
LIST
