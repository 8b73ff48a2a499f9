#!/usr/bin/env bash
# Runs an example's test in an empty folder that is gone afterwards, with what such tests need.
#   run_test.sh TEST.sh PROGRAM SOURCE_DIR BUILD_DIR
set -euo pipefail
test=$1 program=$2 root=$3 build=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
model=$root/models/toybox.cm3
here=$(dirname "$test")
cm3=$build/cm3

fail() { echo "$*"; exit 1; }
skip() { echo "skipped: $*"; exit 77; }
# Whether a file is a picture that can be read, by its first bytes.
is_picture() {
    case "$1" in
    *.jpg) [ "$(od -An -tx1 -N3 "$1" | tr -d ' ')" = ffd8ff ] ;;
    *) [ "$(od -An -tx1 -N4 "$1" | tr -d ' ')" = 89504e47 ] ;;
    esac || fail "$1 is no picture"
}
# One's own pictures with their captions, NAME.png and NAME.txt, in a folder.
own_pictures() {
    [ -x "$cm3" ] || skip "the command cm3 is not built"
    mkdir -p "$1"
    printf '"%s"\n' "a large red circle in the center on a sand background" \
        "a small blue star at the top left on a night background" \
        "a large green square in the center on a grass background" >"$1/prompts.jsonl"
    "$cm3" generate -q -m "$model" --batch "$1/prompts.jsonl" --out-dir "$1" --seed 1
    local i=0 line
    while read -r line; do
        line=${line#\"}
        echo "${line%\"}" >"$1/$(printf %04d $i).txt"
        i=$((i + 1))
    done <"$1/prompts.jsonl"
}
[ -f "$model" ] || skip "models/toybox.cm3 is not there"
. "$test"
