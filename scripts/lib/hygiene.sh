# Checks of the tracked files that no linter makes.
# shellcheck shell=bash

# hygiene: prints every complaint and fails if there is one.
hygiene() {
  local complaints=0
  complain_matches "addresses or paths of this machine" "$(machine_pattern)" .
  complain_matches "addresses of a registry in a lock file (npm wrote them without the .npmrc of the root)" \
    '"resolved": *"https?:' '*package-lock.json'
  complain_matches "tests that skip themselves, or others" \
    '\b[tbf]\.(Skip|Skipf|SkipNow)\(|\b(it|test|describe|suite)\.(skip|only|todo)\b|\bx(it|describe)\(' '*.go' '*.ts' '*.mjs' '*.js'
  complain_matches "left open" '\b(TODO|FIXME|XXX|HACK)\b' '*.go' '*.ts' '*.mjs' 'scripts/*' ':!scripts/lib/hygiene.sh'
  complain_lines "longer than 400 lines" 400 '*.go' ':!*_test.go'
  complain_lines "longer than 300 lines" 300 'extension/**/*.ts' ':!extension/test'
  complain_lines "longer than 120 lines" 120 README.md
  complain "links that lead nowhere:" "$(git ls-files '*.md' | xargs -r awk -f scripts/lib/links.awk)"
  complain "the two extensions have different versions:" \
    "$(sed -nE 's/^  "version": .*/&/p' package.json extension/remote/package.json | sort | uniq -u)"
  complain "not executable:" "$(git ls-files -s scripts .ci test | awk '$1 == "100644" { print $4 }' | xargs -r grep -l '^#!')"
  complain "syntax errors:" "$(git ls-files scripts .ci | xargs -r grep -lE '^#!.*bash|shell=bash' | xargs -r -n 1 bash -n 2>&1)"
  return "$((complaints > 0))"
}

# machine_pattern: a pattern for the hosts of the package registries in use and
# for the path of this tree.
machine_pattern() {
  {
    {
      go env GOPROXY | tr ',|' '\n\n'
      npm config get registry 2>/dev/null
    } | sed -nE 's#^https?://([^/@]*@)?([^/:]+).*#\2#p'
    # A short path such as /src is too likely to mean something else.
    [[ $PWD == /*/* ]] && echo "$PWD"
  } | sort -u | sed 's/[][().*+?^${}|\\]/\\&/g' | paste -sd'|' -
}

# complain TITLE LINES: complains unless LINES is empty.
complain() {
  [ -z "$2" ] && return
  complaints=$((complaints + 1))
  printf '%s\n' "$1"
  head -n 20 <<<"$2" | sed 's/^/    /'
}

# complain_matches TITLE PATTERN PATHSPEC...
complain_matches() {
  local title=$1 pattern=$2
  shift 2
  [ -n "$pattern" ] || return 0
  complain "$title:" "$(git grep -nIE "$pattern" -- "$@" | cut -c1-200)"
}

# complain_lines TITLE MAX PATHSPEC...
complain_lines() {
  local title=$1 max=$2
  shift 2
  complain "$title:" "$(git ls-files -z "$@" | xargs -0 -r wc -l | awk -v max="$max" '$1 > max && $2 != "total"')"
}
