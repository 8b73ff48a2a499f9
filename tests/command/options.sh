#!/usr/bin/env bash
# An option that has no use in what is asked for is refused, and what it is for is named.
#   options.sh CM3 WITH_TRAIN
set -euo pipefail
cm3=$1 train=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

refused() { # WORDS-OF-THE-MESSAGE ARGUMENT...
    local words=$1 code=0
    shift
    "$cm3" "$@" >said 2>&1 || code=$?
    [ $code -eq 2 ] || { echo "cm3 $*: exit code $code"; cat said; exit 1; }
    grep -qF -e "$words" said || { echo "cm3 $*: no '$words' in"; cat said; exit 1; }
}
refused 'cm3 bank add: --way is not for this, but for: search' bank add a.bank -m none.cm3 r.jsonl --way exact
refused 'cm3 bank add: --way is not for' bank add a.bank -m none.cm3 r.jsonl --way=exact
refused '--ef is not for' bank index a.bank --ef 10
refused '--near is not for' bank search a.bank -m none.cm3 -p x --near 0.5
refused '--no-index is not for' bank merge a.bank b.bank --no-index
refused '-k is not for' bank info a.bank -k 3
refused '--output is not for' bank export a.bank -o x.jpg
refused '--model is not for' bank verify a.bank -m none.cm3
refused '-m or --dimension, one of them' bank create a.bank -m none.cm3 --dimension 4
refused '-m is for --pictures' bank export a.bank -m none.cm3
# What is used is not: these fail for the file that is not there. A value that looks like an option is none.
for arguments in 'index a.bank --m 8' 'info a.bank --json' 'compact a.bank --no-index' 'export a.bank --vectors v.npy'; do
    code=0
    read -ra words <<<"$arguments"
    "$cm3" bank "${words[@]}" >said 2>&1 || code=$?
    [ $code -eq 1 ] || { echo "cm3 bank $arguments: exit code $code"; cat said; exit 1; }
done
# Tasks.
for task in caption ask infill-text; do
    refused "cm3 $task: --guidance is not for this, but for: edit segment infill" $task -m none.cm3 a.png --guidance 3
    refused "cm3 $task: --image-guidance is not for" $task -m none.cm3 a.png --image-guidance=3
    refused "cm3 $task: --output is not for" $task -m none.cm3 a.png -o b.png
    refused "cm3 $task: --out-dir is not for" $task -m none.cm3 --batch none.jsonl --out-dir made
    refused "cm3 $task: --temperature is not for this, but for: sampling" $task -m none.cm3 a.png --beams 2 --temperature 1
done
for task in edit segment infill; do
    refused "cm3 $task: --beams is not for this, but for: caption ask infill-text" $task -m none.cm3 a.png -o b.png --beams 1
    refused "cm3 $task: --bank is not for this, but for: caption" $task -m none.cm3 a.png -o b.png --bank a.bank
    refused "cm3 $task: --out-dir is not for this, but for: --batch" $task -m none.cm3 a.png -o b.png --out-dir made
done
refused 'cm3 caption: --retrieve is not for this, but for: --bank' caption -m none.cm3 a.png --retrieve 3
refused 'cm3 caption: --show-retrieved is not for this, but for: --bank' caption -m none.cm3 a.png --show-retrieved
refused 'cm3 caption: --prompt is not for' caption -m none.cm3 a.png -p x
refused 'cm3 segment: --prompt is not for' segment -m none.cm3 a.png -p x -o b.png
refused '--box is not for this, but for: infill' edit -m none.cm3 a.png x -o b.png --box 0,0,1,1
refused '--batch wants --out-dir, not -o' edit -m none.cm3 --batch none.jsonl --out-dir made -o b.png

# What is drawn or written, and of what.
of() { # WHAT-IT-IS-FOR OPTION...: each, with its value, of `cm3 generate` with $call
    local for=$1 option
    shift
    for option in "$@"; do
        # shellcheck disable=SC2086
        refused "cm3 generate: ${option%% *} is not for this, but for: $for" generate -m none.cm3 $call $option
    done
}
call='-p x'
of --bank '--retrieve 3' --show-retrieved
of --best '--encoder none'
of --contrast '--contrast-k 3' '--contrast-last 1'
of --batch '--out-dir made' '--parallel 2'
of texts '--beams 1' '--min-tokens 3' '--stop 1 2'
of 'texts --ids' '--n-tokens 3'
of '--image --layout --bank' '--image-guidance 3'
call='-p x --modality text'
of pictures '--guidance 3' '--guidance-scale 3' '--image-guidance 3' '--contrast 0.5' '--preview d' '--sheet s.png' '--quality 5' '--output a.png'
call='-p x --modality text --beams 2'
of sampling '--temperature 1' --greedy '--top-p 0.5' '--top-k 5' '--repetition 2'
call='--batch none.jsonl --modality text'
of pictures '--out-dir made'
call='--ids none.json'
of '-p --batch' '--image a.png' '--count 1' '--best 1' '--bank a.bank' --timings '--sheet s.png' '--preview d' '--quality 5'
of -p '--layout a.png' '--output a.png'
of pictures '--guidance 3'
call='--batch none.jsonl --out-dir made'
of -p '--layout a.png'
[ ! -e made ] || { echo "a call that was refused made a directory"; exit 1; }
used() { # ARGUMENT...: not refused; it fails for a file that is not there
    local code=0
    "$cm3" "$@" >said 2>&1 || code=$?
    [ $code -eq 1 ] || { echo "cm3 $*: exit code $code"; cat said; exit 1; }
}
used generate -m none.cm3 -p x --image a.png --image-guidance 3 --guidance 2 --best 1 --encoder none --contrast 0.5 --contrast-k 3
used generate -m none.cm3 -p x --modality interleaved --image-guidance 3 --min-tokens 3 --sheet s.png --preview previews
used generate -m none.cm3 --ids none.json --modality image --n-tokens 4 --guidance 3 --image-guidance 2
used generate -m none.cm3 --batch none.jsonl --modality text --stop 1 2 --bank a.bank --retrieve 1 --show-retrieved --timings
used segment -m none.cm3 a.png -o b.png --guidance 2 --image-guidance 2
used caption -m none.cm3 a.png --bank a.bank --retrieve 1 --show-retrieved --beams 2
"$cm3" bank create made.bank --dimension 4 --vectors f32
[ -s made.bank ]

case "$train" in OFF | 0 | '') exit 0 ;; esac
refused 'cm3 train vq: --masking is not for this, but for: lm sft' train vq --data x.tar --run r --masking none
refused '--mixture is not for' train lm --data x.tar --run r --mixture '{}'
refused '--l1 is not for' train encoder --data x.tar --run r --l1 1
refused '--steps is not for' train bpe --data x.tar -o t.json --steps 5
refused '--output is not for' train encode --data x.tar --vq v.cm3 --out-dir d -o x
