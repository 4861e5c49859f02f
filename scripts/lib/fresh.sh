# Makes a fresh machine: a minimal Debian in a folder, with Go, Node, a copy of
# this tree and nothing else. Sourced after install.sh from the root of the tree.
# shellcheck shell=bash

# fresh_root: makes the folder, sets fresh to it, and removes it when this shell
# ends. It first removes the folders of shells that were killed.
fresh_root() {
  need_programs fresh || return
  local old
  for old in /var/tmp/causeway-fresh-*; do
    [ -d "$old" ] || continue
    # A shell that is still running holds the lock of its folder.
    (flock -n 9 && rm -rf --one-file-system "$old") 9<"$old" || true
  done
  # Another shell must not see the folder before it is locked.
  fresh=$(mktemp -d /var/tmp/.causeway-XXXXXX)
  exec 8<"$fresh"
  flock 8
  mv "$fresh" "/var/tmp/causeway-fresh-${fresh##*-}"
  fresh=/var/tmp/causeway-fresh-${fresh##*-}
  trap 'rm -rf --one-file-system "$fresh"' EXIT
  chmod 755 "$fresh"
  # The folder gets the proxies and the Debian mirrors of this machine, but no
  # other sources.
  bootstrap "$fresh" || return
  debian_sources | sed 's/^/deb /' >"$fresh/etc/apt/sources.list"
  apt-config dump Acquire | grep -E '^Acquire::(https?::|Retries|[a-z]+::Timeout)' >"$fresh/etc/apt/apt.conf.d/90machine" || true
  cp -L /etc/resolv.conf /etc/hosts "$fresh/etc/"
  # A proxy of this machine may sign for the registries. apt, npm and Go must trust
  # it, also after the package ca-certificates has rewritten the bundle.
  if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    mkdir -p "$fresh/etc/ssl/certs" "$fresh/usr/local/share/ca-certificates"
    cp -L /etc/ssl/certs/ca-certificates.crt "$fresh/etc/ssl/certs/"
    cp -L /etc/ssl/certs/ca-certificates.crt "$fresh/usr/local/share/ca-certificates/machine.crt"
  fi
  fresh_node
  git clone -q --no-hardlinks . "$fresh/causeway"
  # Changes that are not committed count too.
  # shellcheck disable=SC2016 # expanded by the inner shell
  git ls-files -z --cached --others --exclude-standard |
    xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh |
    xargs -0 cp -a --parents -t "$fresh/causeway"
}

# bootstrap DIR OPTION...: debootstrap with the release, the mirror and the proxy of
# this machine's apt.
bootstrap() {
  local dir=$1 codename mirror
  shift
  [ -n "$(debian_sources)" ] || apt-get update -q
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mirror=$(debian_sources | awk -v release="$codename" '$2 == release && $3 == "main" { print $1; exit }')
  [ -n "$mirror" ] || { echo "no mirror for $codename among the sources of apt" >&2; return 1; }
  http_proxy=${http_proxy-$(apt-config shell proxy Acquire::http::Proxy | sed -n "s/^proxy='\(.*\)'$/\1/p")} \
    debootstrap --variant=minbase "$@" "$codename" "$dir" "$mirror"
}

# debian_sources: prints "URI RELEASE COMPONENT" for each Debian source of apt.
debian_sources() {
  # shellcheck disable=SC2016 # expanded by apt-get
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' | sort -u
}

# fresh_node: copies the Node and the npm of this machine.
fresh_node() {
  local node npm to=$fresh/usr/local
  node=$(readlink -f "$(command -v node)")
  npm=$(readlink -f "$(command -v npm)")
  npm=${npm%/bin/npm-cli.js}
  mkdir -p "$to/bin" "$to/lib/node_modules" "$to/include"
  cp "$node" "$to/bin/node"
  [ ! -d "${node%/bin/node}/include/node" ] || cp -r "${node%/bin/node}/include/node" "$to/include/"
  cp -r "$npm" "$to/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$to/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$to/bin/npx"
}

# in_fresh SCRIPT: runs it with bash there, at the root of the tree. All processes
# and mounts are in namespaces that end with it, however it ends. It shares this
# machine's downloads of Go and npm, and its cache if fresh_cache is set.
in_fresh() {
  local modules npm_cache
  modules=$(go env GOMODCACHE)/cache/download
  npm_cache=$(npm config get cache)
  mkdir -p "$modules" "$npm_cache"
  local environment=(HOME=/root USER=root LOGNAME=root LANG=C.UTF-8
    PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    GOPROXY="file:///var/lib/downloads/go,$(go env GOPROXY)" GOSUMDB="$(go env GOSUMDB)" GONOSUMDB="$(go env GONOSUMDB)"
    npm_config_registry="$(npm config get registry)")
  [ ! -e /etc/ssl/certs/ca-certificates.crt ] || environment+=(NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt)
  local name
  for name in http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY CI; do
    [ -z "${!name-}" ] || environment+=("$name=${!name}")
  done
  # shellcheck disable=SC2016 # expanded by the inner shell
  unshare --mount --pid --fork --kill-child --propagation=private bash -euc '
    root=$1 go=$2 modules=$3 npm=$4 cache=$5
    shift 5
    # "ip netns" needs a root that is a mount point.
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    share() { # WHAT WHERE MODE
      mkdir -p "$root$2"
      mount --bind "$1" "$root$2"
      [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
    }
    share "$go" /usr/local/go ro
    share "$modules" /var/lib/downloads/go ro
    share "$npm" /var/lib/downloads/npm rw
    [ -z "$cache" ] || share "$cache" /var/cache/causeway ro
    # For root alone: the other users of the tests have npm caches of their own.
    echo "cache=/var/lib/downloads/npm" >"$root/root/.npmrc"
    # In a chroot the kernel makes no user namespaces, and /proc shows the files of
    # other mount namespaces with the path of the folder before them.
    cd "$root"
    mkdir -p .before
    pivot_root . .before
    umount -l .before
    exec env -i "$@"
  ' bash "$fresh" "$(go env GOROOT)" "$modules" "$npm_cache" "${fresh_cache-}" \
    "${environment[@]}" bash -euo pipefail -c "cd /causeway; $1"
}
