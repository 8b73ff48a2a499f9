#!/usr/bin/env bash
# Everything public is documented, and no reference of the guides leads nowhere: Doxygen has nothing to say.
#   doxygen.sh SOURCE_DIR
set -euo pipefail
root=$1
command -v doxygen >/dev/null || { echo "doxygen is not here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
if ! { cat docs/Doxyfile && echo "OUTPUT_DIRECTORY = $work"; } | doxygen - >"$work/log" 2>&1 || [ -s "$work/log" ]; then
    cat "$work/log"
    exit 1
fi
for page in index bank_8h cm3leon_8hpp structcm3__generate__options; do
    [ -s "$work/html/$page.html" ] || { echo "there is no page $page"; exit 1; }
done
