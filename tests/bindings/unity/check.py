#!/usr/bin/env python3
"""What the managed side believes of structs, enums and functions, against the headers and a C compiler.

    check.py SOURCE_DIR CC TESTS_EXE WORK_DIR
"""
import re
import subprocess
import sys
from pathlib import Path

# The managed enums' names for those of the headers, and of single values that have another name.
ENUMS = {"Status": "CM3_ERROR_", "LoadMode": "CM3_LOAD_", "Modality": "CM3_MODALITY_", "Compute": "CM3_COMPUTE_",
         "CacheType": "CM3_KV_", "EncodeFlags": "CM3_ENCODE_", "EventKind": "CM3_EVENT_", "EndReason": "CM3_END_",
         "SegmentKind": "CM3_SEGMENT_", "PictureFormat": "CM3_IMAGE_"}
OTHERS = {("Status", "Ok"): "CM3_OK", ("Status", "IO"): "CM3_ERROR_IO", ("EventKind", "Preview"): "CM3_EVENT_IMAGE_ROWS",
          ("EventKind", "Picture"): "CM3_EVENT_IMAGE", ("Compute", "F32"): "CM3_COMPUTE_F32",
          ("Compute", "BF16"): "CM3_COMPUTE_BF16", ("CacheType", "F32"): "CM3_KV_F32", ("CacheType", "BF16"): "CM3_KV_BF16"}
KINDS = {"void": "void", "int": "int32", "int32_t": "int32", "uint32_t": "uint32", "uint64_t": "uint64", "size_t": "size"}


def lines(exe, option):
    out = subprocess.run(["mono", str(exe), option], check=True, capture_output=True, text=True).stdout
    return [line.split() for line in out.splitlines()]


def constant(enum, name):
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
    return OTHERS.get((enum, name), ENUMS[enum] + words)


def assertions(rows):
    """A C file that compiles only where all is as the rows say."""
    yield '#include <cm3leon/cm3leon.h>'
    for row in rows:
        if row[0] == "size":  # the library's may have grown at its end
            yield f'_Static_assert({row[2]} <= sizeof({row[1]}), "size of {row[1]}");'
        elif row[0] == "field":
            _, struct, field, offset, size = row
            yield f'_Static_assert(offsetof({struct}, {field}) == {offset}, "offset of {struct}.{field}");'
            yield f'_Static_assert(sizeof((({struct} *)0)->{field}) == {size}, "size of {struct}.{field}");'
        else:
            yield f'_Static_assert({constant(row[1], row[2])} == {row[3]}, "{row[1]}.{row[2]}");'


def functions(root, cc):
    """Name -> kinds of result and parameters, of every function in the headers."""
    text = subprocess.run([cc, "-E", "-P", f"-I{root}/include", "-"], input="#include <cm3leon/cm3leon.h>\n",
                          check=True, capture_output=True, text=True).stdout
    enums = set(re.findall(r"typedef enum (\w+)", text))

    def kind(words):
        if "*" in words or re.search(r"\bcm3_event_fn\b", words):
            return "pointer"
        names = [word for word in re.findall(r"\w+", words) if word != "const"]
        return "int32" if names[0] in enums else KINDS.get(names[0], names[0])

    found = {}
    pattern = r'__attribute__\(\(visibility\("default"\)\)\) ([^;()]*?)\b(cm3_\w+)\(([^;]*)\);'
    for result, name, parameters in re.findall(pattern, text):
        # A function pointer as a parameter has commas of its own.
        parts = re.sub(r"\(\*\w*\)\([^)]*\)", "*", parameters).split(",")
        found[name] = [kind(result)] + ([] if parameters.strip() == "void" else [kind(part) for part in parts])
    return found


def main():
    root, cc, exe, work = sys.argv[1:]
    rows = lines(exe, "--layout")
    counts = {what: sum(row[0] == what for row in rows) for what in ("size", "field", "value")}
    if min(counts.values()) < 15:
        sys.exit(f"too little was told: {counts}")
    source = Path(work) / "layout.c"
    source.write_text("\n".join(assertions(rows)) + "\n")
    subprocess.run([cc, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", f"-I{root}/include", str(source)], check=True)
    declared, wrong, imports = functions(root, cc), 0, lines(exe, "--imports")
    for _, name, *kinds in imports:
        if declared.get(name) != kinds:
            print(f"{name}: the headers have {declared.get(name)}, the package {kinds}")
            wrong += 1
    if len(imports) < 50 or wrong:
        sys.exit(f"{len(imports)} functions are imported, {wrong} of them wrong")
    print(f"{counts['size']} structs, {counts['field']} fields, {counts['value']} values, {len(imports)} functions agree")


if __name__ == "__main__":
    main()
