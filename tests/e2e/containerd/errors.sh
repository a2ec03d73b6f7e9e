# SPDX-License-Identifier: Apache-2.0
# run: containers that cannot start: the words that managers look for, and nothing left.
# Sourced by ../containerd.sh.

# refused ID WANT COMMAND: a container that cannot start, with runc's words, leaving nothing
refused() {
  local id=$1 want=$2 out c
  shift 2
  out=$(run "$id" "$@" 2>&1 </dev/null); c=$?
  [ $c != 0 ] || fail "started all the same: $out"
  [[ $out =~ $want ]] || fail "want /$want/ in: $out"
  ! is "$id" RUNNING || fail "still running"
  nothing_left "$id"
}
t_missing() {
  refused e-path "no such file or directory|executable file not found" /no/such/program
  refused e-name "executable file not found|no such file or directory" nosuchprogram
}
t_not_executable() { refused e-plain "permission denied" /etc/plain; }
t_directory() { refused e-dir "permission denied|is a directory" /etc; }
t_bad_mount() {
  OPTIONS=(--mount "type=bind,src=/no/such/source,dst=/m,options=rbind")
  refused e-mount "/no/such/source.*no such file or directory" true
}
t_bad_hostname() {
  jq '.hooks = null | .annotations = null | .linux.namespaces |= map(select(.type != "uts"))' \
    "$E2E_DIR/spec.json" >"$E2E_DIR/bad.json"
  local out
  out=$(ctr run --rm --runc-binary "$WRAPPER" --config "$E2E_DIR/bad.json" r-config 2>&1) &&
    fail "hostname without a UTS namespace was taken: $out"
  has "${out,,}" "hostname"
  nothing_left r-config
}

tests <<'LIST'
t_missing error: no such executable
t_not_executable error: not executable
t_directory error: a directory is no executable
t_bad_mount error: no such mount source
t_bad_hostname error: hostname without a namespace for it
LIST
