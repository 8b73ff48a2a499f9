#!/usr/bin/env python3
"""The interface, as scripts/abi-layout prints it, against what is recorded.

    layout.py SOURCE_DIR [CC]

Two things are checked: that it is what tests/abi/layout.txt says, so that no change goes unseen; and that it has only
grown since the first release of this API (tests/abi/MAJOR.0/): nothing is gone, moved, or of another type, new fields
stand behind all that older programs know (padding included) and in structs that begin with struct_size alone.
"""
import difflib
import re
import subprocess
import sys
from pathlib import Path


def read(text):
    """(kind, names) -> the rest of the line."""
    lines = {}
    for line in text.splitlines():
        kind, *words = line.split(" ")
        width = {"field": 2, "enum": 2}.get(kind, 1)
        lines[(kind, *words[:width])] = " ".join(words[width:])
    return lines


def growth(first, now):
    """What is not an addition at an end."""
    for key, value in first.items():
        kind, name = key[:2]
        if key not in now:
            yield f"{' '.join(key)}: is gone"
        elif kind == "struct":
            size, alignment = value.split()
            new_size, new_alignment = now[key].split()
            if int(new_size) < int(size) or new_alignment != alignment:
                yield f"struct {name}: was {value} and is {now[key]}"
            elif new_size != size and ("field", name, "struct_size") not in first:
                yield f"struct {name}: has no struct_size and may not grow"
        elif now[key] != value:
            yield f"{' '.join(key)}: was {value} and is {now[key]}"
    for key in now:
        if key[0] == "field" and key not in first and ("struct", key[1]) in first:
            size, offset = int(first[("struct", key[1])].split()[0]), int(now[key].split()[0])
            if offset < size:
                yield f"field {key[1]}.{key[2]}: at {offset}, within the {size} bytes that older programs know"


def main():
    root, compiler = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "cc"
    command = [sys.executable, root / "scripts/abi-layout", "--headers", root / "include", "--cc", compiler]
    now = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    recorded = (root / "tests/abi/layout.txt").read_text()
    major = re.search(r"CM3_API_VERSION_MAJOR (\d+)", (root / "include/cm3leon/base.h").read_text())[1]
    wrong = list(growth(read((root / f"tests/abi/{major}.0/layout.txt").read_text()), read(now)))
    if now != recorded:
        wrong += difflib.unified_diff(recorded.splitlines(), now.splitlines(), "recorded", "headers", lineterm="", n=1)
        wrong.append("the headers differ from tests/abi/layout.txt: see docs/abi.md, then run scripts/abi-baseline")
    print("\n".join(wrong) if wrong else f"{len(recorded.splitlines())} lines as recorded")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
