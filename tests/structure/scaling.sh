#!/usr/bin/env bash
# The tables of docs/scaling.md are those that bench/scaling/model.py makes, of the presets as the library has them.
#   scaling.sh SOURCE_DIR
set -euo pipefail
tables=$(python3 "$1/bench/scaling/model.py")
[ "$(grep -c '^|' <<<"$tables")" -ge 20 ] || { echo "model.py makes no tables"; exit 1; }
failed=0
while IFS= read -r line; do
    grep -qxF -- "$line" "$1/docs/scaling.md" || { echo "docs/scaling.md lacks: $line"; failed=1; }
done < <(grep '^|' <<<"$tables")
exit $failed
