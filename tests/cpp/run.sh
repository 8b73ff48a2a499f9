#!/usr/bin/env bash
# The C++ header under each compiler that is here, without exceptions and run-time types, and with; then run.
#   run.sh SOURCE_DIR LIBRARY_DIR WITH_TRAIN CXX...
set -euo pipefail
root=$1 library=$2 train=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-std=c++17 -O1 -Wall -Wextra -Wpedantic -Wshadow -Werror -I"$root/include")
case "$train" in OFF | 0 | '') ;; *) flags+=(-DCM3_WITH_TRAIN) ;; esac
tried=0
for cxx in "$@"; do
    command -v "$cxx" >/dev/null || { echo "$cxx is not here"; continue; }
    kinds=("-fno-exceptions -fno-rtti")
    if [ "$tried" -eq 0 ]; then kinds+=("-DCM3_CPP_EXCEPTIONS"); fi # the first compiler's alone: it takes its time
    for kind in "${kinds[@]}"; do
        read -ra more <<<"$kind"
        echo "--- $cxx $kind"
        "$cxx" "${flags[@]}" "${more[@]}" "$root/tests/cpp/main.cpp" -o "$work/test" -L"$library" -lcm3leon -pthread \
            -Wl,-rpath,"$library"
        rm -rf "$work/files"
        mkdir "$work/files"
        "$work/test" "$root/models/toybox.cm3" "$root/tests/data/parity/clip" "$work/files"
        tried=$((tried + 1))
    done
    # The newer standards, and the header by itself, twice.
    for standard in "c++17 -DCM3_CPP_EXCEPTIONS" c++20; do
        read -ra more <<<"$standard"
        "$cxx" -x c++ "-std=${more[0]}" "${more[@]:1}" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$root/include" - \
            <<<$'#include <cm3leon/cm3leon.hpp>\n#include <cm3leon/cm3leon.hpp>'
    done
done
[ "$tried" -gt 0 ] || { echo "there is no C++ compiler"; exit 77; }
