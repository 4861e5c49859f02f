# Makes the image of the containers in test/containers, since nothing can be
# pulled. Sourced after install.sh and fresh.sh from the root of the tree.
# shellcheck shell=bash

# need_boxes: the container engines, and test/containers/debian.tar: a minimal
# Debian with the clients that the tests run, the user dev, who may use sudo, and
# the user plain, who may not.
need_boxes() {
  need_programs containers fresh || return
  local key image
  key=$(cat scripts/lib/boxes.sh <(. /etc/os-release && echo "$VERSION_CODENAME"; uname -m) | sha256sum | cut -c1-16)
  # shellcheck disable=SC2154 # cache is install.sh's
  image=$cache/box-$key.tar
  if [ ! -f "$image" ]; then
    mkdir -p "$cache"
    (
      flock 9
      [ -f "$image" ] && exit
      rm -f "$cache"/box-*.tar
      make_box "$image.new" && mv "$image.new" "$image"
    ) 9>"$cache/box.lock" || return
  fi
  ln -sfn "$image" test/containers/debian.tar
}

# make_box FILE
make_box() (
  root=$(mktemp -d /var/tmp/causeway-box-XXXXXX)
  trap 'rm -rf --one-file-system "$root"' EXIT
  chmod 755 "$root"
  bootstrap "$root" --include=ca-certificates,curl,netcat-openbsd,procps,python3-minimal,sudo >&2 || exit
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,info,locale,man}
  for user in dev:1000 plain:1001; do
    chroot "$root" useradd --uid "${user#*:}" --user-group --create-home --shell /bin/bash "${user%:*}" || exit
  done
  echo 'dev ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/dev"
  chmod 440 "$root/etc/sudoers.d/dev"
  # The commands that the tests also have in the image of busybox.
  printf '#!/bin/sh\nexec curl -sS -m 10 "$@"\n' >"$root/usr/local/bin/fetch"
  printf '#!/bin/sh\nexec getent ahosts "$1"\n' >"$root/usr/local/bin/lookup"
  chmod 755 "$root"/usr/local/bin/*
  tar -C "$root" --one-file-system -cf "$1" .
)
