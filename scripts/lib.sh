# What the scripts share. To be sourced; sets ROOT to the repository.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Debian's names of what every build needs, and what is needed beside. oneDNN's CMake files want OpenCL's.
BUILD_PACKAGES=(build-essential cmake ninja-build pkg-config libdnnl-dev ocl-icd-opencl-dev libturbojpeg0-dev libpng-dev
                libjansson-dev libxxhash-dev libpcre2-dev libutf8proc-dev libyaml-dev libarchive-dev)
# What only parts need that are left out without it.
PART_PACKAGES=(libpq-dev)
# What tests of the ABI read it with.
ABI_PACKAGES=(abigail-tools python3-pycparser)
# What tests of bindings/ need.
BINDING_PACKAGES=(mono-runtime mono-mcs godot3-server python3-venv)
LONG_BINDING_PACKAGES=(godot3-runner xvfb libgl1-mesa-dri)
# What cm3-mpi is built of, and what its tests build it of a second time.
MPI_PACKAGES=(libopenmpi-dev openmpi-bin libmpich-dev mpich)
# What tests of the C++ header, of examples and documents need beside; they are skipped without it.
CPP_PACKAGES=(g++ clang-14 libsdl2-dev libsdl2-ttf-dev fonts-dejavu-core xvfb xdotool doxygen mandoc zsh fish)

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# A number of jobs that fits the cores and the memory: an optimised file takes up to half a GiB. CMake's own variable
# overrules it.
jobs_that_fit() {
    local cores memory
    if [ -n "${CMAKE_BUILD_PARALLEL_LEVEL:-}" ]; then
        echo "$CMAKE_BUILD_PARALLEL_LEVEL"
        return
    fi
    cores=$(nproc)
    memory=$(awk '/^MemAvailable:/ {print int($2 / 524288)}' /proc/meminfo 2>/dev/null || echo "$cores")
    if [ "$memory" -lt 1 ]; then memory=1; fi
    if [ "$cores" -lt "$memory" ]; then echo "$cores"; else echo "$memory"; fi
}

# need PACKAGE...: has them installed. Does nothing where all are there; nothing but apt needs rights.
need() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        need_by_hand "$@"
        return
    fi
    for package in "$@"; do
        # `ok installed`, whether held back or not; a package that another one provides is not looked for here.
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q ' ok installed$' || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    say "installing ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "these packages are missing, and neither root nor sudo is at hand: ${missing[*]}"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -q >&2 || say "the package lists could not be refreshed; trying with those at hand"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >&2 ||
        die "these packages could not be installed: ${missing[*]}"
}

# Elsewhere than on Debian and Ubuntu: what is to be installed is told once, and after that only looked for.
need_by_hand() {
    local tool module missing=()
    for tool in cc cmake ninja pkg-config; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    for module in libturbojpeg libpng jansson libxxhash libpcre2-8 libutf8proc yaml-0.1 libarchive; do
        pkg-config --exists "$module" 2>/dev/null || missing+=("$module")
    done
    for tool in "$@"; do
        case $tool in
        python3 | gdb | valgrind) command -v "$tool" >/dev/null || missing+=("$tool") ;;
        binutils) command -v nm >/dev/null || missing+=(binutils) ;;
        esac
    done
    case " $* " in *" check "*) pkg-config --exists check 2>/dev/null || missing+=(check) ;; esac
    echo '#include <oneapi/dnnl/dnnl.h>' | cc -E - >/dev/null 2>&1 || missing+=(oneDNN)
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    say "this is neither Debian nor Ubuntu, so please install these (with their development files): ${missing[*]}"
    say "on Debian the packages are called: $*"
    exit 1
}

# configure DIRECTORY OPTION...: quiet unless it fails. A directory that another generator or place left is made anew.
configure() {
    local dir=$1 log
    shift
    if [ -f "$dir/CMakeCache.txt" ] && { ! grep -q '^CMAKE_GENERATOR:INTERNAL=Ninja$' "$dir/CMakeCache.txt" ||
                                         ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$ROOT" "$dir/CMakeCache.txt"; }; then
        rm -rf "$dir/CMakeCache.txt" "$dir/CMakeFiles"
    fi
    log=$(mktemp)
    if ! cmake -G Ninja -S "$ROOT" -B "$dir" "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "configuring failed"
    fi
    rm -f "$log"
}

# build DIRECTORY [TARGET...]
build() {
    local dir=$1
    shift
    cmake --build "$dir" --parallel "$(jobs_that_fit)" ${1:+--target "$@"} >&2 || die "building failed"
}
