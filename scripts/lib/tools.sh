# The linters, built from scripts/tools/go.mod, so that go.mod stays free of them.
# shellcheck shell=bash

# Keyed by everything that decides what the build yields.
tools=$PWD/.cache/tools/$(cat scripts/tools/go.mod scripts/tools/go.sum <(go env GOVERSION) | sha256sum | cut -c1-16)

# need_tools: builds the linters unless they are there already. From nothing it takes minutes.
need_tools() {
  [ -e "$tools/.complete" ] && return
  rm -rf .cache/tools
  GOFLAGS=-mod=readonly GOBIN=$tools go -C scripts/tools install tool
  touch "$tools/.complete"
}
