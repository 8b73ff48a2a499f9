#!/usr/bin/env bash
# Builds llama.cpp from its source package on PyPI (llama-cpp-python), and times one shape with it and with cm3-bench,
# in turns in one run. Random weights of the same shape on both sides; llama.cpp's are made in its own format, with its
# own blocks, and the part of its Chameleon that overwrites the logits of image tokens is taken out: as published it
# aborts on prompts of several parts.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
version=0.3.36
work=${CM3_LLAMA_DIR:-${TMPDIR:-/tmp}/cm3-llama-cpp}
build=${CM3_BUILD_DIR:-$root/build-bench}
shape=chameleon-7b weights=q4 depths=0,1024,2048 sequences=1,2 rows=512 rounds=2 threads=$(nproc) out=""

usage() {
    cat <<'END'
Usage: bench/peers/llama_cpp.sh [--shape NAME] [--weights bf16|q8|q4] [--depth N,...] [--sequences N,...] [--rows N]
                                [--rounds N] [--threads N] [--out FILE.jsonl] [--build-only]

Shapes: chameleon-7b, and the decoders a (24 layers of 1024) and b (16 of 2048), which cm3-bench knows as peer-a and peer-b.
Needs python3 with pip and numpy, cmake, a C++ compiler, and cm3-bench in $CM3_BUILD_DIR (build-bench). Builds and models are
kept in $CM3_LLAMA_DIR.
END
}

build_only=""
while [ $# -gt 0 ]; do
    case $1 in
    --shape) shape=$2; shift 2 ;;
    --weights) weights=$2; shift 2 ;;
    --depth) depths=$2; shift 2 ;;
    --sequences) sequences=$2; shift 2 ;;
    --rows) rows=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --out) out=$(realpath "$2"); shift 2 ;;
    --build-only) build_only=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done

source_dir=$work/llama_cpp_python-$version/vendor/llama.cpp
get() {
    mkdir -p "$work"
    if [ ! -d "$source_dir" ]; then
        python3 -m pip download -q --no-deps --no-binary :all: --no-build-isolation "llama-cpp-python==$version" -d "$work"
        tar -xf "$work/llama_cpp_python-$version.tar.gz" -C "$work"
    fi
    # From the head's product to the graph's output nothing is done.
    sed -i '/TODO: this suppresses the output of image tokens/,/cur = ggml_set_1d/d' "$source_dir/src/models/chameleon.cpp"
    cmake -S "$source_dir" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
        -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF \
        -DLLAMA_BUILD_UI=OFF >"$work/configure.log"
    cmake --build "$work/build" --target llama-bench llama-batched-bench -j "$(nproc)" >"$work/build.log"
}

[ -x "$work/build/bin/llama-batched-bench" ] || get
[ -z "$build_only" ] || exit 0

case $shape in a) ours=peer-a ;; b) ours=peer-b ;; *) ours=$shape ;; esac
model=$work/$shape-$weights.gguf
[ -f "$model" ] || PYTHONPATH=$source_dir/gguf-py python3 "$here/llama_cpp_model.py" "$shape" "$weights" "$model"

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
theirs() { # DEPTH
    "$work/build/bin/llama-bench" -m "$model" -t "$threads" -p "$rows" -n 24 -d "$1" -r 1 -fa auto -o jsonl 2>/dev/null |
        sed 's/^/llama-bench /' >>"$lines"
    [[ ,$sequences, == *,2,* ]] || return 0
    "$work/build/bin/llama-batched-bench" -m "$model" -t "$threads" -c $((2 * ($1 + 64))) -npp "$(($1 ? $1 : 1))" \
        -ntg 24 -npl 2 -fa auto --output-format jsonl 2>/dev/null | grep '^{' | sed "s/^/batched-bench $1 /" >>"$lines" || true
}
mine() { # DEPTH
    "$build/cm3-bench" lm --shape "$ours" --weights "$weights" --depth "$1" --sequences "$sequences" --rows "$rows" \
        --threads "$threads" --load map,huge --rounds 1 --seconds 2 --json | sed 's/^/cm3 /' >>"$lines"
}
# The machine's bandwidth may change from minute to minute: the two take turns at each depth.
for ((round = 0; round < rounds; round++)); do
    for depth in ${depths//,/ }; do
        echo "round $((round + 1)) of $rounds, depth $depth" >&2
        mine "$depth"
        theirs "$depth"
    done
done
python3 "$here/llama_cpp_table.py" "$lines" ${out:+"$out"}
