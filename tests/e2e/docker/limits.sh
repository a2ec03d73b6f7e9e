# SPDX-License-Identifier: Apache-2.0
# `docker run` with limits, devices, sysctls; each looked up in the cgroup itself or felt inside. Sourced by ../docker.sh.

t_pids() {
  controllers pids
  background limited --pids-limit 9 -- sleep 300 || return 1
  same 9 "$(cgroup_file limited pids/pids.max pids.max)"
  has "$(docker exec limited sh -c 'for i in 1 2 3 4 5 6 7 8 9; do sleep 3 & done' 2>&1)" "can't fork"
  remove limited
}
t_memory() {
  controllers memory
  background limited --memory 64m --memory-swap 64m --memory-reservation 32m -- sleep 300 || return 1
  same 67108864 "$(cgroup_file limited memory/memory.limit_in_bytes memory.max)" limit
  same 33554432 "$(cgroup_file limited memory/memory.soft_limit_in_bytes memory.low)" reservation
  same 67108864 "$(docker inspect --format '{{.HostConfig.MemorySwap}}' limited)" "memory and swap"
  remove limited
}
t_oom() {
  controllers memory
  docker run --name hungry --memory 24m --memory-swap 24m "$IMAGE" sh -c 'x=$(dd if=/dev/zero bs=1M count=64 | tr "\0" a); echo $x | wc -c' >/dev/null 2>&1
  wait_for 10 is hungry exited
  same "137 true" "$(docker inspect --format '{{.State.ExitCode}} {{.State.OOMKilled}}' hungry)" "exit code, OOMKilled"
  remove hungry
}
t_cpus() {
  controllers cpu
  background limited --cpus 0.5 --cpu-shares 333 -- sleep 300 || return 1
  same 50000 "$(cgroup_file limited cpu/cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" quota
  # As a weight: by runc's first formula, by its present one, which creel has.
  case $(cgroup_file limited cpu/cpu.shares cpu.weight) in 333 | 13 | 42) ;; *) fail "shares: $(cgroup_file limited cpu/cpu.shares cpu.weight)" ;; esac
  remove limited
}
t_cpuset() {
  controllers cpuset
  background limited --cpuset-cpus 0 --cpuset-mems 0 -- sleep 300 || return 1
  same 0 "$(cgroup_file limited cpuset/cpuset.cpus cpuset.cpus)" processors
  same 0 "$(cgroup_file limited cpuset/cpuset.mems cpuset.mems)" "memory nodes"
  same 0 "$(docker exec limited awk '/^Cpus_allowed_list/ { print $2 }' /proc/self/status)" "as seen by an exec"
  remove limited
  code 125 run --cpuset-cpus 4000 -- true
}
t_device() {
  same "1:b $(stat -c %a /dev/kmsg)" "$(run --device /dev/kmsg:/dev/mine -- stat -c '%t:%T %a' /dev/mine)" "the node"
  # Opened only: nothing is written.
  same opened "$(run --device /dev/kmsg:/dev/mine:rw -- sh -c ': >>/dev/mine && echo opened')" "read and write"
  has "$(run --device /dev/kmsg:/dev/mine:r -- sh -c ': >>/dev/mine' 2>&1)" "not permitted"
  # A number that no driver has: whether the cgroup lets it through shows in the error.
  has "$(run -- sh -c 'mknod /dev/nobody c 1 99 && cat /dev/nobody' 2>&1)" "not permitted"
  has "$(run --device-cgroup-rule 'c 1:99 r' -- sh -c 'mknod /dev/nobody c 1 99 && cat /dev/nobody' 2>&1)" "No such device or address"
}
t_sysctl() {
  same "1 511" "$(run --sysctl net.ipv4.ip_forward=1 --sysctl net.core.somaxconn=511 -- cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/core/somaxconn | xargs)"
  same 1234 "$(run --sysctl kernel.msgmax=1234 -- cat /proc/sys/kernel/msgmax)" "of the ipc namespace"
  code 125 run --sysctl vm.swappiness=1 -- true
}
t_ulimit() {
  same "512 1024" "$(run --ulimit nofile=512:1024 -- awk '/^Max open files/ { print $4, $5 }' /proc/self/limits)"
  same 0 "$(run --ulimit core=0 -- sh -c 'ulimit -c')" "core files"
}
t_oom_score() {
  same 321 "$(run --oom-score-adj 321 -- cat /proc/self/oom_score_adj)"
}
t_block_io() {
  [ -e /sys/fs/cgroup/blkio/blkio.throttle.read_bps_device ] || grep -qsw io /sys/fs/cgroup/cgroup.controllers ||
    skip "no blkio throttling in this view of cgroups"
  local disk; disk=$(lsblk -dnpo NAME,TYPE 2>/dev/null | awk '$2 == "disk" { print $1; exit }')
  [ -b "$disk" ] || skip "no disk"
  background limited --device-read-bps "$disk:2mb" --device-write-iops "$disk:99" -- sleep 300 || return 1
  has "$(cgroup_file limited blkio/blkio.throttle.read_bps_device io.max)" 2097152
  has "$(cgroup_file limited blkio/blkio.throttle.write_iops_device io.max)" 99
  remove limited
}
t_shm() { same 8192 "$(run --shm-size 8m -- df -k /dev/shm | awk 'NR == 2 { print $2 }')" kilobytes; }

tests <<'LIST'
t_pids run --pids-limit
t_memory run --memory
t_oom run --memory, exceeded
t_cpus run --cpus
t_cpuset run --cpuset-cpus, --cpuset-mems
t_device run --device
t_sysctl run --sysctl
t_ulimit run --ulimit
t_oom_score run --oom-score-adj
t_block_io run --device-read-bps
t_shm run --shm-size
LIST
