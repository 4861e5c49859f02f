# The stages of scripts/test: one function stage_NAME each, which runs with
# bash -euo pipefail at the root of the tree.
# shellcheck shell=bash
# Logs are plain text.
export NO_COLOR=1
. scripts/lib/install.sh
. scripts/lib/npm.sh
. scripts/lib/tools.sh
. scripts/lib/targets.sh
. scripts/lib/hygiene.sh
. scripts/lib/fresh.sh
. scripts/lib/boxes.sh

# limit_of STAGE: the seconds after which the runner ends it.
limit_of() {
  case $1 in
    lab) echo 1800 ;;
    install | fresh_install | lint_go | unit_go | containers | browser) echo 1200 ;;
    soak | fresh) echo 7200 ;;
    *) echo 600 ;;
  esac
}

stage_install() {
  need_programs checks package
  need_npm .
  go mod download
  need_tools
  need_e2e
  need_clients
  need_boxes
}

stage_hygiene() { hygiene; }

# go.mod and go.sum match the imports of the code exactly.
stage_modules() { go mod tidy -diff; }

stage_gofmt() {
  local files
  files=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
  [ -z "$files" ] || { echo "not formatted by gofmt:"; echo "$files"; return 1; }
}

# Each of the three systems compiles other files. The lab is for Linux only.
stage_vet() {
  local os
  go vet ./...
  for os in darwin windows; do
    echo "vet for $os"
    GOOS=$os CGO_ENABLED=0 go vet ./helper/... ./scripts/...
  done
}

stage_lint_go() {
  need_tools
  "$tools/golangci-lint" run --timeout 10m ./...
}

# golangci-lint sees only the files for Linux; staticcheck looks for bugs in the
# others. It does not look for unused code, which another system may use.
stage_lint_os() {
  need_tools
  local os
  for os in darwin windows; do
    echo "staticcheck for $os"
    GOOS=$os CGO_ENABLED=0 "$tools/staticcheck" -checks 'SA*' ./helper/... ./scripts/...
  done
}

stage_lint_sh() {
  need_programs checks
  git ls-files -z scripts .ci | xargs -0 grep -lZE '^#!.*bash|^# shellcheck shell=bash' |
    xargs -0 shellcheck --severity=warning --exclude=SC1091
}

stage_lint_ts() {
  need_npm .
  npm run --silent check
}

stage_unit_ts() {
  need_npm .
  npm run --silent test:unit
}

stage_unit_go() {
  go test -race -timeout 10m ./helper/... ./scripts/...
  # Random schedules, many more than the race detector has time for.
  go test -timeout 8m ./helper/internal/carrier -run '^TestAnySchedule$' -schedules 10000
}

# Runs each Fuzz function of the tree for CAUSEWAY_FUZZ_TIME (default 5s), two at a time.
stage_fuzz() {
  fuzz_targets | xargs -r -P 2 -L 1 scripts/lib/fuzz "${CAUSEWAY_FUZZ_TIME:-5s}"
}

# fuzz_targets: prints a line "PACKAGE FUNCTION" for each.
fuzz_targets() {
  go test -list '^Fuzz' ./helper/... | awk '
    /^Fuzz/ { names[++n] = $1 }
    /^ok/ { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }'
}

stage_cross() {
  local target
  for target in $helper_targets; do
    scripts/build helper "$target"
  done
}

stage_package() { scripts/package; }

stage_lab() {
  need_e2e
  need_clients
  local packages
  mapfile -t packages < <(go list ./test/... | grep -v '/test/containers$')
  go test -count=1 -p 1 -timeout 28m "${packages[@]}"
}

# Container engines, and the containers that people have.
stage_containers() {
  need_programs checks # go test links with a C compiler
  need_lab
  need_boxes
  go test -count=1 -timeout 9m ./test/containers
}

stage_browser() {
  need_e2e
  need_npm .
  local file failed=()
  for file in test/e2e/browser/*.test.mjs; do
    node --test "$file" || failed+=("$file")
  done
  # The editor and the browser are large programs of others, and some clicks get lost in
  # them. What Causeway does wrong fails both times, or in the lab, which has one go.
  [ "${#failed[@]}" -eq 0 ] || echo "note: second go of ${failed[*]}"
  for file in "${failed[@]}"; do
    node --test "$file"
  done
}

# The demo as root, and then as another user in a copy of the tree.
stage_demo() {
  scripts/demo --check
  local dir user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  dir=$(mktemp -d /tmp/causeway-try-XXXXXX)
  # shellcheck disable=SC2064 # expand dir now
  trap "chmod -R u+w '$dir' && rm -rf '$dir'" EXIT
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$dir"
  mkdir "$dir/.home"
  chown -R nobody:nogroup "$dir"
  (cd "$dir" && env HOME="$dir/.home" GOPATH="$dir/.home/go" GOPROXY="$(go env GOPROXY)" GOSUMDB="$(go env GOSUMDB)" \
    npm_config_registry="$(npm config get registry)" "${user[@]}" scripts/demo --check)
}

# Runs the install steps on a fresh machine, and checks that every program of
# scripts/programs.txt is there then. The fresh machine shares this machine's
# cache, since filling it takes minutes.
stage_fresh_install() {
  need_tools
  need_e2e
  need_boxes
  fresh_root
  # shellcheck disable=SC2154 # cache is install.sh's
  fresh_cache=$cache in_fresh '. scripts/lib/stages.sh; stage_install; need_programs native rivals fresh; have_programs'
}

# Runs both commands of the README on a fresh machine to their end.
stage_fresh() {
  fresh_root
  in_fresh 'scripts/demo --check; scripts/test'
}

stage_soak() {
  need_e2e
  need_clients
  need_boxes
  go test -count=1 -timeout 30m ./helper/internal/carrier -run '^TestAnySchedule$' -schedules 300000
  CAUSEWAY_FUZZ_TIME=1m stage_fuzz
  CAUSEWAY_SOAK=1 go test -count=1 -p 1 -timeout 100m ./test/...
  CAUSEWAY_SOAK=1 node --test --test-concurrency=1 test/e2e/browser/*.test.mjs
}

# Not part of the default run, since it needs https://vuln.go.dev.
stage_vuln() {
  need_tools
  "$tools/govulncheck" ./...
}
