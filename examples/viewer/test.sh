# A virtual screen, keys as if typed, and a picture of the window. The screenshot of README.md is made by
#   CM3_SCREENSHOT=examples/viewer/screenshot.jpg ctest --test-dir build -R example.viewer
command -v Xvfb >/dev/null && command -v xdotool >/dev/null || skip "Xvfb or xdotool is not here"
font=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
[ -f "$font" ] || font=$(fc-match -f '%{file}' sans 2>/dev/null || true)
[ -f "$font" ] || skip "there is no font"
Xvfb -displayfd 3 -screen 0 640x640x24 -fbdir . 3>display >xvfb.log 2>&1 &
server=$!
trap 'kill $viewer $server 2>/dev/null; wait; rm -rf "$work"' EXIT
viewer=
until [ -s display ]; do kill -0 $server 2>/dev/null || fail "Xvfb ended: $(cat xvfb.log)"; sleep 0.1; done
DISPLAY=:$(cat display)
export DISPLAY SDL_VIDEODRIVER=x11 SDL_RENDER_DRIVER=software
"$program" "$model" "$font" >said 2>&1 &
viewer=$!

# Waits until so many lines of that were said.
said() {
    local i
    for i in $(seq 600); do
        [ "$(grep -cx "$1" said || true)" -ge "$2" ] && return
        kill -0 $viewer 2>/dev/null || fail "the viewer ended: $(cat said)"
        sleep 0.1
    done
    fail "'$1' was not said in a minute: $(cat said)"
}
window=$(timeout 60 xdotool search --sync --name '^cm3leon$' | head -1)
[ -n "$window" ] || fail "there is no window"
xdotool windowfocus --sync "$window" 2>/dev/null || true

# Cancelled while it draws, then drawn to the end; a word is taken back by backspace.
xdotool type --delay 20 "a large red circle in the center on a sand backgroundx"
xdotool key BackSpace Return
said drawing 1
xdotool key Escape
for i in $(seq 100); do grep -qxE 'cancelled|done' said && break; sleep 0.1; done
grep -qx cancelled said || fail "Escape did not cancel: $(cat said)"
xdotool key Return
said done 1
sleep 0.5

# The screen as Xvfb keeps it: an X window dump, 32 bits a pixel, at the end of the file.
python3 - Xvfb_screen0 <<'PY'
import collections
import sys
data = open(sys.argv[1], "rb").read()
size = int.from_bytes(data[0:4], "big")
width, height, line = (int.from_bytes(data[i:i + 4], "big") for i in (16, 20, 48))
start = size + 12 * int.from_bytes(data[76:80], "big")
rows = [data[start + y * line:start + y * line + 4 * width] for y in range(height)]
with open("screen.ppm", "wb") as out:
    out.write(b"P6 %d %d 255\n" % (width, height))
    for row in rows:
        out.write(b"".join(bytes((row[i + 2], row[i + 1], row[i])) for i in range(0, len(row), 4)))
colours = collections.Counter(row[i:i + 3] for row in rows for i in range(0, len(row), 4))
red = sum(n for (b, g, r), n in ((tuple(c), n) for c, n in colours.items()) if r > 150 and g < 110 and b < 110)
sys.exit(f"{red} red pixels: the picture is not on the screen" if red < 2000 else 0)
PY
if [ -n "${CM3_SCREENSHOT:-}" ]; then
    python3 -c "from PIL import Image; import sys; Image.open('screen.ppm').crop((80, 48, 560, 592)).save(sys.argv[1], quality=85)" "$CM3_SCREENSHOT"
fi
xdotool key Escape # nothing is drawn: the end
for i in $(seq 50); do kill -0 $viewer 2>/dev/null || break; sleep 0.1; done
if kill -0 $viewer 2>/dev/null; then fail "Escape does not end it"; fi
wait $viewer || fail "it ended with $?"
viewer=
