#!/usr/bin/env bash
# Declared in the public headers = listed in the version script = exported by the shared library; and all global
# symbols of the static one begin with cm3_. Of the library itself, or of libcm3leon_pgvector, which has a header of its own.
#   exports.sh SOURCE_DIR SHARED STATIC WITH_TRAIN [pgvector]
set -euo pipefail
export LC_ALL=C
root=$1 shared=$2 static=$3 train=$4 part=${5:-}
script=$root/lib/cm3leon.map
mapfile -t headers < <(find "$root/include/cm3leon" -name '*.h' ! -name pgvector.h)
if [ "$part" = pgvector ]; then
    script=$root/lib/pgvector/cm3leon_pgvector.map
    headers=("$root/include/cm3leon/pgvector.h")
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# Comments are left out; a declaration may run over several lines.
cat "${headers[@]}" | tr '\n' ' ' | sed 's@/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/@@g' |
    grep -oE 'CM3_API [^;(]*\bcm3_[a-z0-9_]+ *\(' | grep -oE 'cm3_[a-z0-9_]+ *\($' | tr -d ' (' | sort >"$work/declared"
sed -n '/global:/,/local:/p' "$script" | grep -oE '^ *cm3_[a-z0-9_]+;' | tr -d ' ;' >"$work/listed"
nm -D --defined-only "$shared" | awk '$2 != "A" {sub(/@.*/, "", $3); print $3}' | sort >"$work/exported"

[ -s "$work/declared" ] || { echo "no declaration was found"; exit 1; }
sort -c "$work/listed" || { echo "the version script is not sorted"; failed=1; }
[ -z "$(uniq -d "$work/declared")" ] || { echo "declared twice: $(uniq -d "$work/declared")"; failed=1; }
diff -u "$work/declared" "$work/listed" || { echo "the headers and the version script differ"; failed=1; }
case "$train" in
OFF | 0 | FALSE | NO | '') grep -vE '^cm3_train' "$work/listed" >"$work/expected" || true ;;
*) cp "$work/listed" "$work/expected" ;;
esac
diff -u "$work/expected" "$work/exported" || { echo "the version script and the exports differ"; failed=1; }

# Weak symbols of the compiler's own are none of ours.
nm -A --defined-only --extern-only "$static" 2>/dev/null |
    awk '{name = $NF; if (name !~ /^cm3_/ && name !~ /^(__|DW\.ref)/) print}' >"$work/foreign"
if [ -s "$work/foreign" ]; then
    echo "global symbols without the prefix cm3_:"
    cat "$work/foreign"
    failed=1
fi
exit $failed
