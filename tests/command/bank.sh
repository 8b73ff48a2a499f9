#!/usr/bin/env bash
# Memory banks from the shell: made, filled, searched, emptied, exported, drawn with. Usage: bank.sh CM3 EVALUATE MODEL
set -uo pipefail
cm3=$(realpath "$1") evaluate=$(realpath "$2") model=$(realpath "$3")
parity=$(realpath "$(dirname "$0")/../data/parity")
. "$(dirname "$0")/expect.sh"

count() { # LINES COMMAND...: prints exactly so many lines
    local lines=$1
    shift
    [ "$("$@" 2>/dev/null | wc -l)" -eq "$lines" ]
}

same() { # WORDS COMMAND...: prints exactly this
    local words=$1
    shift
    [ "$("$@" 2>/dev/null)" = "$words" ]
}

# Twenty emblems that nobody has heard of: RECORDS of key, text and picture.
"$evaluate" quiz --task emblem-new --count 20 --seed 5 new >/dev/null || exit 1
records=new/records.jsonl
name() { sed -n "$1s/.*\"key\":\"\([^\"]*\)\".*/\1/p" "$records"; }
first=$(name 1) second=$(name 2)

# --- made and filled
expect 2 "Usage" "$cm3" bank
expect 0 "" "$cm3" bank create a.bank -m "$model"
expect 1 "a.bank" "$cm3" bank create a.bank -m "$model"
expect 1 "nowhere.bank" "$cm3" bank info nowhere.bank
expect 0 "" "$cm3" bank add a.bank -m "$model" "$records" -q
holds "twenty records" same 20 sh -c "'$cm3' bank info a.bank --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"records\"])'"
expect 0 "" "$cm3" bank add a.bank -m "$model" "$records" -q
holds "none of them twice" same 20 sh -c "'$cm3' bank info a.bank --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"records\"])'"
printf '{"text": 5}\n' >wrong.jsonl
expect 1 "wrong.jsonl" "$cm3" bank add a.bank -m "$model" wrong.jsonl
printf '{"key": "x", "text": "a picture", "image": "nowhere.png"}\n' >wrong.jsonl
expect 1 "nowhere.png" "$cm3" bank add a.bank -m "$model" wrong.jsonl

# --- searched: a name by its letters, a picture by itself
top() { "$cm3" bank search "$@" -k 1 --json 2>/dev/null | python3 -c 'import json,sys; print(json.load(sys.stdin)["key"])'; }
holds "a name is found" same "$first" top a.bank -m "$model" -p "the emblem of $first"
holds "-p may be left out" same "$first" top a.bank "the emblem of $first" -m "$model"
expect 2 "a text goes in quotes" "$cm3" bank search a.bank -m "$model" the emblem
expect 2 "one of them, is expected" "$cm3" bank search a.bank "the emblem" -m "$model" --batch new/requests.jsonl
expect 2 "one of them, is expected" "$cm3" bank search a.bank "the emblem" -m "$model" --image new/wanted/0001.png
expect 2 "words too many" "$cm3" bank search a.bank "the emblem" -m "$model" -p "the emblem"
holds "a picture is found" same "$second" top a.bank -m "$model" --image new/wanted/0001.png
expect 0 "$first" "$cm3" bank search a.bank -m "$model" -p "the emblem of $first" -k 3 -o sheet.jpg
holds "a sheet of what was found" test -s sheet.jpg
expect 2 "-p" "$cm3" bank search a.bank -m "$model"
expect 1 "" "$cm3" bank search a.bank -m "$model" --image nowhere.png
head -3 new/requests.jsonl >three.jsonl
holds "a line of answers a line" count 3 "$cm3" bank search a.bank -m "$model" --batch three.jsonl -k 2
expect 0 "" "$cm3" bank index a.bank -q
holds "through a graph as well" same "$first" top a.bank -m "$model" -p "the emblem of $first" --way graph

