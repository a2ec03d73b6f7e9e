# SPDX-License-Identifier: Apache-2.0
# A second daemon, whose containers have a user namespace. Sourced by ../docker.sh.

SUB=200000
# What useradd would write, over the files of this mount namespace.
remapped_user() {
  local f
  for f in passwd group subuid subgid; do cat "/etc/$f" 2>/dev/null >"$E2E_DIR/$f"; done
  echo "dockremap:x:64999:64999::/:/bin/false" >>"$E2E_DIR/passwd"
  echo "dockremap:x:64999:" >>"$E2E_DIR/group"
  echo "dockremap:$SUB:65536" | tee -a "$E2E_DIR/subuid" >>"$E2E_DIR/subgid"
  for f in passwd group subuid subgid; do
    chmod 644 "$E2E_DIR/$f"
    [ -e "/etc/$f" ] || fail "no /etc/$f on this machine"
    mount --bind "$E2E_DIR/$f" "/etc/$f"
  done
}
t_userns_start() {
  remapped_user && configure docker-userns && stop_docker && start_docker || return 1
  has "$(docker info --format '{{json .SecurityOptions}}')" name=userns
  docker import --change 'ENV FROM_IMAGE=yes PATH=/bin' --change 'CMD ["sh"]' - "$IMAGE" <"$E2E_DIR/root.tar" >/dev/null
}
t_userns_run() {
  same "0 $SUB 65536" "$(run -- cat /proc/self/uid_map | xargs)" "the map"
  same "0 0 0" "$(run -- sh -c 'echo $(id -u) $(stat -c "%u %g" /etc/passwd)')" "inside"
  background uns -- sleep 300 || return 1
  same "$SUB $SUB" "$(stat -c '%u %g' "/proc/$(pid uns)")" "the process, from outside"
  same "1000:1000 $((SUB + 1000))" "$(docker exec -u user uns sh -c 'echo $(id -u):$(id -g)') $(docker exec -d -u user uns sleep 76; wait_for 5 pgrep -fx "sleep 76"; stat -c %u "/proc/$(pgrep -fx "sleep 76")")" "an exec"
  same 5 "$(in_terminal "$DOCKER" exec -it uns sh -c "tty; exit 5" >/dev/null; echo $?)" "an exec with a terminal"
  docker pause uns >/dev/null && docker unpause uns >/dev/null && docker update --pids-limit 44 uns >/dev/null || return 1
  same 44 "$(cgroup_file uns pids/pids.max pids.max)" "limit of processes"
  same data "$(docker cp uns:/etc/plain - | tar -xO)" cp
  docker stop -t 0 uns >/dev/null && remove uns
}
t_userns_options() {
  same 00000000a80425fb "$(run -- awk '/^CapEff/ { print $2 }' /proc/self/status)" capabilities
  has "$(run --read-only --tmpfs /t -- sh -c 'touch /t/x && touch /x' 2>&1)" "Read-only file system"
  same "2 1" "$(run --security-opt no-new-privileges -- awk '/^Seccomp:|^NoNew/ { print $2 }' /proc/self/status | sort -r | xargs)" "seccomp, no_new_privs"
  same "1" "$(run --sysctl net.ipv4.ip_forward=1 -- cat /proc/sys/net/ipv4/ip_forward)" sysctl
  same 1048576 "$(run --memory 1g --memory-reservation 512m -- sh -c 'exit 0'; run --shm-size 1g -- df -k /dev/shm | awk 'NR == 2 { print $2 }')" "shared memory"
  run -v kept:/v -- sh -c 'echo kept >/v/f && chown 1000 /v/f' && same "kept 1000" "$(run -v kept:/v -- sh -c 'echo $(cat /v/f) $(stat -c %u /v/f)')" "a volume" || return 1
  same $((SUB + 1000)) "$(stat -c %u "$(docker volume inspect --format '{{.Mountpoint}}' kept)/f")" "its owner, from outside"
  docker volume rm kept >/dev/null
  # Bound from the host, since there is no making one: only by its own name, as with runc.
  same "1:b" "$(run --device /dev/kmsg -- stat -c '%t:%T' /dev/kmsg)" "a device"
  same 127 "$(run -- nosuchprogram >/dev/null 2>&1; echo $?)" "what is not there"
  same docker-init "$(run --init -- cat /proc/1/comm)" --init
}
t_userns_terminal() {
  local out
  out=$(in_terminal "$DOCKER" run --rm -it "$IMAGE" sh -c "tty; stat -c %u \$(tty); $SIZED; exit 9")
  same 9 $? "exit code, having printed '$out'"
  has "$out" "33 77"
  has "$(xargs <<<"$out")" "/dev/pts/0 0"
}
t_userns_host() {
  same 4294967295 "$(run --userns host -- awk '{ print $3 }' /proc/self/uid_map)" "--userns host"
  code 125 run --network host --privileged -- true 2>/dev/null || return 1
  same "$(readlink /proc/self/ns/net)" "$(run --userns host --network host -- readlink /proc/self/ns/net)" "with the host's network"
}
t_userns_shared() {
  background uns -- sleep 300 || return 1
  same "$(docker exec uns readlink /proc/1/ns/net)" "$(run --network container:uns -- readlink /proc/self/ns/net)" "another's network"
  same "0 $SUB 65536" "$(run --network container:uns --pid container:uns -- cat /proc/self/uid_map | xargs)" "the map with another's namespaces"
  remove uns
}
t_userns_build() {
  printf 'FROM %s\nRUN touch /made && chown 1000 /made\nUSER user\nRUN id -u >/tmp/id\n' "$IMAGE" |
    DOCKER_BUILDKIT=0 docker build -q -t e2e/userns - >/dev/null || return 1
  same "1000 1000" "$(docker run --rm e2e/userns sh -c 'echo $(stat -c %u /made) $(cat /tmp/id)')"
}
t_userns_clean() {
  t_clean
  configure docker-default && stop_docker && start_docker
}

tests <<'LIST'
t_userns_start userns-remap: docs/managers.md's snippet
t_userns_run userns-remap: run, exec, pause, update, cp, stop
t_userns_options userns-remap: run with options
t_userns_terminal userns-remap: run -it
t_userns_host userns-remap: run --userns host
t_userns_shared userns-remap: run --network, --pid container:
t_userns_build userns-remap: build
t_userns_clean userns-remap: nothing is left
LIST
