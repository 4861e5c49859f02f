# VS Code's names of targets, and the Go toolchain's names of the same.
# shellcheck shell=bash disable=SC2034 # used by those that source it

# The targets that have a helper. The alpine targets use the linux helpers, which
# are static. The target web has no helper.
helper_targets="linux-x64 linux-arm64 linux-armhf darwin-x64 darwin-arm64 win32-x64 win32-arm64"
ui_targets="$helper_targets web"
remote_targets="linux-x64 linux-arm64 linux-armhf alpine-x64 alpine-arm64 universal"

# go_env TARGET: prints its GOOS, GOARCH and GOARM as assignments on one line.
go_env() {
  case $1 in
    linux-x64 | alpine-x64) echo GOOS=linux GOARCH=amd64 ;;
    linux-arm64 | alpine-arm64) echo GOOS=linux GOARCH=arm64 ;;
    linux-armhf) echo GOOS=linux GOARCH=arm GOARM=7 ;;
    darwin-x64) echo GOOS=darwin GOARCH=amd64 ;;
    darwin-arm64) echo GOOS=darwin GOARCH=arm64 ;;
    win32-x64) echo GOOS=windows GOARCH=amd64 ;;
    win32-arm64) echo GOOS=windows GOARCH=arm64 ;;
    *) echo "no such target: $1" >&2; return 1 ;;
  esac
}

# helper_of TARGET: prints the file that scripts/build writes its helper to.
helper_of() {
  local target=${1/alpine/linux}
  case $target in
    win32-*) echo "dist/bin/$target/causeway.exe" ;;
    *) echo "dist/bin/$target/causeway" ;;
  esac
}

# host_target: prints the target of this machine.
host_target() {
  case $(go env GOHOSTOS)/$(go env GOHOSTARCH) in
    linux/amd64) echo linux-x64 ;;
    linux/arm64) echo linux-arm64 ;;
    linux/arm) echo linux-armhf ;;
    darwin/amd64) echo darwin-x64 ;;
    darwin/arm64) echo darwin-arm64 ;;
    windows/amd64) echo win32-x64 ;;
    windows/arm64) echo win32-arm64 ;;
    *) echo "this machine is none of: $helper_targets" >&2; return 1 ;;
  esac
}

# version: prints the version, which the extensions and the helper share.
version() { sed -nE 's/^  "version": "([^"]+)",?$/\1/p' package.json; }
