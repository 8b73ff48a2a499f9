#!/usr/bin/env bash
# The demo's recipe in miniature, its training killed on the way: what comes out is what an undisturbed run makes.
# Usage: recipe.sh SOURCE BUILD
set -euo pipefail
source=$1 export_build=$2
export CM3_BUILD_DIR=$export_build
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
recipe() { CM3_TOYBOX_WORK=$1 "$source/examples/toybox/train.sh" --quick "${@:2}"; }

stages=()
for stage in vq codes bpe lm cm3 tune fresh more lookups encoder names bank neighbours look shipped; do stages+=(--stage $stage); done
recipe "$work/whole" >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
mkdir "$work/killed"
cp -r "$work/whole"/{scenes,vq,vq-heldout,scenes-heldout,tasks-heldout,done.data} "$work/killed"

# Each of the trainings is killed a few times at no particular step.
for attempt in 1 2 3 4 5 6; do
    # In the background's own place, so that what runs below it is the command itself.
    (CM3_TOYBOX_WORK=$work/killed exec "$source/examples/toybox/train.sh" --quick "${stages[@]}") >"$work/log" 2>&1 &
    sleep $((attempt + 1)).3
    pkill -KILL -P $! 2>/dev/null || true
    wait $! || true
done
recipe "$work/killed" "${stages[@]}" >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }

without_rate() { sed 's/,"rate":.*//' "$1"; }
for run in vq-run lm-run cm3-run tune-run more-run encoder-run names-run found-run listed-run look-run; do
    diff <(without_rate "$work/whole/$run/log.jsonl") <(without_rate "$work/killed/$run/log.jsonl") ||
        { echo "$run: the losses differ"; exit 1; }
done
cmp "$work/whole/vq.cm3" "$work/killed/vq.cm3"
cmp "$work/whole/toybox.cm3" "$work/killed/toybox.cm3"
echo "the same model, killed or not"
