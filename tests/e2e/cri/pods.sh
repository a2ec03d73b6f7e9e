# SPDX-License-Identifier: Apache-2.0
# Pods, and what their containers share. The pod p with its containers a and b stays for ../cri/*.sh.
# Sourced by ../cri.sh.

t_class() {
  same creel "$(snippet runtimeclass | awk '$1 == "kind:" { kind = $2 } $1 == "name:" { name = $2 } END { if (kind == "RuntimeClass") print name }')" "the RuntimeClass's name"
  same creel "$(snippet pod | awk '$1 == "runtimeClassName:" { print $2 }')" "the pod's runtimeClassName"
  same creel "$HANDLER" "the RuntimeClass's handler"
  cri Status '{"verbose":1}' | jq -e --arg h "$HANDLER" --arg w "$WRAPPER" \
    '.info.config | fromjson.containerd.runtimes[$h].options.BinaryName == $w' >/dev/null || fail "no such handler in containerd's configuration"
  local out; out=$(HANDLER=nosuch pod wrong 2>&1) && fail "a pod with an unknown handler runs"
  has "$out" nosuch
}
# The blocks that are for other releases than this one, as far as they can be looked at.
t_blocks() {
  local name
  for name in containerd-2 containerd-3 crio; do
    snippet "$name" >"$E2E_DIR/$name.toml" || fail "docs/managers.md has no $name"
    same "$HANDLER $WRAPPER" "$(/usr/bin/python3 -c 'import sys, tomllib
name, handler = sys.argv[1:]
whole = tomllib.load(open(name, "rb"))
if "crio" in whole:
    cri = whole["crio"]["runtime"]
    print(cri["default_runtime"], cri["runtimes"][handler]["runtime_path"])
else:
    plugin = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}[whole["version"]]
    cri = whole["plugins"][plugin]["containerd"]
    print(cri["default_runtime_name"], cri["runtimes"][handler]["options"]["BinaryName"])' "$E2E_DIR/$name.toml" "$HANDLER")" "$name"
  done
}
t_default() {
  HANDLER='' pod plain && container plain plain1 . sleep 318 || return 1
  has "$(cat "$CALLS")" "$(id plain1)"
  remove_pod plain
}
t_features() {
  [ "$MAJOR" != 1 ] || skip "containerd 1 does not ask for the runtime's features"
  same '{"recursive_read_only_mounts":1,"user_namespaces":1}' \
    "$(cri Status | jq -cS --arg h "$HANDLER" '.runtime_handlers[] | select(.name == $h).features')"
}
t_pod() {
  pod p '.port_mappings = [{protocol:0, container_port:8080, host_port:18080}] | .hostname = "podname"
    | .linux.sysctls = {"net.ipv4.ip_unprivileged_port_start":"79"} | .dns_config = {servers:["10.0.0.53"], searches:["e2e.test"]}' || return 1
  local out; out=$(ask PodSandboxStatus pod_sandbox_id "$(id p)")
  same "0 $HANDLER" "$(jq -r '.status | "\(.state) \(.runtime_handler)"' <<<"$out")" "state and handler"
  has "$(jq -r .status.network.ip <<<"$out")" 10.88.77.
  same "$(id p)" "$(cri ListPodSandbox | jq -r '.items[].id')" "list"
}
t_two() {
  container p a '.stdin = 1' cat || return 1
  container p b . sh -c 'trap "exit 0" TERM; echo out; echo err >&2; while :; do sleep 0.1; done' || return 1
  same "1 1" "$(status a state) $(status b state)" states
  same "$(id a) $(id b)" "$(cri ListContainers "{\"filter\":{\"pod_sandbox_id\":\"$(id p)\"}}" | jq -r '.containers | sort_by(.metadata.name) | map(.id) | join(" ")')" "list"
}
t_shared() {
  local ns
  for ns in net ipc uts; do
    same "$(readlink "/proc/$(pid p)/ns/$ns")" "$(sync a readlink "/proc/self/ns/$ns")" "$ns of the pod and of a"
    same "$(readlink "/proc/$(pid p)/ns/$ns")" "$(sync b readlink "/proc/self/ns/$ns")" "$ns of the pod and of b"
  done
  for ns in pid mnt; do
    [ "$(sync a readlink "/proc/self/ns/$ns")" != "$(sync b readlink "/proc/self/ns/$ns")" ] || fail "one $ns namespace for a and b"
  done
  same podname "$(sync a hostname)" hostname
  same 79 "$(sync b cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" sysctl
  has "$(sync b cat /etc/resolv.conf)" "nameserver 10.0.0.53"
  # /dev/shm is the pod's.
  sync a sh -c 'echo shared >/dev/shm/f' || return 1
  same shared "$(sync b cat /dev/shm/f)" /dev/shm
}
t_shared_pids() {
  local one='.linux.security_context.namespace_options = {pid:0}'
  pod pids "$one" || return 1
  container pids c1 "$one" sleep 311 && container pids c2 "$one" sleep 312 || return 1
  same "$(sync c1 readlink /proc/self/ns/pid)" "$(sync c2 readlink /proc/self/ns/pid)" "pid namespace"
  has "$(sync c1 ps)" "sleep 312"
  has "$(sync c2 ps)" "trap"
  # The end of one leaves the rest.
  local p; p=$(pid c1)
  stop c1 && is c1 2 && is c2 1 || fail "states: $(status c1 state) $(status c2 state)"
  [ ! -e "/proc/$p" ] || fail "c1 still runs"
  remove_pod pids
}
# An ephemeral container, as kubectl debug makes it.
t_target() {
  container p eph '.linux.security_context.namespace_options = {pid:3, target_id:"'"$(id b)"'"}' sleep 313 || return 1
  same "$(sync b readlink /proc/self/ns/pid)" "$(sync eph readlink /proc/self/ns/pid)" "pid namespace"
  has "$(sync b ps)" "sleep 313"
  remove eph
}
t_host() {
  local host='.linux.security_context.namespace_options = {network:2, pid:2, ipc:2}'
  pod host "$host" || return 1
  container host h "$host" sleep 314 || return 1
  local ns
  for ns in net pid ipc; do same "$(readlink "/proc/self/ns/$ns")" "$(sync h readlink "/proc/self/ns/$ns")" "$ns"; done
  remove_pod host
}
t_network() {
  local ip; ip=$(ask PodSandboxStatus pod_sandbox_id "$(id p)" | jq -r .status.network.ip)
  has "$(sync a ip addr show eth0)" "inet $ip/24"
  has "$(sync b ip addr show lo)" "inet 127.0.0.1/8"
  container p web . sh -c 'mkdir /www; echo served >/www/f; exec httpd -f -p 8080 -h /www' || return 1
  wait_for 5 busybox wget -qO- "http://$ip:8080/f"
  same served "$(busybox wget -qO- "http://$ip:8080/f")" "from outside"
  same served "$(sync a wget -qO- http://127.0.0.1:8080/f)" "from its neighbour"
  same served "$(busybox wget -qO- "http://$(ip -4 -o addr show e2e0 | awk '{ sub("/.*", "", $4); print $4 }'):18080/f")" "by the host port"
}
t_logs() {
  wait_for 5 grep -q err "$E2E_DIR/logs/p/b.log"
  local stamp='[0-9]{4}-[0-9-]+T[0-9:.]+(Z|[+-][0-9:]+)'
  grep -qE "^$stamp stdout F out$" "$E2E_DIR/logs/p/b.log" || fail "$(cat "$E2E_DIR/logs/p/b.log")"
  grep -qE "^$stamp stderr F err$" "$E2E_DIR/logs/p/b.log" || fail "$(cat "$E2E_DIR/logs/p/b.log")"
  mv "$E2E_DIR/logs/p/b.log" "$E2E_DIR/logs/p/b.old"
  ask ReopenContainerLog container_id "$(id b)" >/dev/null || return 1
  [ -f "$E2E_DIR/logs/p/b.log" ] || fail "not opened again"
}

tests <<'LIST'
t_class the RuntimeClass of the documentation is containerd's handler
t_blocks the documentation's blocks for containerd 1, 2 and CRI-O name the same handler
t_default a pod that asks for no runtime gets the default
t_features containerd reads the runtime's features
t_pod a pod, with address, host name, port, sysctl, resolver
t_two two containers in it
t_shared they share network, ipc, uts, /dev/shm, not pids
t_shared_pids a pod with one pid namespace
t_target a container in the pid namespace of another
t_host a pod in the host's namespaces
t_network network of the pod, its loopback, a host port
t_logs the log, and the log opened again
LIST
