#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Memory errors. AddressSanitizer: the unit tests (the seeds of the fuzzers among them), `check` of every bundle at hand,
# real containers. Valgrind's memcheck: unit tests of what is pure, and the commands that make none of the system calls
# that it does not know. The arena is left out (cfg sanitized), so that every piece of memory is guarded; its own unit
# tests are there. Usage: hack/sanitize.sh [unit|check|containers|memcheck]...
set -u
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- unit check containers memcheck
target=$(uname -m)-unknown-linux-gnu
mkdir -p build/sanitize
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
outcome() { # NAME STATUS
    if [ "$2" = 0 ]; then echo "pass $1"; else failed=$((failed + 1)); tail -n 40 "build/sanitize/$1.log"; echo "FAIL $1"; fi
}
# Not static, as neither tool could stand in for malloc then. RUSTC_BOOTSTRAP: -Z with any compiler.
build() { # FLAGS ARGUMENTS...
    flags=$1; shift
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="--cfg sanitized $flags" \
        cargo "$@" --locked --quiet --target "$target" --target-dir target/sanitize --bin creel --message-format json 2>"$work/err" |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1 >"$work/program"
    if ! [ -s "$work/program" ]; then cat "$work/err" >&2; return 1; fi
    cat "$work/program"
}
# A leak is none in a process that lives for milliseconds, and the search for them wants ptrace in each clone. A stack
# that is not the stack is not to be forgotten below its end (sys::memory).
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1
address="-Zsanitizer=address"
asan() { # as build/sanitize/creel: tests know a runtime by its name
    program=$(build $address build) || exit 1
    cp "$program" build/sanitize/creel
}
if ! ls "$(rustc --print sysroot)/lib/rustlib/$target/lib/"librustc-*_rt.asan.a >/dev/null 2>&1; then
    echo "SKIP unit, check, containers: the compiler has no AddressSanitizer for $target"
    set -- memcheck
fi

for part; do
    case $part in
    unit)
        program=$(build $address test --no-run) || exit 1
        RUST_TEST_THREADS=1 "$program" >build/sanitize/unit.log 2>&1
        outcome unit $?
        grep '^test result' build/sanitize/unit.log
        ;;
    check)
        asan
        bad=0 count=0
        for config in fuzz/seeds/config/* $(find tests/data/bundles -name config.json); do
            cp "$config" "$work/config.json"
            timeout 60 build/sanitize/creel check "$work" >build/sanitize/check.log 2>&1
            # 1: something is wrong with it.
            case $? in 0 | 1) count=$((count + 1)) ;; *) bad=1; cat build/sanitize/check.log; break ;; esac
        done
        outcome check $bad
        echo "$count bundles"
        ;;
    containers)
        if [ "$(id -u)" != 0 ]; then echo "SKIP containers: they need root"; continue; fi
        asan
        for test in bundles cgroups clock damaged details exec gc hooks hotplug lifecycle mounts rootless seccomp \
            seccomp_notify signals undo upgrade; do
            # It is not static: no program for the root of a container.
            RUNTIME=$PWD/build/sanitize/creel cargo test --locked --quiet --no-fail-fast --test $test -- --skip nested:: \
                >build/sanitize/$test.log 2>&1
            outcome $test $?
            grep '^test result' build/sanitize/$test.log
        done
        ;;
    memcheck)
        if ! command -v valgrind >/dev/null; then echo "SKIP memcheck: valgrind is not installed"; continue; fi
        memcheck="valgrind --quiet --error-exitcode=99 --log-file=$work/valgrind.%p"
        program=$(build "" test --no-run) || exit 1
        # What makes no clone and compiles no large filter.
        RUST_TEST_THREADS=1 $memcheck "$program" sys::alloc sys::regex oci:: json:: annotations error:: time:: mask:: cli:: \
            check:: cgroup::path cgroup::cpu cgroup::memory cgroup::io cgroup::plan cgroup::writes criu::wire criu::rpc \
            plan:: limits::tests::refusals namespace:: state:: fuzz --skip parent::time >build/sanitize/memcheck-unit.log 2>&1
        status=$?
        cat "$work"/valgrind.* >>build/sanitize/memcheck-unit.log
        outcome memcheck-unit $status
        grep '^test result' build/sanitize/memcheck-unit.log
        rm -f "$work"/valgrind.*
        if [ "$(id -u)" != 0 ]; then echo "SKIP memcheck of commands: they need root"; continue; fi
        program=$(build "" build) || exit 1
        mkdir -p "$work/bundle/rootfs/bin" "$work/bundle/rootfs/proc" "$work/bundle/rootfs/dev" "$work/bundle/rootfs/sys"
        cp "$(command -v busybox)" "$work/bundle/rootfs/bin/busybox"
        "$program" spec --bundle "$work/bundle"
        sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"busybox", "sleep", "1000"/' "$work/bundle/config.json"
        creel() { $memcheck "$program" --root "$work/state" "$@"; }
        log=build/sanitize/memcheck-commands.log bad=0
        # It knows no open_tree, without which there is no container; nor pidfd_open, for kill.
        "$program" --root "$work/state" run --detach --bundle "$work/bundle" checked >"$log" 2>&1 </dev/null || bad=1
        for words in "state checked" "state --all-details checked" list "list --all-details --format json" "ps checked" \
            "pause checked" "resume checked" "update --pids-limit 77 checked" "events --stats checked" features gc \
            "spec --bundle $work" "check $work/bundle"; do
            echo "== $words" >>"$log"
            creel $words >>"$log" 2>&1 || bad=1
        done
        "$program" --root "$work/state" delete --force checked >>"$log" 2>&1 || bad=1
        cat "$work"/valgrind.* >>"$log"
        outcome memcheck-commands $bad
        ;;
    esac
done
[ "$failed" = 0 ] && echo "sanitize: all passed" || echo "sanitize: $failed failed"
exit "$failed"
