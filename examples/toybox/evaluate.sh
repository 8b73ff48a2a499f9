#!/usr/bin/env bash
# Measures a model on held-out prompts: draws a picture of each and lets toybox-evaluate judge them.
# Usage: examples/toybox/evaluate.sh MODEL [PROMPTS_OF_EACH_KIND] [OPTION OF cm3 generate]...
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CM3_BUILD_DIR:-$root/build}
model=${1:?"usage: evaluate.sh MODEL [COUNT] [OPTION]..."}
count=${2:-300}
shift $(($# < 2 ? $# : 2))
out=${CM3_EVALUATION_DIR:-$(mktemp -d)}
cm3=$build/cm3 judge=$build/toybox-evaluate
mkdir -p "$out"

measure() { # NAME KIND [--compositional]
    local name=$1 kind=$2
    shift 2
    "$judge" prompts --kind "$kind" --count "$count" --seed 77 "$@" >"$out/$name.jsonl"
    "$cm3" generate -m "$model" --prompts "$out/$name.jsonl" --out-dir "$out/$name" --seed 1 -q "${extra[@]}"
    echo "-- $name --"
    "$judge" score "$out/$name.jsonl" "$out/$name" --failures "$out/$name-failures.txt"
    head -48 "$out/$name.jsonl" >"$out/$name-first.jsonl"
    "$judge" sheet "$out/$name-first.jsonl" "$out/$name" "$out/$name.png" --columns 8
}
extra=("$@")
measure placed placed
measure related related
measure counted counted
measure compositional placed --compositional
echo "pictures, failures and contact sheets: $out"
