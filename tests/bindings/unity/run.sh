#!/usr/bin/env bash
# The Unity package: made as its README says, compared with the headers, compiled by mcs and run by mono against the
# library that was built. 77: no mono.
#   run.sh SOURCE_DIR LIBRARY CM3 CC [TEST]
set -euo pipefail
root=$1 library=$2 cm3=$3 cc=$4 only=${5:-}
here=$root/tests/bindings/unity model=$root/models/toybox.cm3
for tool in mono mcs; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tar -C "$work" -xzf "$("$root/bindings/unity/make-package" "$library" "$work")"
package=$work/package

# Unity passes over files of an installed package that have no .meta beside them.
python3 - "$package" <<'PY'
import json, re, sys
from pathlib import Path
root = Path(sys.argv[1])
ids = {}
for path in sorted(root.rglob("*")):
    place = path.relative_to(root)
    if any(part.endswith("~") for part in place.parts) or path.suffix == ".meta":
        continue
    meta = path.with_name(path.name + ".meta")
    if not meta.is_file():
        sys.exit(f"{place} has no .meta")
    number = re.fullmatch(r"fileFormatVersion: 2\nguid: ([0-9a-f]{32})\n(?:.|\n)*", meta.read_text())
    if not number or number[1] in ids:
        sys.exit(f"{place}.meta has no id of its own")
    ids[number[1]] = place
    if path.suffix in (".json", ".asmdef"):
        json.loads(path.read_text())
for meta in root.rglob("*.meta"):
    if not meta.with_suffix("").exists():
        sys.exit(f"{meta.relative_to(root)} belongs to nothing")
PY

compile=(mcs -langversion:7 -warnaserror -warn:4 -debug-)
# The layer alone, as its .asmdef asks: without the engine.
"${compile[@]}" -target:library -out:"$work/layer.dll" "$package"/Runtime/Native/*.cs
if grep -rn 'UnityEngine\|MonoPInvokeCallback\|UnmanagedFunctionPointer' "$package/Runtime/Native" --include='*.cs'; then
    echo "the layer knows the engine, or is called by native code"
    exit 1
fi
"${compile[@]}" -out:"$work/tests.exe" "$package"/Runtime/Native/*.cs "$package"/Runtime/*.cs \
    "$package"/Editor/*.cs "$package"/Tests/Runtime/*.cs "$package"/Samples~/Draw/*.cs "$here"/*.cs

export LD_LIBRARY_PATH=$package/Runtime/Plugins/Linux/x86_64
python3 "$here/check.py" "$root" "$cc" "$work/tests.exe" "$work"
CM3LEON_MODEL=$model CM3LEON_BARE_MODEL=$root/tests/data/parity/chameleon CM3LEON_EXPECTED=$work/expected.png
export CM3LEON_MODEL CM3LEON_BARE_MODEL CM3LEON_EXPECTED
"$cm3" generate -q -m "$model" -p "a red circle at the top left" --seed 7 --threads 1 -o "$CM3LEON_EXPECTED" >/dev/null
cd "$work"
mono tests.exe ${only:+"$only"}
