"$program" "$model" "a large red circle in the center on a sand background" circle.jpg
is_picture circle.jpg
"$program" "$model" "a large red circle in the center on a sand background" again.jpg
cmp circle.jpg again.jpg # the seed is fixed
if "$program" none.cm3 x y.jpg 2>message; then fail "a model that is not there is no failure"; fi
grep -q none.cm3 message
