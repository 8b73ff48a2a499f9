#!/usr/bin/env bash
# The program of the first release of this API: compiled against that release's headers, linked with a stub that has
# that release's symbols and nothing of the library, run with the library that was built now.
#   old_program.sh SOURCE_DIR LIBRARY CC [MODEL]
set -euo pipefail
export LC_ALL=C
root=$1 library=$2 cc=$3 model=${4:-}
major=$(sed -n 's/^#define CM3_API_VERSION_MAJOR //p' "$root/include/cm3leon/base.h")
first=$root/tests/abi/$major.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The stub: each function under its version, and a SONAME.
{
    echo "CM3LEON_$major.0 { global:"
    sed -n 's/^function \(cm3_[a-z0-9_]*\) .*/\1;/p' "$first/layout.txt" | grep -v '^cm3_pgvector'
    echo "local: *; };"
} >"$work/stub.map"
sed -n 's/^function \(cm3_[a-z0-9_]*\) .*/void \1(void) {}/p' "$first/layout.txt" >"$work/stub.c"
mkdir "$work/stub" "$work/now"
"$cc" -shared -fPIC -w -o "$work/stub/libcm3leon.so" "$work/stub.c" -Wl,-soname,"libcm3leon.so.$major" \
    -Wl,--version-script="$work/stub.map"
"$cc" -std=gnu11 -Wall -Wextra -Werror -I"$first/include" "$first/program.c" -o "$work/program" -L"$work/stub" -lcm3leon

soname=$(objdump -p "$library" | awk '$1 == "SONAME" {print $2}')
[ "$soname" = "libcm3leon.so.$major" ] || { echo "$library: SONAME is $soname"; exit 1; }
ln -s "$library" "$work/now/$soname"
# All symbols with their versions, so that one that is gone is found whether it is called or not.
symbols() { nm -D --defined-only "$1" | awk '$2 == "T" {sub("@@", "@", $3); print $3}' | sort; }
missing=$(comm -23 <(symbols "$work/stub/libcm3leon.so") <(symbols "$library"))
# A library without training lacks its functions, as it may.
if ! symbols "$library" | grep -q '^cm3_train'; then missing=$(grep -v '^cm3_train' <<<"$missing" || true); fi
[ -z "$missing" ] || { echo "symbols of the first release that are gone: $missing"; exit 1; }
if [ -z "$model" ] || [ ! -f "$model" ]; then
    echo "there is no model: symbols were compared, the program was compiled and not run"
    exit 0
fi
LD_BIND_NOW=1 LD_LIBRARY_PATH=$work/now "$work/program" "$model"
echo "the program of API $major.0 runs"
