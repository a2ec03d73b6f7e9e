# SPDX-License-Identifier: Apache-2.0
# What a pod's security context, mounts and devices ask for. In the pod p of pods.sh.
# Sourced by ../cri.sh.

S=.linux.security_context
t_user() {
  same "12:34 34 77" "$(run p user "$S += {run_as_user:{value:12}, run_as_group:{value:34}, supplemental_groups:[77]}" \
    sh -c 'echo $(id -u):$(id -g) $(id -G)')"
  same "1000:1000" "$(run p named "$S.run_as_username = \"user\"" sh -c 'echo $(id -u):$(id -g)')" "by name"
}
t_capabilities() {
  local cap='awk "/^Cap(Eff|Bnd)/ { print \$2 }" /proc/self/status'
  same "0000000000000000 0000000000000000" "$(run p nocap "$S.capabilities.drop_capabilities = [\"ALL\"]" sh -c "$cap" | xargs)" none
  same "0000000000001000 0000000000001000" "$(run p onecap "$S.capabilities = {drop_capabilities:[\"ALL\"], add_capabilities:[\"NET_ADMIN\"]}" sh -c "$cap" | xargs)" one
}
t_seccomp() {
  same 2 "$(run p sec . awk '/^Seccomp:/ { print $2 }' /proc/self/status)" "the runtime's default"
  same 0 "$(run p nosec "$S.seccomp.profile_type = 1" awk '/^Seccomp:/ { print $2 }' /proc/self/status)" unconfined
  echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}' >"$E2E_DIR/profile.json"
  has "$(run p ownsec "$S.seccomp = {profile_type:2, localhost_ref:\"$E2E_DIR/profile.json\"}" mkdir /x)" "not supported"
  same 1 "$(run p nnp "$S.no_new_privs = 1" awk '/^NoNewPrivs/ { print $2 }' /proc/self/status)" no_new_privs
}
t_read_only() {
  has "$(run p ro "$S.readonly_rootfs = 1" touch /x)" "Read-only file system"
  same "0 0 read-only" "$(run p masked "$S += {masked_paths:[\"/proc/version\", \"/proc/tty\", \"/proc/nothing\"], readonly_paths:[\"/proc/sys\"]}" \
    sh -c 'echo $(wc -c </proc/version) $(ls /proc/tty | wc -l) $(grep " /proc/sys .* ro," /proc/mounts >/dev/null && echo read-only)')" "masked and read-only paths"
}
t_mounts() {
  mkdir -p "$E2E_DIR/shared" && echo before >"$E2E_DIR/shared/f"
  local m="{host_path:\"$E2E_DIR/shared\", container_path:\"/host\"}"
  same before "$(run p mnt ".mounts = [$m]" sh -c 'cat /host/f; echo after >/host/f')"
  same after "$(cat "$E2E_DIR/shared/f")" "written by the container"
  has "$(run p mntro ".mounts = [$m + {readonly:1}]" touch /host/f)" "Read-only file system"
}
t_propagation() {
  # /run is the sandbox's own, and shared.
  mkdir -p /run/prop && mount -t tmpfs prop /run/prop && mount --make-shared /run/prop || return 1
  pod prop .linux.security_context.privileged=1 || return 1
  container prop slave '.mounts = [{host_path:"/run/prop", container_path:"/prop", propagation:1}]' sleep 300 || return 1
  container prop both "$S.privileged = 1"' | .mounts = [{host_path:"/run/prop", container_path:"/prop", propagation:2}]' sleep 300 || return 1
  mkdir /run/prop/{in,out} && mount -t tmpfs fromhost /run/prop/in || return 1
  has "$(sync slave grep fromhost /proc/mounts)" /prop/in
  has "$(sync both grep fromhost /proc/mounts)" /prop/in
  sync both mount -t tmpfs frominside /prop/out || return 1
  has "$(grep frominside /proc/mounts)" /run/prop/out
  has "$(sync slave grep frominside /proc/mounts)" /prop/out
  remove_pod prop || return 1
  umount -R /run/prop
}
t_recursive_read_only() {
  [ "$MAJOR" != 1 ] || skip "containerd 1 does not know recursive read-only mounts"
  mkdir -p /run/rro/sub && mount -t tmpfs sub /run/rro/sub || return 1
  has "$(run p rro '.mounts = [{host_path:"/run/rro", container_path:"/rro", readonly:1, recursive_read_only:1}]' touch /rro/sub/f)" "Read-only file system"
  umount /run/rro/sub
}
t_devices() {
  same "c 1:5" "$(run p dev '.devices = [{host_path:"/dev/zero", container_path:"/dev/nothing", permissions:"r"}]' \
    stat -c '%F %t:%T' /dev/nothing | sed 's/character special file/c/')"
}
t_privileged() {
  pod high .linux.security_context.privileged=1 || return 1
  container high priv "$S.privileged = 1" sleep 300 || return 1
  sync priv sh -c 'mkdir -p /mnt && mount -t tmpfs x /mnt' || return 1
  same 0 "$(sync priv awk '/^Seccomp:/ { print $2 }' /proc/self/status)" seccomp
  [ "$(sync priv ls /dev | wc -l)" -gt 20 ] || fail "no devices of the host"
  remove_pod high
}
t_user_namespace() {
  [ "$MAJOR" != 1 ] || skip "containerd 1 has no user namespaces for pods"
  local map='{mode:0, uids:[{host_id:100000, container_id:0, length:65536}], gids:[{host_id:100000, container_id:0, length:65536}]}'
  pod users ".linux.security_context.namespace_options.userns_options = $map" || return 1
  mkdir -p "$E2E_DIR/owned" && echo mine >"$E2E_DIR/owned/f" && chmod 600 "$E2E_DIR/owned/f"
  container users u "$S.namespace_options.userns_options = $map"' | .mounts = [{host_path:"'"$E2E_DIR"'/owned", container_path:"/owned",
    uidMappings:[{host_id:100000, container_id:0, length:65536}], gidMappings:[{host_id:100000, container_id:0, length:65536}]}]' sleep 300 || return 1
  same "0 100000 65536" "$(sync u cat /proc/self/uid_map | xargs)" map
  same 100000 "$(stat -c %u "/proc/$(pid u)")" "seen from outside"
  same "0 mine" "$(sync u sh -c 'echo $(stat -c %u /owned/f) $(cat /owned/f)')" "an id-mapped mount"
  same "$(sync u readlink /proc/self/ns/user)" "$(readlink "/proc/$(pid users)/ns/user")" "the pod's user namespace"
  remove_pod users
}

tests <<'LIST'
t_user as a user, with groups
t_capabilities capabilities
t_seccomp seccomp: default, unconfined, a profile; no_new_privs
t_read_only a read-only root, masked and read-only paths
t_mounts mounts
t_propagation mount propagation, from the host and back
t_recursive_read_only a recursive read-only mount
t_devices a device
t_privileged a privileged container
t_user_namespace a pod in a user namespace, with an id-mapped mount
LIST
