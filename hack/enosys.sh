#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Reruns the suites with system calls refused (ENOSYS), one set after the other and then all at once:
# the older ways of creel, which a machine with a new kernel never takes. hack/enosys.c is the launcher.
# Usage: hack/enosys.sh CREEL [SET...]        a set is names with commas between
set -u
cd "$(dirname "$0")/.." || exit 1
[ "$(id -u)" = 0 ] || { echo "SKIP hack/enosys.sh: containers with namespaces of their own need root"; exit 0; }
ENOSYS_PROGRAM=$(realpath "$1"); shift
export ENOSYS_PROGRAM
each="mount_setattr openat2 close_range clone3 faccessat2"
all=$(echo "$each" | tr ' ' ,)
[ $# -gt 0 ] || set -- $each "$all"

mkdir -p build/enosys
# Under the name of the runtime, by which tests know what they can expect.
gcc -O1 -Wall -o build/enosys/creel hack/enosys.c || exit 1
cp build/enosys/creel build/enosys/enosys
export RUNTIME="$PWD/build/enosys/creel"
failed=0
say() { printf '\n== without %s: %s\n' "$1" "$2"; }
lines() { grep -E '^(test result|not ok|SKIP|# SKIP|[0-9]+ passed|.* --- FAILED)|panicked at' "$1" || true; }
# ring SET WHAT COMMAND...
ring() {
    say "$1" "$2"; set_=$1; shift 2
    if ENOSYS=$set_ "$@" >build/enosys/log 2>&1; then lines build/enosys/log
    else failed=$((failed + 1)); tail -n 60 build/enosys/log; lines build/enosys/log; fi
}
unit() { # in the test program itself, which is its own container
    program=$(env -u ENOSYS cargo test --locked --no-run --bin creel 2>&1 | sed -n 's/.*(\(.*\/deps\/creel-[0-9a-f]*\)).*/\1/p')
    env -u ENOSYS_PROGRAM RUST_TEST_THREADS=1 build/enosys/enosys "$program" --nocapture child::rootfs child::process child::sysctl parent:: state
}
integration() {
    # race_fuzz looks for what paths lead out, not for what calls there are; rootless is below.
    tests=$(find tests -maxdepth 1 -name '*.rs' ! -name rootless.rs -exec basename {} .rs ';' | sort)
    [ ! -e tests/cve/main.rs ] || tests="$tests cve"
    bad=0
    for test in $tests; do cargo test --locked --quiet --no-fail-fast --test "$test" || bad=1; done
    return $bad
}
# An ordinary user may not load the filter without no_new_privs, which newuidmap could not bear: here
# it is around the tests, and their own calls are refused too.
rootless() {
    bad=0
    for tests in "rootless" "starved -- processes_of_an_ordinary_user processes_for_hooks"; do
        # shellcheck disable=SC2086
        RUNTIME=$ENOSYS_PROGRAM ENOSYS_PROGRAM='' cargo test --locked --quiet --config \
            "target.'cfg(all())'.runner='$PWD/build/enosys/enosys'" --test $tests || bad=1
    done
    return $bad
}
cargo test --locked --no-run --test '*' || exit 1
for names; do
    ring "$names" "unit tests of what a clone does" unit
    ring "$names" "integration tests" integration
    ring "$names" "rootless" rootless
    ring "$names" "conformance" runtime-tools-tests/run.sh
done

# Linux 5.2's mount calls have no older way: creel says so, and leaves nothing.
say open_tree,move_mount,fsopen "refused by name"
if ENOSYS=open_tree,move_mount,fsopen cargo test --locked --quiet --test no_mount_calls -- --nocapture; then :
else failed=$((failed + 1)); fi
[ "$failed" = 0 ] && echo "test-enosys: all passed" || echo "test-enosys: $failed rings failed"
exit "$failed"
