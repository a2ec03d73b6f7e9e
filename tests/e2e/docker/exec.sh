# SPDX-License-Identifier: Apache-2.0
# One container, x, stays from the first of these tests to the last: the order matters. Sourced by ../docker.sh.

t_stays() {
  background stays --hostname xhost -p 127.0.0.1::80 -e GIVEN=here -- \
    sh -c 'echo one; echo two >&2; mkdir -p /stuff; echo kept >/stuff/file; while :; do sleep 0.2; done' || return 1
  wait_for 5 says stays two
  same "running true" "$(docker inspect --format '{{.State.Status}} {{.State.Running}}' stays)"
}
t_exec() {
  same "yes here xhost" "$(docker exec stays sh -c 'echo $FROM_IMAGE $GIVEN $(hostname)')"
  same "$(sha256sum <"$E2E_DIR/noise")" "$(docker exec -i stays cat <"$E2E_DIR/noise" | sha256sum)" "3 MB in and out"
  docker exec stays sh -c 'echo one; echo two >&2' >"$E2E_DIR/o" 2>"$E2E_DIR/e" || return 1
  same "one two" "$(cat "$E2E_DIR/o" "$E2E_DIR/e" | xargs)" "stdout, stderr"
}
t_exec_options() {
  same "1000:1000 /etc here" "$(docker exec -u user -w /etc -e MORE=here stays sh -c 'echo $(id -u):$(id -g) $(pwd) $MORE')"
  same "12:34" "$(docker exec -u 12:34 stays sh -c 'echo $(id -u):$(id -g)')" "user by number"
  same "00000000a80425fb" "$(docker exec stays awk '/^CapEff/ { print $2 }' /proc/self/status)" capabilities
  [ "$(docker exec --privileged stays awk '/^CapEff/ { print $2 }' /proc/self/status)" \> 00000000a80425fb ] ||
    fail "--privileged: no more capabilities"
}
t_exec_joins() {
  local ns
  for ns in pid mnt net ipc uts; do
    same "$(readlink "/proc/$(pid stays)/ns/$ns")" "$(docker exec stays readlink "/proc/self/ns/$ns")" "$ns namespace"
  done
  docker exec -d stays sleep 77 || return 1
  wait_for 5 pgrep -fx "sleep 77"
  local p; p=$(pgrep -fx "sleep 77")
  same "$(cat "/proc/$(pid stays)/cgroup")" "$(cat "/proc/$p/cgroup")" cgroups
  same "$(grep -E '^(Cap|NoNew|Seccomp:)' "/proc/$(pid stays)/status")" "$(grep -E '^(Cap|NoNew|Seccomp:)' "/proc/$p/status")" privileges
  has "$(docker top stays)" "sleep 77"
  kill "$p"
}
t_exec_terminal() {
  local out
  out=$(in_terminal "$DOCKER" exec -it stays sh -c "tty; $SIZED; exit 5")
  same 5 $? "exit code, having printed '$out'"
  has "$out" /dev/pts/
  has "$out" "33 77"
}
# missing PROGRAM: that exec cannot find it. Docker, at least until 26.1, makes 126 of that, whatever the runtime.
missing() {
  local out rc
  out=$(docker exec stays "$1" 2>&1); rc=$?
  [[ $rc = 126 || $rc = 127 ]] || fail "exit code $rc: $out"
  [[ $out =~ executable\ file\ not\ found|no\ such\ file\ or\ directory ]] || fail "$out"
}
t_exec_codes() {
  local c out
  for c in 0 1 7 125 126 127 255; do code $c docker exec stays sh -c "exit $c" || return 1; done
  missing nosuchprogram && missing /no/such/program || return 1
  code 126 docker exec stays /etc/plain || return 1
  code 126 docker exec stays /etc || return 1
  code 1 docker exec nosuchcontainer true || return 1
  code 125 docker exec --no-such-flag stays true || return 1
  out=$(docker exec -w /no/such/directory stays true 2>&1) && fail "in no directory: $out"
  [[ ${out,,} =~ no\ such\ file|not\ exist ]] || fail "$out"
  out=$(docker exec -u nosuchuser stays true 2>&1) && fail "by no user: $out"
  has "$out" "unable to find user nosuchuser"
}
t_run_codes() {
  code 127 run -- nosuchprogram 2>"$E2E_DIR/e" || fail "$(cat "$E2E_DIR/e")"
  code 127 run -- /no/such/program 2>"$E2E_DIR/e" || fail "$(cat "$E2E_DIR/e")"
  code 126 run -- /etc/plain 2>"$E2E_DIR/e" || fail "$(cat "$E2E_DIR/e")"
  code 126 run -- /etc 2>"$E2E_DIR/e" || fail "$(cat "$E2E_DIR/e")"
  has "$(cat "$E2E_DIR/e")" "permission denied"
  code 125 run --no-such-flag -- true 2>/dev/null || return 1
  code 125 docker run --rm --pull never e2e/nothing true 2>/dev/null
}
t_many_execs() {
  local i pids=()
  for i in 1 2 3 4 5 6 7 8; do docker exec stays sh -c "exit $i" & pids+=($!); done
  for i in 1 2 3 4 5 6 7 8; do wait "${pids[i - 1]}"; same "$i" $? "exit code of the one with $i"; done
}
t_logs() {
  same one "$(docker logs stays 2>/dev/null)" stdout
  same two "$(docker logs stays 2>&1 >/dev/null)" stderr
  [[ $(docker logs -t --tail 1 stays 2>&1) =~ ^20[0-9-]+T[0-9:.]+Z\ (one|two)$ ]] || fail "with time: $(docker logs -t --tail 1 stays 2>&1)"
  background talk -- sh -c 'for i in 1 2 3; do echo line $i; sleep 0.2; done' || return 1
  same "line 1 line 2 line 3" "$(docker logs -f talk | xargs)" followed
  same "line 3" "$(docker logs --tail 1 talk)" "the last"
  remove talk
  background talk --log-driver none -- echo unheard || return 1
  docker logs talk >/dev/null 2>&1 && fail "logs without a log"
  remove talk
}
t_attach() {
  # Not before the last word is read here: at its input's end the client does not wait for more output.
  background attached -i -- sh -c 'while read l; do echo got $l; [ $l = end ] && sleep 0.5 && exit 4; done' || return 1
  same "got word got end" "$({ printf 'word\nend\n'; sleep 1; } | code 4 docker attach attached | xargs)"
  remove attached
  background attached -it -- sh -c 'read l; echo got $l; sleep 300' || return 1
  # The keys that detach leave it running.
  in_terminal "$DOCKER" attach attached >"$E2E_DIR/attached" &
  local client=$!
  wait_for 5 test -p "$E2E_DIR/typed"
  sleep 1
  printf 'word\n' >"$E2E_DIR/typed"
  wait_for 5 says attached "got word"
  printf '\020\021' >"$E2E_DIR/typed"
  wait_for 10 gone $client
  has "$(cat "$E2E_DIR/attached")" "got word"
  same running "$(field attached State.Status)" "after detaching"
  remove attached
}
t_stats() {
  controllers memory pids
  local json; json=$(docker stats --no-stream --format '{{json .}}' stays)
  [[ $(jq -r .MemUsage <<<"$json") =~ ^[1-9][0-9.]*[KM]iB ]] || fail "memory: $json"
  [[ $(jq -r .PIDs <<<"$json") =~ ^[1-9] ]] || fail "processes: $json"
  [[ $(jq -r .CPUPerc <<<"$json") =~ ^[0-9.]+%$ ]] || fail "processor: $json"
  [[ $(jq -r .NetIO <<<"$json") =~ B\ /\  ]] || fail "network: $json"
}
t_top() {
  local out; out=$(docker top stays -o pid,comm)
  has "$(xargs <<<"$out")" "PID COMMAND"
  has " $(awk '{ print $1 }' <<<"$out" | xargs) " " $(pid stays) "
}
t_update() {
  controllers memory pids cpu cpuset
  docker update --memory 128m --memory-swap 128m --cpus 0.7 --pids-limit 55 --cpuset-cpus 0 --cpu-shares 400 stays >/dev/null || return 1
  same 134217728 "$(cgroup_file stays memory/memory.limit_in_bytes memory.max)" memory
  same 70000 "$(cgroup_file stays cpu/cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" "cpu quota"
  same 55 "$(cgroup_file stays pids/pids.max pids.max)" pids
  same 0 "$(cgroup_file stays cpuset/cpuset.cpus cpuset.cpus)" processors
  docker update --pids-limit -1 stays >/dev/null || return 1
  same max "$(cgroup_file stays pids/pids.max pids.max)" "pids without limit"
  local out; out=$(docker update --cpuset-cpus 4000 stays 2>&1) && fail "processor 4000 was taken: $out"
  same running "$(field stays State.Status)"
  same 0 "$(cgroup_file stays cpuset/cpuset.cpus cpuset.cpus)" "processors after the refusal"
}
t_pause() {
  local p before out; p=$(pid stays)
  docker pause stays >/dev/null || return 1
  same "paused true" "$(docker inspect --format '{{.State.Status}} {{.State.Paused}}' stays)"
  same paused "$("$RUNTIME" --root "$RUNTIME_ROOT" state "$(id_of stays)" | jq -r .status)" "the runtime's own state"
  before=$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$p/stat")
  sleep 0.6
  same "$before" "$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$p/stat")" "cpu time while paused"
  out=$(docker exec stays true 2>&1) && fail "exec in a paused container: $out"
  has "$out" paused
  docker unpause stays >/dev/null || return 1
  same "running back" "$(field stays State.Status) $(docker exec stays echo back)"
}
t_cp() {
  same kept "$(docker cp stays:/stuff/file - | tar -xO)" "out, as a stream"
  echo sent >"$E2E_DIR/send" && docker cp "$E2E_DIR/send" stays:/stuff/sent || return 1
  same sent "$(docker exec stays cat /stuff/sent)" in
  mkdir -p "$E2E_DIR/tree/a" && echo deep >"$E2E_DIR/tree/a/b" && docker cp "$E2E_DIR/tree" stays:/stuff/ || return 1
  same deep "$(docker exec stays cat /stuff/tree/a/b)" "a directory in"
  docker cp stays:/stuff "$E2E_DIR/got" && same "kept deep" "$(cat "$E2E_DIR/got/file" "$E2E_DIR/got/tree/a/b" | xargs)" "a directory out"
  # A link of the container's leads nowhere else.
  docker exec stays ln -s /etc/hostname /stuff/link && same xhost "$(docker cp -L stays:/stuff/link - | tar -xO)" "through a link"
  docker cp stays:/no/such "$E2E_DIR/none" 2>/dev/null && fail "copied what is not there"
  return 0
}
t_diff() {
  docker exec stays sh -c 'rm /etc/plain && echo changed >>/etc/passwd && touch /added' || return 1
  local out; out=$(docker diff stays)
  has "$out" "D /etc/plain"
  has "$out" "C /etc/passwd"
  has "$out" "A /added"
  has "$out" "A /stuff/file"
}
t_commit() {
  docker commit --change 'CMD ["cat","/stuff/file"]' --change 'ENV MORE=committed' stays e2e/committed >/dev/null || return 1
  same kept "$(docker run --rm e2e/committed)" "its command"
  same committed "$(docker run --rm e2e/committed sh -c 'echo $MORE; ls /etc/plain 2>/dev/null')" "environment, files"
  docker export stays | tar -t | grep -qx stuff/file || fail "not in the export"
  docker rmi e2e/committed >/dev/null
}
t_port() {
  local address; address=$(docker port stays 80)
  docker exec -d stays sh -c 'echo served >/stuff/index.html; httpd -f -p 80 -h /stuff' || return 1
  wait_for 5 http ${address/:/ } /
  same served "$(http ${address/:/ } /)"
}
t_rename() {
  docker rename stays renamed && same running "$(field renamed State.Status)" && docker rename renamed stays
}
t_remove() {
  local p; p=$(pid stays)
  docker rm stays >/dev/null 2>&1 && fail "removed while running"
  docker pause stays >/dev/null && docker rm -f stays >/dev/null || return 1
  away stays && gone "$p" || fail "process $p is still there"
}

tests <<'LIST'
t_stays a container that stays
t_exec exec
t_exec_options exec -u, -w, -e, --privileged
t_exec_joins exec -d joins namespaces, cgroups, privileges
t_exec_terminal exec -it
t_exec_codes exec passes exit codes on; 125, 126, 127
t_run_codes run: 125, 126, 127
t_many_execs exec, eight at once
t_logs logs
t_attach attach
t_stats stats
t_top top
t_update update
t_pause pause and unpause
t_cp cp
t_diff diff
t_commit commit, export
t_port a published port
t_rename rename
t_remove rm, by force only while running; a paused one
LIST
