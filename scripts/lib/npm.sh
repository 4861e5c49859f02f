# Installs the npm packages of the lock files.
# shellcheck shell=bash

# need_npm DIR: installs the packages of DIR's lock file unless they are installed.
need_npm() {
  need_node
  local wanted
  wanted=$(cat "$1/package-lock.json" <(node --version) | sha256sum)
  [ "$(cat "$1/node_modules/.causeway-lock" 2>/dev/null)" = "$wanted" ] && return
  npm --prefix "$1" ci --no-audit --no-fund
  echo "$wanted" >"$1/node_modules/.causeway-lock"
}
