#!/usr/bin/env bash
# Makes the demo model from nothing: renders the data, trains the tokenizers and the language model, measures the result.
# Every stage goes on from where it stopped: run the same command again after any kind of end.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${CM3_TOYBOX_WORK:-$here/work}
build=${CM3_BUILD_DIR:-$root/build}
scenes=160000          # records of text-to-image training, 6 captions each: placed, related and counted as 3 : 1 : 1,
related=45000          # and more of the two that are learned last
counted=20000
tasks=200000           # records of all other tasks
pictures=60000         # pictures for the image tokenizer
vq_steps=7500
lm_steps=13000
cm3_steps=4000         # on from there, with spans moved to the end
tune_steps=12000       # and from there, on tasks
mixture='{"generate": 3, "boxes": 1.5, "talk": 2, "caption": 0.5, "ask": 0.5, "edit": 2.5, "segment": 0.8, "layout": 0.5, "outline": 0.5, "infill-image": 1, "infill-text": 1}'
more_steps=18000       # and once more, with more of what was learned least
more_mixture='{"generate": 5, "boxes": 2, "talk": 1.5, "caption": 0.4, "ask": 0.4, "edit": 4, "segment": 1, "layout": 0.4, "outline": 0.4, "infill-image": 0.8, "infill-text": 0.8}'
heldout=1000
judged=300             # prompts of each kind
save_every=500
stop_at=               # --steps N: end the language model's stage after N steps, to compare its first losses
base=                  # --base FILE: a model that stands for the stages vq, bpe and lm
stages="data vq codes bpe lm cm3 tune more evaluate"

usage() {
    cat <<'EOF'
Usage: examples/toybox/train.sh [--base FILE] [--steps N] [--stage NAME]... [--install] [--quick]

Makes the demo model from nothing in examples/toybox/work (or $CM3_TOYBOX_WORK). About three and a half hours on two cores.

  --base FILE    go on from this model: its tokenizers and its weights stand for the stages vq, bpe and lm

  --steps N      end the language model's stage after N of its steps: its log's first losses are those of the shipped model's
  --stage NAME   only this stage: data, vq, codes, bpe, lm, cm3, tune, more, evaluate
  --install      copy the result to models/toybox.cm3
  --quick        everything in miniature, to see that it works: a minute, and a model that draws nothing
EOF
}

chosen="" install=""
while [ $# -gt 0 ]; do
    case $1 in
    --steps)
        [[ ${2-} =~ ^[1-9][0-9]*$ ]] || { echo "--steps wants a number" >&2; exit 2; }
        stop_at=$2
        shift 2
        ;;
    --stage)
        [[ -n ${2-} && " $stages " == *" $2 "* ]] || { echo "--stage is one of $stages" >&2; exit 2; }
        chosen="$chosen $2"
        shift 2
        ;;
    --base)
        [ -f "${2-}" ] || { echo "--base wants a file" >&2; exit 2; }
        base=$(realpath "$2")
        shift 2
        ;;
    --install) install=yes; shift ;;
    --quick)
        scenes=1000 related=200 counted=200 tasks=400 pictures=600 heldout=50 judged=4 vq_steps=30 lm_steps=40
        cm3_steps=10 tune_steps=20 more_steps=10 save_every=7
        work=${CM3_TOYBOX_WORK:-$here/work-quick}
        shift
        ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done
cm3=$build/cm3 render=$build/toybox-render evaluate=$build/toybox-evaluate
for program in "$cm3" "$render" "$evaluate"; do
    [ -x "$program" ] || { echo "$program is missing: build first (scripts/demo builds all of it)" >&2; exit 1; }
done
mkdir -p "$work"
cd "$work"

# A waiting thread that spins takes the other's core where two share a machine with anything else.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

stage_data() {
    [ ! -f done.data ] || return 0
    mkdir -p scenes
    "$render" vq --kind vq --count $pictures --seed 1 --split train
    "$render" vq-heldout --kind vq --count $heldout --seed 3 --split heldout
    "$render" scenes/mixed --kind mixed --count $scenes --seed 2 --split train --captions 6
    "$render" scenes/related --kind related --count $related --seed 5 --split train --captions 6
    "$render" scenes/counted --kind counted --count $counted --seed 6 --split train --captions 6
    "$render" scenes/tasks --kind tasks --count $tasks --seed 7 --split train --captions 6
    "$render" scenes-heldout --kind mixed --count $heldout --seed 4 --split heldout
    "$render" tasks-heldout --kind tasks --count $heldout --seed 8 --split heldout
    touch done.data
}

