# A pack: something else, then the model.
head -c 100003 /dev/urandom >pack
cat "$model" >>pack
"$program" pack 100003 "a large yellow ring in the center on a night background" ring.png | tee said
is_picture ring.png
grep -q ' 0 bytes left' said || fail "memory was left"
if "$program" pack 100003 "a red star" star.png 8 >said 2>message; then fail "8 MB are enough"; fi
grep -q 'out of memory' message && grep -q ' 0 bytes left' said || fail "no word of the limit, or memory was left"
if "$program" pack 5 "a red star" star.png >said 2>message; then fail "noise is a model"; fi
grep -q ' 0 bytes left' said || fail "memory was left"
