#!/usr/bin/env bash
# What retrieval saves in training: two small language models from nothing, alike in everything but that one learns and draws behind what was
# looked up; whole scenes right against tokens of training. The world is that of two placed things, so that an hour or two teaches something;
# tokenizers and encoder are the demo model's.
#   examples/toybox/curve.sh [POINTS] [STEPS A POINT] [PROMPTS]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${CM3_TOYBOX_WORK:-$here/work}/curve
build=${CM3_BUILD_DIR:-$root/build}
cm3=$build/cm3 render=$build/toybox-render judge=$build/toybox-evaluate
demo=$root/models/toybox.cm3
case ${1-} in
-h | --help)
    echo "Usage: examples/toybox/curve.sh [POINTS (12)] [STEPS A POINT (500)] [PROMPTS (200)]"
    echo "A step is 2,048 tokens. CM3_CURVE_SCENES: records that are learned from and looked up (24000)"
    exit 0
    ;;
esac
points=${1:-12} steps=${2:-500} prompts=${3:-200} scenes=${CM3_CURVE_SCENES:-24000} block=2048
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
config='{"hidden_size":192,"layers":4,"heads":4,"ffn_size":512,"max_positions":640,"init_std":0.02}' # room for two documents before a picture
mkdir -p "$work"
cd "$work"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # nothing goes on learning where this ends early

# Scenes, their codes, a bank of them, and each one's neighbours in it.
if [ ! -f done.data ]; then
    "$render" scenes --kind placed --objects 2 --count "$scenes" --seed 32 --split train --captions 6 --per-shard 4000
    "$cm3" train encode --data 'scenes/*.tar' --vq "$demo" --out-dir codes
    rm -f part.bank
    "$cm3" bank create part.bank -m "$demo"
    "$cm3" bank import part.bank -m "$demo" scenes/*.tar
    "$cm3" bank neighbours part.bank -m "$demo" --out-dir near codes/*.tar
    mv part.bank scenes.bank
    "$judge" prompts --kind placed --objects 2 --count "$prompts" --seed 78 >placed.jsonl
    touch done.data
fi

# Both ways learn side by side, each by a half of the machine. Goes on to step $2, from where it stopped.
learn() { # with|without STEP
    local bank=() name=$1-$2
    [ "$1" = without ] || bank=(--bank scenes.bank)
    [ ! -f "$name.cm3" ] || return 0
    "$cm3" train lm --data 'near/*.tar' --run "$1-run" --tokenizer "$demo" --vq "$demo" --config "$config" --threads 1 \
        --steps $((points * steps)) --stop-at "$2" --batch-size 1 --block-size $block --lr 0.002 --warmup 200 --schedule constant \
        --beta2 0.99 --weight-decay 0.1 --masking none --weight-average 0.99 --save-every "$steps" "${bank[@]}" -o "$name.language.cm3" -q
    "$cm3" convert "$name.language.cm3" "$name.cm3" --encoder "$demo" --quiet
}

# The share of whole scenes that are right at step $2.
judged() { # with|without STEP
    local look=() name=$1-$2
    [ "$1" = without ] || look=(--bank scenes.bank --retrieve 2)
    "$cm3" generate -m "$name.cm3" --batch placed.jsonl --out-dir "$name" --seed 1 -q "${look[@]}"
    "$judge" score placed.jsonl "$name" --json | sed -n 's/.*"scene": \([0-9.]*\).*/\1/p'
}

printf 'million tokens\twithout\twith retrieval\n' | tee curve.tsv
for i in $(seq "$points"); do
    step=$((i * steps))
    learn without $step &
    learn with $step
    wait $!
    without=$(judged without $step)
    with=$(judged with $step)
    million=$(python3 -c "print($step * $block / 1e6)")
    printf '%s\t%s\t%s\n' "$million" "$without" "$with" | tee -a curve.tsv
done
python3 "$here/plot_curve.py" curve.tsv curve.svg
