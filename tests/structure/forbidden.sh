#!/usr/bin/env bash
# Nothing in the library prints, exits, aborts or asserts.
#   forbidden.sh SOURCE_DIR STATIC_LIBRARY
set -euo pipefail
root=$1 static=$2
failed=0
# fprintf(stderr, "x") may be compiled to fwrite: then stderr itself gives it away.
names='stdout|stderr|v?f?printf|__v?f?printf_chk|puts|putchar|perror|psignal|putc|fputs|fputc|fwrite_unlocked|syslog|abort|exit|_exit|_Exit|quick_exit'
names="$names|__assert_fail|__assert|err|errx|warn|warnx|error|raise|kill|__chk_fail|__stack_chk_fail_local"
found=$(nm -A --undefined-only "$static" | grep -E " U ($names)(@.*)?\$" || true)
if [ -n "$found" ]; then
    echo "called by the library:"
    echo "$found"
    failed=1
fi
# NDEBUG would hide an assert from the object files.
found=$(grep -rnE '(^|[^_a-zA-Z])assert *\(|<assert\.h>' "$root/lib" --include='*.[ch]' --include='*.inc' || true)
if [ -n "$found" ]; then
    echo "asserted by the library:"
    echo "$found"
    failed=1
fi
# No C++ of our own: nothing throws, and no runtime of C++ comes in but oneDNN's.
found=$(nm -A "$static" | grep -E " (_Z|__cxa_|_Unwind_|__gxx_)" || true)
if [ -n "$found" ]; then
    echo "C++ in the library:"
    echo "$found"
    failed=1
fi
exit $failed
