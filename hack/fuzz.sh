#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every target of fuzz/ for that many seconds; stops at the first one that finds something.
# Usage: hack/fuzz.sh SECONDS. What was found before (fuzz/corpus, not in git) is where it begins.
set -eu
cd "$(dirname "$0")/.."
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "hack/fuzz.sh: needs a nightly compiler and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz" >&2
    exit 1
fi
run() {
    target=$1; shift
    mkdir -p "fuzz/corpus/$target"
    # No sanitizer: nothing that is fuzzed is unsafe.
    cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "$@"
}
run seccomp_profile fuzz/seeds -- -dict=fuzz/seccomp.dict -max_len=32768 -max_total_time="$1"
run seccomp_rules -- -len_control=0 -max_len=512 -max_total_time="$1"
