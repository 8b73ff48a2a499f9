own_pictures mine
# The shipped model may have no encoder: one of a few steps goes into it, which finds what is word for word the same.
parts=$("$cm3" info --json "$model" | grep -oE '"parts": *[0-9]+' | grep -oE '[0-9]+')
if [ $((parts & 8)) -eq 0 ]; then # CM3_PART_ENCODER
    for i in 0 1 2; do
        printf '{"key": "%d", "text": "%s", "image": "mine/%04d.jpg"}\n' $i "$(cat mine/000$i.txt)" $i
    done >records.jsonl
    "$cm3" train encoder -q --data records.jsonl --run run --tokenizer "$model" --steps 4 --batch-size 3 --warmup 1 \
        --config "$root/examples/toybox/encoder.json" -o encoder.cm3
    "$cm3" convert "$model" eyed.cm3 --encoder encoder.cm3
    model=eyed.cm3
fi
"$program" "$model" mine "a small blue star at the top left on a night background" star.png | tee said
is_picture star.png
[ -f mine.bank ] || fail "there is no bank"
[ "$(grep -c '^found 000[0-2].jpg' said)" -ge 1 ] || fail "nothing was found"
grep -q '^found 0001.jpg' said || fail "a text does not find its own picture"
"$program" "$model" mine "a small blue star" again.png | tee said
[ "$(grep -c 'is there already' said)" -eq 3 ] || fail "pictures were added twice"
if "$program" "$root/tests/data/parity/chameleon" mine x y.png 2>message; then fail "a model without an encoder looked something up"; fi
