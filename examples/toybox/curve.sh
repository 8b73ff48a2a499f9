#!/usr/bin/env bash
# What retrieval saves in training: two language models of the demo's size from nothing, alike in everything but that one learns and draws
# behind what was looked up; whole scenes right against tokens of training. Tokenizers and encoder are the demo model's.
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
    echo "Usage: examples/toybox/curve.sh [POINTS (8)] [STEPS A POINT (500)] [PROMPTS (200)]"
    echo "CM3_CURVE_SCENES: records that are learned from and looked up (30000)"
    exit 0
    ;;
esac
points=${1:-8} steps=${2:-500} prompts=${3:-200} scenes=${CM3_CURVE_SCENES:-30000}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
mkdir -p "$work"
cd "$work"
config=$(sed 's/"max_positions":[0-9]*/"max_positions":640/' "$here/lm.json") # room for two documents before a picture

# Scenes, their codes, a bank of them, and each one's neighbours in it.
if [ ! -f done.data ]; then
    "$render" scenes --kind mixed --count "$scenes" --seed 32 --split train --captions 6
    "$cm3" train encode --data 'scenes/*.tar' --vq "$demo" --out-dir codes
    rm -f part.bank
    "$cm3" bank create part.bank -m "$demo"
    "$cm3" bank import part.bank -m "$demo" scenes/*.tar
    "$cm3" bank neighbours part.bank -m "$demo" --out-dir near codes/*.tar
    mv part.bank scenes.bank
    "$judge" prompts --kind placed --count "$prompts" --seed 78 >placed.jsonl
    touch done.data
fi

# Both ways learn side by side, each by a half of the machine. Goes on to step $2, from where it stopped.
learn() { # with|without STEP
    local bank=() name=$1-$2
    [ "$1" = without ] || bank=(--bank scenes.bank)
    [ ! -f "$name.cm3" ] || return 0
    "$cm3" train lm --data 'near/*.tar' --run "$1-run" --tokenizer "$demo" --vq "$demo" --config "$config" --threads 1 \
        --steps $((points * steps)) --stop-at "$2" --batch-size 2 --block-size 2048 --lr 0.002 --warmup 200 --schedule constant \
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
    printf '%s\t%s\t%s\n' "$(python3 -c "print($step * 4096 / 1e6)")" "$(judged without $step)" "$(judged with $step)" | tee -a curve.tsv
done
python3 "$here/plot_curve.py" curve.tsv curve.svg
