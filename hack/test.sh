#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every ring that this machine can run, one after the other; the outcome of each at the end.
# Usage: hack/test.sh CREEL. The last line counts rings, so that a reader or a CI sees at once whether all passed.
cd "$(dirname "$0")/.." || exit 1
RUNTIME=$PWD/$1
export RUNTIME
passed=0 failed=0 skipped=0 report=
ring() {
    name=$1; shift
    echo "== $name"
    if "$@"; then passed=$((passed + 1)); report="$report\n  pass  $name"
    else failed=$((failed + 1)); report="$report\n  FAIL  $name"; fi
}
skip() { skipped=$((skipped + 1)); report="$report\n  skip  $1: $2"; echo "SKIP $1: $2"; }

ring "build" make --no-print-directory build
ring "unit tests" cargo test --locked --quiet --bin creel
if [ "$(id -u)" = 0 ]; then
    ring "integration tests (real containers)" cargo test --locked --quiet --test '*'
    ring "the manual's pages" cargo test --locked --quiet --package manual
    if command -v skopeo >/dev/null && command -v umoci >/dev/null && command -v debootstrap >/dev/null; then
        ring "docs/getting-started.md, typed" env CREEL="$RUNTIME" tests/getting-started.sh
    else
        skip "docs/getting-started.md, typed" "its tools are not installed (apt-get install debootstrap skopeo umoci jq)"
    fi
    if command -v lintian >/dev/null && command -v dh >/dev/null; then
        ring "packaging" tests/packaging.sh
    else
        skip "packaging" "make test-packaging installs what it needs, and runs it"
    fi
    ring "conformance (runtime-spec, case by case)" runtime-tools-tests/run.sh
    ring "budgets (instructions, system calls)" hack/bench/budget.py --creel "$1"
    ring "crash matrix (a sample)" hack/crash-matrix/matrix.py --runtime "$RUNTIME" --every 25
    ring "races (two rounds)" hack/races.py --runtime "$RUNTIME" --rounds 2
    ring "soak (a hundred containers)" hack/soak.py --runtime "$RUNTIME" --containers 100 --alive 10
    if ! command -v dockerd >/dev/null || ! command -v docker-registry >/dev/null; then
        skip "Docker, end to end" "docker.io or docker-registry is not installed (hack/deps.sh docker)"
    elif [ -n "${TEST_UNTIL:-}" ] && [ "$(date +%s)" -gt $((TEST_UNTIL - 300)) ]; then
        skip "Docker, end to end" "less than five minutes are left of this run's time"
    else
        ring "Docker, end to end, the quick part (make test-e2e runs all of it)" tests/e2e/docker.sh --quick
    fi
    if ! command -v podman >/dev/null || ! command -v conmon >/dev/null; then
        skip "Podman, end to end" "podman is not installed (hack/deps.sh pods)"
    elif [ -n "${TEST_UNTIL:-}" ] && [ "$(date +%s)" -gt $((TEST_UNTIL - 400)) ]; then
        skip "Podman, end to end" "less than seven minutes are left of this run's time"
    else
        ring "Podman, end to end, root's (make test-e2e has an ordinary user's)" tests/e2e/podman.sh
    fi
    if ! command -v containerd >/dev/null || [ ! -x /usr/lib/cni/bridge ] || ! /usr/bin/python3 -c "import grpc" 2>/dev/null; then
        skip "containerd by CRI, end to end" "containerd, CNI plugins or python3-grpcio are not installed (hack/deps.sh pods)"
    elif [ -n "${TEST_UNTIL:-}" ] && [ "$(date +%s)" -gt $((TEST_UNTIL - 400)) ]; then
        skip "containerd by CRI, end to end" "less than seven minutes are left of this run's time"
    else
        ring "containerd by CRI, end to end, the quick part (make test-e2e runs all of it)" tests/e2e/cri.sh --quick
    fi
    if command -v containerd >/dev/null && command -v ctr >/dev/null; then
        ring "containerd, end to end" tests/e2e/containerd.sh
    else
        skip "containerd, end to end" "containerd is not installed"
    fi
else
    skip "integration, conformance, managers" "they need root"
fi
if [ "$(id -u)" != 0 ]; then
    skip "virtual machine (systemd, all of cgroup v2)" "its image is made as root"
elif ! command -v qemu-system-x86_64 >/dev/null; then
    skip "virtual machine (systemd, all of cgroup v2)" "QEMU is not installed (hack/deps.sh vm; make test-vm runs all of it)"
elif [ -n "${TEST_UNTIL:-}" ] && [ "$(date +%s)" -gt $((TEST_UNTIL - 600)) ]; then
    skip "virtual machine (systemd, all of cgroup v2)" "less than ten minutes are left of this run's time"
else
    limit=$((${TEST_UNTIL:-$(date +%s) + 3600} - $(date +%s)))
    ring "virtual machine, the short pass (systemd, all of cgroup v2)" timeout "$limit" hack/vm/vm test --short
fi
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    skip "fuzzing" "no nightly compiler with cargo-fuzz; the seeds have run as unit tests"
elif [ -n "${TEST_UNTIL:-}" ] && [ "$(date +%s)" -gt $((TEST_UNTIL - 300)) ]; then
    skip "fuzzing" "less than five minutes are left of this run's time"
else
    ring "fuzzing, five seconds a target" hack/fuzz.sh 5
fi
skip "older kernels" "make test-enosys reruns these rings without newer system calls; six times as long"
printf "\n== rings$report\n"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
