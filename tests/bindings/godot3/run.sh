#!/usr/bin/env bash
# The add-on in Debian's Godot 3, without a display: its project as it was built, and check.gd.
#   run.sh PROJECT REFERENCE CM3 MODEL
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$1 reference=$2 cm3=$3 model=$4
command -v godot3-server >/dev/null || { echo "godot3-server is not installed (Debian's package godot3-server)"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prompt=$(sed -n 's/^const PROMPT = "\(.*\)"$/\1/p' "$here/check.gd")

cp -r "$project" "$work/project"
cp "$here/check.gd" "$work/project"
ln -s "$model" "$work/mödel ☆.cm3"
head -c 100000 "$model" >"$work/cut.cm3"
echo "this is no model" | tee "$work/text.cm3" >"$work/bad.bank"

size=$("$reference" "$model" "$prompt" 7 "$work/reference.rgb")
expected="$size $(sha256sum "$work/reference.rgb" | cut -d' ' -f1)"

# A bank of one record, which every prompt finds.
"$cm3" generate --threads 1 -m "$model" -p "a small green square" --seed 1 -q -o "$work/square.png"
echo '{"key": "a", "text": "a small green square", "image": "square.png"}' >"$work/record.jsonl"
{
    "$cm3" bank create "$work/my.bank" -m "$model" &&
        "$cm3" bank add --threads 1 "$work/my.bank" -m "$model" "$work/record.jsonl"
} >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# Without a folder for its log, or a locale that it knows, it complains.
mkdir -p "$work"/.local/share/godot/app_userdata/CM3Leon "$work"/.config "$work"/.cache
status=0
env -u LC_ALL -u XDG_DATA_HOME -u XDG_CONFIG_HOME -u XDG_CACHE_HOME HOME="$work" LANG=en_US.UTF-8 CM3_MODEL="$model" CM3_WORK="$work" CM3_EXPECTED="$expected" timeout 500 \
    godot3-server --path "$work/project" -s check.gd >"$work/out" 2>&1 || status=$?
cat "$work/out"
[ $status -eq 0 ] || { echo "Godot's exit code was $status"; exit 1; }
grep -q '^all checks passed$' "$work/out" || { echo "Godot ended early"; exit 1; }
if grep -nE 'ERROR|WARNING|leaked' "$work/out"; then echo "Godot complained"; exit 1; fi
[ "$(od -An -tx1 -N4 "$work/picture.png" | tr -d ' ')" = 89504e47 ] || { echo "Godot wrote no PNG"; exit 1; }
