#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the Debian mirror that this machine's apt uses, and its release: "URI CODENAME".
set -eu
found() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN) $(COMPONENT)' 'Identifier: Packages' |
        awk '$3 == "Debian" && $4 == "main" && $2 !~ /-/ { print $1, $2; exit }'
}
mirror=$(found)
if [ -z "$mirror" ] && [ "$(id -u)" = 0 ]; then
    # The lists may not have been fetched yet: only they say that it is Debian's.
    apt-get update -qq >/dev/null 2>&1 || true
    mirror=$(found)
fi
[ -n "$mirror" ] || { echo "debian-mirror.sh: apt knows no Debian mirror: is this Debian, and has apt-get update run?" >&2; exit 1; }
echo "$mirror"
