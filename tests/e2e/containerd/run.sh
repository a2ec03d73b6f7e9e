# SPDX-License-Identifier: Apache-2.0
# run: containers in the foreground, and the options that shape them.
# Sourced by ../containerd.sh.

t_output() { same "hello" "$(run r-out echo hello)"; nothing_left r-out; }
t_exit_codes() {
  local c
  for c in 0 1 3 42 126 127 128 255; do code $c run "r-code-$c" sh -c "exit $c" || return 1; done
}
t_signal_code() {
  local c
  run r-sig sleep 300 </dev/null >/dev/null 2>&1 &
  wait_for 10 is r-sig RUNNING
  ctr task kill -s SIGKILL r-sig
  wait $!; c=$?
  same 137 $c "exit code"
}
t_streams() {
  run r-streams sh -c 'echo one; echo two >&2' >"$E2E_DIR/o" 2>"$E2E_DIR/e" || return 1
  same one "$(cat "$E2E_DIR/o")" stdout
  same two "$(cat "$E2E_DIR/e")" stderr
}
t_stdin() {
  local want got
  want=$(sha256sum <"$E2E_DIR/noise")
  got=$(run r-stdin sha256sum <"$E2E_DIR/noise") && same "$want" "$got" "3 MB in"
  got=$(run r-stdin2 cat <"$E2E_DIR/noise" | sha256sum) && same "$want" "$got" "3 MB in and out"
}
t_env() {
  local out
  out=$(with --env GIVEN=here --env "SPACED=a b" -- r-env sh -c 'echo $FROM_IMAGE-$GIVEN-$SPACED-$PATH')
  same "yes-here-a b-/bin" "$out"
}
t_cwd() {
  same /etc "$(with --cwd /etc -- r-cwd pwd)"
  same /made/new "$(with --cwd /made/new -- r-cwd2 pwd)" "a working directory that is not in the image"
}
t_image_user() {
  local IMAGE=$USER_IMAGE
  same "1000:1000:50 1000:/tmp" "$(run r-user sh -c 'echo $(id -u):$(id -g):$(id -G | tr " " "\n" | sort -n | xargs):$(pwd)')"
}
t_read_only() {
  local out
  out=$(with --read-only -- r-ro sh -c 'touch /x || echo refused' 2>&1)
  has "$out" "Read-only file system"
  has "$out" refused
  same fine "$(run r-rw sh -c 'touch /x && echo fine')"
}
t_mount() {
  mkdir -p "$E2E_DIR/shared" && echo before >"$E2E_DIR/shared/f"
  local m="type=bind,src=$E2E_DIR/shared,dst=/host,options=rbind"
  same before "$(with --mount "$m:rw" -- r-mnt sh -c 'cat /host/f; echo after >/host/f')"
  same after "$(cat "$E2E_DIR/shared/f")" "written through the mount"
  has "$(with --mount "$m:ro" -- r-mnt2 sh -c 'echo x >/host/f' 2>&1)" "Read-only file system"
  has "$(with --mount "type=tmpfs,src=tmpfs,dst=/t,options=size=64k:nosuid:mode=1770" -- r-mnt3 \
    sh -c 'grep " /t " /proc/mounts; stat -c %a /t')" "size=64k"
}
t_namespaces() {
  local ns mine theirs
  for ns in pid mnt net ipc uts; do
    mine=$(readlink "/proc/self/ns/$ns")
    theirs=$(run "r-ns-$ns" readlink "/proc/self/ns/$ns") || return 1
    [ -n "$theirs" ] && [ "$mine" != "$theirs" ] || fail "the container shares our $ns namespace: $theirs"
  done
  same 1 "$(run r-ns-one sh -c 'echo $$')" "own process id"
}
t_net_host() { same "$(readlink /proc/self/ns/net)" "$(with --net-host -- r-nethost readlink /proc/self/ns/net)"; }
t_join_namespace() {
  background r-first sleep 300 || return 1
  local p want got
  p=$(pid r-first)
  want=$(readlink "/proc/$p/ns/net")
  got=$(with --with-ns "network:/proc/$p/ns/net" -- r-second readlink /proc/self/ns/net)
  remove r-first
  same "$want" "$got"
}
t_user_namespace() {
  local out
  out=$(with --uidmap 0:100000:65536 --gidmap 0:100000:65536 -- r-userns \
    sh -c 'cat /proc/self/uid_map; id -u; touch /mine && stat -c %u /mine') || fail "$out"
  same "0 100000 65536 0 0" "$(xargs <<<"$out")"
  # Then the streams are /dev/null, which must not be given to the container's root.
  with --null-io --uidmap 0:100000:65536 --gidmap 0:100000:65536 -- r-userns2 true || return 1
  null_device
}
t_capabilities() {
  local plain more less
  plain=$(run r-cap awk '/^CapEff/ { print $2 }' /proc/self/status)
  more=$(with --cap-add CAP_SYS_ADMIN -- r-cap2 awk '/^CapEff/ { print $2 }' /proc/self/status)
  less=$(with --cap-drop CAP_CHOWN -- r-cap3 awk '/^CapEff/ { print $2 }' /proc/self/status)
  same $((0x$plain | 1 << 21)) $((0x$more)) "with CAP_SYS_ADMIN"
  same $((0x$plain & ~1)) $((0x$less)) "without CAP_CHOWN"
}
t_new_privileges() {
  same 1 "$(run r-nnp awk '/^NoNewPrivs/ { print $2 }' /proc/self/status)" default
  same 0 "$(with --allow-new-privs -- r-nnp2 awk '/^NoNewPrivs/ { print $2 }' /proc/self/status)" allowed
}
t_seccomp() {
  same 0 "$(run r-sec0 awk '/^Seccomp:/ { print $2 }' /proc/self/status)" "without a profile"
  same 2 "$(with --seccomp -- r-sec awk '/^Seccomp:/ { print $2 }' /proc/self/status)" "with the default profile"
  has "$(with --seccomp -- r-sec2 unshare -m true 2>&1)" "Operation not permitted"
}
t_seccomp_profile() {
  # 95: EOPNOTSUPP, which mkdir does not give by itself
  echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}' >"$E2E_DIR/profile.json"
  has "$(with --seccomp --seccomp-profile "$E2E_DIR/profile.json" -- r-sec3 mkdir /tmp/x 2>&1)" \
    "Operation not supported"
}
t_masked() {
  same 0 "$(run r-mask sh -c 'cat /proc/keys 2>/dev/null | wc -c')" /proc/keys
  has "$(run r-mask2 sh -c 'echo 1 >/proc/sys/kernel/printk' 2>&1)" "Read-only file system"
}
t_device() {
  local node=$E2E_DIR/node
  mknod "$node" c 1 5 # as /dev/zero
  same "character special file 1 5" \
    "$(with --device "$node" -- r-dev stat -c '%F %t %T' "$node")"
  same 8 "$(with --device "$node" -- r-dev2 sh -c "head -c 8 $node | wc -c")" "bytes read"
  rm "$node"
  has "$(run r-dev3 sh -c 'mknod /tmp/d b 7 0 && cat /tmp/d' 2>&1)" "Operation not permitted"
}
t_rootfs() {
  local IMAGE=$E2E_DIR/plain
  [ -d "$IMAGE" ] || cp -a "$E2E_DIR/rootfs" "$IMAGE"
  same data "$(with --rootfs -- r-rootfs /bin/cat /etc/plain)"
  has "$(with --rootfs --no-pivot -- r-nopivot /bin/ls /etc)" plain
}
t_config() {
  cp -a "$E2E_DIR/rootfs" "$E2E_DIR/own"
  jq -n --arg root "$E2E_DIR/own" --arg dir "$E2E_DIR" --arg group "/$NS/r-config" '{ociVersion:"1.0.2",
    root:{path:$root}, hostname:"named",
    process:{args:["sh","-c","hostname; cat /proc/self/oom_score_adj; umask; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"],
      cwd:"/", env:["PATH=/bin"], user:{uid:0,gid:0,umask:23}, oomScoreAdj:321, noNewPrivileges:true},
    mounts:[{destination:"/proc",type:"proc",source:"proc"}],
    annotations:{"test.e2e":"seen"},
    hooks:{createRuntime:[{path:"/bin/sh",args:["sh","-c","cat >\($dir)/hook-create"]}],
      poststop:[{path:"/bin/sh",args:["sh","-c","cat >\($dir)/hook-stop"]}]},
    linux:{cgroupsPath:$group, sysctl:{"net.ipv4.ip_unprivileged_port_start":"77"},
      namespaces:[{type:"pid"},{type:"mount"},{type:"uts"},{type:"ipc"},{type:"network"}]}}' >"$E2E_DIR/spec.json"
  local out
  out=$(ctr run --rm --runc-binary "$WRAPPER" --config "$E2E_DIR/spec.json" r-config) || fail "$out"
  same "named 321 0027 77" "$(xargs <<<"$out")"
  same "r-config seen" "$(jq -r '.id + " " + .annotations["test.e2e"]' "$E2E_DIR/hook-create")" "createRuntime's state"
  same "r-config stopped" "$(jq -r '.id + " " + .status' "$E2E_DIR/hook-stop")" "poststop's state"
}
t_limits() {
  controllers memory cpu
  OPTIONS=(--memory-limit 67108864 --cpus 0.5 --cpu-shares 512)
  background r-limits sleep 300 || return 1
  local memory cpu
  memory=$(cgroup_file r-limits memory/memory.limit_in_bytes memory.max)
  cpu=$(cgroup_file r-limits cpu/cpu.cfs_quota_us cpu.max)
  shares=$(cgroup_file r-limits cpu/cpu.shares cpu.weight)
  remove r-limits
  same 67108864 "$memory" memory
  same 50000 "${cpu%% *}" "cpu quota"
  [[ $shares =~ ^(512|20|59)$ ]] || fail "cpu shares or weight: $shares"
}
t_oom() {
  controllers memory
  ctr events >"$E2E_DIR/events" 2>/dev/null &
  local watch=$! c
  with --memory-limit 16777216 -- r-oom dd if=/dev/zero of=/dev/null bs=200M count=1 >/dev/null 2>&1
  c=$?
  wait_for 5 grep -q "/tasks/exit.*r-oom" "$E2E_DIR/events"
  sleep 0.3
  kill $watch
  same 137 $c "exit code"
  has "$(cat "$E2E_DIR/events")" "/tasks/oom"
}
t_pid_file() {
  OPTIONS=(--pid-file "$E2E_DIR/pid")
  background r-pidfile sleep 300 || return 1
  local want; want=$(pid r-pidfile)
  remove r-pidfile
  same "$want" "$(cat "$E2E_DIR/pid")"
}
t_terminal() {
  local out
  out=$(in_terminal ctr_alone run --rm --tty --runc-binary "$WRAPPER" "$IMAGE" r-tty \
    sh -c "tty; $SIZED; exit 9")
  same 9 $? "exit code, having printed '$out'"
  has "$out" /dev/pts/0
  has "$out" "33 77"
}
t_privileged() {
  local all; all=$(awk '/^CapBnd/ { print $2 }' /proc/self/status)
  [ $((0x$all)) = $(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1)) ] ||
    skip "root lacks capabilities here (CapBnd $all): no runtime could give them"
  same "$all" "$(with --privileged -- r-priv awk '/^CapEff/ { print $2 }' /proc/self/status)"
}

tests <<'LIST'
t_output run prints and leaves nothing
t_exit_codes run passes exit codes through
t_signal_code run passes death by a signal through
t_streams run keeps stdout and stderr apart
t_stdin run passes standard input on, to its end
t_env run with environment variables
t_cwd run in a working directory
t_image_user run as the image's user
t_read_only run with a read-only root
t_mount run with bind mounts and a tmpfs
t_namespaces run in namespaces of its own
t_net_host run in the host's network
t_join_namespace run in another container's network
t_user_namespace run in a user namespace
t_capabilities run with capabilities added and dropped
t_new_privileges run with and without no_new_privs
t_seccomp run with the default seccomp profile
t_seccomp_profile run with an own seccomp profile
t_masked run with masked and read-only paths
t_device run with a device
t_rootfs run on a plain directory, pivoting or not
t_config run of a whole configuration, with hooks
t_limits run with limits
t_oom run out of memory
t_pid_file run with a pid file
t_terminal run with a terminal
t_privileged run privileged
LIST
