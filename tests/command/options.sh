#!/usr/bin/env bash
# An option that a part of a command has no use for is refused, and the part that has is named.
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
"$cm3" bank create made.bank --dimension 4 --vectors f32
[ -s made.bank ]

case "$train" in OFF | 0 | '') exit 0 ;; esac
refused 'cm3 train vq: --masking is not for this, but for: lm sft' train vq --data x.tar --run r --masking none
refused '--mixture is not for' train lm --data x.tar --run r --mixture '{}'
refused '--l1 is not for' train encoder --data x.tar --run r --l1 1
refused '--steps is not for' train bpe --data x.tar -o t.json --steps 5
refused '--output is not for' train encode --data x.tar --vq v.cm3 --out-dir d -o x
