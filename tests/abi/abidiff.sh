#!/usr/bin/env bash
# The built library against the recorded baseline, by libabigail: symbols with their versions, functions, types.
#   abidiff.sh SOURCE_DIR LIBRARY NAME
set -euo pipefail
root=$1 library=$2 name=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v abidiff >/dev/null || { echo "abidiff is missing (abigail-tools)"; exit 1; }
"$root/scripts/abi-baseline" --print "$library" >"$work/now.abi"
grep -q "<function-decl name='cm3_" "$work/now.abi" || { echo "$library: there is no debug information of its functions"; exit 1; }
if abidiff "$root/tests/abi/$name.abi" "$work/now.abi" >"$work/report"; then
    echo "$name: as recorded"
else
    cat "$work/report"
    echo "$name differs from tests/abi/$name.abi: see docs/abi.md, then run scripts/abi-baseline"
    exit 1
fi
