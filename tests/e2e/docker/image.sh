# SPDX-License-Identifier: Apache-2.0
# What the daemon says of itself; images: built, pushed to a registry, pulled. Sourced by ../docker.sh.

REGISTRY=127.0.0.1:5000

t_version() {
  # By the name that the configuration gives it.
  same "creel $("$RUNTIME" --version | awk '{ print $3; exit }')" \
    "$(docker version --format '{{range .Server.Components}}{{.Name}} {{.Version}}{{"\n"}}{{end}}' | grep ^creel)" "the runtime among the components"
  has "$(docker version --format '{{.Server.Os}}')" linux
}
t_info() {
  same creel "$(docker info --format '{{.DefaultRuntime}}')" "default runtime"
  has "$(docker info 2>/dev/null)" "Default Runtime: creel"
  has "$(docker info --format '{{json .SecurityOptions}}')" name=seccomp
  has "$(docker info --format '{{.RuncCommit.ID}}')" "$("$RUNTIME" --version | awk '/^commit:/ { print substr($2, 1, 40) }')"
}

# context DIR: a build's context; its Dockerfile comes on standard input.
context() {
  rm -rf "$1" && mkdir "$1" && cat >"$1/Dockerfile" && echo copied >"$1/file"
}
dockerfile() {
  cat <<END
FROM $IMAGE AS first
RUN mkdir /made && echo first >/made/here && chown 1000:1000 /made/here
FROM $IMAGE
ARG given=none
ENV BUILT=yes
COPY file /copied/
COPY --from=first /made /made
RUN test "\$(cat /copied/file)" = copied && test "\$(stat -c %u /made/here)" = 1000
RUN ["sh", "-c", "echo \$given >/given; id -u >/uid"]
RUN grep -q '^Seccomp:.2' /proc/self/status
WORKDIR /stuff
USER user
RUN echo mine >/tmp/mine; pwd >/tmp/where; id -u >>/tmp/where
VOLUME /data
STOPSIGNAL SIGUSR1
LABEL e2e=built
ENTRYPOINT ["sh", "-c"]
CMD ["echo entry-\$BUILT"]
END
}
built() { # IMAGE
  same entry-yes "$(docker run --rm "$1")" "entry point and command"
  same "/stuff 1000 first here 0 mine" "$(docker run --rm "$1" 'echo $(cat /tmp/where) $(cat /made/here) $(cat /given) $(cat /uid) $(cat /tmp/mine)')" files
  has "$(docker run --rm "$1" 'grep " /data " /proc/mounts')" /data
}
t_build() {
  dockerfile | context "$E2E_DIR/context"
  DOCKER_BUILDKIT=0 docker build --build-arg given=here -t e2e/built "$E2E_DIR/context" >"$E2E_DIR/out" 2>&1 ||
    fail "$(tail -n 5 "$E2E_DIR/out")"
  built e2e/built
}
t_buildkit() {
  dockerfile | context "$E2E_DIR/context"
  : >"$CALLS"
  DOCKER_BUILDKIT=1 docker build --progress plain --build-arg given=here -t e2e/kit "$E2E_DIR/context" \
    >"$E2E_DIR/out" 2>&1 || fail "$(tail -n 5 "$E2E_DIR/out")"
  grep -qE -- "buildkit.* run --bundle" "$CALLS" || fail "BuildKit never gave the command run: $(cut -c1-300 "$CALLS")"
  built e2e/kit
}
t_build_fails() {
  local kit
  printf 'FROM %s\nRUN echo before; exit 3\n' "$IMAGE" | context "$E2E_DIR/context"
  for kit in 0 1; do
    DOCKER_BUILDKIT=$kit docker build --force-rm --progress plain -t e2e/never "$E2E_DIR/context" >"$E2E_DIR/out" 2>&1 &&
      fail "built, BuildKit $kit"
    grep -qE 'returned a non-zero code: 3|(did not complete successfully|executor failed running).*: exit code: 3' "$E2E_DIR/out" ||
      fail "BuildKit $kit: $(tail -n 3 "$E2E_DIR/out")"
  done
}
t_save_load() {
  docker save e2e/built >"$E2E_DIR/saved.tar" && docker rmi e2e/built >/dev/null || return 1
  docker run --rm e2e/built >/dev/null 2>&1 && fail "the removed image ran"
  docker load -q <"$E2E_DIR/saved.tar" >/dev/null || return 1
  same entry-yes "$(docker run --rm e2e/built)"
}

start_registry() {
  cat >"$E2E_DIR/registry.yml" <<-YAML
	version: 0.1
	log: { level: error }
	storage: { filesystem: { rootdirectory: $E2E_DIR/registry } }
	http: { addr: $REGISTRY }
	YAML
  docker-registry serve "$E2E_DIR/registry.yml" </dev/null >"$E2E_DIR/registry.log" 2>&1 &
  echo $! >"$E2E_DIR/registry.pid"
  wait_for 20 http ${REGISTRY/:/ } /v2/
}
t_push() {
  start_registry && docker tag e2e/built $REGISTRY/e2e/built:1 || return 1
  docker push -q $REGISTRY/e2e/built:1 >/dev/null || return 1
  has "$(http ${REGISTRY/:/ } /v2/e2e/built/tags/list)" '"tags":["1"]'
}
t_pull() {
  local digest; digest=$(docker image inspect --format '{{index .RepoDigests 0}}' $REGISTRY/e2e/built:1)
  docker rmi -f e2e/built $REGISTRY/e2e/built:1 e2e/kit >/dev/null && docker builder prune -af >/dev/null || return 1
  docker pull -q $REGISTRY/e2e/built:1 >/dev/null || return 1
  same entry-yes "$(docker run --rm $REGISTRY/e2e/built:1)" "run of the tag"
  same entry-yes "$(docker run --rm "$digest")" "run of the digest $digest"
  docker rmi -f $REGISTRY/e2e/built:1 "$digest" >/dev/null 2>&1
  same entry-yes "$(docker run --rm --pull always $REGISTRY/e2e/built:1 2>/dev/null)" "run that pulls"
  docker pull -q $REGISTRY/e2e/nothing:1 >/dev/null 2>&1 && fail "pulled what was never pushed"
  kill "$(cat "$E2E_DIR/registry.pid")"
}

tests <<'LIST'
t_version version names the runtime
t_info info
t_build build
t_buildkit build with BuildKit
t_build_fails build that fails says so
t_save_load save and load
t_push push to a registry
t_pull pull from it
LIST
