#!/usr/bin/env bash
# The command as people use it: results, exit codes, messages. Usage: command.sh CM3 MODEL
set -uo pipefail
cm3=$(realpath "$1") model=$(realpath "$2") parity=$(realpath "$(dirname "$0")/../data/parity")
. "$(dirname "$0")/expect.sh"

to() { # FILE COMMAND...: with standard output there
    local file=$1
    shift
    "$@" >"$file"
}

prompt="a large red circle at the top left on a sand background"

# --- usage
expect 0 "cm3 " "$cm3" --version
expect 0 "Exit codes" "$cm3" --help
expect 2 "Usage" "$cm3"
expect 2 "no command 'paint'" "$cm3" paint
for part in generate train info tokenize reconstruct convert embed logits encode-image decode-image; do expect 0 "Usage" "$cm3" $part --help; done
expect 2 "-m MODEL is missing" "$cm3" generate -p x
expect 2 "there is no option '--colour'" "$cm3" generate -m "$model" -p x --colour red
expect 2 "--count must be 1 to 64" "$cm3" generate -m "$model" -p x -n 0
expect 2 "not a number" "$cm3" generate -m "$model" -p x --guidance much
expect 2 "not a whole number" "$cm3" generate -m "$model" -p x --seed -1
expect 2 "--contrast must be 0 to 1" "$cm3" generate -m "$model" -p x --contrast 2
expect 1 "contrast_candidates" "$cm3" generate -m "$model" -p x --contrast 0.5 --contrast-last 2
expect 2 "must end in" "$cm3" generate -m "$model" -p x -o picture.gif
expect 2 "must end in" "$cm3" generate -m "$model" -p x --sheet sheet
expect 2 "too long" "$cm3" generate -m "$model" -p x -o "$(printf 'd/%.0s' {1..2100})a.jpg"
expect 2 "exclude each other" "$cm3" generate -m "$model" -p x --batch b.jsonl --out-dir d
expect 2 "exclude each other" "$cm3" generate -m "$model" x --batch b.jsonl --out-dir d
expect 2 "exclude each other" "$cm3" generate -m "$model" x --ids b.json
expect 2 "'red' is one word too many: a sentence goes in quotes" "$cm3" generate a red circle -m "$model"
expect 2 "'red' is one word too many: a sentence goes in quotes" "$cm3" generate -m "$model" -p a red circle
expect 2 "TEXT is missing" "$cm3" generate -m "$model"

# --- models
: >empty.cm3
expect 1 "nowhere.cm3" "$cm3" generate -m nowhere.cm3 -p x
expect 1 "empty.cm3" "$cm3" generate -m empty.cm3 -p x
expect 1 "$work" "$cm3" info "$work"
expect 0 "image tokenizer" "$cm3" info "$model"

# --- pictures
expect 0 "a.jpg" "$cm3" generate -m "$model" -p "$prompt" --seed 18446744073709551615 -q -o a.jpg
expect 0 "bare.jpg" "$cm3" generate "$prompt" -m "$model" --seed 18446744073709551615 -q -o bare.jpg
holds "-p may be left out" cmp a.jpg bare.jpg
expect 0 "again.jpg" "$cm3" generate -m "$model" -p "$prompt" --seed 18446744073709551615 -q -o again.jpg --preview previews
holds "the preview's last but one row" test -s previews/preview-010.png
holds "the same seed draws the same picture" cmp a.jpg again.jpg
expect 0 '"seed"' "$cm3" generate -m "$model" -p "$prompt" --json -q -o picked.jpg
seed=$(sed 's/.*"seed": \([0-9]*\).*/\1/' out)
expect 0 "told.jpg" "$cm3" generate -m "$model" -p "$prompt" --seed "$seed" -q -o told.jpg
holds "the seed that was picked can be given" cmp picked.jpg told.jpg
expect 0 "b-1.png" "$cm3" generate -m "$model" -p "three small stars" --temperature 1 --seed 5 -n 2 -q -o b.png
holds "candidates differ" bash -c '[ -s b-0.png ] && ! cmp -s b-0.png b-1.png'
expect 0 "e.jpg" "$cm3" generate -m "$model" -p "" --seed 5 -q -o e.jpg
expect 0 "h.jpg" "$cm3" generate -m "$model" -p "-h" --seed 5 -q -o h.jpg
expect 0 "cm3-7.jpg" "$cm3" generate -m "$model" -p "<sentinel:0></s>" --seed 7 -q
expect 0 'cm3: seed ' "$cm3" generate -m "$model" -p "$prompt" -o told.jpg
expect 0 '{"file": "a\"b.png", "psnr": ' "$cm3" reconstruct -m "$model" a.jpg -o 'a"b.png' --json
expect 0 "dB" "$cm3" reconstruct -m "$model" a.jpg -o a.png
expect 1 "no.jpg" "$cm3" reconstruct -m "$model" no.jpg -o a.png

