# SPDX-License-Identifier: Apache-2.0
# The documented configurations, and the image that all tests run. Sourced by ../docker.sh.

t_readme() {
  configure readme && start_docker || return 1
  has "$(docker info --format '{{json .Runtimes}}')" "\"creel\":{\"path\":\"$WRAPPER\""
}
t_import() {
  tar -C "$E2E_DIR/rootfs" --numeric-owner --owner=0 --group=0 -cf "$E2E_DIR/root.tar" .
  docker import --change 'ENV FROM_IMAGE=yes PATH=/bin' --change 'CMD ["sh"]' --message "e2e" - "$IMAGE" \
    <"$E2E_DIR/root.tar" >/dev/null || return 1
  same '["PATH=/bin","FROM_IMAGE=yes"] ["sh"]' "$(docker image inspect --format '{{json .Config.Env}} {{json .Config.Cmd}}' "$IMAGE" |
    sed 's/"FROM_IMAGE=yes","PATH=\/bin"/"PATH=\/bin","FROM_IMAGE=yes"/')" configuration
  has "$(docker images --format '{{.Repository}}:{{.Tag}}')" "$IMAGE:latest"
}
t_by_name() {
  : >"$CALLS"
  same hello "$(run --runtime creel -- echo hello)"
  grep -q -- ' create --bundle ' "$CALLS" || fail "creel was not asked: $(cat "$CALLS")"
  code 125 run --runtime nosuchruntime -- true
}
t_default() {
  configure docker-default && reload || return 1
  same creel "$(docker info --format '{{.DefaultRuntime}}')" "default runtime"
  background which -- sleep 300 || return 1
  same creel "$(field which HostConfig.Runtime)" "runtime of a container"
  local p; p=$(pid which)
  same "running $p" "$("$RUNTIME" --root "$RUNTIME_ROOT" state "$(id_of which)" | jq -r '"\(.status) \(.pid)"')" "the runtime's own state"
  remove which
}

ONLY='*' tests <<'LIST'
t_readme the daemon starts with README's three lines
t_import import
t_by_name run --runtime creel
t_default docs/managers.md's snippet makes creel the default, without a restart
LIST
