#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs, from Debian's packages, what the named purposes need and this machine lacks.
# Usage: hack/deps.sh build|run|test|docker|pods|bench|vm …
set -eu
cd "$(dirname "$0")/.."

packages() {
    case $1 in
    build) echo gcc libc6-dev ;;
    run)   echo busybox-static ;;
    test)  echo containerd jq procps util-linux bsdutils debootstrap python3 strace gcc libseccomp-dev iproute2 uidmap git squashfs-tools e2fsprogs fuse-overlayfs ;;
    deb)   echo debhelper dpkg-dev ;;
    packaging) echo lintian man-db zsh fish ;;
    pods)  echo containerd containernetworking-plugins python3-grpcio iptables podman conmon buildah slirp4netns \
                fuse-overlayfs uidmap catatonit busybox-static jq procps iproute2 util-linux bsdutils ;;
    docker) echo docker.io docker-registry iptables busybox-static jq iproute2 util-linux bsdutils ;;
    bench) echo crun runc python3 ;;
    sanitize) echo valgrind gcc busybox-static uidmap util-linux ;;
    vm)    echo debootstrap python3 cpio kmod e2fsprogs xz-utils binutils util-linux ;; # and QEMU, below
    *)     echo "hack/deps.sh: unknown purpose $1" >&2; exit 2 ;;
    esac
}

missing=
for purpose in "$@"; do
    for package in $(packages "$purpose"); do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing="$missing $package"
        fi
    done
done
if ! command -v cargo >/dev/null; then
    echo "hack/deps.sh: cargo is missing: install Rust first (rustup, or Debian's cargo 1.85 or newer)" >&2
    exit 1
fi
# Not there, or not to be had: the binary is then linked with the host's C library, statically too.
case " $* " in *" build "*)
    if [ "$(hack/target.sh)" != "$(uname -m)-unknown-linux-musl" ] && command -v rustup >/dev/null; then
        rustup target add "$(uname -m)-unknown-linux-musl" >/dev/null 2>&1 || true
    fi ;;
esac
case " $* " in *" vm "*) hack/vm/qemu.sh ;; esac
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "hack/deps.sh: as root: apt-get install$missing" >&2
    exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# A package list may be old or absent: refresh it once when the first try fails.
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