# --- folders of others
expect 0 "parts             language model  image tokenizer  text tokenizer" "$cm3" info "$parity/chameleon"
expect 0 "dB" "$cm3" reconstruct -m "$parity/chameleon" --vqgan "$parity/vqgan/vqgan.safetensors" a.jpg -o a.png
expect 1 "a folder has no checksum" "$cm3" info --verify "$parity/chameleon"
expect 1 "decoder" "$cm3" reconstruct -m "$parity/chameleon" a.jpg -o a.png
expect 1 "vqgan belongs to a folder" "$cm3" info --vqgan "$parity/vqgan/vqgan.safetensors" "$model"
echo '[0, 80, 90, 100]' >ids.json
expect 0 "" "$cm3" logits -m "$parity/chameleon" --ids ids.json -o logits.npy
expect 0 "" "$cm3" logits -m "$parity/chameleon" --ids ids.json -o masked.npy --mask-image-tokens
expect 0 "" "$cm3" logits -m "$parity/chameleon" --ids ids.json -o hidden.npy --hidden
holds "a header of 128 bytes and 4 x 600 values" [ "$(stat -c %s logits.npy)" -eq $((128 + 4 * 600 * 4)) ]
holds "4 states of 4 x 64 values" [ "$(stat -c %s hidden.npy)" -eq $((128 + 4 * 4 * 64 * 4)) ]
holds "64 image tokens of 4 rows are masked" [ "$(cmp -l logits.npy masked.npy | wc -l)" -gt $((4 * 64 * 3)) ]
detailed=$(dirname "$model")/contact-sheet.jpg
expect 0 "" "$cm3" encode-image -m "$parity/chameleon" "$detailed" --preprocess meta -o codes.json
expect 0 "[" "$cm3" encode-image -m "$parity/chameleon" "$detailed" --preprocess hf
holds "the two ways differ" [ "$(cat codes.json)" != "$(cat out)" ]
expect 0 "" "$cm3" decode-image -m "$parity/chameleon" --vqgan "$parity/vqgan/vqgan.safetensors" codes.json -o codes.png
expect 1 "decoder" "$cm3" decode-image -m "$parity/chameleon" codes.json -o codes.png
expect 2 "--preprocess is hf or meta" "$cm3" encode-image -m "$parity/chameleon" a.jpg --preprocess clip
expect 2 "there is no option '--preprocess'" "$cm3" decode-image -m "$parity/chameleon" codes.json -o a.png --preprocess hf
expect 2 "are wanted" "$cm3" logits -m "$parity/chameleon" -o x.npy
expect 1 "a JSON list of ids" "$cm3" logits -m "$parity/chameleon" --ids "$parity/chameleon/config.json" -o x.npy
echo '[0, 600]' >ids.json
expect 1 "600" "$cm3" logits -m "$parity/chameleon" --ids ids.json -o x.npy

# --- folders that other tools made
meta=$parity/meta-swin
expect 0 "0.17 M" "$cm3" info "$meta"
expect 0 "" "$cm3" convert --quiet "$meta" meta.cm3
expect 0 "\"parts\":7" "$cm3" info --json meta.cm3
echo '[0, 80, 90, 100]' >ids.json
expect 0 "" "$cm3" logits -m "$meta" --ids ids.json -o folder.npy
expect 0 "" "$cm3" logits -m meta.cm3 --ids ids.json -o file.npy
holds "the file computes what the folder does" cmp folder.npy file.npy
expect 0 "" "$cm3" convert --weights q4 --block 32 "$meta" q4.cm3
holds "q4 is smaller" [ "$(stat -c %s q4.cm3)" -lt "$(stat -c %s meta.cm3)" ]
expect 0 "" "$cm3" convert --quiet --weights q8 --head bf16 --embeddings keep q4.cm3 q8.cm3
expect 2 "--weights must be" "$cm3" convert --weights q5 "$meta" x.cm3
expect 2 "--block must be" "$cm3" convert --block 48 "$meta" x.cm3
expect 2 "convert wants" "$cm3" convert "$meta"
expect 1 "nowhere" "$cm3" convert nowhere x.cm3
expect 1 "x.cm3" "$cm3" convert "$meta" nowhere/x.cm3
holds "nothing is left" [ ! -e x.cm3 ]
if (ulimit -v 400000 && "$cm3" --version) >/dev/null 2>&1; then # a sanitizer's shadow alone is larger
    (ulimit -v 400000 && "$cm3" convert --quiet --threads 2 "$meta" small.cm3)
    holds "converting takes little memory" cmp small.cm3 meta.cm3