expect 1 "nowhere.jsonl: the file cannot be read" "$cm3" bank search a.bank -m "$model" --batch nowhere.jsonl
holds "which is said once" test "$(wc -l <err)" -eq 1
mkfifo pipe
sleep 60 >pipe &
sleeper=$!
"$cm3" bank search a.bank -m "$model" --batch - -q <pipe 2>err &
interrupted "a search that waits for lines"
kill $sleeper

# --- exported; what an export says makes the same bank again
"$cm3" bank export a.bank --json -m "$model" --pictures pictures >exported.jsonl 2>/dev/null
holds "all are exported" test "$(wc -l <exported.jsonl)" -eq 20
holds "without a score, for nothing was asked" sh -c "! grep -q score exported.jsonl"
expect 1 "nowhere/pictures: the directory could not be made" "$cm3" bank export a.bank -m "$model" --pictures nowhere/pictures
holds "and nothing is exported" test ! -s out
"$cm3" bank export a.bank >exported.txt 2>/dev/null
holds "nor has it one as text" test "$(head -1 exported.txt | cut -d: -f1)" = "$first"
expect 1 "nowhere/v.npy: the file could not be written" "$cm3" bank export a.bank --vectors nowhere/v.npy
holds "which is said once" test "$(wc -l <err)" -eq 1
expect 0 "" "$cm3" bank create b.bank -m "$model" --vectors int8
expect 0 "" "$cm3" bank add b.bank -m "$model" exported.jsonl -q
holds "and found again" same "$first" top b.bank -m "$model" -p "the emblem of $first"

# --- taken out, compacted, merged
expect 0 "" "$cm3" bank delete a.bank "$first"
expect 1 "Nobody" "$cm3" bank delete a.bank Nobody
holds "what was taken out is not found" sh -c "! '$cm3' bank search a.bank -m '$model' -p 'the emblem of $first' -k 20 --json | grep -q '\"$first\"'"
expect 0 "" "$cm3" bank compact a.bank -q
expect 0 "" "$cm3" bank verify a.bank
holds "nineteen are left" count 19 "$cm3" bank export a.bank --json
expect 0 "" "$cm3" bank create c.bank -m "$model"
expect 0 "" "$cm3" bank merge c.bank a.bank
holds "merged" count 19 "$cm3" bank export c.bank --json

# --- damage is found and named
cp a.bank damaged.bank
printf '\377' | dd of=damaged.bank bs=1 seek=$(($(stat -c %s damaged.bank) / 2)) conv=notrunc 2>/dev/null
cmp -s a.bank damaged.bank && printf '\0' | dd of=damaged.bank bs=1 seek=$(($(stat -c %s damaged.bank) / 2)) conv=notrunc 2>/dev/null
expect 1 "damaged.bank" "$cm3" bank verify damaged.bank
head -c 100 a.bank >short.bank
expect 1 "short.bank" "$cm3" bank info short.bank
: >empty.bank
expect 1 "empty.bank" "$cm3" bank info empty.bank

# --- a bank of another encoder: both are named
expect 1 "encoder" "$cm3" bank search a.bank -m "$parity/clip" -p x
expect 1 "no encoder" "$cm3" generate -m "$parity/chameleon" --bank a.bank -p x -o x.jpg

# --- drawn with
expect 0 "retrieved" "$cm3" generate -m "$model" --bank b.bank --retrieve 2 --show-retrieved -p "the emblem of $first" --seed 3 -o with.jpg
expect 0 "looked up" "$cm3" generate -m "$model" --bank b.bank --retrieve 1 --timings -p "the emblem of $first" --seed 3 -o again.jpg
expect 0 "" "$cm3" generate -m "$model" -p "the emblem of $first" --seed 3 -o without.jpg
holds "what was looked up changes the picture" sh -c "! cmp -s with.jpg without.jpg"
expect 2 "--bank" "$cm3" generate -m "$model" --show-retrieved -p x
expect 1 "nowhere.bank" "$cm3" generate -m "$model" --bank nowhere.bank -p x

summary
