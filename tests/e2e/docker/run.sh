# SPDX-License-Identifier: Apache-2.0
# `docker run` with what concerns the process, its files and its privileges. Sourced by ../docker.sh.

status_of() { awk -v name="$1:" '$1 == name { print $2 }' /proc/self/status; }

t_output() { same hello "$(run -- echo hello)"; }
t_exit_codes() { local c; for c in 0 1 3 42 125 126 127 137 255; do code $c run -- sh -c "exit $c" || return 1; done; }
t_streams() {
  run -- sh -c 'echo one; echo two >&2' >"$E2E_DIR/o" 2>"$E2E_DIR/e" || return 1
  same one "$(cat "$E2E_DIR/o")" stdout
  same two "$(cat "$E2E_DIR/e")" stderr
}
t_stdin() {
  same "$(sha256sum <"$E2E_DIR/noise")" "$(run -i -- cat <"$E2E_DIR/noise" | sha256sum)" "3 MB in and out"
}
t_terminal() {
  local out
  out=$(in_terminal "$DOCKER" run --rm -it "$IMAGE" sh -c "tty; $SIZED; exit 9")
  same 9 $? "exit code, having printed '$out'"
  has "$out" /dev/pts/0
  has "$out" "33 77"
}
t_detached() {
  background detached --rm -- sh -c 'echo out; sleep 300' || return 1
  same running "$(field detached State.Status)"
  local p; p=$(pid detached)
  [ -d "/proc/$p" ] || fail "no process $p"
  wait_for 5 says detached out
  docker kill detached >/dev/null
  wait_for 10 away detached
  gone "$p" || fail "process $p is still there"
}
t_rm() {
  run --name removed -v anonymous:/a -v /b -- touch /a/x /b/y || return 1
  away removed || fail "still there"
  same anonymous "$(docker volume ls -q)" "volumes left"
  docker volume rm anonymous >/dev/null
}
t_init() {
  same docker-init "$(run --init -- cat /proc/1/comm)" "first process"
  code 7 run --init -- sh -c 'exit 7' || return 1
  # An orphan's remains are cleared by the first process.
  same 0 "$(run --init -- sh -c '(sleep 0.1 &) ; sleep 0.6; ps -o stat | grep -c Z')" zombies
}
t_user() {
  same 1000:1000 "$(run -u user -- sh -c 'echo $(id -u):$(id -g)')" "by name"
  same 1234:2345 "$(run -u 1234:2345 -- sh -c 'echo $(id -u):$(id -g)')" "by number"
  same "1000 50 77" "$(run -u user --group-add 77 -- id -G)" groups
  same 0000000000000000 "$(run -u user -- awk '/^CapEff/ { print $2 }' /proc/self/status)" "its capabilities"
}
t_directory() {
  same /etc "$(run -w /etc -- pwd)"
  same /new/below "$(run -w /new/below -- pwd)" "made on the way"
}
t_environment() {
  echo FILE=file >"$E2E_DIR/env"
  same yes-here-file-/root "$(run -e GIVEN=here --env-file "$E2E_DIR/env" -- sh -c 'echo $FROM_IMAGE-$GIVEN-$FILE-$HOME')"
  same "named named.e2e" "$(run --hostname named --domainname e2e -- sh -c 'echo $(hostname) $(cat /etc/hostname | tr -d "\n").$(dnsdomainname 2>/dev/null || sed -n "s/.*named\.\([a-z0-9]*\).*/\1/p" /etc/hosts)')"
  same 2 "$(run --entrypoint /bin/expr -- 1 + 1)" "entry point"
}
t_volumes() {
  mkdir -p "$E2E_DIR/shared/sub" && echo before >"$E2E_DIR/shared/f"
  same before "$(run -v "$E2E_DIR/shared:/host" -- sh -c 'cat /host/f; echo after >/host/f')" "bind mount"
  same after "$(cat "$E2E_DIR/shared/f")" "written from inside"
  has "$(run -v "$E2E_DIR/shared:/host:ro" -- touch /host/f 2>&1)" "Read-only file system"
  same after "$(run -v "$E2E_DIR/shared/f:/etc/plain:ro" -- cat /etc/plain)" "one file"
  has "$(code 125 run --mount "type=bind,src=$E2E_DIR/nothing,dst=/x" -- true 2>&1)" "does not exist"
}
t_propagation() {
  mkdir -p "$E2E_DIR/shared/below"
  background spread -v "$E2E_DIR/shared:/slave:rslave" -v "$E2E_DIR/shared:/private" -- sleep 300 || return 1
  mount -t tmpfs seen "$E2E_DIR/shared/below"
  local inside; inside=$(docker exec spread cat /proc/mounts)
  umount "$E2E_DIR/shared/below"
  has "$inside" "seen /slave/below"
  [[ $inside != */private/below* ]] || fail "came through a private mount: $inside"
  remove spread
}
t_tmpfs() {
  local line; line=$(run --tmpfs /t:size=64k,mode=1750,noexec -- sh -c 'grep " /t " /proc/mounts; stat -c %a /t; dd if=/dev/zero of=/t/x bs=1k count=100 2>&1')
  has "$line" "size=64k"
  has "$line" noexec
  has "$line" 1750
  has "$line" "No space left"
}
t_read_only() {
  has "$(run --read-only -- touch /x 2>&1)" "Read-only file system"
  same yes "$(run --read-only --tmpfs /t -v e2eread:/v -- sh -c 'touch /t/x /v/x && echo yes')" "what is mounted in it"
  docker volume rm e2eread >/dev/null
}
t_capabilities() {
  local eff='/^CapEff/ { print $2 }'
  same 00000000a80425fb "$(run -- awk "$eff" /proc/self/status)" "Docker's own"
  same 0000000000000000 "$(run --cap-drop ALL -- awk "$eff" /proc/self/status)" none
  same 0000000000000001 "$(run --cap-drop ALL --cap-add CHOWN -- awk "$eff" /proc/self/status)" one
  same 00000000a80435fb "$(run --cap-add NET_ADMIN -- awk "$eff" /proc/self/status)" "one more"
  has "$(run --cap-drop CHOWN -- chown 1 /tmp 2>&1)" "not permitted"
  same 00000000a80425fb "$(run -- awk '/^CapBnd/ { print $2 }' /proc/self/status)" "bounding set"
}
t_privileged() {
  local mine; mine=$(awk '/^CapBnd/ { print $2 }' /proc/self/status)
  local out; out=$(run --privileged -- awk '/^CapEff|^Seccomp:/ { print $2 }' /proc/self/status 2>&1)
  if [[ $out == *"unable to apply caps"* && $mine != 000001ffffffffff ]]; then
    skip "this machine's root has not all capabilities ($mine), for which runc fails"
  fi
  # What Docker asks for is what its release knows of; SYS_ADMIN, bit 21, is among it.
  (((0x${out%%$'\n'*} >> 21 & 1) == 1)) && same 0 "${out##*$'\n'}" "seccomp" || fail "$out"
  same mounted "$(run --privileged -- sh -c 'mount -t tmpfs none /tmp && [ -e /dev/kmsg ] && echo mounted')"
}
t_seccomp() {
  same 2 "$(run -- awk '/^Seccomp:/ { print $2 }' /proc/self/status)" "by default"
  has "$(run --cap-add SYS_ADMIN --security-opt seccomp=unconfined -- sh -c 'unshare -U true && awk "/^Seccomp:/" /proc/self/status')" 0
  has "$(run -- unshare -U true 2>&1)" "not permitted"
  echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}' \
    >"$E2E_DIR/profile.json"
  has "$(run --security-opt "seccomp=$E2E_DIR/profile.json" -- mkdir /x 2>&1)" "not supported"
}
t_no_new_privileges() {
  local nnp='/^NoNewPrivs/ { print $2 }'
  same 0 "$(run -- awk "$nnp" /proc/self/status)" without
  same 1 "$(run --security-opt no-new-privileges -- awk "$nnp" /proc/self/status)" with
  # su, where root has no password: it takes the set-user-id bit and nothing else.
  printf 'FROM %s\nRUN chmod 4755 /bin/busybox && sed -i s/^root:x:/root::/ /etc/passwd\n' "$IMAGE" |
    DOCKER_BUILDKIT=0 docker build -q -t e2e/su - >/dev/null || return 1
  same 0 "$(docker run --rm -u 1000:1000 e2e/su su -c 'id -u')" "user of su"
  docker run --rm -u 1000:1000 --security-opt no-new-privileges e2e/su su -c 'id -u' >/dev/null 2>&1 && fail "su became root"
  docker rmi e2e/su >/dev/null
}
t_apparmor() {
  [[ $(docker info --format '{{json .SecurityOptions}}') == *apparmor* ]] || skip "this kernel runs no AppArmor"
  same "docker-default (enforce)" "$(run -- cat /proc/self/attr/current)"
  same unconfined "$(run --security-opt apparmor=unconfined -- cat /proc/self/attr/current)"
}
t_masked() {
  same "0 0" "$(run -- sh -c 'echo $(wc -c </proc/keys) $(ls /proc/scsi 2>/dev/null | wc -l)')"
  has "$(run -- sh -c 'echo 1 >/proc/sys/kernel/domainname' 2>&1)" "Read-only file system"
  same rw "$(run --security-opt systempaths=unconfined -- sh -c 'grep -q " /proc/sys " /proc/mounts || echo rw')" unconfined
}

tests <<'LIST'
t_output run prints
t_exit_codes run passes exit codes through
t_streams run keeps stdout and stderr apart
t_stdin run -i passes standard input on
t_terminal run -it
t_detached run -d
t_rm run --rm
t_init run --init
t_user run -u
t_directory run -w
t_environment run -e, --hostname, --entrypoint
t_volumes run -v
t_propagation run -v with propagation
t_tmpfs run --tmpfs
t_read_only run --read-only
t_capabilities run --cap-add, --cap-drop
t_privileged run --privileged
t_seccomp run --security-opt seccomp
t_no_new_privileges run --security-opt no-new-privileges
t_apparmor run --security-opt apparmor
t_masked run: masked and read-only paths
LIST
