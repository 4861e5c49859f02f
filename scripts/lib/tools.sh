# Builds the linters from scripts/tools/go.mod, which keeps them out of go.mod.
# Sourced after install.sh.
# shellcheck shell=bash

# need_tools: sets tools to the directory of the linters, and builds them if they
# are missing, which takes minutes.
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
