#!/usr/bin/env bash
# The man page and the completions have every option that any --help tells, and are those that scripts/make-man makes;
# every option that the command's sources know is in some --help.
#   man.sh SOURCE_DIR BUILD_DIR
set -euo pipefail
export LC_ALL=C
root=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
options() { grep -oE -e '(^|[^A-Za-z0-9_-])(--[a-z][a-z0-9-]*|-[a-zA-Z])([^A-Za-z0-9_-]|$)' "$@" | grep -oE -e '-[-A-Za-z0-9]+' | sort -u; }

python3 "$root/scripts/make-man" "$build" "$work/made"
for file in docs/cm3.1 tools/completion/cm3.bash tools/completion/_cm3 tools/completion/cm3.fish; do
    cmp "$work/made/$file" "$root/$file" || { echo "$file is not what scripts/make-man makes: run it"; failed=1; }
done

sed 's/\\-/-/g; s/\\&//g' "$root/docs/cm3.1" >"$work/page"
mapfile -t commands < <("$build/cm3" --help | sed -n '/To begin with/q; s/^  cm3 \([a-z-]*\) .*/\1/p')
[ ${#commands[@]} -ge 10 ] || { echo "cm3 --help lists no commands"; exit 1; }
: >"$work/all"
for command in "${commands[@]}"; do
    "$build/cm3" "$command" --help >"$work/help"
    # An alternation of words that are given together would hide the second: a space on both sides is enough.
    tr '|,()[]/=.;:'"'" ' ' <"$work/help" | tr ' ' '\n' | options >"$work/told"
    cat "$work/told" >>"$work/all"
    # Completion as bash does it: all options of the command.
    bash -c '. "$1"; COMP_WORDS=(cm3 "$2" -); COMP_CWORD=2; _cm3; printf "%s\n" "${COMPREPLY[@]}"' - \
        "$root/tools/completion/cm3.bash" "$command" 2>/dev/null | sort -u >"$work/completed"
    tr ' ' '\n' <"$work/page" | options >"$work/paged"
    for option in $(cat "$work/told"); do
        grep -qx -e "$option" "$work/paged" || { echo "cm3 $command $option is not in the man page"; failed=1; }
        grep -qx -e "$option" "$work/completed" || { echo "cm3 $command $option is not completed"; failed=1; }
    done
done

for option in $(grep -ohE '\{"-[-a-zA-Z0-9]+", (NULL|"-[a-zA-Z]"), CM3_OPTION' "$root"/tools/cm3/*.c | grep -oE -e '"-[-a-zA-Z0-9]+"' | tr -d '"' | sort -u); do
    grep -qx -e "$option" "$work/all" || { echo "$option is an option, but no --help tells of it"; failed=1; }
done

# Behind an option stands its value, where it takes one; else options again. Which it is the command itself says.
known() { # COMMAND: the spellings that its sources know
    local first
    first=$(grep -lE "^int cm3_command_${1//-/_}\(" "$root"/tools/cm3/*.c)
    grep -ohE '"-[-a-zA-Z0-9]+"( : NULL)?, (NULL|"-[a-zA-Z]"), CM3_OPTION' "${first%.c}"*.c | grep -oE -e '"-[-a-zA-Z0-9]+"' |
        tr -d '"' | sort -u
}
. "$root/tools/completion/cm3.bash"
offered() { # WORD...: the options that bash offers behind them
    COMP_WORDS=(cm3 "$@" '') COMP_CWORD=$(($# + 1))
    _cm3 || true
    printf '%s\n' "${COMPREPLY[@]}" | grep -e '^-'
}
for command in "${commands[@]}"; do
    words=("$command")
    case $command in bank) words+=(create) ;; train) words+=(bpe) ;; esac
    offered "${words[@]}" >"$work/completed" || { echo "nothing is completed behind cm3 ${words[*]}"; failed=1; }
    grep -qx -e --help "$work/completed" || { echo "cm3 $command --help is not completed"; failed=1; }
    for option in --help $(known "$command"); do
        said=$(env -u CM3_MODEL "$build/cm3" "${words[@]}" "$option" 2>&1 </dev/null || true)
        case $said in *'there is no option'*) continue ;; esac
        grep -qx -e "$option" "$work/completed" || { echo "cm3 $command --help has no line of $option"; failed=1; continue; }
        valued=no by_bash=no by_fish=no
        case $said in *'wants a value'*) valued=yes ;; esac
        offered "${words[@]}" "$option" >/dev/null || by_bash=yes
        case $option in --*) spelt="-l ${option#--}" ;; *) spelt="-s ${option#-}" ;; esac
        ! grep -qE -e "from $command' $spelt -r( |$)" "$root/tools/completion/cm3.fish" || by_fish=yes
        [ "$valued $by_bash $by_fish" = "$valued $valued $valued" ] ||
            { echo "cm3 $command $option takes a value: $valued; bash says $by_bash, fish $by_fish"; failed=1; }
    done
done

# First words, and what is said of them where the shells are here.
bash -c '. "$1"; COMP_WORDS=(cm3 gen); COMP_CWORD=1; _cm3; [ "${COMPREPLY[*]}" = generate ]' - "$root/tools/completion/cm3.bash" ||
    { echo "bash does not complete 'cm3 gen'"; failed=1; }
if command -v zsh >/dev/null; then zsh -n "$root/tools/completion/_cm3" || failed=1; fi
if command -v fish >/dev/null; then fish -n "$root/tools/completion/cm3.fish" || failed=1; fi
if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning "$root/docs/cm3.1" || failed=1
fi
exit $failed
