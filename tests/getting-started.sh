#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Types what docs/getting-started.md says, block by block, in a throw-away directory, and compares what it
# shows. As root; CREEL is the binary. Prints TAP.
#
# A block is ```sh, ```sh user (as an ordinary user) or ```sh registry (left out where none answers); one
# without a name is the end of the output of the blocks before it.
cd "$(dirname "$0")/.." || exit 1
creel=$(realpath "${CREEL:-build/creel}")
doc=$PWD/docs/getting-started.md
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 0; }
for tool in debootstrap skopeo umoci jq busybox; do
    command -v $tool >/dev/null || { echo "1..0 # SKIP $tool is not installed (the page's first block installs it)"; exit 0; }
done
work=$(mktemp -d)
here=$work/here
cleanup() {
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
        if ! timeout 20 skopeo inspect --raw docker://docker.io/library/alpine:latest >/dev/null 2>&1; then
            echo "ok $n - $name # SKIP no registry answers from here"
            continue
        fi
        run=(script -qec "bash -eu $block" /dev/null) ;;
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