fi
expect 0 '{"tokens": [' "$cm3" generate -m "$meta" --ids ids.json --greedy --n-tokens 5 --json
expect 0 '{"tokens": [' "$cm3" generate -m "$meta" --ids ids.json --greedy --n-tokens 70 --json --modality interleaved
expect 0 '{"tokens": [' "$cm3" generate -m q4.cm3 --ids ids.json --n-tokens 64 --json --modality image --guidance-scale 3 --kv int8
expect 1 "64 tokens were made" "$cm3" generate -m "$meta" --ids ids.json --n-tokens 65 --modality image
expect 2 "--modality cannot be 'film'" "$cm3" generate -m "$meta" --ids ids.json --modality film
expect 2 "exclude each other" "$cm3" generate -m "$meta" --ids ids.json -p x
expect 0 "" "$cm3" generate -m "$meta" -p "a cat" --seed 1 -q -o cat.png
expect 0 "" "$cm3" generate -m "$meta" -p "What is<image>this?" --image cat.png --modality text --chat --n-tokens 8 --seed 1 -q
expect 1 "there are 2 pictures" "$cm3" generate -m "$meta" -p "a <image>" --image cat.png cat.png --modality text --seed 1 -q
expect 1 "decoder" "$cm3" generate -m "$parity/chameleon" -p "a cat" --seed 1 -q
printf '"a photo of a cat"\n{"text": "Two BIRDS"}\n' >texts.jsonl
printf 'cat.png\n%s/ref/images/wide.png\n' "$parity" >pictures.txt
expect 0 "" "$cm3" embed -m "$parity/clip" --texts texts.jsonl -o texts.npy
expect 0 "" "$cm3" embed -m "$parity/clip" --images pictures.txt -o pictures.npy --raw
holds "two vectors of 24" [ "$(stat -c %s texts.npy)" -eq $((128 + 2 * 24 * 4)) ]
echo nothere.png >>pictures.txt
expect 1 "pictures.txt: line 3" "$cm3" embed -m "$parity/clip" --images pictures.txt -o x.npy
expect 1 "no encoder" "$cm3" embed -m "$parity/chameleon" --texts texts.jsonl -o x.npy
expect 2 "are wanted" "$cm3" embed -m "$parity/clip" --texts texts.jsonl --images pictures.txt -o x.npy

# --- batches
printf '"%s"\n\n{"text": "%s", "other": 1}\n' "$prompt" "two small stars on a grey background" >two.jsonl
expect 0 "" "$cm3" generate -m "$model" --batch two.jsonl --out-dir batch --seed 5 -q --sheet sheet.png
expect 0 "one.jpg" "$cm3" generate -m "$model" -p "two small stars on a grey background" --seed 6 -q -o one.jpg
holds "pictures are numbered from 0000" bash -c '[ "$(ls batch | tr "\n" " ")" = "0000.jpg 0001.jpg " ]'
holds "there is a sheet" [ -s sheet.png ]
printf '"a large"\n"two small"\n' >begun.jsonl
expect 0 "" "$cm3" generate -m "$model" --batch begun.jsonl --modality text --min-tokens 2 --n-tokens 3 --seed 5 -q
holds "texts of a batch need no directory" test "$(wc -l <out)" -eq 2
for words in "generate --batch two.jsonl --out-dir" "generate -p x --preview" "edit --batch two.jsonl --out-dir" "reconstruct one.jpg --out-dir"; do
    for folder in nowhere/made one.jpg; do # one.jpg is a file
        # shellcheck disable=SC2086
        expect 1 "$folder: the directory could not be made" "$cm3" $words $folder -m "$model"
    done
