# SPDX-License-Identifier: Apache-2.0
# exec-sync, and exec, attach and port-forward through the streaming server. In the pod p of pods.sh.
# Sourced by ../cri.sh.

t_sync() {
  same "yes 1" "$(sync b sh -c 'echo $FROM_IMAGE $(cat /proc/1/comm | wc -l)')" output
  local c out
  for c in 0 1 7 126 127 255; do code $c sync b sh -c "exit $c" || return 1; done
  out=$(cri ExecSync "$(jq -nc --arg i "$(id b)" '{container_id:$i, cmd:["sh","-c","echo one; echo two >&2"]}')")
  same '"one\n" "two\n"' "$(jq -c '.stdout, .stderr' <<<"$out" | xargs -d'\n')" streams
}
t_sync_errors() {
  local out
  out=$(cri ExecSync "$(jq -nc --arg i "$(id b)" '{container_id:$i, cmd:["/no/such/program"]}')" 2>&1) && fail "ran: $out"
  [[ $out =~ no\ such\ file\ or\ directory|executable\ file\ not\ found ]] || fail "$out"
  out=$(cri ExecSync "$(jq -nc --arg i "$(id b)" '{container_id:$i, cmd:["/etc/plain"]}')" 2>&1) && fail "ran: $out"
  has "$out" "permission denied"
}
t_sync_timeout() {
  local out
  out=$(cri ExecSync "$(jq -nc --arg i "$(id b)" '{container_id:$i, cmd:["sleep","315"], timeout:1}')" 2>&1) && fail "ended: $out"
  [[ $out =~ timeout|DeadlineExceeded ]] || fail "$out"
  wait_for 5 eval '! pgrep -fx "sleep 315"'
}
t_exec() {
  cri exec "$(exec_request b "stdout stderr" sh -c 'echo one; echo two >&2; exit 42')" >"$E2E_DIR/o" 2>"$E2E_DIR/e"
  same 42 $? "exit code"
  same "one two" "$(cat "$E2E_DIR/o") $(cat "$E2E_DIR/e")" streams
  same "$(sha256sum <"$E2E_DIR/noise")" \
    "$(cri exec "$(exec_request b "stdin stdout" head -c 3000000)" <"$E2E_DIR/noise" | sha256sum)" "3 MB in and out"
}
t_exec_terminal() {
  local out
  out=$(cri exec "$(exec_request b "stdin stdout tty" sh -c "tty; $SIZED; exit 5")" --size=77x33 </dev/null)
  same 5 $? "exit code, having printed '$out'"
  has "$out" /dev/pts/
  has "$out" "33 77"
}
t_attach() {
  local request; request=$(jq -nc --arg i "$(id a)" '{container_id:$i, stdin:1, stdout:1}')
  has "$(echo through | cri attach "$request" --until=through)" through
  has "$(log p a)" through
  same 1 "$(status a state)" "still running"
}
t_attach_terminal() {
  container p tty '.tty = 1 | .stdin = 1' sh || return 1
  local out
  out=$(printf 'tty; %s; echo end$((1+1))\n' "$SIZED" |
    cri attach "$(jq -nc --arg i "$(id tty)" '{container_id:$i, stdin:1, stdout:1, tty:1}')" --size=77x33 --until=end2 | tr -d '\r')
  has "$out" /dev/pts/0
  has "$out" "33 77"
  remove tty
}
t_forward() {
  local request; request=$(jq -nc --arg i "$(id p)" '{pod_sandbox_id:$i, port:[8080]}')
  has "$(printf 'GET /f HTTP/1.0\r\n\r\n' | cri port-forward "$request" | tr -d '\r')" served
  request=$(jq -nc --arg i "$(id p)" '{pod_sandbox_id:$i, port:[8081]}')
  cri port-forward "$request" </dev/null >"$E2E_DIR/o" 2>&1 && fail "a closed port: $(cat "$E2E_DIR/o")"
  has "$(cat "$E2E_DIR/o")" "connection refused"
}

tests <<'LIST'
t_sync exec-sync: output, exit codes
t_sync_errors exec-sync of what cannot be executed
t_sync_timeout exec-sync with a timeout
t_exec exec: streams, exit code, 3 MB
t_exec_terminal exec with a terminal
t_attach attach
t_attach_terminal attach to a terminal
t_forward port-forward
LIST
