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
more_steps=4500        # and once more, on fresh records, with more of what was learned least
fresh_scenes=30000 fresh_related=40000 fresh_counted=40000 fresh_tasks=150000
more_mixture='{"generate": 6, "boxes": 1.5, "talk": 0.8, "caption": 0.2, "ask": 0.2, "edit": 3.5, "segment": 1, "layout": 0.3, "outline": 0.3, "infill-image": 0.5, "infill-text": 0.5}'
lookups=30000          # emblems of names on no list, and the listed ones that training may see: to be looked up
encoder_steps=900      # the two-tower encoder
names=27000            # and more of such names, each beside those that are most like it
names_steps=500        # by which the encoder learns to tell them apart
found_steps=1300       # and to find them where they stand beside pictures
listed_steps=400       # and those of the list
look_steps=8000        # and on, behind what was looked up
look_mixture='{"generate": 10, "boxes": 1, "talk": 0.8, "caption": 0.3, "ask": 0.3, "edit": 2.5, "segment": 0.8, "layout": 0.3, "outline": 0.3, "infill-image": 0.5, "infill-text": 0.5}'
look_positions=640     # room for two documents before a picture
usual_records=12000 usual_lookups=2500 # in which codes are counted, so that usual ones win
shipped_scenes=3000    # of models/toybox.bank, beside all emblems
heldout=1000
judged=300             # prompts of each kind
save_every=500
stop_at=               # --steps N: end the language model's stage after N steps, to compare its first losses
base=                  # --base FILE: a model that stands for the stages vq, bpe and lm
stages="data vq codes bpe lm cm3 tune fresh more lookups encoder names bank neighbours look usual shipped evaluate"

