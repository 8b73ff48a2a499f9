for threads in 1 0; do
    "$program" "$model" "a small pink heart in the center on a grass background" heart-$threads.png $threads 2>said
    is_picture heart-$threads.png
    frames=$(grep -oE '[0-9]+ frames' said | grep -oE '[0-9]+')
    [ "$frames" -ge 5 ] || fail "threads $threads: only $frames frames: something waited"
done
