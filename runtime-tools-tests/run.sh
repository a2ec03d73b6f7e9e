#!/bin/sh
# Runs the conformance programs of this folder, then the upstream validation suite if
# RUNTIME_TOOLS names a folder with its already built programs. RUNTIME is the runtime under test
# (default: creel as built, else creel in PATH).
set -u
cd "$(dirname "$0")" || exit 2

target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
bin=$target/${CONFORMANCE_TARGET:-$(uname -m)-unknown-linux-gnu}/release
cargo build --release --package conformance || exit 2

if [ -z "${RUNTIME:-}" ]; then
	RUNTIME=$PWD/../build/creel
	[ -x "$RUNTIME" ] || RUNTIME=$(command -v creel)
	if [ -z "$RUNTIME" ]; then
		echo "run.sh: no creel in build or PATH: make build, or set RUNTIME" >&2
		exit 2
	fi
fi
export RUNTIME

status=0
"$bin/driver" "$@" || status=1

if [ -n "${RUNTIME_TOOLS:-}" ]; then
	"$bin/upstream" "$RUNTIME_TOOLS" || status=1
else
	echo "upstream validation suite left out: RUNTIME_TOOLS is not set"
fi
exit $status