done
printf '"a"\n{"words": "a"}\n' >bad.jsonl
expect 1 "bad.jsonl:2" "$cm3" generate -m "$model" --batch bad.jsonl --out-dir batch -q
long=$(printf 'large %.0s' {1..600})
printf '"a"\n"%s"\n"b"\n' "$long" >long.jsonl
expect 1 "long.jsonl: text 2: the prompt has" "$cm3" generate -m "$model" --batch long.jsonl --out-dir others -q
holds "the others are drawn" bash -c '[ "$(ls others | tr "\n" " ")" = "0000.jpg 0002.jpg " ]'
expect 1 "the model's context has" "$cm3" generate -m "$model" -p "$long" -q
expect 1 "UTF-8" "$cm3" generate -m "$model" -p $'a\xff' -q

# --- tasks (the words are what a model makes of them; here only that they come)
"$cm3" generate -m "$model" -p "$prompt" -o scene.png --seed 1 -q >out
for part in caption ask edit segment infill infill-text; do
    expect 0 "Usage: cm3 $part" "$cm3" $part --help
    expect 2 "-m MODEL is missing" "$cm3" $part scene.png
done
expect 0 "" "$cm3" caption -m "$model" scene.png
expect 0 '{"index": 0, "text": ' "$cm3" ask -m "$model" scene.png "what colour is the circle?" --json
holds "three answers" bash -c "[ \$('$cm3' ask -m '$model' scene.png 'how many?' -n 3 --json | wc -l) = 3 ]"
expect 0 '"caption": "a large' "$cm3" infill-text -m "$model" scene.png "a large [mask] on a sand background" --json
expect 1 "[mask]" "$cm3" infill-text -m "$model" scene.png "a large circle"
expect 0 "edited.png" "$cm3" edit -m "$model" scene.png "make the circle blue" -o edited.png
expect 0 "classes-1.png" "$cm3" segment -m "$model" scene.png -o classes.png -n 2
expect 2 "-o FILE is missing" "$cm3" segment -m "$model" scene.png
expect 2 "its text where one belongs" "$cm3" ask -m "$model" scene.png
expect 0 "filled.png" "$cm3" infill -m "$model" scene.png --box 0.5,0.5,0.3,0.3 -o filled.png
expect 0 "told.png" "$cm3" infill -m "$model" scene.png "$prompt" --box 0.1,0.1,0.3,0.3 0.6,0.6,0.2,0.2 -o told.png
expect 0 "told.png" "$cm3" infill -m "$model" scene.png -p "$prompt" --box 0.1,0.1,0.3,0.3 -o told.png
expect 2 "--box X,Y,W,H is missing" "$cm3" infill -m "$model" scene.png -o filled.png
expect 1 "is not X,Y,W,H" "$cm3" infill -m "$model" scene.png --box 1,2,3 -o filled.png
expect 1 "nothing to fill in" "$cm3" infill -m "$model" scene.png --box 2,2,1,1 -o filled.png
printf '{"image": "scene.png"}\n' >half.jsonl
printf '{"image": "scene.png", "box": [0.1, 0.1, 0.2, 0.2]}\n{"image": "scene.png", "box": [0, 0, 1, 1], "text": "x"}\n' >holes.jsonl
expect 0 "" "$cm3" infill -m "$model" --batch holes.jsonl --out-dir holes
holds "two are filled" bash -c '[ "$(ls holes | tr "\n" " ")" = "0000.png 0001.png " ]'
expect 1 '"box": [x, y, w, h]' "$cm3" infill -m "$model" --batch half.jsonl --out-dir holes
expect 1 "nowhere.png" "$cm3" caption -m "$model" nowhere.png
expect 0 "" env CM3_MODEL="$model" "$cm3" caption scene.png --beams 3 -n 2
holds "two captions" test "$(wc -l <out)" -eq 2
expect 2 "--beams is not for this, but for: caption" "$cm3" segment -m "$model" scene.png --beams 3 -o seen.png
expect 1 "at most so many candidates" "$cm3" caption -m "$model" scene.png --beams 3 -n 4

# --- pictures of any size, shape and depth; words that fit nothing
python3 - <<'PY'
import struct, zlib

def png(name, width, height, depth, colour, row):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    data = zlib.compress(b"".join(b"\0" + row(y) for y in range(height)))
    with open(name, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
                   + chunk(b"IDAT", data) + chunk(b"IEND", b""))

