#!/usr/bin/env python3
"""Writes src/cm3leon/_capi.py, the ctypes mirror of the public headers. Needs a C preprocessor and pycparser.

    generate_capi.py            writes the file
    generate_capi.py --check    only tells whether it is what the headers say
"""
from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from pycparser import CParser, c_ast

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
TARGET = HERE / "src/cm3leon/_capi.py"

# What the headers take from the system's, so that nothing of a particular C library is parsed.
SYSTEM = {
    "stddef.h": "typedef unsigned long size_t;\n#define NULL ((void *)0)\n",
    "stdint.h": "".join(f"typedef {kind} {name}_t;\n" for name, kind in (
        ("int8", "signed char"), ("uint8", "unsigned char"), ("int16", "short"), ("uint16", "unsigned short"),
        ("int32", "int"), ("uint32", "unsigned"), ("int64", "long"), ("uint64", "unsigned long"))),
}

SCALARS = {  # C's name: (ctypes' name, Python's type of a field)
    "int": ("c_int", "int"), "unsigned": ("c_uint", "int"), "unsigned int": ("c_uint", "int"),
    "float": ("c_float", "float"), "double": ("c_double", "float"), "size_t": ("c_size_t", "int"),
    "char": ("c_char", "bytes"), "_Bool": ("c_bool", "bool"),
    **{f"{sign}int{bits}_t": (f"c_{sign}int{bits}", "int") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}

HEAD = '''"""The C interface of libcm3leon, one to one: every struct, enum and function of its headers.

Written by generate_capi.py from include/cm3leon/*.h; not to be changed by hand. The headers say what things do.
"""
from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure
from ctypes import c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64
from ctypes import c_void_p
from typing import Any, Callable, Dict, List, Tuple

from ._lib import bind as _bind
from ._lib import check as _check
'''


class Mirror:
    """What the headers declare, as lines of Python in the headers' own order."""

    def __init__(self, tree: c_ast.FileAST) -> None:
        self.lines: List[str] = []
        self.enums: Dict[str, List[str]] = {}
        self.values: Dict[str, int] = {}
        self.structs: List[str] = []
        self.opaque: List[str] = []
        self.callbacks: Dict[str, None] = {}
        self.functions: List[str] = []
        self.defined = {node.type.type.name for node in tree.ext
                        if isinstance(node, c_ast.Typedef) and isinstance(node.type, c_ast.TypeDecl)
                        and isinstance(node.type.type, c_ast.Struct) and node.type.type.decls}
        for node in tree.ext:
            if isinstance(node, c_ast.Typedef):
                self.typedef(node)
            elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
                self.function(node)

    def typedef(self, node: c_ast.Typedef) -> None:
        kind = node.type
        if isinstance(kind, c_ast.PtrDecl) and isinstance(kind.type, c_ast.FuncDecl):
            self.callback(node.name, kind.type)
        elif isinstance(kind, c_ast.TypeDecl) and isinstance(kind.type, c_ast.Enum):
            self.enum(node.name, kind.type)
        elif isinstance(kind, c_ast.TypeDecl) and isinstance(kind.type, c_ast.Struct):
            self.struct(node.name, kind.type)

    def enum(self, name: str, node: c_ast.Enum) -> None:
        self.enums[name] = []
        self.lines += ["", f"{name} = c_int"]
        value = -1
        for item in node.values.enumerators:
            value = self.number(item.value) if item.value is not None else value + 1
            self.values[item.name] = value
            self.enums[name].append(item.name)
            self.lines.append(f"{item.name} = {value}")

    def number(self, node: c_ast.Node) -> int:
        if isinstance(node, c_ast.Constant):
            return int(node.value, 0)
        if isinstance(node, c_ast.UnaryOp) and node.op == "-":
            return -self.number(node.expr)
        raise SystemExit(f"{node.coord}: the value of this enumerator is not understood")

    def struct(self, name: str, node: c_ast.Struct) -> None:
        if not node.decls:
            if name in self.defined or name in self.opaque:
                return
            self.opaque.append(name)
            self.lines += ["", "", f"class {name}(Structure):", '    """Opaque."""', ""]
            return
        self.structs.append(name)
        fields, notes = [], []
        for field in node.decls:
            inner = field.type
            if isinstance(inner, c_ast.PtrDecl) and isinstance(inner.type, c_ast.FuncDecl):
                self.callback(f"{name}_{field.name}", inner.type)
                spelt, note = f"{name}_{field.name}", "Any"
            else:
                spelt, note = self.spell(inner)
            fields.append(f'        ("{field.name}", {spelt}),')
            notes.append(f"    {field.name}: {note}")
        self.lines += ["", "", f"class {name}(Structure):", *notes, "    _fields_ = [", *fields, "    ]", ""]

    def callback(self, name: str, node: c_ast.FuncDecl) -> None:
        self.callbacks[name] = None
        result, arguments = self.signature(node)
        self.lines.append(f"{name} = CFUNCTYPE({', '.join([result, *arguments])})")

    def function(self, node: c_ast.Decl) -> None:
        self.functions.append(node.name)
        for item in node.type.args.params if node.type.args else []:
            if isinstance(item.type, c_ast.PtrDecl) and isinstance(item.type.type, c_ast.FuncDecl):
                self.callback(f"{node.name}_{item.name}", item.type.type)
                item.type = c_ast.TypeDecl(item.name, [], None, c_ast.IdentifierType([f"{node.name}_{item.name}"]))
        result, arguments = self.signature(node.type)
        text = f'{node.name} = _bind("{node.name}", {result}, [{", ".join(arguments)}])'
        if len(text) > 120:
            text = f'{node.name} = _bind("{node.name}", {result}, [\n'
            line = "   "
            for argument in arguments:
                if len(line) + len(argument) + 2 > 120:
                    text += line + "\n"
                    line = "   "
                line += f" {argument},"
            text += line + "\n])"
        self.lines.append(text)

    def signature(self, node: c_ast.FuncDecl) -> Tuple[str, List[str]]:
        parameters = node.args.params if node.args else []
        arguments = [self.spell(item.type)[0] for item in parameters]
        if arguments == ["None"]:
            arguments = []
        return self.spell(node.type)[0], arguments

    def spell(self, node: c_ast.Node) -> Tuple[str, str]:
        """A type as ctypes spells it, and what Python sees in a field of it."""
        if isinstance(node, c_ast.TypeDecl):
            name = " ".join(node.type.names) if isinstance(node.type, c_ast.IdentifierType) else node.type.name
            if name == "void":
                return "None", "None"
            if name in self.enums:
                return name, "int"
            return SCALARS.get(name, (name, name if name not in self.callbacks else "Any"))
        if isinstance(node, c_ast.ArrayDecl):
            inner, _ = self.spell(node.type)
            if node.dim is None:  # of a parameter
                return f"POINTER({inner})", "Any"
            return f"{inner} * {self.number(node.dim)}", "Any" if inner != "c_char" else "bytes"
        if isinstance(node, c_ast.PtrDecl):
            target = node.type
            inner, _ = self.spell(target)
            if inner == "None":
                return "c_void_p", "Any"
            constant = isinstance(target, c_ast.TypeDecl) and "const" in target.quals
            if inner == "c_char" and constant:
                return "c_char_p", "Any"
            return f"POINTER({inner})", "Any"
        raise SystemExit(f"{node.coord}: this type is not understood")


def constants(include: Path) -> List[Tuple[str, str]]:
    """Macros that are numbers or strings."""
    found: Dict[str, str] = {}
    for path in sorted((include / "cm3leon").glob("*.h")):
        if path.name == "pgvector.h":
            continue
        for name, value in re.findall(r"^#define (CM3_\w+) +(\S.*?)(?: */[*/].*)?$", path.read_text("utf-8"), re.M):
            if value == "UINT64_MAX":
                found[name] = str(2**64 - 1)
            elif re.fullmatch(r'-?\d+|0x[0-9a-fA-F]+|"[^"]*"', value):
                found[name] = value
    return sorted(found.items())


def parse(include: Path, compiler: str) -> c_ast.FileAST:
    """The headers behind cm3leon.h; pgvector.h belongs to a library of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in SYSTEM.items():
            (Path(folder) / name).write_text(text, "utf-8")
        source = subprocess.run(
            [compiler, "-E", "-P", "-nostdinc", "-D__attribute__(x)=", f"-I{include}", f"-isystem{folder}", "-xc", "-"],
            input="#include <cm3leon/cm3leon.h>\n", stdout=subprocess.PIPE, check=True, universal_newlines=True).stdout
    return CParser().parse(source, "cm3leon.h")


def table(name: str, kind: str, entries: List[str]) -> List[str]:
    return ["", f"{name}: {kind} = " + "{", *entries, "}"]


def generate(include: Path = INCLUDE, compiler: Optional[str] = None) -> str:
    mirror = Mirror(parse(include, compiler or os.environ.get("CC", "cc")))
    lines = [HEAD]
    lines += [f"{name} = {value}" for name, value in constants(include)]
    lines += mirror.lines
    # For those who compare: what the tests hold against a C program, and the import against the library.
    lines += table("ENUMS", "Dict[str, Tuple[str, ...]]",
                   [f'    "{name}": ({", ".join(repr(item) for item in items)},),'.replace("'", '"')
                    for name, items in mirror.enums.items()])
    lines += ["", "STRUCTS: List[Any] = [", *(f"    {name}," for name in mirror.structs), "]"]
    lines += ["", "FUNCTIONS: List[str] = [", *(f'    "{name}",' for name in mirror.functions), "]"]
    made = [name for name in mirror.functions
            if name.endswith("_init") and name[: -len("_init")] in mirror.structs]
    lines += ["", "# Structs that the library fills with its defaults, its own size among them.",
              "INITIALISERS: List[Tuple[Any, Callable[..., Any]]] = [",
              *(f"    ({name[: -len('_init')]}, {name})," for name in made), "]",
              "", "_check(CM3_API_VERSION_MAJOR, CM3_API_VERSION_MINOR, INITIALISERS)"]
    text = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines) + "\n")
    return wrap(text)


def wrap(text: str) -> str:
    """Long rows of names, folded; what is unused of the imports, taken out."""
    lines = []
    for line in text.split("\n"):
        while len(line) > 120:
            cut = line.rfind(", ", 0, 119) + 1
            lines.append(line[:cut])
            line = " " * 8 + line[cut:].lstrip()
        lines.append(line)
    text = "\n".join(lines)
    body = text.split("from ._lib", 1)[1]

    def used(match: "re.Match[str]") -> str:
        names = [name for name in match[2].split(", ") if re.search(rf"\b{name}\b", body)]
        return f"{match[1]}{', '.join(names)}" if names else ""

    text = re.sub(r"^(from ctypes import )(.*)$", used, text, flags=re.M)
    if not re.search(r"\bctypes\.", body):
        text = text.replace("\nimport ctypes\n", "\n")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        TARGET.write_text(text, "utf-8")
        return 0
    if TARGET.read_text("utf-8") == text:
        return 0
    print(f"{TARGET} is not what the headers say: run {Path(__file__).name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
