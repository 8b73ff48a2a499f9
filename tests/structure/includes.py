#!/usr/bin/env python3
"""Includes between folders, against the table of docs/architecture.md.

    includes.py SOURCE_DIR
"""
import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)
ROW = re.compile(r"^\| `lib/(\w+)/` \|[^|]*\| ([^|]*) \|$", re.M)


def read_table(root):
    """Folder -> the folders that it may use; "all above" means the rows before it."""
    allowed = {}
    for folder, uses in ROW.findall((root / "docs/architecture.md").read_text()):
        uses = uses.strip()
        names = list(allowed) if uses == "all above" else [] if uses == "–" else uses.split(", ")
        unknown = [name for name in names if name not in allowed]
        if unknown:
            sys.exit(f"docs/architecture.md: lib/{folder}/ may use {unknown}, which no row above names")
        allowed[folder] = set(names) | {folder, "cm3leon"}
    return allowed


# Folders of Unreal's own headers.
ENGINE = {"Components", "Engine", "Modules"}


def check(root):
    allowed = read_table(root)
    folders = {path.name for path in (root / "lib").iterdir() if path.is_dir() and any(path.rglob("*.[ch]"))}
    for folder in sorted(folders - set(allowed)):
        yield f"docs/architecture.md: the table has no row for lib/{folder}/"
    sources = [path for top in ("lib", "tools", "examples", "bindings") for path in (root / top).rglob("*")
               if path.suffix in (".c", ".h", ".inc")]
    for path in sorted(sources):
        place = path.relative_to(root)
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            name = match[1] or match[2]
            where = f"{place}:{text.count(chr(10), 0, match.start()) + 1}"
            top = name.split("/")[0] if "/" in name else None
            if "dnnl" in name and place.parts[:3] != ("lib", "nn", "onednn"):
                yield f"{where}: oneDNN is included outside lib/nn/onednn/"
            if "libpq" in name and place.parts[:2] != ("lib", "pgvector"):
                yield f"{where}: libpq is included outside lib/pgvector/"
            if name == "mpi.h" and place.parts[:2] != ("tools", "mpi"):
                yield f"{where}: MPI is included outside tools/mpi/"
            if match[1] is None:
                continue
            if place.parts[0] == "lib":
                if top is None:
                    yield f"{where}: \"{name}\" names no folder"
                elif top not in allowed.get(place.parts[1], set()):
                    yield f"{where}: lib/{place.parts[1]}/ may not use {top}"
            elif place.parts[:2] == ("bindings", "unreal") and top in ENGINE:
                continue
            elif top not in (None, "cm3leon") and (place.parts[0] != "bindings" or top != ".."):
                yield f"{where}: only the public headers may be used here, not \"{name}\""


def main():
    wrong = list(check(Path(sys.argv[1])))
    print("\n".join(wrong) if wrong else "all includes are allowed")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
