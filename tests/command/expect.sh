# What the tests of the command share: a folder of their own, and counts of what was right. To be sourced.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0 total=0

# expect CODE WORDS COMMAND...: its exit code, and what its output (both streams) must hold.
expect() {
    local code=$1 words=$2 status=0
    shift 2
    total=$((total + 1))
    "$@" >out 2>err </dev/null || status=$?
    if [ $status -ne "$code" ] || { [ -n "$words" ] && ! grep -qF -- "$words" out err; }; then
        failed=$((failed + 1))
        printf 'FAILED:'
        printf ' %q' "$@"
        printf '\n  exit code %d, expected %d with "%s"; it said:\n' $status "$code" "$words"
        sed 's/^/  /' out err | head -20
    fi
}

holds() { # DESCRIPTION COMMAND...
    local what=$1
    shift
    total=$((total + 1))
    "$@" >/dev/null 2>&1 || { failed=$((failed + 1)); echo "FAILED: $what"; }
}

interrupted() { # DESCRIPTION: the last background process is sent SIGINT, and must end with 130
    local pid=$! status=0
    total=$((total + 1))
    sleep 1
    kill -INT $pid
    wait $pid || status=$?
    [ $status -eq 130 ] || { failed=$((failed + 1)); echo "FAILED: $1: exit code $status, expected 130"; }
}

summary() { # the last line: fails where something was wrong
    echo "$((total - failed)) of $total right"
    [ $failed -eq 0 ]
}