png("grey16.png", 70, 41, 16, 0, lambda y: b"".join(struct.pack(">H", 900 * (x + y) & 65535) for x in range(70)))
png("alpha.png", 33, 200, 8, 6, lambda y: bytes((x * 7 + y * k) & 255 for x in range(33) for k in range(4)))
png("dot.png", 1, 1, 8, 2, lambda y: b"\1\2\3")
png("black.png", 96, 96, 8, 0, lambda y: bytes(96))
PY
for picture in grey16 alpha dot black; do
    expect 0 "" "$cm3" caption -m "$model" $picture.png
    expect 0 "" "$cm3" ask -m "$model" $picture.png "what colour is the heart?"
    expect 0 "edited.png" "$cm3" edit -m "$model" $picture.png "remove the purple elephant" -o edited.png
    expect 0 "classes.png" "$cm3" segment -m "$model" $picture.png -o classes.png
    expect 0 "filled.png" "$cm3" infill -m "$model" $picture.png --box 0.1,0.1,0.5,0.5 0.3,0.3,0.5,0.6 -o filled.png
    expect 0 "filled.png" "$cm3" infill -m "$model" $picture.png "$prompt" --box -1,-1,3,3 -o filled.png
    expect 0 "" "$cm3" infill-text -m "$model" $picture.png "[mask]"
done
expect 1 "the model's context has" "$cm3" ask -m "$model" scene.png "$long"
expect 1 "the model's context has" "$cm3" edit -m "$model" scene.png "$long" -o edited.png
expect 0 "" "$cm3" ask -m "$model" scene.png ""
expect 1 "UTF-8" "$cm3" ask -m "$model" scene.png $'what \xff'
expect 1 "nothing to fill in" "$cm3" infill -m "$model" scene.png --box 0.5,0.5,0,0.2 -o filled.png
expect 1 "no negative sides" "$cm3" infill -m "$model" scene.png --box 0.5,0.5,-0.1,0.2 -o filled.png
expect 1 "finite" "$cm3" infill -m "$model" scene.png --box nan,0.5,0.1,0.2 -o filled.png

# --- layouts, and the best of several
expect 0 "laid.png" "$cm3" generate -m "$model" -p "$prompt" --layout scene.png -o laid.png --seed 1
expect 2 "--layout is not for this, but for: -p" "$cm3" generate -m "$model" --batch requests.jsonl --out-dir laid --layout scene.png
expect 2 "--layout goes without" "$cm3" generate -m "$model" -p "$prompt" --layout scene.png --modality text
expect 1 "nowhere.png" "$cm3" generate -m "$model" -p "$prompt" --layout nowhere.png
mkdir -p below
printf '%s\n' '{"text": "a red circle", "layout": "../scene.png"}' '"a blue star"' >below/laid.jsonl
expect 0 "" "$cm3" generate -m "$model" --batch below/laid.jsonl --out-dir laid --seed 1
holds "both are drawn" test -s laid/0000.jpg -a -s laid/0001.jpg
echo '{"text": "a red circle", "layout": 5}' >below/wrong.jsonl
expect 1 '"layout" is no path' "$cm3" generate -m "$model" --batch below/wrong.jsonl --out-dir laid
expect 0 "best-1.png" "$cm3" generate -m "$model" -p "$prompt" -n 4 --best 2 -o best.png --seed 1
holds "two of four" test -s best-0.png -a ! -e best-2.png
expect 0 "fit.png" "$cm3" generate -m "$model" -p "$prompt" -n 2 --best 1 --encoder "$parity/clip" -o fit.png --seed 1
expect 1 "text and an image tower" "$cm3" generate -m "$model" -p "$prompt" -n 2 --best 1 --encoder "$parity/chameleon"
expect 2 "--encoder is not for this, but for: --best" "$cm3" generate -m "$model" -p "$prompt" --encoder "$parity/clip"
expect 2 "--best is of the answers" "$cm3" generate -m "$model" -p "$prompt" -n 2 --best 3
printf '{"image": "scene.png", "text": "make the circle blue"}\n\n{"image": "none.png", "text": "x"}\n{"image": "scene.png", "text": "remove it"}\n' >edits.jsonl
expect 1 "request 2 failed" "$cm3" edit -m "$model" --batch edits.jsonl --out-dir edits
holds "the others are edited" bash -c '[ "$(ls edits | tr "\n" " ")" = "0000.png 0002.png " ]'
printf '{"image": "scene.png"}\n' >half.jsonl
expect 1 '"image" and "text"' "$cm3" ask -m "$model" --batch half.jsonl
expect 1 "two.jsonl:1" "$cm3" ask -m "$model" --batch two.jsonl
printf '{"tasks": {"caption": [{"image": "image"}, "break", {"text": "{caption}", "answer": true}]}}' >own.json
expect 0 "" "$cm3" caption -m "$model" scene.png --tasks own.json
expect 1 "there is no task 'ask'" "$cm3" ask -m "$model" scene.png "x" --tasks own.json