stage_vq() {
    if [ -n "$base" ]; then cp "$base" vq.cm3; fi
    [ ! -f vq.cm3 ] || return 0
    "$cm3" train vq --data 'vq/*.tar' --validation 'vq-heldout/*.tar' --run vq-run --config "$here/vq.json" \
        --steps $vq_steps --batch-size 16 --lr 0.0015 --warmup 300 --min-lr-ratio 0.02 --weight-decay 0 --save-every $save_every -o vq.cm3
}

stage_codes() {
    local kind
    mkdir -p codes
    for kind in mixed related counted tasks; do
        "$cm3" train encode --data "scenes/$kind/*.tar" --vq vq.cm3 --out-dir "codes/$kind"
    done
    "$cm3" train encode --data 'scenes-heldout/*.tar' --vq vq.cm3 --out-dir codes-heldout
    "$cm3" train encode --data 'tasks-heldout/*.tar' --vq vq.cm3 --out-dir codes-tasks-heldout
}

stage_bpe() {
    [ -z "$base" ] || return 0
    [ ! -f tokenizer.json ] || return 0
    "$cm3" train bpe --data 'scenes/mixed/shard-0000[0-3].tar' -o tokenizer.json --vocab-size 512 --image-codes 1024
}

train_lm() { # OUTPUT RUN STEPS LR WARMUP OPTION...
    local output=$1 run=$2 steps=$3 lr=$4 warmup=$5
    shift 5
    [ ! -f "$output" ] || return 0
    "$cm3" train lm --data 'codes/mixed/*.tar' 'codes/related/*.tar' 'codes/counted/*.tar' --validation 'codes-heldout/*.tar' --run "$run" --tokenizer tokenizer.json \
        --vq vq.cm3 --config "$here/lm.json" --steps "$steps" --batch-size 2 --block-size 2048 --lr "$lr" --warmup "$warmup" --beta2 0.99 \
        --min-lr-ratio 0.02 --weight-decay 0.1 --masking none --weight-average 0.998 --save-every $save_every "$@" -o "$output"
}

stage_lm() {
    if [ -n "$base" ]; then
        cp "$base" pairs.cm3
        return 0
    fi
    if [ -n "$stop_at" ]; then
        rm -f partial.cm3
        train_lm partial.cm3 lm-run $lm_steps 0.002 200 --stop-at "$stop_at"
        echo "the first losses are in $work/lm-run/log.jsonl; those of the shipped model in models/logs/lm.jsonl"
        exit 0
    fi
    train_lm pairs.cm3 lm-run $lm_steps 0.002 200
}

# With the CM3 objective, on all pictures there are.
stage_cm3() {
    [ ! -f cm3.cm3 ] || return 0
    "$cm3" train lm --init pairs.cm3 --data 'codes/*/*.tar' --validation 'codes-heldout/*.tar' --run cm3-run --masking code \
        --steps $cm3_steps --batch-size 2 --block-size 2048 --lr 0.0015 --warmup 200 --beta2 0.99 --min-lr-ratio 0.1 \
        --weight-decay 0.1 --weight-average 0.998 --save-every $save_every -o cm3.cm3
}

# On tasks; only what answers is learned: what a picture in the question looks like was learned before.
train_tasks() { # FROM OUTPUT RUN STEPS LR MIXTURE
    [ ! -f "$2" ] || return 0
    "$cm3" train sft --init "$1" --data 'codes/*/*.tar' --validation 'codes-tasks-heldout/*.tar' --run "$3" --mixture "$6" \
        --answers-only --text-weight 3 --masking none --steps "$4" --batch-size 2 --block-size 2048 --lr "$5" --warmup 200 --beta2 0.99 \
        --min-lr-ratio 0.02 --weight-decay 0.1 --weight-average 0.998 --save-every $save_every -o "$2"
}

stage_tune() { train_tasks cm3.cm3 tuned.cm3 tune-run $tune_steps 0.0015 "$mixture"; }

stage_more() { train_tasks tuned.cm3 toybox.cm3 more-run $more_steps 0.0012 "$more_mixture"; }

stage_evaluate() {
    [ -f toybox.cm3 ] || return 0
    CM3_BUILD_DIR=$build "$here/evaluate.sh" toybox.cm3 $judged
}

for stage in $stages; do
    [ -z "$chosen" ] || [[ " $chosen " == *" $stage "* ]] || continue
    echo "== $stage =="
    "stage_$stage"
done
[ -z "$install" ] || { cp toybox.cm3 "$root/models/toybox.cm3" && echo "models/toybox.cm3 is new"; }
