# The stages of scripts/test: stage_NAME each, run with bash -euo pipefail from the root.
# shellcheck shell=bash
# Logs are read as plain text.
export NO_COLOR=1
. scripts/lib/install.sh
. scripts/lib/npm.sh
. scripts/lib/tools.sh
. scripts/lib/targets.sh
. scripts/lib/hygiene.sh
. scripts/lib/fresh.sh

# limit_of STAGE: seconds until it is ended.
limit_of() {
  case $1 in
    lab) echo 1800 ;;
    install | fresh_install | lint_go | unit_go | browser) echo 1200 ;;
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
}

stage_hygiene() { hygiene; }

# go.mod and go.sum say what the code needs, no more and no less.
stage_modules() { go mod tidy -diff; }

stage_gofmt() {
  local files
  files=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
  [ -z "$files" ] || { echo "not formatted by gofmt:"; echo "$files"; return 1; }
}

# What the three systems compile differs, so each is checked; the lab is Linux's.
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

# The bugs that staticcheck finds in what golangci-lint, run for Linux, has not
# seen. What is unused here may be used there, so that is not asked.
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
  # What a carrier goes through is drawn at random: many more than the race detector has time for.
  go test -timeout 8m ./helper/internal/carrier -run '^TestAnySchedule$' -schedules 10000
}

# Every Fuzz function of the tree, CAUSEWAY_FUZZ_TIME each (default 5s), two at a time.
stage_fuzz() {
  fuzz_targets | xargs -r -P 2 -L 1 scripts/lib/fuzz "${CAUSEWAY_FUZZ_TIME:-5s}"
}

# fuzz_targets: "package function" a line.
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
  go test -count=1 -p 1 -timeout 28m ./test/...
}

stage_browser() {
  need_e2e
  need_npm .
  node --test --test-concurrency=1 test/e2e/browser/*.test.mjs
}

# The demo as root, and in a copy of its own as a user who is not.
stage_demo() {
  scripts/demo --check
  local dir user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  dir=$(mktemp -d /tmp/causeway-try-XXXXXX)
  # shellcheck disable=SC2064 # the folder of now
  trap "chmod -R u+w '$dir' && rm -rf '$dir'" EXIT
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$dir"
  mkdir "$dir/.home"
  chown -R nobody:nogroup "$dir"
  (cd "$dir" && env HOME="$dir/.home" GOPATH="$dir/.home/go" GOPROXY="$(go env GOPROXY)" GOSUMDB="$(go env GOSUMDB)" \
    npm_config_registry="$(npm config get registry)" "${user[@]}" scripts/demo --check)
}

# The install steps on a fresh machine bring every program of scripts/programs.txt.
# What they would build in minutes comes from this machine, whose install step
# has built it.
stage_fresh_install() {
  need_tools
  need_e2e
  fresh_root
  # shellcheck disable=SC2154 # cache is install.sh's
  fresh_cache=$cache in_fresh '. scripts/lib/stages.sh; stage_install; need_programs native rivals fresh; have_programs'
}

# Both commands of the README on a fresh machine, from nothing to their end.
stage_fresh() {
  fresh_root
  in_fresh 'scripts/demo --check; scripts/test'
}

stage_soak() {
  need_e2e
  need_clients
  go test -count=1 -timeout 30m ./helper/internal/carrier -run '^TestAnySchedule$' -schedules 300000
  CAUSEWAY_FUZZ_TIME=1m stage_fuzz
  CAUSEWAY_SOAK=1 go test -count=1 -p 1 -timeout 100m ./test/...
  CAUSEWAY_SOAK=1 node --test --test-concurrency=1 test/e2e/browser/*.test.mjs
}

# Not part of the default run: it needs https://vuln.go.dev.
stage_vuln() {
  need_tools
  "$tools/govulncheck" ./...
}
