#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the targets of fuzz/ one after the other, each for that many seconds; stops at the first one that finds
# something. Usage: hack/fuzz.sh SECONDS [TARGET...]
# What was found before (fuzz/corpus, not in git) is where it begins, beside the seeds and the captured bundles.
# FUZZ_CORPUS=DIR:DIR adds directories of config.json files to those of `config`, `process`, `resources`.
set -eu
cd "$(dirname "$0")/.."
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "hack/fuzz.sh: needs a nightly compiler and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz" >&2
    exit 1
fi
seconds=$1; shift
[ $# -gt 0 ] || set -- seccomp_profile seccomp_rules config state process resources mount_options cgroup_path \
    hook_output message texts
for target; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    corpus=fuzz/corpus/$target
    # Seeds are read, new inputs are written into the first directory only.
    if [ -d "fuzz/seeds/$target" ]; then corpus="$corpus fuzz/seeds/$target"; fi
    options="-dict=fuzz/oci.dict -max_len=4096"
    case $target in
    seccomp_profile) options="-dict=fuzz/seccomp.dict -max_len=32768" ;;
    seccomp_rules) options="-len_control=0 -max_len=512" ;;
    config) corpus="$corpus tests/data/bundles" options="-dict=fuzz/oci.dict -max_len=32768" ;;
    hook_output | message | texts) options="-max_len=1024" ;;
    esac
    case $target in
    config | process | resources) corpus="$corpus $(echo "${FUZZ_CORPUS:-}" | tr : ' ')" ;;
    esac
    echo "== $target, $seconds s"
    # No sanitizer: nothing that is fuzzed is unsafe.
    # shellcheck disable=SC2086 # lists
    cargo +nightly fuzz run --sanitizer none "$target" $corpus -- $options -max_total_time="$seconds" -print_final_stats=1
done
