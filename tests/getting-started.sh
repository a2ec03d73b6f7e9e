#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Types what docs/getting-started.md says, block by block, in a throw-away directory, and compares what it
# shows. As root; CREEL is the binary. Prints TAP.
#
# A block is ```sh, ```sh user (as an ordinary user) or ```sh registry; one without a name is the end of
# the output of the blocks before it. Where docker.io does not answer, a registry of this machine's own
# (docker-registry, on loopback) stands in for it; without one the block is left out.
cd "$(dirname "$0")/.." || exit 1
creel=$(realpath "${CREEL:-build/creel}")
doc=$PWD/docs/getting-started.md
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 0; }
for tool in debootstrap skopeo umoci jq busybox; do
    command -v $tool >/dev/null || { echo "1..0 # SKIP $tool is not installed (the page's first block installs it)"; exit 0; }
done
work=$(mktemp -d)
here=$work/here
registry=
cleanup() {
    [ -z "$registry" ] || { kill "$registry"; wait "$registry"; } 2>/dev/null
    for id in first second third fourth fifth; do "$creel" delete --force "$id" >/dev/null 2>&1; done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
mkdir -p "$work/bin" "$here" "$work/run"
# Where an ordinary user reaches it, too.
install -m 0755 "$creel" "$work/bin/creel"
chmod 0777 "$here"
chmod 0755 "$work"
chown 54321:54321 "$work/run"
export PATH=$work/bin:$PATH

python3 - "$doc" "$work" <<'PY'
import re, sys
text, out = open(sys.argv[1]).read(), sys.argv[2]
for n, (info, body) in enumerate(re.findall(r'^```([^\n]*)\n(.*?)^```$', text, re.M | re.S)):
    kind = {'sh': 'root', 'sh user': 'user', 'sh registry': 'registry', '': 'output'}[info]
    open(f'{out}/block-{n:02}.{kind}', 'w').write(body)
PY
answers() { timeout 20 skopeo inspect --raw docker://docker.io/library/alpine:latest >/dev/null 2>&1; }
# The registry under docker.io's name, with a busybox as its alpine.
stand_in() {
    command -v docker-registry >/dev/null || return 1
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$work/registry.yml" <<EOF
version: 0.1
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:$port"}
EOF
    mkdir -p "$work/home/.config/containers"
    cat >"$work/home/.config/containers/registries.conf" <<EOF
[[registry]]
prefix = "docker.io"
location = "127.0.0.1:$port"
insecure = true
EOF
    docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
    registry=$!
    export HOME=$work/home
    image=$work/alpine
    mkdir "$image"
    (
        cd "$image" && umoci init --layout oci && umoci new --image oci:alpine &&
            umoci unpack --image oci:alpine b && mkdir b/rootfs/bin && cp "$(command -v busybox)" b/rootfs/bin/ &&
            ln -s busybox b/rootfs/bin/sh && umoci repack --image oci:alpine b &&
            umoci config --image oci:alpine --config.cmd /bin/sh &&
            skopeo copy --retry-times 5 --dest-tls-verify=false oci:oci:alpine "docker://127.0.0.1:$port/library/alpine:latest"
    ) >"$work/stand-in.log" 2>&1 || { tail -5 "$work/stand-in.log" | sed 's/^/# /'; return 1; }
    answers
}
n=0 failed=0 last=$work/last
for block in "$work"/block-*; do
    n=$((n + 1))
    name="$(basename "$block"): $(head -1 "$block" | cut -c1-70)"
    case $block in
    *.output)
        # The last lines of what was printed.
        if [ "$(tail -n "$(wc -l <"$block")" "$last" | tr -d '\r')" = "$(cat "$block")" ]; then echo "ok $n - $name"
        else failed=$((failed + 1)); echo "not ok $n - $name"; sed 's/^/# printed: /' "$last"; fi
        continue ;;
    *.registry)
        if ! answers && ! stand_in; then
            echo "ok $n - $name # SKIP docker.io does not answer from here, and there is no docker-registry"
            continue
        fi
        # It ends in a shell on a terminal, which is told to end as soon as it listens.
        run=(bash -c "while echo exit; do sleep 1; done | script -qec 'bash -eu $block' /dev/null") ;;
    *.user)
        run=(env "HOME=$here" "XDG_RUNTIME_DIR=$work/run" setpriv --reuid 54321 --regid 54321 --clear-groups bash -eu "$block") ;;
    *)
        run=(bash -eu "$block") ;;
    esac
    if (cd "$here" && timeout 600 "${run[@]}") >"$last" 2>&1 </dev/null; then echo "ok $n - $name"
    else failed=$((failed + 1)); echo "not ok $n - $name"; tail -20 "$last" | sed 's/^/# /'; fi
done
echo "1..$n"
echo "# $((n - failed)) passed, $failed failed"
[ "$failed" = 0 ]
