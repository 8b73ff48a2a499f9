#!/usr/bin/env bash
# cm3-mpi by another MPI than the build's: compiled against the shared library, and run by two ranks.
#   other.sh SOURCE_DIR LIBRARY_DIR CM3 MPICC_OF_BUILD
set -euo pipefail
source=$1 library=$2 cm3=$3 built_with=$(readlink -f "$4")
other=
for name in openmpi mpich; do
    compiler=$(command -v "mpicc.$name" || true)
    if [ -n "$compiler" ] && command -v "mpirun.$name" >/dev/null && [ "$(readlink -f "$compiler")" != "$built_with" ]; then
        other=$name
    fi
done
if [ -z "$other" ]; then
    echo "there is no second MPI here"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() { # PROGRAM SOURCE...
    "mpicc.$other" -std=c11 -D_GNU_SOURCE -DCM3_WITH_TRAIN=1 -O1 -Wall -Wextra -Werror -I"$source/include" -I"$source/tools/cm3" \
        -I"$source/tools/mpi" -o "$work/$1" "${@:2}" -L"$library" -Wl,-rpath,"$library" -lcm3leon -ljansson -lpthread -lm
}
seam=("$source"/tools/mpi/{comm,watchdog}.c "$source"/tools/cm3/{options,terminal,database}.c)
compile cm3-mpi "$source/tools/mpi/main.c" "$source"/tools/cm3/train{,_options}.c "${seam[@]}"
compile test_comm "$source/tests/mpi/test_comm.c" "${seam[@]}"
"$work/cm3-mpi" --version
"$source/tests/mpi/comm.sh" "mpirun.$other" "$work/test_comm"
python3 "$source/tests/mpi/run.py" "$cm3" "$work/cm3-mpi" "mpirun.$other" "$source/scripts/train-supervised" other
