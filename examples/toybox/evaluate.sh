#!/usr/bin/env bash
# Measures a model on held-out scenes: has it draw and answer, and lets toybox-evaluate judge.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CM3_BUILD_DIR:-$root/build}
kinds="placed related counted compositional"
quizzes="caption ask edit segment layout outline boxes infill infill-text"

usage() {
    cat <<EOF
Usage: examples/toybox/evaluate.sh MODEL [COUNT] [--task TASK]... [OPTION OF cm3]...

COUNT requests (300) of each task on held-out scenes; a line of figures for each. Without --task: all but curves.

  drawing from sentences   $kinds
  other tasks              $quizzes
  curves                   guidance (five scales), contrast (ways of decoding by candidates), with COUNT placed prompts

What follows the tasks goes to cm3: --seed 2 --guidance 2. Requests, answers, failures and contact sheets stay in
\$CM3_EVALUATION_DIR (a new folder in /tmp).
EOF
}

case ${1-} in
-h | --help) usage; exit 0 ;;
"" | -*) usage >&2; exit 2 ;;
esac
model=$1 count=300 tasks="" extra=()
shift
if [[ ${1-} =~ ^[1-9][0-9]*$ ]]; then
    count=$1
    shift
fi
while [ $# -gt 0 ]; do
    if [ "$1" = --task ]; then
        [[ " $kinds $quizzes guidance contrast " == *" ${2-} "* ]] || { usage >&2; exit 2; }
        tasks="$tasks $2"
        shift 2
    else
        extra+=("$1")
        shift
    fi
done
out=${CM3_EVALUATION_DIR:-$(mktemp -d)}
cm3=$build/cm3 judge=$build/toybox-evaluate
mkdir -p "$out"

prompts() { # NAME KIND [--compositional]
    local name=$1 kind=$2
    shift 2
    "$judge" prompts --kind "$kind" --count "$count" --seed 77 "$@" >"$out/$name.jsonl"
}

draw() { # PROMPTS NAME OPTION...
    local list=$1 name=$2
    shift 2
    "$cm3" generate -m "$model" --batch "$out/$list.jsonl" --out-dir "$out/$name" --seed 1 -q "$@" "${extra[@]}"
}

measure() { # NAME KIND [--compositional]
    local name=$1
    prompts "$@"
    draw "$name" "$name"
    echo "-- $name --"
    "$judge" score "$out/$name.jsonl" "$out/$name" --failures "$out/$name-failures.txt"
    head -48 "$out/$name.jsonl" >"$out/$name-first.jsonl"
    "$judge" sheet "$out/$name-first.jsonl" "$out/$name" "$out/$name.png" --columns 8
}

quiz() { # TASK
    local task=$1 dir=$out/$1 command=$1
    "$judge" quiz --task "$task" --count "$count" --seed 77 "$dir"
    case $task in
    layout | outline | boxes) command=generate ;;
    esac
    case $task in
    caption | ask | infill-text)
        "$cm3" "$command" -m "$model" --batch "$dir/requests.jsonl" --seed 1 -q "${extra[@]}" >"$dir/made.jsonl"
        "$judge" mark "$dir/requests.jsonl" "$dir/made.jsonl" --failures "$dir/failures.jsonl"
        ;;
    *)
        "$cm3" "$command" -m "$model" --batch "$dir/requests.jsonl" --out-dir "$dir/made" --seed 1 -q "${extra[@]}"
        "$judge" mark "$dir/requests.jsonl" "$dir/made" --failures "$dir/failures.jsonl" --sheet "$dir/sheet.png"
        ;;
    esac
}

share() { # PROMPTS NAME: how many scenes are entirely right
    "$judge" score "$out/$1.jsonl" "$out/$2" --json | sed -n 's/.*"scene": \([0-9.]*\).*/\1/p'
}

guidance() {
    local scale
    prompts curve placed
    echo "-- whole scenes right by guidance scale, $count prompts --"
    for scale in 1 1.25 1.5 2 3; do
        draw curve "guidance-$scale" --guidance "$scale"
        echo "$scale $(share curve "guidance-$scale")"
    done
}

# Half of the candidates the usual way, half by CD-K, the likeliest of all kept: CM3Leon's figure 4 with what we can judge.
contrast() {
    local n
    prompts candidates placed
    echo "-- whole scenes right by candidates: top-p, CD-K, half of each; the likeliest kept; $count prompts --"
    for n in 1 2 4 8; do
        draw candidates "top-p-$n" -n "$n" --best 1 --temperature 1
        draw candidates "cd-k-$n" -n "$n" --best 1 --temperature 1 --contrast 0.5 --contrast-k 3
        if [ "$n" -eq 1 ]; then # there is no half of one
            echo "1 $(share candidates top-p-1) $(share candidates cd-k-1) -"
            continue
        fi
        draw candidates "half-$n" -n "$n" --best 1 --temperature 1 --contrast 0.5 --contrast-k 3 --contrast-last $((n / 2))
        echo "$n $(share candidates "top-p-$n") $(share candidates "cd-k-$n") $(share candidates "half-$n")"
    done
}

for task in ${tasks:-$kinds $quizzes}; do
    case $task in
    placed | related | counted) measure "$task" "$task" ;;
    compositional) measure compositional placed --compositional ;;
    guidance | contrast) "$task" ;;
    *) quiz "$task" ;;
    esac
done
echo "requests, answers, failures and contact sheets: $out"
