own_pictures mine
"$program" "$model" mine "a small blue star at the top left on a night background" star.png | tee said
is_picture star.png
[ -f mine.bank ] || fail "there is no bank"
[ "$(grep -c '^found 000[0-2].jpg' said)" -ge 1 ] || fail "nothing was found"
grep -q '^found 0001.jpg' said || fail "a text does not find its own picture"
"$program" "$model" mine "a small blue star" again.png | tee said
[ "$(grep -c 'is there already' said)" -eq 3 ] || fail "pictures were added twice"
if "$program" "$root/tests/data/parity/chameleon" mine x y.png 2>message; then fail "a model without an encoder looked something up"; fi