usage() {
    cat <<'EOF'
Usage: examples/toybox/train.sh [--base FILE] [--steps N] [--stage NAME]... [--install] [--quick]

Makes the demo model from nothing in examples/toybox/work (or $CM3_TOYBOX_WORK). About six hours on two cores with AVX-512, without it three times as long.

  --base FILE    go on from this model: its tokenizers and its weights stand for the stages vq, bpe and lm

  --steps N      end the language model's stage after N of its steps: its log's first losses are those of the shipped model's
  --stage NAME   only this stage: data, vq, codes, bpe, lm, cm3, tune, fresh, more,
                 lookups, encoder, names, bank, neighbours, look, usual, shipped, evaluate
  --install      copy the results to models/toybox.cm3 and models/toybox.bank
  --quick        everything in miniature, to see that it works: some minutes, and a model that draws nothing
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
        cm3_steps=10 tune_steps=20 more_steps=10 save_every=7 fresh_scenes=200 fresh_related=100
        fresh_counted=100 fresh_tasks=400 lookups=300 encoder_steps=4 names=300 names_steps=4 found_steps=4 listed_steps=4 look_steps=10
        usual_records=100 usual_lookups=20 shipped_scenes=50
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
train_tasks() { # FROM OUTPUT RUN STEPS LR MIXTURE DATA
    [ ! -f "$2" ] || return 0
    "$cm3" train sft --init "$1" --data "$7" --validation 'codes-tasks-heldout/*.tar' --run "$3" --mixture "$6" \
        --answers-only --text-weight 3 --masking none --steps "$4" --batch-size 2 --block-size 2048 --lr "$5" --warmup 200 --beta2 0.99 \
        --min-lr-ratio 0.02 --weight-decay 0.1 --weight-average 0.998 --save-every $save_every -o "$2"
}

stage_tune() { train_tasks cm3.cm3 tuned.cm3 tune-run $tune_steps 0.0015 "$mixture" 'codes/*/*.tar'; }

# Records that no stage has seen, counted and related scenes as many as placed ones.
stage_fresh() {
    [ ! -f done.fresh ] || return 0
    mkdir -p fresh fresh-codes
    "$render" fresh/mixed --kind mixed --count $fresh_scenes --seed 12 --split train --captions 6
    "$render" fresh/related --kind related --count $fresh_related --seed 15 --split train --captions 6
    "$render" fresh/counted --kind counted --count $fresh_counted --seed 16 --split train --captions 6
    "$render" fresh/tasks --kind tasks --count $fresh_tasks --seed 17 --split train --captions 6
    local kind
    for kind in mixed related counted tasks; do
        "$cm3" train encode --data "fresh/$kind/*.tar" --vq vq.cm3 --out-dir "fresh-codes/$kind"
    done
    touch done.fresh
}

stage_more() { train_tasks tuned.cm3 more.cm3 more-run $more_steps 0.0012 "$more_mixture" 'fresh-codes/*/*.tar'; }

# What is looked up. The bank holds every emblem once more, in other words half of the time and drawn at another size.
stage_lookups() {
    [ ! -f done.lookups ] || return 0
    mkdir -p look look-again look-codes
    "$render" look/scenes --kind mixed --count $lookups --seed 22 --split train --captions 6
    "$render" look/lookup --kind lookup --count $lookups --seed 24 --split train
    "$render" look/emblem --kind emblem --seed 4 --split train --captions 2
    "$render" look-again/lookup --kind lookup --count $lookups --seed 24 --split train --reworded --side 120
    "$render" look-again/emblem --kind emblem --seed 4 --split train --captions 2 --reworded --side 120
    local kind
    for kind in scenes lookup emblem; do
        "$cm3" train encode --data "look/$kind/*.tar" --vq vq.cm3 --out-dir "look-codes/$kind"
    done
    touch done.lookups
}

# Pictures, texts, and what asks for them. A name that was never heard must be found by its letters.
stage_encoder() {
    [ ! -f encoder.cm3 ] || return 0
    "$cm3" train encoder --data 'fresh/mixed/*.tar' 'fresh/related/*.tar' 'look/*/*.tar' --validation 'scenes-heldout/*.tar' --run encoder-run \
        --config "$here/encoder.json" --tokenizer more.cm3 --steps $encoder_steps --batch-size 256 --chunk 256 --lr 0.0012 --warmup 100 \
        --min-lr-ratio 0.02 --weight-decay 0.1 --save-every $save_every -o encoder.cm3
}

# Names that are alike come into one batch; and then what is looked for is what a bank holds, text and picture in one vector.
stage_names() {
    local tune=(--validation 'scenes-heldout/*.tar' --batch-size 256 --chunk 256 --together 9 --min-lr-ratio 0.02 --weight-decay 0.1
                --save-every $save_every)
    mkdir -p families alike
    if [ ! -f done.names ]; then
        "$render" families/first --kind lookup --families --count $names --seed 25 --split train
        "$render" families/second --kind lookup --families --count $names --seed 26 --split train
        touch done.names
    fi
    [ -f told-apart.cm3 ] ||
        "$cm3" train encoder --init encoder.cm3 --data 'fresh/mixed/*.tar' 'families/first/*.tar' 'look/emblem/*.tar' --run names-run \
            --steps $names_steps --lr 0.0008 --warmup 50 --initial-scale 24 "${tune[@]}" -o told-apart.cm3
    if [ ! -f done.alike ]; then
        "$render" alike/emblem --kind emblem --seed 4 --split train --captions 2 --families
        touch done.alike
    fi
    [ -f found.cm3 ] ||
        "$cm3" train encoder --init told-apart.cm3 --data 'fresh/mixed/*.tar' 'fresh/related/*.tar' 'look/scenes/*.tar' 'families/*/*.tar' 'look/emblem/*.tar' \
            --run found-run --steps $found_steps --lr 0.0012 --warmup 30 --initial-scale 28 --query-documents --query-weight 1.5 \
            --weight-average 0.99 \
            "${tune[@]}" -o found.cm3
    # The list's names, those that end alike behind each other, as often as they are few.
    local listed=() i
    for i in {1..10}; do listed+=('alike/emblem/*.tar'); done
    [ -f listed.cm3 ] ||
        "$cm3" train encoder --init found.cm3 --data 'fresh/mixed/*.tar' 'families/first/*.tar' "${listed[@]}" --run listed-run \
            --steps $listed_steps --lr 0.0006 --warmup 20 --initial-scale 50 --query-documents --query-weight 1.5 --weight-average 0.99 \
            "${tune[@]}" --together 32 -o listed.cm3
}

with_encoder() { # MODEL OUTPUT
    [ -f "$2" ] || "$cm3" convert "$1" "$2" --encoder listed.cm3
}

stage_bank() {
    with_encoder more.cm3 look-init.cm3
    [ ! -f train.bank ] || return 0
    rm -f part.bank
    "$cm3" bank create part.bank -m look-init.cm3
    "$cm3" bank import part.bank -m look-init.cm3 look/scenes/*.tar look-again/*/*.tar
    mv part.bank train.bank
}

# A scene's neighbours are others like it; one of an emblem's is itself, for there is nothing else to be drawn from, and one
# another, from which it is to be told.
stage_neighbours() {
    mkdir -p near
    "$cm3" bank neighbours train.bank -m look-init.cm3 --out-dir near/scenes look-codes/scenes/*.tar
    local kind
    for kind in lookup emblem; do
        "$cm3" bank neighbours train.bank -m look-init.cm3 --out-dir "near/$kind" --by-text 2 --by-image 0 --most-score 2 \
            --query-dropout 0 --keep-own --own-first 0.9 look-codes/$kind/*.tar
    done
}

# Behind what was looked up, and without.
stage_look() {
    local config
    [ ! -f look.cm3 ] || return 0
    config=$(sed "s/\"max_positions\":[0-9]*/\"max_positions\":$look_positions/" "$here/lm.json")
    "$cm3" train sft --init look-init.cm3 --config "$config" --bank train.bank --data 'near/*/*.tar' 'near/lookup/*.tar' \
        'fresh-codes/*/*.tar' 'fresh-codes/counted/*.tar' --validation 'codes-tasks-heldout/*.tar' --run look-run --mixture "$look_mixture" \
        --answers-only --text-weight 3 --masking none --steps $look_steps --batch-size 2 --block-size 2048 --lr 0.0012 --warmup 200 \
        --beta2 0.99 --min-lr-ratio 0.02 --weight-decay 0.1 --weight-average 0.998 --save-every $save_every -o look.cm3
}

