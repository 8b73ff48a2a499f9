#!/usr/bin/env bash
# The C and C++ examples of README.md, compiled through pkg-config against an installed copy, shared and static, and
# run; and a CMake project that uses the package.
#   readme.sh SOURCE_DIR BUILD_DIR CC [CXX]
set -euo pipefail
root=$1 build=$2 cc=$3 cxx=${4-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" >"$work/install.log" 2>&1 || { cat "$work/install.log"; exit 1; }
pc=$(find "$work/prefix" -name cm3leon.pc)
[ -n "$pc" ] || { echo "no cm3leon.pc was installed"; exit 1; }
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir cm3leon)

first() { # LANGUAGE: the first block that is marked so
    sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" "$root/README.md" | sed '/^```$/q' | sed '/^```/d'
}
first c >"$work/example.c"
first cpp >"$work/example.cpp"
[ -s "$work/example.c" ] && [ -s "$work/example.cpp" ] || { echo "README.md has no C or no C++ example"; exit 1; }
read -ra flags <<<"$(pkg-config --cflags --libs cm3leon)"
"$cc" -std=c99 -pedantic -Wall -Wextra -Werror "$work/example.c" -o "$work/example" "${flags[@]}"

programs=(example example-static project/build/shared project/build/static)
if [[ -n $cxx && $cxx != *NOTFOUND ]]; then
    "$cxx" -std=c++17 -pedantic -Wall -Wextra -Werror "$work/example.cpp" -o "$work/example-cpp" "${flags[@]}"
    programs+=(example-cpp)
fi

# The static library: the archive itself, then what pkg-config spells out for it.
read -ra private <<<"$(pkg-config --static --libs cm3leon)"
static=()
for flag in "${private[@]}"; do
    case "$flag" in
    -lcm3leon) static+=("$libdir/libcm3leon.a") ;;
    *) static+=("$flag") ;;
    esac
done
read -ra cflags <<<"$(pkg-config --cflags cm3leon)"
"$cc" -std=c99 "${cflags[@]}" "$work/example.c" -o "$work/example-static" "${static[@]}"

mkdir "$work/project"
cat >"$work/project/CMakeLists.txt" <<'PROJECT'
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(cm3leon 0.1 REQUIRED COMPONENTS shared static)
add_executable(shared ../example.c)
target_link_libraries(shared PRIVATE cm3leon::cm3leon)
add_executable(static ../example.c)
target_link_libraries(static PRIVATE cm3leon::cm3leon_static)
PROJECT
if ! { cmake -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_C_COMPILER="$cc" &&
       cmake --build "$work/project/build"; } >"$work/project.log" 2>&1; then
    cat "$work/project.log"
    exit 1
fi

# libcm3leon_pgvector, where it was built: its header, both files, its component.
if pkg-config --exists cm3leon_pgvector; then
    cat >"$work/pgvector.c" <<'SOURCE'
#include <cm3leon/pgvector.h>
int main(void) {
    cm3_pgvector *store;
    return cm3_pgvector_open(0, &store) != CM3_ERROR_INVALID_ARGUMENT || !*cm3_pgvector_message();
}
SOURCE
    read -ra flags <<<"$(pkg-config --cflags --libs cm3leon_pgvector)"
    "$cc" -std=c99 -Wall -Werror "$work/pgvector.c" -o "$work/pgvector" "${flags[@]}"
    LD_LIBRARY_PATH=$libdir "$work/pgvector" || { echo "the library of cm3leon_pgvector.pc does not work"; exit 1; }
    mkdir "$work/component"
    cat >"$work/component/CMakeLists.txt" <<'PROJECT'
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(cm3leon 0.1 REQUIRED COMPONENTS pgvector pgvector_static)
foreach(name cm3leon_pgvector cm3leon_pgvector_static)
  add_executable(of_${name} ../pgvector.c)
  target_link_libraries(of_${name} PRIVATE cm3leon::${name})
endforeach()
PROJECT
    if ! { cmake -S "$work/component" -B "$work/component/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_C_COMPILER="$cc" &&
           cmake --build "$work/component/build" && "$work/component/build/of_cm3leon_pgvector_static" &&
           LD_LIBRARY_PATH=$libdir "$work/component/build/of_cm3leon_pgvector"; } >"$work/component.log" 2>&1; then
        cat "$work/component.log"
        exit 1
    fi
fi

model=$root/models/toybox.cm3
if [ ! -f "$model" ]; then
    # Still run, to see that it starts and says what is wrong.
    if (cd "$work" && LD_LIBRARY_PATH=$libdir ./example) >"$work/out" 2>&1; then
        echo "the example succeeded without a model"
        exit 1
    fi
    grep -q toybox.cm3 "$work/out" || { echo "the example does not name the missing model:"; cat "$work/out"; exit 1; }
    echo "models/toybox.cm3 is not there: the example was built, but draws nothing"
    exit 0
fi
mkdir "$work/models"
ln -s "$model" "$work/models/toybox.cm3"
for program in "${programs[@]}"; do
    (cd "$work" && LD_LIBRARY_PATH=$libdir "./$program") || { echo "$program failed"; exit 1; }
    picture=$(find "$work" -maxdepth 1 -name '*.jpg')
    [ -n "$picture" ] || { echo "$program wrote no picture"; exit 1; }
    [ "$(od -An -tx1 -N3 "$picture" | tr -d ' ')" = ffd8ff ] || { echo "$program: $picture is no JPEG"; exit 1; }
    rm "$picture"
done
