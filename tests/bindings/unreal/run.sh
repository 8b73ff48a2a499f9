#!/usr/bin/env bash
# The Unreal plugin: made as its README says; its native part compiled without exceptions and RTTI, by g++ and by clang++
# where that is installed, and run against the library; its component over a stub of the engine.
#   run.sh SOURCE_DIR LIBRARY CM3
set -euo pipefail
root=$1 library=$2 cm3=$3
here=$root/tests/bindings/unreal model=$root/models/toybox.cm3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

plugin=$("$root/bindings/unreal/make-plugin" "$library" "$work")
module=$plugin/Source/Cm3leon
python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$plugin/Cm3leon.uplugin"
shipped=$plugin/Source/ThirdParty/Cm3leonLibrary/lib/Linux/x86_64/libcm3leon.so
flags=(-std=c++17 -O0 -fno-exceptions -fno-rtti -Wall -Wextra -Wshadow -Werror -I"$module/Public"
       -I"$plugin/Source/ThirdParty/Cm3leonLibrary/include" -I"$here")
native=("$module/Private/Cm3leonLibrary.cpp" "$module/Private/Cm3leonSession.cpp")
engine=("$module/Private/Cm3leonModule.cpp" "$module/Private/Cm3leonComponent.cpp")

"$cm3" generate -q -m "$model" -p "a red circle at the top left" --seed 7 --threads 1 -o "$work/expected.png" >/dev/null
cd "$work"
compilers=(g++)
for name in clang++-14 clang++; do
    if command -v "$name" >/dev/null; then compilers+=("$name"); break; fi
done
for cxx in "${compilers[@]}"; do
    "$cxx" "${flags[@]}" "$here/native.cpp" "${native[@]}" -o native -pthread -ldl
    # The engine's own style shadows members by parameters here and there: the stub is no matter of ours.
    "$cxx" "${flags[@]}" -Wno-shadow -isystem "$here/stub" "$here/component.cpp" "${native[@]}" "${engine[@]}" -o component \
        -pthread -ldl
    echo "compiled by $cxx"
done
./native "$shipped" "$model" expected.png
CM3LEON_PLUGIN=$plugin ./component "$model"
