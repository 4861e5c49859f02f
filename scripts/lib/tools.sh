# The linters, built from scripts/tools/go.mod, so that go.mod stays free of them.
# Sourced after install.sh.
# shellcheck shell=bash

# need_tools: sets tools to a directory with the linters, built there unless
# they are. From nothing that takes minutes.
need_tools() {
  local key
  key=$(cat scripts/tools/go.mod scripts/tools/go.sum <(go env GOVERSION) | sha256sum | cut -c1-16)
  # shellcheck disable=SC2154 # cache is install.sh's
  tools=$cache/tools-$key
  [ -d "$tools" ] && return
  mkdir -p "$cache"
  (
    flock 9
    [ -d "$tools" ] && exit
    rm -rf "$cache"/tools-*
    GOFLAGS=-mod=readonly GOBIN=$tools.new go -C scripts/tools install tool
    mv "$tools.new" "$tools"
  ) 9>"$cache/lock"
}
