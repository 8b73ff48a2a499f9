#!/usr/bin/env python3
"""The table of docs/embedding.md: complaints 1 to 28, each with tests that exist or a heading of a guide that does.

    embedding.py SOURCE_DIR

The last column holds, in backticks, FILE:NAME: a case of Check's (START_TEST(NAME)), a function of a Python or shell
test, or, with a Markdown file, a heading.
"""
import re
import sys
from pathlib import Path

ROW = re.compile(r"^\| (\d+) \|(.*)\|([^|]*)\|$", re.M)


def exists(root, reference):
    """None, or what is wrong with FILE:NAME."""
    file, _, name = reference.partition(":")
    path = root / file
    if not name:
        return "names no case"
    if not path.is_file():
        return "there is no such file"
    text, word = path.read_text(encoding="utf-8"), re.escape(name)
    pattern = {".md": rf"^#+ {word}$", ".py": rf"^\s*(async )?def {word}\(", ".sh": rf"^(# {word}\b|{word}\(\))",
               ".c": rf"START_TEST\({word}\)", ".cpp": rf"\b{word}\(", ".cs": rf"\b{word}\("}.get(path.suffix, word)
    if not re.search(pattern, text, re.M):
        return "there is no such case in it"
    # A case that no suite runs is none.
    if path.suffix == ".c" and not re.search(rf"tcase_add_\w*test\w*\(\w+, {word}\b", text):
        return "no suite runs it"
    return None


def main():
    root = Path(sys.argv[1])
    text = (root / "docs/embedding.md").read_text(encoding="utf-8")
    wrong, seen = [], []
    for number, answer, tests in ROW.findall(text):
        seen.append(int(number))
        references = re.findall(r"`([^`]+)`", tests)
        if not references:
            wrong.append(f"complaint {number}: names no test")
        if len(answer.split("|")) != 2 or not all(cell.strip() for cell in answer.split("|")):
            wrong.append(f"complaint {number}: complaint or answer is missing")
        wrong += [f"complaint {number}: {r}: {why}" for r in references if (why := exists(root, r))]
    if seen != list(range(1, 29)):
        wrong.append(f"the table has rows {seen}, not 1 to 28")
    print("\n".join(wrong) if wrong else "28 complaints, each with tests that exist")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
