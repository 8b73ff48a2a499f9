#!/usr/bin/env bash
# What servers.py runs: the suites, then the command.
#   run.sh TEST_PROGRAM TEST_DATA [CM3]
set -uo pipefail
program=$1 clip=$2/parity/clip cm3=${3:-} demo=$(realpath "$(dirname "$0")/../../models/toybox.cm3")
failed=0
"$program" || failed=1
[ -n "$cm3" ] || exit $failed
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect CODE WORDS COMMAND...: its exit code, and what its output (both streams) must hold; no password in any.
expect() {
    local code=$1 words=$2 status=0
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    if [ $status -ne "$code" ] || { [ -n "$words" ] && ! grep -qF -- "$words" "$work/out" "$work/err"; } ||
        grep -q wr0ng "$work/out" "$work/err"; then
        failed=1
        printf 'FAILED:'
        printf ' %q' "$@"
        printf '\n  exit code %d, expected %d with "%s"; it said:\n' $status "$code" "$words"
        sed 's/^/  /' "$work/out" "$work/err" | head -20
    fi
}

folder() { sed 's/^host=\([^ ]*\).*/\1/' <<<"$1"; }
first="postgresql://cm3@/postgres?host=$(folder "$CM3_PG_SHARD0")"
replica="postgresql://cm3@/postgres?host=$(folder "$CM3_PG_REPLICA0")"
second="postgres://cm3@/postgres?host=$(folder "$CM3_PG_SHARD1")"
bank="$first>$replica|$second#of_command"

for i in $(seq 30); do echo "{\"key\": \"k$i\", \"text\": \"number $i of thirty; 'DROP TABLE of_command\"}"; done >"$work/records.jsonl"
expect 1 "of_command" "$cm3" bank info "$bank"
expect 0 "" "$cm3" bank create "$bank" -m "$clip" --vectors f16
expect 0 "added 30 of 30" "$cm3" bank add "$bank" -m "$clip" "$work/records.jsonl"
expect 0 "added 0 of 30" "$cm3" bank add "$bank" -m "$clip" "$work/records.jsonl"
expect 0 "records    30" "$cm3" bank info "$bank"
expect 0 "2, with an index" "$cm3" bank info "$bank"
expect 0 '"vectors": "f16"' "$cm3" bank info "$bank" --json
expect 0 "k7: number 7 of thirty" "$cm3" bank search "$bank" -m "$clip" -k 1 \
    -p "number 7 of thirty; 'DROP TABLE of_command"
# Where a shard is down, each search of a call says so, whatever it is for.
warned() { # TIMES COMMAND...
    local times=$1 got
    shift
    expect 0 "warning: partial results, of 1 of 2 shards: shard 1" "$@"
    got=$(grep -c "warning: partial results" "$work/err")
    [ "$got" -eq "$times" ] || { failed=1 && echo "FAILED: $* warned $got times, expected $times"; }
}
drawn="$first|$second#of_drawn"
expect 0 "" "$cm3" bank create "$drawn" -m "$demo"
expect 0 "added 30 of 30" "$cm3" bank add "$drawn" -m "$demo" "$work/records.jsonl"
printf '"number 1"\n"number 2"\n"number 3"\n' >"$work/three.jsonl"
expect 0 "" "$cm3" generate -m "$demo" -p "a red circle" --seed 1 -o "$work/circle.png"
eval "$CM3_PG_CONTROL" stop shard1
warned 1 "$cm3" bank search "$bank" -m "$clip" -p "number"
warned 3 "$cm3" bank search "$bank" -m "$clip" --batch "$work/three.jsonl"
warned 3 "$cm3" generate -m "$demo" --bank "$drawn" --retrieve 1 --batch "$work/three.jsonl" --out-dir "$work/made" --seed 1
warned 1 "$cm3" generate -m "$demo" --bank "$drawn" --show-retrieved -p "number" -o "$work/made.jpg"
warned 1 "$cm3" caption -m "$demo" "$work/circle.png" --bank "$drawn"
eval "$CM3_PG_CONTROL" start shard1
expect 1 "no such option" "$cm3" bank add "$bank" -m "$clip" "$work/records.jsonl" --near 0.9
expect 2 "f32 or f16" "$cm3" bank create "$bank" -m "$clip" --vectors int8
expect 2 "this is for files" "$cm3" bank compact "$bank"
expect 1 "shard 0 of 2" "$cm3" bank info "$first#of_command"
expect 1 "letters" "$cm3" bank info "$first#of command"
expect 1 "authentication failed" "$cm3" bank info "postgresql://checked:wr0ng@/postgres?host=$(folder "$CM3_PG_SHARD0")"
expect 1 "cannot be read" "$cm3" bank info "postgresql://checked:x/wr0ng@/postgres"
for shard in "$CM3_PG_SHARD0" "$CM3_PG_SHARD1"; do
    "$cm3" bank create "postgresql://cm3@/postgres?host=$(folder "$shard")#of_other" --dimension 32 2>/dev/null
done
expect 1 "32 numbers" "$cm3" bank search "$first#of_other" -m "$clip" -p x
exit $failed
