#!/usr/bin/env bash
# Measures a model on held-out scenes: has it draw and answer, and lets toybox-evaluate judge.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CM3_BUILD_DIR:-$root/build}
kinds="placed related counted compositional"
quizzes="caption ask edit segment layout outline boxes infill infill-text"
lookups="emblem emblem-seen emblem-new recall"

usage() {
    cat <<EOF
Usage: examples/toybox/evaluate.sh MODEL [COUNT] [--task TASK]... [--jpeg QUALITY] [OPTION OF cm3]...

COUNT requests (300) of each task on held-out scenes; a line of figures for each. Without --task: all but curves, and
what is looked up only where the model has an encoder.

  drawing from sentences   $kinds
  other tasks              $quizzes
  what is looked up        emblem (names that training never saw), emblem-seen, emblem-new (names on no list, in a bank made
                           for them), each with the bank and without; recall (pictures found by their captions)
  curves                   guidance (five scales; COUNT prompts of the three kinds together), contrast (ways of decoding by
                           candidates; COUNT placed prompts)

--jpeg: pictures that are given are JPEG of that quality, 1 to 100. What follows goes to cm3, which refuses what a task
has no use for: --seed 2, or --task edit --guidance 2. Requests, answers, failures and contact sheets stay in
\$CM3_EVALUATION_DIR (a new folder in /tmp). The bank is \$CM3_BANK, or else models/toybox.bank.
EOF
}

case ${1-} in
-h | --help) usage; exit 0 ;;
"" | -*) usage >&2; exit 2 ;;
esac
model=$1 count=300 tasks="" extra=() jpeg=()
shift
if [[ ${1-} =~ ^[1-9][0-9]*$ ]]; then
    count=$1
    shift
fi
while [ $# -gt 0 ]; do
    if [ "$1" = --task ]; then
        [[ " $kinds $quizzes $lookups guidance contrast " == *" ${2-} "* ]] || { usage >&2; exit 2; }
        tasks="$tasks $2"
        shift 2
    elif [ "$1" = --jpeg ]; then
        [[ ${2-} =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }
        jpeg=(--jpeg "$2")
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
    "$judge" quiz --task "$task" --count "$count" --seed 77 "${jpeg[@]}" "$dir"
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

make_bank() { # BANK RECORDS
    rm -f "$1"
    "$cm3" bank create "$1" -m "$model"
    "$cm3" bank add "$1" -m "$model" "$2" -q
}

# Emblems by their names: with what is looked up, and from what the model remembers.
emblems() { # TASK
    local task=$1 dir=$out/$1 bank=${CM3_BANK:-$root/models/toybox.bank} way options
    "$judge" quiz --task "$task" --count "$count" --seed 77 "${jpeg[@]}" "$dir"
    if [ "$task" = emblem-new ]; then
        bank=$dir/new.bank
        make_bank "$bank" "$dir/records.jsonl"
    fi
    for way in with without; do
        options=()
        [ "$way" = without ] || options=(--bank "$bank" --retrieve 2)
        "$cm3" generate -m "$model" --batch "$dir/requests.jsonl" --out-dir "$dir/$way" --seed 1 -q "${options[@]}" "${extra[@]}"
        echo "-- $way the bank --"
        "$judge" mark "$dir/requests.jsonl" "$dir/$way" --failures "$dir/$way-failures.jsonl" --sheet "$dir/$way.png"
    done
}

recall() {
    local dir=$out/recall
    "$judge" quiz --task recall --count "$count" --seed 77 "${jpeg[@]}" "$dir"
    make_bank "$dir/scenes.bank" "$dir/records.jsonl"
    "$cm3" bank search "$dir/scenes.bank" -m "$model" --batch "$dir/requests.jsonl" -k 1 --json -q >"$dir/made.jsonl"
    "$judge" mark "$dir/requests.jsonl" "$dir/made.jsonl" --failures "$dir/failures.jsonl"
}

share() { # PROMPTS NAME: how many scenes are entirely right, of all; and of each kind where there are several
    "$judge" score "$out/$1.jsonl" "$out/$2" --json | python3 -c '
import json, sys
kinds = json.load(sys.stdin)
pictures = sum(kind["pictures"] for kind in kinds.values())
print("%.4f" % (sum(kind["scene"] * kind["pictures"] for kind in kinds.values()) / pictures),
      *("%.3f" % kind["scene"] for kind in kinds.values() if len(kinds) > 1))'
}

guidance() {
    local scale kind first=$(((count + 2) / 3)) second=$(((count + 1) / 3))
    for kind in placed:$first related:$second counted:$((count - first - second)); do
        "$judge" prompts --kind "${kind%:*}" --count "${kind#*:}" --seed 77
    done >"$out/curve.jsonl"
    echo "-- whole scenes right by guidance scale, $count prompts: all; placed, related, counted --"
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

if [ -z "$tasks" ]; then
    tasks="$kinds $quizzes"
    if "$cm3" info "$model" | grep -q '^parts.*encoder'; then tasks="$tasks $lookups"; fi
fi
for task in $tasks; do
    case $task in
    emblem*) emblems "$task" ;;
    recall) recall ;;
    placed | related | counted) measure "$task" "$task" ;;
    compositional) measure compositional placed --compositional ;;
    guidance | contrast) "$task" ;;
    *) quiz "$task" ;;
    esac
done
echo "requests, answers, failures and contact sheets: $out"
