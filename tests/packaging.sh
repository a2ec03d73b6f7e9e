#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make install, uninstall and deb, into throw-away roots; lintian; manual pages and completions as their
# readers read them; a container with the installed binary. As root. Prints TAP.
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0 failed=0
check() { # NAME COMMAND...
    n=$((n + 1))
    local name=$1; shift
    if "$@" >"$work/out" 2>&1; then echo "ok $n - $name"
    else failed=$((failed + 1)); echo "not ok $n - $name"; sed 's/^/# /' "$work/out"; fi
}
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }

root=$work/root
files() { (cd "$1" && find . ! -type d | sort); }
check "make install" make --no-print-directory install DESTDIR="$root" PREFIX=/usr
check "pages and completions are there" test -s "$root/usr/share/man/man8/creel-run.8" -a \
    -s "$root/usr/share/bash-completion/completions/creel" -a -s "$root/usr/share/zsh/site-functions/_creel" -a \
    -s "$root/usr/share/fish/vendor_completions.d/creel.fish"
smaller() { [ "$(stat -c %s "$root/usr/sbin/creel")" -lt 3000000 ]; }
check "the binary is below 3 MB" smaller

pages() {
    local bad=0 page
    for page in "$root"/usr/share/man/man8/*.8; do
        [ -z "$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)" ] ||
            { echo "$page: groff warns"; bad=1; }
        lexgrog "$page" >/dev/null || { echo "$page: no whatis"; bad=1; }
    done
    return $bad
}
check "man reads every page without a warning" pages
every_command() {
    local bad=0 command
    for command in $("$root/usr/sbin/creel" help | sed -n '/^COMMANDS:/,/^$/s/^   \([a-z]*\) .*/\1/p' | grep -v '^help'); do
        [ -s "$root/usr/share/man/man8/creel-$command.8" ] || { echo "no page for $command"; bad=1; }
    done
    return $bad
}
check "every command of help has a page" every_command
bash_completes() {
    # shellcheck disable=SC2016
    bash -c '. "$1"; COMP_WORDS=(creel run --det) COMP_CWORD=2; _creel creel --det run; [ "${COMPREPLY[*]}" = --detach ]' \
        - "$root/usr/share/bash-completion/completions/creel"
}
check "bash completes a flag" bash_completes
if command -v zsh >/dev/null; then
    check "zsh reads its completions" zsh -n "$root/usr/share/zsh/site-functions/_creel"
else skip "zsh reads its completions" "zsh is not installed"; fi
if command -v fish >/dev/null; then
    # shellcheck disable=SC2016
    check "fish completes a command" fish --no-config -c 'source $argv[1]; complete -C "creel chec" | grep -q ^check' \
        "$root/usr/share/fish/vendor_completions.d/creel.fish"
else skip "fish completes a command" "fish is not installed"; fi
check "make uninstall" make --no-print-directory uninstall DESTDIR="$root" PREFIX=/usr
empty() { [ -z "$(files "$root")" ] || { files "$root"; false; }; }
check "nothing is left after it" empty

rm -f build/creel_*.deb
check "make deb" make --no-print-directory deb
deb=$(ls build/creel_*.deb 2>/dev/null)
if command -v lintian >/dev/null; then
    check "lintian has nothing to say" lintian --allow-root --fail-on error,warning,info --info "$deb"
else skip "lintian has nothing to say" "lintian is not installed"; fi
throw=$work/dpkg
install_deb() {
    mkdir -p "$throw/var/lib/dpkg/updates" "$throw/var/lib/dpkg/info" && : >"$throw/var/lib/dpkg/status" &&
        dpkg --root="$throw" --force-depends --force-script-chrootless -i "$deb"
}
check "dpkg installs it into an empty root" install_deb
check "apt would install it here" apt-get install --simulate -y "./$deb"
run_one() {
    local box=$work/box
    mkdir -p "$box/rootfs/bin" && cp "$(command -v busybox)" "$box/rootfs/bin/sh" &&
        "$throw/usr/sbin/creel" spec --bundle "$box" &&
        sed -i -e 's/"terminal": true/"terminal": false/' -e 's|"sh"|"sh", "-c", "echo packaged"|' "$box/config.json" &&
        "$throw/usr/sbin/creel" --root "$work/state" check "$box" &&
        [ "$("$throw/usr/sbin/creel" --root "$work/state" run --bundle "$box" "packaged-$$")" = packaged ]
}
check "what was installed runs a container" run_one
check "the package is removed again" dpkg --root="$throw" --force-script-chrootless --purge creel
gone() { ! [ -e "$throw/usr/sbin/creel" ]; }
check "and is gone" gone
echo "1..$n"
echo "# $((n - failed)) passed, $failed failed"
[ "$failed" = 0 ]