# --- training
expect 2 "none of bpe, vq, encode, costs, lm, sft" "$cm3" train all
expect 2 "-o FILE is missing" "$cm3" train costs --data two.jsonl --vq "$model"
expect 2 "--vq is missing" "$cm3" train costs --data two.jsonl -o x.cm3
expect 2 "not for this, but for: costs" "$cm3" train encode --data two.jsonl --vq "$model" --out-dir x --cost-weight 1
expect 1 "nowhere/x.cm3" "$cm3" train vq --data two.jsonl --run run -o nowhere/x.cm3
expect 1 "two.jsonl" "$cm3" train vq --data two.jsonl --run run -o x.cm3
expect 2 "--init is missing" "$cm3" train sft --data two.jsonl --run run -o x.cm3
expect 2 "not for this, but for: sft" "$cm3" train lm --data two.jsonl --run run -o x.cm3 --tokenizer t.json --mixture '{}'
expect 2 "--masking" "$cm3" train sft --data two.jsonl --run run -o x.cm3 --init "$model" --masking often
mkdir -p tasks
python3 - "$(seq -s, 0 143)" <<'END'
import json, sys, tarfile, io
codes = [int(c) for c in sys.argv[1].split(",")]
with tarfile.open("tasks/0.tar", "w") as tar:
    for i in range(6):
        text = json.dumps({"text": "a red ball", "codes": codes, "images": {"source": codes},
                           "examples": [{"task": "ask", "question": "what is it?", "answer": "a ball"},
                                        {"task": "edit", "instruction": "make it blue"}, {"task": "infill-image"}]}).encode()
        member = tarfile.TarInfo(f"{i}.json")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
END
expect 0 "tuned.cm3" "$cm3" train sft --data 'tasks/*.tar' --run sft --init "$model" --steps 2 --batch-size 1 --block-size 512 \
    --mixture '{"ask": 2, "edit": 1, "infill-image": 1}' --answers-only -o tuned.cm3 --quiet
expect 0 "" "$cm3" generate -m tuned.cm3 -p "$prompt" -o tuned.png --seed 1
expect 1 "no example of the task 'segment'" "$cm3" train sft --data 'tasks/*.tar' --run other --init "$model" --mixture '{"segment": 1}' -o y.cm3
expect 1 "no template" "$cm3" train sft --data 'tasks/*.tar' --run other --init "$model" --mixture '{"dance": 1}' -o y.cm3

# --- texts
printf '"two small stars"\n\n{"text": "</s> a"}\n' >texts
"$cm3" tokenize -m "$model" --plain --no-special <texts >ids 2>err
"$cm3" tokenize -m "$model" --decode <ids >back 2>err
holds "texts come back" bash -c '[ "$(cat back)" = "$(printf "\"two small stars\"\n\"</s> a\"")" ]'

# --- full disks
ln -s /dev/full full.jpg
expect 1 "No space left" "$cm3" generate -m "$model" -p "$prompt" --seed 5 -q -o full.jpg
expect 1 "standard output" to /dev/full "$cm3" info "$model"
expect 1 "standard output" to /dev/full "$cm3" --help

# --- signals
for _ in {1..20000}; do echo "\"$prompt\""; done >many.jsonl
"$cm3" generate -m "$model" --batch many.jsonl --out-dir many -q 2>err &
interrupted "a batch that is interrupted"
mkfifo pipe
sleep 60 >pipe &
sleeper=$!
"$cm3" generate -m "$model" --batch - --out-dir many -q <pipe 2>err &
interrupted "interrupted while it waits for lines"
"$cm3" tokenize -m "$model" <pipe 2>err &
interrupted "texts that are interrupted"
kill $sleeper

summary
