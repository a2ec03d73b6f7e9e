#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Format, clippy, and the rules of the tree (docs/architecture.md#rules) that rustc cannot check.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
fail() { echo "hack/check.sh: $*" >&2; bad=1; }

cargo fmt --all --check || bad=1
cargo fmt --manifest-path fuzz/Cargo.toml --check || bad=1
cargo clippy --quiet --locked --workspace --all-targets -- -D warnings || bad=1

# The other architecture compiles, where its standard library is at hand.
if ls "$(rustc --print target-libdir --target aarch64-unknown-linux-gnu 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; then
    cargo check --quiet --locked --target aarch64-unknown-linux-gnu --bin creel || bad=1
else
    echo "SKIP cargo check for aarch64: its standard library is not installed (rustup target add aarch64-unknown-linux-gnu)"
fi

# 1. unsafe only under src/sys (rustc denies it elsewhere unless it is allowed again).
if grep -rn 'allow(unsafe_code)' src | grep -v '^src/sys/mod.rs:'; then fail "unsafe outside src/sys"; fi
# 2. Sides: the child never names the parent or the command line; sys names no other module but itself.
if grep -rnE 'crate::(parent|cli|commands)\b' src/child | grep -v 'cfg(test)'; then fail "src/child names the parent's side"; fi
if grep -rnE '^use crate::(child|parent|cgroup|cli|commands|plan|state)\b' src/sys; then fail "src/sys names another module"; fi
# 3. No absolute path of a developer's machine, no host name of a registry.
if git grep -nIE '/(home|work)/[a-z]+/|deb\.debian\.org|crates\.io/api' -- . ':!Cargo.lock' ':!hack/check.sh'; then fail "a machine's path or a host name"; fi
# 4. Scripts parse.
for script in $(git ls-files '*.sh' .ci/run); do
    bash -n "$script" || bad=1
done
for script in $(git ls-files 'hack/*.py' hack/vm/vm hack/vm/guest/agent); do
    python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$script" || bad=1
done
python3 -m doctest hack/soak.py || bad=1
# 5. The wall clock, which may jump, is for people to read and for `gc --older-than` (tests/clock.rs).
if grep -rnE 'SystemTime|CLOCK_REALTIME|\.(modified|accessed|created)\(\)' src |
    grep -vE '^src/(time|commands/gc)\.rs:'; then fail "a wall clock decides"; fi
# 6. Files stay readable: one idea each.
find src -name '*.rs' ! -path '*/names/*' | while read -r file; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 700 ] || echo "hack/check.sh: $file has $lines lines: two ideas?" >&2
done
exit $bad
