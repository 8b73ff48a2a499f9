#!/usr/bin/env bash
# What retrieval saves in training: two small language models from nothing, alike in everything but that one learns and draws
# behind what was looked up; whole scenes right against tokens of training. Wants what train.sh made up to its stage neighbours.
#   examples/toybox/curve.sh [POINTS] [STEPS A POINT] [PROMPTS]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${CM3_TOYBOX_WORK:-$here/work}
build=${CM3_BUILD_DIR:-$root/build}
cm3=$build/cm3 judge=$build/toybox-evaluate
case ${1-} in
-h | --help)
    echo "Usage: examples/toybox/curve.sh [POINTS (6)] [STEPS A POINT (500)] [PROMPTS (200)]"
    exit 0
    ;;
esac
points=${1:-6} steps=${2:-500} prompts=${3:-200}
cd "$work"
[ -f train.bank ] && [ -d near/scenes ] ||
    { echo "$work has no train.bank or no near/scenes: run examples/toybox/train.sh up to its stage neighbours" >&2; exit 1; }
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
mkdir -p curve
config='{"hidden_size":128,"layers":4,"heads":4,"ffn_size":352,"max_positions":640,"init_std":0.02}'
"$judge" prompts --kind placed --count "$prompts" --seed 78 >curve/placed.jsonl

# Goes on to step $2; what it is by then is drawn with and judged.
point() { # with|without STEP
    local way=$1 step=$2 bank=() look=() name=curve/$1-$2
    if [ "$way" = with ]; then
        bank=(--bank train.bank) look=(--bank train.bank --retrieve 2)
    fi
    if [ ! -f "$name.cm3" ]; then
        "$cm3" train lm --data 'near/scenes/*.tar' --run "curve/$way-run" --tokenizer more.cm3 --vq more.cm3 --config "$config" \
            --steps $((points * steps)) --stop-at "$step" --batch-size 2 --block-size 2048 --lr 0.003 --warmup 100 --schedule constant \
            --beta2 0.99 --weight-decay 0.1 --masking none --weight-average 0.99 --save-every "$steps" "${bank[@]}" -o "$name.language.cm3" -q
        "$cm3" convert "$name.language.cm3" "$name.cm3" --encoder listed.cm3 --quiet
    fi
    "$cm3" generate -m "$name.cm3" --batch curve/placed.jsonl --out-dir "$name" --seed 1 -q "${look[@]}"
    "$judge" score curve/placed.jsonl "$name" --json | sed -n 's/.*"scene": \([0-9.]*\).*/\1/p'
}

printf 'million tokens\twithout\twith retrieval\n'
for i in $(seq "$points"); do
    step=$((i * steps))
    printf '%s\t%s\t%s\n' "$(python3 -c "print($step * 4096 / 1e6)")" "$(point without $step)" "$(point with $step)"
done | tee curve/curve.tsv
python3 "$here/plot_curve.py" curve/curve.tsv curve/curve.svg
