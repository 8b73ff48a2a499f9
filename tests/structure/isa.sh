#!/usr/bin/env bash
# Code for newer processors is only in the files that are named for it, and chosen at run time; no file is compiled for
# the builder's own processor.
#   isa.sh BUILD_DIR
set -euo pipefail
commands=$1/compile_commands.json
count=$(grep -c '"command".*/lib/.*\.c' "$commands") || { echo "$commands names no file of the library"; exit 1; }
wrong=$(grep '"command"' "$commands" | grep -E -- '/lib/[^ ]*\.c' | grep -E -- ' -m(avx|fma|f16c|sse[34]|bmi|tune|arch|cpu)' |
        grep -vE -- '_avx2\.c|_avx512\.c|_avx512_bf16\.c|_amx\.c' || true)
wrong+=$(grep '"command"' "$commands" | grep -E -- ' -m(arch|tune|cpu)=native' || true)
if [ -n "$wrong" ]; then
    echo "compiled for more than every processor has:"
    echo "$wrong"
    exit 1
fi
echo "$count files of the library, instruction sets as their names say"
