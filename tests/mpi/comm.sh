#!/usr/bin/env bash
# Every function of the cm3_comm, by one to three ranks; and a rank that does not come.
#   comm.sh MPIRUN TEST_COMM
set -euo pipefail
mpirun=("$1") test_comm=$2
if "$1" --version | grep -qE 'Open MPI|OpenRTE'; then # which wants to be told that it may
    mpirun+=(--allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1)
fi
export MPIR_CVAR_POLLS_BEFORE_YIELD=1 # MPICH's: there may be fewer cores than ranks
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for ranks in 1 2 3; do
    timeout 60 "${mpirun[@]}" -n $ranks "$test_comm" >"$log" 2>&1 || { cat "$log"; exit 1; }
    [ "$(grep -c "of $ranks: right" "$log")" -eq $ranks ] || { cat "$log"; exit 1; }
done
if timeout 60 "${mpirun[@]}" -n 2 "$test_comm" late >"$log" 2>&1; then
    echo "a rank that did not come was not missed"
    exit 1
fi
grep -q "waited 2 s for the other ranks in a barrier (call 1)" "$log" || { cat "$log"; exit 1; }
