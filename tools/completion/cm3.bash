# Completion of cm3 for bash. Made by scripts/make-man.
_cm3() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options='' valued='' parts=''
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'generate caption ask edit segment infill infill-text train info tokenize reconstruct encode-image decode-image convert bank embed logits --help --version' -- "$word")
        return
    fi
    case ${COMP_WORDS[1]} in
    generate) options='--bank --batch --beams --best --chat --compute --contrast --contrast-k --contrast-last --count --encoder --greedy --guidance --guidance-scale --head-rows --help --ids --image --image-guidance --json --kv --layout --min-tokens --modality --model --n-tokens --out-dir --output --parallel --preview --prompt --prompts --quality --quiet --repetition --retrieve --seed --sheet --show-retrieved --stop --temperature --threads --timings --top-k --top-p --vqgan -m -n -o -p -q'
        valued='--bank --batch --beams --best --compute --contrast --contrast-k --contrast-last --count --encoder --guidance --guidance-scale --head-rows --ids --image --image-guidance --kv --layout --min-tokens --modality --model --n-tokens --out-dir --output --parallel --preview --prompt --prompts --quality --repetition --retrieve --seed --sheet --stop --temperature --threads --top-k --top-p --vqgan -m -n -o -p'
        parts='' ;;
    caption) options='--bank --batch --beams --best --box --count --guidance --help --image-guidance --json --model --out-dir --output --prompt --prompts --quiet --retrieve --seed --show-retrieved --tasks --temperature --threads -m -n -o -p -q'
        valued='--bank --batch --beams --best --box --count --guidance --image-guidance --model --out-dir --output --prompt --prompts --retrieve --seed --tasks --temperature --threads -m -n -o -p'
        parts='' ;;
    ask) options='--bank --batch --beams --best --box --count --guidance --help --image-guidance --json --model --out-dir --output --prompt --prompts --quiet --retrieve --seed --show-retrieved --tasks --temperature --threads -m -n -o -p -q'
        valued='--bank --batch --beams --best --box --count --guidance --image-guidance --model --out-dir --output --prompt --prompts --retrieve --seed --tasks --temperature --threads -m -n -o -p'
        parts='' ;;
    edit) options='--bank --batch --beams --best --box --count --guidance --help --image-guidance --json --model --out-dir --output --prompt --prompts --quiet --retrieve --seed --show-retrieved --tasks --temperature --threads -m -n -o -p -q'
        valued='--bank --batch --beams --best --box --count --guidance --image-guidance --model --out-dir --output --prompt --prompts --retrieve --seed --tasks --temperature --threads -m -n -o -p'
        parts='' ;;
    segment) options='--bank --batch --beams --best --box --count --guidance --help --image-guidance --json --model --out-dir --output --prompt --prompts --quiet --retrieve --seed --show-retrieved --tasks --temperature --threads -m -n -o -p -q'
        valued='--bank --batch --beams --best --box --count --guidance --image-guidance --model --out-dir --output --prompt --prompts --retrieve --seed --tasks --temperature --threads -m -n -o -p'
        parts='' ;;
    infill) options='--bank --batch --beams --best --box --count --guidance --help --image-guidance --json --model --out-dir --output --prompt --prompts --quiet --retrieve --seed --show-retrieved --tasks --temperature --threads -m -n -o -p -q'
        valued='--bank --batch --beams --best --box --count --guidance --image-guidance --model --out-dir --output --prompt --prompts --retrieve --seed --tasks --temperature --threads -m -n -o -p'
        parts='' ;;
    infill-text) options='--bank --batch --beams --best --box --count --guidance --help --image-guidance --json --model --out-dir --output --prompt --prompts --quiet --retrieve --seed --show-retrieved --tasks --temperature --threads -m -n -o -p -q'
        valued='--bank --batch --beams --best --box --count --guidance --image-guidance --model --out-dir --output --prompt --prompts --retrieve --seed --tasks --temperature --threads -m -n -o -p'
        parts='' ;;
    train) options='--accumulation --adversarial --adversarial-from --answers-only --attend --bank --batch-size --beta1 --beta2 --block-size --caption-dropout --chunk --clip --codebook --codebook-decay --commitment --compute --config --cost-weight --data --fresh --help --image-codes --init --initial-scale --l1 --l2 --log-every --lr --masking --memory-limit --min-frequency --min-lr-ratio --mixture --most-retrieved --out-dir --output --quantise-from --query-documents --query-weight --quiet --retrieved-weight --revival --run --save-every --schedule --seed --sentinels --skip-steps --steps --stop-at --tasks --text-weight --threads --together --tokenizer --validate-every --validation --vocab-size --vq --warmup --weight-average --weight-decay --weights -d -o -q'
        valued='--accumulation --adversarial --adversarial-from --attend --bank --batch-size --beta1 --beta2 --block-size --caption-dropout --chunk --clip --codebook --codebook-decay --commitment --compute --config --cost-weight --data --image-codes --init --initial-scale --l1 --l2 --log-every --lr --masking --memory-limit --min-frequency --min-lr-ratio --mixture --most-retrieved --out-dir --output --quantise-from --query-weight --retrieved-weight --revival --run --save-every --schedule --seed --sentinels --skip-steps --steps --stop-at --tasks --text-weight --threads --together --tokenizer --validate-every --validation --vocab-size --vq --warmup --weight-average --weight-decay --weights -d -o'
        parts='bpe vq encode costs lm sft encoder' ;;
    info) options='--help --json --verify --vqgan'
        valued='--vqgan'
        parts='' ;;
    tokenize) options='--decode --help --model --no-special --plain --skip-special --vqgan -m'
        valued='--model --vqgan -m'
        parts='' ;;
    reconstruct) options='--help --json --model --out-dir --output --threads --vqgan -m -o'
        valued='--model --out-dir --output --threads --vqgan -m -o'
        parts='' ;;
    encode-image) options='--help --model --output --preprocess --threads --vqgan -m -o'
        valued='--model --output --preprocess --threads --vqgan -m -o'
        parts='' ;;
    decode-image) options='--help --model --output --threads --vqgan -m -o'
        valued='--model --output --threads --vqgan -m -o'
        parts='' ;;
    convert) options='--block --embeddings --encoder --head --head-rows --help --quiet --threads --vqgan --weights'
        valued='--block --embeddings --encoder --head --head-rows --threads --vqgan --weights'
        parts='' ;;
    bank) options='--batch --by-image --by-text --dimension --ef --ef-construction --help --image --json --keep-own --m --model --most-score --near --no-index --out-dir --output --own-first --pictures --prompt --query-dropout --quiet --threads --vectors --way -k -m -o -p -q'
        valued='--batch --by-image --by-text --dimension --ef --ef-construction --image --m --model --most-score --near --out-dir --output --own-first --pictures --prompt --query-dropout --threads --vectors --way -k -m -o -p'
        parts='create add import index search delete info verify compact merge export neighbours' ;;
    embed) options='--help --images --model --output --quiet --raw --texts --threads -m -o -q'
        valued='--images --model --output --texts --threads -m -o'
        parts='' ;;
    logits) options='--compute --head-rows --help --hidden --ids --mask-image-tokens --model --output --threads --vqgan -m -o'
        valued='--compute --head-rows --ids --model --output --threads --vqgan -m -o'
        parts='' ;;
    esac
    if [[ " $valued " == *" $before "* ]]; then
        compopt -o default 2>/dev/null
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [ "$COMP_CWORD" -eq 2 ] && [ -n "$parts" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$parts" -- "$word")
    elif [ -z "$word" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" && compgen -f)
        compopt -o filenames 2>/dev/null
    else
        compopt -o default 2>/dev/null
    fi
}
complete -F _cm3 cm3
