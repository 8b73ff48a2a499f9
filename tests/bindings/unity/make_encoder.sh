#!/usr/bin/env bash
# A copy of a model with an encoder in it, for tests of retrieval: tiny, and learned in three steps from two pictures.
#   make_encoder.sh CM3 MODEL PICTURE OUT
set -euo pipefail
cm3=$1 model=$2 picture=$3 out=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tower='"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_act": "gelu"'
config="{\"projection_dim\": 32, \"text_config\": {$tower, \"max_position_embeddings\": 32},
         \"vision_config\": {$tower, \"image_size\": 96, \"patch_size\": 24},
         \"preprocessing\": {\"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.5, 0.5], \"resample\": 3,
                           \"size\": {\"shortest_edge\": 96}, \"crop_size\": {\"height\": 96, \"width\": 96}}}"
cp "$picture" "$work/picture.png"
cat >"$work/records.jsonl" <<'RECORDS'
{"image": "picture.png", "text": "a red circle at the top left"}
{"image": "picture.png", "text": "a blue star at the bottom"}
RECORDS
"$cm3" train encoder --data "$work/records.jsonl" --run "$work/run" -o "$work/encoder.cm3" --config "$config" \
    --tokenizer "$model" --steps 3 --batch-size 2 --threads 1 --quiet
"$cm3" convert --encoder "$work/encoder.cm3" "$model" "$out"
