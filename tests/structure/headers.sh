#!/usr/bin/env bash
# Each public header compiles alone, as strict C99 and as C++.
#   headers.sh SOURCE_DIR CC CXX
set -euo pipefail
root=$1 cc=$2 cxx=$3
failed=0
for header in "$root"/include/cm3leon/*.h; do
    name=cm3leon/$(basename "$header")
    # Twice, so that the guard is tried as well.
    source=$(printf '#include "%s"\n#include "%s"\n' "$name" "$name")
    "$cc" -x c -std=c99 -pedantic -Wall -Wextra -Wstrict-prototypes -Werror -fsyntax-only -I"$root/include" - <<<"$source" ||
        { echo "$name: not C99 by itself"; failed=1; }
    "$cxx" -x c++ -std=c++11 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$root/include" - <<<"$source" ||
        { echo "$name: not C++11 by itself"; failed=1; }
    # pgvector.h belongs to a library of its own.
    grep -qF "#include \"$name\"" "$root/include/cm3leon/cm3leon.h" || [ "$name" = cm3leon/cm3leon.h ] ||
        [ "$name" = cm3leon/pgvector.h ] ||
        { echo "$name: not included by cm3leon.h"; failed=1; }
done
exit $failed
