own_pictures mine
"$program" "$model" mine run 6 "a large red circle in the center on a sand background" circle.png | tee said
is_picture circle.png
[ -s run/model.cm3 ] || fail "there is no new model"
grep -q '^3 pictures' said || fail "pictures were not read"
# It learns: three pictures again and again.
first=$(sed -n 's/^step 1: loss //p' said) last=$(sed -n 's/^step 6: loss //p' said)
awk -v a="$first" -v b="$last" 'BEGIN {exit !(b < a)}' || fail "the loss went from $first to $last"
# The run is done: the same command makes no step more.
"$program" "$model" mine run 6 "a large red circle in the center on a sand background" again.png | tee said
if grep -q '^step' said; then fail "a run that is done went on"; fi
