#!/usr/bin/env python3
"""Compares cm3 tokenize with the tokenizers library on random texts, as many as are asked for.

    compare.py CM3 [--count N] [--seed S] [--tokenizers K] [--scalars] [TOKENIZER.json...]

Without files, the two tokenizers of tests/data/parity. For each file N (20,000) texts of mixed scripts, marks, emoji
sequences, white space and controls; with --scalars also each of Unicode's 1,112,064 scalars alone and between letters;
then K (50) random tokenizers of all components with a few texts each. Needs the tokenizers library (made with 0.23.3),
so it is no part of scripts/test. Differences go to standard output; the exit code is 1 where there are any.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

from make_fixture import hard_text, random_case_text, random_tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
MARKS = "\u0300\u0301\u0307\u0316\u031b\u0327\u0345\u0489\u05b0\u064b\u0670\u093c\u094d\u0e31\u0f71\u0f72\u1ab0\u20d0\u3099\u309a\ufe0f\ufe0e"
EMOJI = [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea",
    "\U0001f1fa\U0001f1f8\U0001f1eb",
    "\u2764\ufe0f\u200d\U0001f525",
    "1\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "\U0001f9d1\U0001f3ff\u200d\u2695\ufe0f",
    "\u263a\ufe0e",
    "\U0001fae8",
]
SPACES = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u180e\u2000\u2003\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
SCRIPTS = [
    (0x41, 0x5B), (0x61, 0x7B), (0x30, 0x3A), (0xC0, 0x180), (0x370, 0x400), (0x400, 0x530), (0x531, 0x590),
    (0x5D0, 0x5EB), (0x610, 0x700), (0x700, 0x800), (0x860, 0x900), (0x900, 0xE00), (0xE01, 0xF00), (0xF00, 0x1000),
    (0x1000, 0x1200), (0x1200, 0x1400), (0x13A0, 0x1700), (0x1780, 0x1900), (0x1C80, 0x1CC8), (0x1D00, 0x2000),
    (0x2000, 0x2070), (0x2070, 0x2100), (0x2100, 0x2190), (0x2190, 0x2600), (0x2600, 0x2800), (0x2C00, 0x2E80),
    (0x3040, 0x3100), (0x3100, 0x3400), (0x4E00, 0x9FFF), (0xA4D0, 0xA840), (0xA720, 0xA800), (0xAC00, 0xD7A4),
    (0x1100, 0x1200), (0xF900, 0xFB50), (0xFB50, 0xFE00), (0xFE30, 0xFF00), (0xFF00, 0xFFF0), (0x10100, 0x10380),
    (0x10400, 0x10600), (0x10800, 0x10D70), (0x10E60, 0x10F00), (0x11000, 0x12000), (0x16100, 0x16140),
    (0x16E40, 0x16F00), (0x1B000, 0x1B300), (0x1D100, 0x1D200), (0x1D400, 0x1D800), (0x1E000, 0x1E960),
    (0x1EC70, 0x1EF00), (0x1F100, 0x1F200), (0x1F300, 0x1FB00), (0x20000, 0x2A700), (0xE0000, 0xE0200),
    (0xF0000, 0xF0100), (0x0, 0x20), (0x7F, 0xA0), (0x0, 0x110000),
]  # fmt: skip
NAMES = ["<s>", "</s>", "<image>", "<|endoftext|>", "<|startoftext|>", "<sentinel:3>", "IMGIMGBZ", "<racm3:break>"]


def scalar(rng, low, high):
    code = rng.randrange(low, high)
    return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"


def mixed_text(rng):
    """A few runs, each of one kind."""
    out = []
    for _ in range(rng.randrange(1, 9)):
        kind = rng.randrange(9)
        if kind < 3:
            low, high = rng.choice(SCRIPTS)
            out += [scalar(rng, low, high) for _ in range(rng.randrange(1, 6))]
        elif kind == 3:
            out += [rng.choice(SPACES) for _ in range(rng.randrange(1, 5))]
        elif kind == 4:
            out.append(rng.choice("aeiouAEIKÅΩ가か") + "".join(rng.choice(MARKS) for _ in range(rng.randrange(1, 5))))
        elif kind == 5:
            out.append("".join(rng.choice(EMOJI) for _ in range(rng.randrange(1, 3))))
        elif kind == 6:
            out.append(rng.choice(NAMES))
        elif kind == 7:
            out.append(str(rng.randrange(10 ** rng.randrange(1, 9))))
        else:
            out.append(rng.choice(["don't", "the dog", "I'LL", "'s's", "...", " - ", "A.B.", "photo of a cat", "e\u0301"]))
    return "".join(out)


def scalars():
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for at in range(0, len(codes), 48):  # in threes: alone, within a word, behind a mark
        part = [chr(code) for code in codes[at : at + 48]]
        yield "\n".join(part)
        yield "a" + "a1".join(part)
        yield "E\u0301".join(part)


def ours(cm3, path, lines, *options):
    given = "".join(json.dumps(line) + "\n" for line in lines)
    run = subprocess.run([cm3, "tokenize", "-m", path, *options], input=given, capture_output=True, text=True)
    if run.returncode:
        return [f"exit code {run.returncode}: {run.stderr.strip()}"] * len(lines)
    return [json.loads(line) for line in run.stdout.split("\n")[:-1]]


def report(path, what, lines, expected, found):
    wrong = [i for i in range(len(lines)) if found[i] != expected[i]]
    for i in wrong[:5]:
        print(f"{path}: {what}: {json.dumps(lines[i])}\n  expected {expected[i]}\n  found    {found[i]}")
    return len(wrong)


def compare(cm3, path, texts):
    """How many results differ."""
    tokenizer = Tokenizer.from_file(path)
    full = [e.ids for e in tokenizer.encode_batch(texts)]
    bare = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    wrong = report(path, "ids", texts, full, ours(cm3, path, texts))
    wrong += report(path, "--no-special", texts, bare, ours(cm3, path, texts, "--no-special"))
    with open(path, encoding="utf-8") as file:
        description = json.load(file)
    renamed = description["normalizer"] and any(token["normalized"] for token in description["added_tokens"])
    for skip in (False,) if renamed else (False, True):  # as make_fixture.py: there ours differ on purpose
        decoded = [tokenizer.decode(ids, skip_special_tokens=skip) for ids in full]
        options = ["--decode", "--skip-special"] if skip else ["--decode"]
        found = ours(cm3, path, full, *options)
        if "ByteFallback" in json.dumps(description["decoder"]):
            found = [decoded[i] if "\ufffd" in decoded[i] else text for i, text in enumerate(found)]
        wrong += report(path, " ".join(options), full, decoded, found)
    return wrong


def check_names(tokenizer):
    """Of names that normalize alike any may be found, and empty ones are refused: no question to be asked."""
    names = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.normalized]
    found = {tokenizer.normalizer.normalize_str(name) for name in names} if tokenizer.normalizer else set(names)
    if len(found) < len(names) or "" in found:
        raise ValueError(names)
    return tokenizer


def compare_random(cm3, rng, count, folder):
    wrong = made = 0
    path = os.path.join(folder, "random.json")
    while made < count:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(random_tokenizer(rng), file)
        texts = [random_case_text(rng) if rng.random() < 0.5 else mixed_text(rng) for _ in range(40)]
        try:
            check_names(Tokenizer.from_file(path)).encode_batch(texts)
        except KeyboardInterrupt:
            raise
        except BaseException:  # the library panics on some combinations, which is no Exception
            continue
        found = compare(cm3, path, texts)
        if found:
            os.rename(path, os.path.join(folder, f"random-{made}.json"))
            print(f"  that was tokenizer {made}, kept as {folder}/random-{made}.json")
        wrong += found
        made += 1
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cm3")
    parser.add_argument("files", nargs="*", metavar="TOKENIZER.json")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--tokenizers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scalars", action="store_true")
    options = parser.parse_args()
    rng, wrong = random.Random(options.seed), 0
    parity = os.path.join(HERE, "..", "parity")
    for path in options.files or [os.path.join(parity, name, "tokenizer.json") for name in ("chameleon", "clip")]:
        texts = [mixed_text(rng) if i % 2 else hard_text(rng) for i in range(options.count)]
        texts += list(scalars()) if options.scalars else []
        found = compare(options.cm3, path, texts)
        print(f"{path}: {len(texts)} texts, {found} differences", flush=True)
        wrong += found
    folder = tempfile.mkdtemp(prefix="cm3-compare-")
    found = compare_random(options.cm3, rng, options.tokenizers, folder)
    print(f"{options.tokenizers} random tokenizers, {found} differences")
    if not found:
        os.path.exists(os.path.join(folder, "random.json")) and os.remove(os.path.join(folder, "random.json"))
        os.rmdir(folder)
    return 1 if wrong + found else 0


if __name__ == "__main__":
    sys.exit(main())
