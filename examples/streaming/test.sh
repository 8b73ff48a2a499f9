"$program" "$model" "three small blue squares on a sand background" . 2>said
is_picture picture-00.png
[ "$(find . -name 'preview-*.png' | wc -l)" -ge 2 ] || fail "there are no previews"
grep -q '100 %' said && grep -q finished said || fail "progress or the end was not told"
# What cannot be written stops it.
if "$program" "$model" "a red star" no-such-folder 2>said; then fail "unwritable previews are no failure"; fi
grep -q 'ended early' said || fail "it went on to the end"
