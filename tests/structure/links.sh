#!/usr/bin/env bash
# The library links nothing of clusters: neither MPI nor what belongs to it, shared or static.
#   links.sh SHARED STATIC
set -euo pipefail
shared=$1 static=$2
failed=0
needed=$(readelf -d "$shared" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
[ -n "$needed" ] || { echo "$shared needs nothing at all?"; exit 1; }
found=$(grep -iE 'libmpi|nccl|gloo|libuc[pst]|pmix|open-rte|libfabric|ibverbs' <<<"$needed" || true)
[ -z "$found" ] || { echo "needed by the library: $found"; failed=1; }
found=$(nm -A --undefined-only "$static" | grep -E ' U (P?MPI_|ompi_|opal_|nccl|ccl|ucp_)' || true)
[ -z "$found" ] || { echo "called by the library: $found"; failed=1; }
exit $failed
