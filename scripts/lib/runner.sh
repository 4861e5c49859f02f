# Runs stages one after the other, each with a log and a time limit, and prints a
# summary at the end.
# shellcheck shell=bash

logs=out/test
running=

interrupted() {
  trap '' INT TERM
  [ -n "$running" ] && kill "$running" 2>/dev/null && wait "$running"
  echo
  echo "scripts/test: interrupted"
  exit 130
}

# run_stage NAME: succeeds if the stage does. Each stage is a shell of its own, so
# that -e works in it and timeout can end all processes that it started.
run_stage() {
  local limit
  limit=$(bash -c '. scripts/lib/stages.sh; limit_of "$1"' _ "$1")
  timeout -k 20 "$limit" bash -euo pipefail -c '. scripts/lib/stages.sh; "stage_$1"' _ "$1" >"$logs/$1.log" 2>&1 </dev/null &
  running=$!
  wait "$running"
  local status=$?
  running=
  [ "$status" = 124 ] && echo "took longer than $limit s" >>"$logs/$1.log"
  return "$status"
}

# digest NAME: prints in a few lines what failed in a stage.
digest() {
  local log=$logs/$1.log
  if grep -q 'failing tests:$' "$log"; then
    sed '1,/failing tests:$/d' "$log" | grep -v '^ *at ' | head -n 30
  else
    grep -A 8 -E '^ *--- FAIL|^panic:|DATA RACE|Error:' "$log" | head -n 30
  fi | cut -c 1-600 | sed 's/^/    /'
}

# run_stages NAME...: runs all of them, exits with 1 if one failed.
run_stages() {
  mkdir -p "$logs"
  trap interrupted INT TERM
  local name start failed=() summary='' word notes
  for name in "$@"; do
    printf '%-10s ' "$name"
    start=$SECONDS
    if run_stage "$name"; then word=ok; else word=FAILED failed+=("$name"); fi
    printf '%s  %d s\n' "$word" $((SECONDS - start))
    summary+=$(printf '  %-10s %-6s %5d s' "$name" "$word" $((SECONDS - start)))$'\n'
    notes=$(sed -n 's/^note: /    /p' "$logs/$name.log")
    [ -z "$notes" ] || summary+=$notes$'\n'
    if [ "$word" = FAILED ]; then
      tail -n 150 "$logs/$name.log" | sed 's/^/    /'
      echo "    (all of it: $logs/$name.log)"
      # No later stage could work.
      [ "$name" = install ] && break
    fi
  done
  printf '\n%s\n' "$summary"
  if [ "${#failed[@]}" -gt 0 ]; then
    for name in "${failed[@]}"; do echo "$name:"; digest "$name"; done
    echo "FAILED after $SECONDS s: ${failed[*]}"
    exit 1
  fi
  echo "All passed in $SECONDS s."
}
