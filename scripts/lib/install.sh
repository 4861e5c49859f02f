# Installs the programs that a fresh machine lacks; quick if nothing is missing.
# Sourced from the root of the tree.
# shellcheck shell=bash

# The cache is outside the tree, so that all checkouts share it. Root's cache is
# not in root's home, since the lab also runs the editor as other users.
if [ "$(id -u)" = 0 ]; then
  cache=/var/cache/causeway
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/causeway
fi

# as_root COMMAND...: runs it as root; prints why and fails if that takes a password.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    echo "this takes root: $*" >&2
    return 1
  fi
}

# need_apt PACKAGE...: installs the Debian packages that are missing, and starts
# no server of them.
need_apt() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || { echo "install these by hand: ${missing[*]}" >&2; return 1; }
  local policy=/usr/sbin/policy-rc.d ours='' status=0
  if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" || return
  fi
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "${missing[@]}")
  # Package lists may be missing or too old.
  as_root "${install[@]}" || { as_root apt-get update -q && as_root "${install[@]}"; } || status=$?
  [ -z "$ours" ] || as_root rm -f "$policy"
  return "$status"
}

# packages_of GROUP...: the Debian packages that scripts/programs.txt has for them.
packages_of() {
  local group
  for group in "$@"; do
    awk -v group="$group" '
      !/^#/ && "," $3 "," ~ "," group "," && sub(/^apt:/, "", $2) { print $2 }' scripts/programs.txt
  done | sort -u
}

# need_programs GROUP...: installs what scripts/programs.txt has for these groups.
need_programs() {
  local packages
  mapfile -t packages < <(packages_of "$@")
  [ "${#packages[@]}" -gt 0 ] || { echo "scripts/programs.txt has no group $*" >&2; return 1; }
  need_apt "${packages[@]}"
}

# have_programs: fails for each program of scripts/programs.txt that is not
# installed. The tree builds its own programs, and npm installs into the tree.
have_programs() {
  local program source path missing=()
  need_tools
  # Debian keeps PostgreSQL's servers off the PATH.
  # shellcheck disable=SC2154 # need_tools sets tools
  path=$PATH:/usr/sbin:/sbin:$cache/chrony/usr/sbin:$tools:$(printf '%s:' /usr/lib/postgresql/*/bin)
  while read -r program source _; do
    case $program/$source in
      '#'* | -/* | */tree | */npm | */macos | /) ;;
      *) PATH=$path command -v "$program" >/dev/null || missing+=("$program ($source)") ;;
    esac
  done <scripts/programs.txt
  [ "${#missing[@]}" -eq 0 ] || { printf 'not installed: %s\n' "${missing[@]}" >&2; return 1; }
}

# need_node: puts Node 24 on PATH. code-server requires that version, and compiles
# its native modules with the headers of it.
need_node() {
  local node
  node=$(command -v node) && node=$(readlink -f "$node") &&
    [[ $(node --version) == v24.* && -e ${node%/bin/node}/include/node/node.h ]] && return
  command -v npm >/dev/null || { echo "install Node.js with npm first, any version" >&2; return 1; }
  local system arch name
  system=$(uname -s | tr '[:upper:]' '[:lower:]')
  case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) echo "install Node 24 first: there is no package of it for $(uname -m)" >&2; return 1 ;;
  esac
  name=node-$system-$arch
  node=$cache/node-24/node_modules/$name/bin
  if [ ! -x "$node/node" ]; then
    mkdir -p "$cache"
    (
      flock 9
      [ -x "$node/node" ] && exit
      rm -rf "$cache/node-24.new" && mkdir "$cache/node-24.new"
      # The npm package "node" is only an install script that fetches this one.
      npm --prefix "$cache/node-24.new" install --no-audit --no-fund "$name@24" >&2
      rm -rf "$cache/node-24" && mv "$cache/node-24.new" "$cache/node-24"
    ) 9>"$cache/lock" || return
  fi
  PATH=$node:$PATH
}

# need_chronyd: puts Debian's chronyd into the cache. Installing the package would
# replace the program that keeps this machine's time.
need_chronyd() {
  command -v chronyd >/dev/null || [ -x "$cache/chrony/usr/sbin/chronyd" ] && return
  local libraries
  mapfile -t libraries < <(apt-cache depends --important chrony | sed -n 's/^  Depends: \(lib.*\)$/\1/p')
  need_apt "${libraries[@]}" || return
  mkdir -p "$cache"
  (
    flock 9
    [ -x "$cache/chrony/usr/sbin/chronyd" ] && exit
    rm -rf "$cache/chrony.new" && mkdir "$cache/chrony.new" && cd "$cache/chrony.new" || exit
    apt-get download -q chrony || { apt-get update -q && apt-get download -q chrony; } || exit
    dpkg-deb -x chrony_*.deb . && rm chrony_*.deb && mv "$cache/chrony.new" "$cache/chrony"
  ) 9>"$cache/lock" >&2
}

# need_lab: the programs that test/lab runs, except those from npm.
need_lab() {
  need_programs lab || return
  [ "$(id -u)" != 0 ] || need_chronyd
}

# need_clients: the clients, proxies and tracers of test/e2e.
need_clients() { need_programs clients; }

# need_e2e: the lab, a browser, and the npm packages of test/e2e: the editor, the
# registry and the browser's driver. The first time takes minutes, since the
# editor compiles native modules.
need_e2e() {
  need_lab || return
  need_programs browser || return
  need_node || return
  local key dir
  key=$(cat test/e2e/package.json test/e2e/package-lock.json <(node --version; uname -sm) | sha256sum | cut -c1-16)
  dir=$cache/e2e-$key
  if [ ! -d "$dir" ]; then
    need_programs native || return
    (
      flock 9
      [ -d "$dir" ] && exit
      rm -rf "$dir.new" && mkdir "$dir.new"
      cp test/e2e/package.json test/e2e/package-lock.json test/e2e/.npmrc "$dir.new"
      # Without nodedir node-gyp downloads the headers.
      node=$(readlink -f "$(command -v node)")
      npm_config_nodedir=${node%/bin/node} npm --prefix "$dir.new" ci --no-audit --no-fund --foreground-scripts >"$dir.log" 2>&1 ||
        { tail -n 50 "$dir.log"; exit 1; } >&2
      rm "$dir.log"
      mv "$dir.new" "$dir"
    ) 9>"$cache/lock" || return
  fi
  [ "$(readlink test/e2e/node_modules)" = "$dir/node_modules" ] && return
  rm -rf test/e2e/node_modules
  ln -s "$dir/node_modules" test/e2e/node_modules
}
