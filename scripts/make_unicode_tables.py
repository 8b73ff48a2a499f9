#!/usr/bin/env python3
"""Writes lib/text/unicode_tables.c from a JSON file of character classes.

    scripts/make_unicode_tables.py unicode_classes.json > lib/text/unicode_tables.c

The file holds {"tokenizers": version, "classes": {name: [[first, last], ...]}} with inclusive ranges, as enumerated
from the tokenizers library itself: its regular expressions, its digits and its punctuation follow three different
releases of Unicode, and the table has to be what they are together.
"""

import json
import sys

# The bits of lib/text/unicode.h, in their order.
BITS = ["L", "N", "s", "Digits", "Punctuation", "w"]
LIMIT = 0x110000


def flags_by_code(classes):
    flags = bytearray(LIMIT)
    for bit, name in enumerate(BITS):
        for first, last in classes[name]:
            if not 0 <= first <= last < LIMIT:
                sys.exit(f"{name}: bad range {first}..{last}")
            for code in range(first, last + 1):
                flags[code] |= 1 << bit
    return flags


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        data = json.load(file)
    flags = flags_by_code(data["classes"])
    runs = [code << 8 | flags[code] for code in range(LIMIT) if code == 0 or flags[code] != flags[code - 1]]
    print("/* Classes of all code points. Written by scripts/make_unicode_tables.py, do not edit.")
    print(f"   Source: the classes of tokenizers {data['tokenizers']}. */")
    print('#include "text/unicode.h"\n')
    print("/* Each run of code points with the same classes: its first code point in the upper 24 bits,")
    print("   the classes below. */")
    print("// clang-format off")
    print("const uint32_t cm3_unicode_runs[] = {")
    for at in range(0, len(runs), 10):
        print("    " + " ".join(f"0x{run:x}," for run in runs[at : at + 10]))
    print("};\n// clang-format on\n")
    print("const uint32_t cm3_unicode_run_count = sizeof cm3_unicode_runs / sizeof cm3_unicode_runs[0];")


if __name__ == "__main__":
    main()