# What codes cost, so that pictures that were compressed or drawn are read as clean ones are.
stage_usual() {
    local kind count seed=41
    with_encoder look.cm3 plain.cm3
    [ ! -f toybox.cm3 ] || return 0
    mkdir -p usual usual-codes
    for kind in mixed tasks lookup; do
        count=$usual_records
        [ $kind != lookup ] || count=$usual_lookups
        "$render" "usual/$kind" --kind $kind --count $count --seed $seed
        "$cm3" train encode --data "usual/$kind/*.tar" --vq plain.cm3 --out-dir "usual-codes/$kind"
        seed=$((seed + 1))
    done
    "$cm3" train costs --data 'usual-codes/*/*.tar' --vq plain.cm3 --cost-weight 0.0006 -o toybox.cm3
}

# All emblems there are, and scenes.
stage_shipped() {
    [ ! -f toybox.bank ] || return 0
    rm -f part.bank
    mkdir -p shipped
    "$render" shipped/emblems --kind emblem --seed 4 --split any --captions 1
    "$render" shipped/scenes --kind mixed --count $shipped_scenes --seed 31 --split train --captions 1
    "$cm3" bank create part.bank -m toybox.cm3 --vectors int8
    "$cm3" bank import part.bank -m toybox.cm3 shipped/*/*.tar
    mv part.bank toybox.bank
}

stage_evaluate() {
    [ -f toybox.cm3 ] || return 0
    CM3_BUILD_DIR=$build CM3_BANK=toybox.bank "$here/evaluate.sh" toybox.cm3 $judged
}

for stage in $stages; do
    [ -z "$chosen" ] || [[ " $chosen " == *" $stage "* ]] || continue
    echo "== $stage =="
    "stage_$stage"
done
[ -z "$install" ] || {
    cp toybox.cm3 "$root/models/toybox.cm3"
    cp toybox.bank "$root/models/toybox.bank"
    echo "models/toybox.cm3 and models/toybox.bank are new"
}
