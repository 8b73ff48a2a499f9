#!/usr/bin/env python3
"""Each entry of CHANGELOG.md begins with what it means for programs, and the newest names the headers' version.

    changelog.py SOURCE_DIR
"""
import re
import sys
from pathlib import Path

VERDICT = re.compile(r"^\*\*Compatibility: .+\*\*$")


def main():
    root = Path(sys.argv[1])
    header = (root / "include/cm3leon/base.h").read_text()
    major, minor = (re.search(rf"CM3_API_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR"))
    entries = re.split(r"^## ", (root / "CHANGELOG.md").read_text(), flags=re.M)[1:]
    wrong = [] if entries else ["there is no entry"]
    for number, entry in enumerate(entries):
        title, *lines = entry.splitlines()
        first = next((line for line in lines if line.strip()), "")
        if not VERDICT.match(first):
            wrong.append(f"{title}: begins with {first!r}, not with **Compatibility: ...**")
        elif number == 0 and (f"API {major}.{minor}" not in first or f"SONAME {major}" not in first):
            wrong.append(f"{title}: the first line does not name API {major}.{minor} and SONAME {major}")
    print("\n".join(wrong) if wrong else f"{len(entries)} entries begin with their verdict")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
