# SPDX-License-Identifier: Apache-2.0
# Networks and volumes. Sourced by ../docker.sh.

# serve NAME [OPTION...]: a container that answers on port 80 with its name
serve() {
  local name=$1; shift
  background "$name" "$@" -- sh -c "mkdir /w; echo $name >/w/index.html; exec httpd -f -p 80 -h /w" &&
    wait_for 10 docker exec "$name" sh -c "echo | nc -w 2 127.0.0.1 80"
}
# get HOST [OPTION...]: what it answers to a container with the options
get() {
  local host=$1; shift
  run "$@" -- sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 $host 80 | tail -n 1"
}

t_bridge() {
  serve server || return 1
  local ip; ip=$(field server NetworkSettings.IPAddress)
  same server "$(get "$ip")" "from a neighbour"
  same server "$(http "$ip" 80 /)" "from the host"
  same server "$(get other --link server:other)" "by a link"
  remove server
}
t_publish() {
  serve server -p 127.0.0.1:18080:80 || return 1
  wait_for 5 http 127.0.0.1 18080 /
  same server "$(http 127.0.0.1 18080 /)"
  remove server
  http 127.0.0.1 18080 / 2>/dev/null && fail "the port is still open"
  return 0
}
t_network() {
  docker network create --subnet 10.99.0.0/24 n1 >/dev/null && docker network create --internal n2 >/dev/null || return 1
  serve server --network n1 --ip 10.99.0.77 --network-alias nick --mac-address 02:42:0a:63:00:4d || return 1
  same server "$(get server --network n1)" "by name"
  same server "$(get nick --network n1)" "by alias"
  has "$(docker exec server ip addr show eth0)" "10.99.0.77/24"
  has "$(docker exec server ip addr show eth0)" 02:42:0a:63:00:4d
  same "" "$(get 10.99.0.77 2>/dev/null)" "from another network"
  docker network connect n2 server || return 1
  has "$(docker exec server ip addr show eth1)" "inet "
  same server "$(get server --network n2)" "through the second network"
  docker network disconnect n2 server || return 1
  docker exec server ip addr show eth1 >/dev/null 2>&1 && fail "eth1 is still there"
  docker network rm n1 >/dev/null 2>&1 && fail "removed while in use"
  remove server
  docker network rm n1 n2 >/dev/null
}
t_none() {
  same lo "$(run --network none -- sh -c 'ls /sys/class/net')" interfaces
}
t_dns() {
  local out; out=$(run --dns 192.0.2.1 --dns-search e2e.test --add-host mine:192.0.2.2 -- cat /etc/resolv.conf /etc/hosts)
  has "$out" "nameserver 192.0.2.1"
  has "$out" "search e2e.test"
  has "$out" "192.0.2.2"
}
t_volume() {
  docker volume create vol >/dev/null || return 1
  run -v vol:/v -- sh -c 'echo kept >/v/f' && same kept "$(run -v vol:/v:ro -- cat /v/f)" "kept between containers" || return 1
  has "$(run -v vol:/v:ro -- touch /v/f 2>&1)" "Read-only file system"
  same data "$(run -v filled:/etc -- cat /etc/plain)" "filled from the image"
  same data "$(run -v filled:/other -- cat /other/plain)" "filled, elsewhere"
  background server -v vol:/v -- sleep 300 || return 1
  docker volume rm vol >/dev/null 2>&1 && fail "removed while in use"
  same kept "$(run --volumes-from server -- cat /v/f)" "from another container"
  remove server
  docker volume rm vol filled >/dev/null
}
t_volume_driver() {
  docker volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m,uid=1000 tmpvol >/dev/null || return 1
  has "$(run -v tmpvol:/t -- sh -c 'grep " /t " /proc/mounts; stat -c %u /t')" "size=1024k,uid=1000"
  docker volume rm tmpvol >/dev/null
}
t_mount_option() {
  same yes "$(run --mount type=volume,src=mounted,dst=/m --mount type=tmpfs,dst=/t,tmpfs-size=1m -- sh -c 'touch /m/x /t/x && echo yes')"
  mkdir -p "$E2E_DIR/ro/below" && echo seen >"$E2E_DIR/ro/below/f"
  same seen "$(run --mount "type=bind,src=$E2E_DIR/ro,dst=/b,readonly" -- cat /b/below/f)"
  docker volume rm mounted >/dev/null
}

tests <<'LIST'
t_bridge network: the default bridge, links
t_publish network: published ports
t_network network: created, joined, left, removed
t_none network none
t_dns network: names
t_volume volumes
t_volume_driver volumes with a driver's options
t_mount_option run --mount
LIST
