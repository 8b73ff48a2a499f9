"""The C interface: what is mirrored is what the headers, a C program and the library say."""
from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from cm3leon import _capi, _lib, enums

from conftest import PACKAGE, SOURCE

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
COMPILE = ["cc", "-std=c99", "-Wall", f"-I{SOURCE / 'include'}"]


@needs_compiler
def test_generated_file_is_what_the_headers_say() -> None:
    subprocess.run([sys.executable, str(PACKAGE / "generate_capi.py"), "--check"], check=True)


@needs_compiler
def test_layout_is_that_of_c(tmp_path: Path) -> None:
    """Size and offset of every field of every struct, and every enumerator, as a C program prints them."""
    lines = []
    ours: Dict[str, int] = {}
    for struct in _capi.STRUCTS:
        name = struct.__name__
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        ours[name] = ctypes.sizeof(struct)
        for field, kind, *_ in struct._fields_:
            at = f"{name}.{field}"
            lines.append(f'printf("{at} %zu\\n{at}.size %zu\\n", offsetof({name}, {field}), '
                         f'sizeof((({name} *)0)->{field}));')
            ours[at] = getattr(struct, field).offset
            ours[f"{at}.size"] = ctypes.sizeof(kind)
    for items in _capi.ENUMS.values():
        for item in items:
            lines.append(f'printf("{item} %d\\n", (int){item});')
            ours[item] = getattr(_capi, item)
    for name in ("CM3_API_VERSION_MAJOR", "CM3_API_VERSION_MINOR"):
        lines.append(f'printf("{name} %d\\n", {name});')
        ours[name] = getattr(_capi, name)
    heads = "".join(f"#include <{name}>\n" for name in ("cm3leon/cm3leon.h", "stddef.h", "stdio.h"))
    (tmp_path / "layout.c").write_text(heads + "int main(void) {\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
    subprocess.run([*COMPILE, str(tmp_path / "layout.c"), "-o", str(tmp_path / "layout")], check=True)
    printed = subprocess.run([str(tmp_path / "layout")], check=True, stdout=subprocess.PIPE,
                             universal_newlines=True).stdout
    theirs = {name: int(number) for name, number in (line.split() for line in printed.splitlines())}
    assert len(ours) > 500
    assert theirs == ours


def test_every_export_is_bound() -> None:
    listed = set(re.findall(r"^\s*(cm3_\w+);", (SOURCE / "lib/cm3leon.map").read_text(), re.M))
    assert listed == set(_capi.FUNCTIONS)
    if shutil.which("nm"):
        table = subprocess.run(["nm", "-D", "--defined-only", _lib.library._name], check=True, stdout=subprocess.PIPE,
                               universal_newlines=True).stdout
        exported = {line.split()[2].split("@")[0] for line in table.splitlines() if line.split()[1] != "A"}
        assert exported <= set(_capi.FUNCTIONS)
        assert {name for name in listed - exported if not name.startswith("cm3_train")} == set()


def test_every_function_has_its_types() -> None:
    for name in _capi.FUNCTIONS:
        function = getattr(_capi, name)
        if hasattr(_lib.library, name):
            assert function.argtypes is not None
            assert function.restype is None or function.restype in (
                _capi.cm3_status, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_int), name


def test_enums_are_whole() -> None:
    values = {frozenset(getattr(_capi, item) for item in items): name for name, items in _capi.ENUMS.items()}
    seen = set()
    for kind in vars(enums).values():
        if isinstance(kind, type) and issubclass(kind, (IntEnum, IntFlag)):
            seen.add(frozenset(int(item) for item in kind.__members__.values()))
    assert {name for key, name in values.items() if key not in seen} <= {"cm3_search_way"}


# --- finding the library ---------------------------------------------------------------------------------------------


def fake(folder: Path, version: int, size: int) -> str:
    """A library that knows its version and the struct of contexts alone."""
    source = folder / "fake.c"
    source.write_text(f"""#include <stddef.h>
unsigned cm3_api_version(void) {{ return {version}; }}
void cm3_context_options_init(size_t *options) {{ *options = {size}; }}
""")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(folder / "libfake.so")], check=True)
    return str(folder / "libfake.so")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package without a library in its folder."""
    shutil.copytree(_lib.PACKAGE, tmp_path / "site/cm3leon",
                    ignore=shutil.ignore_patterns("*.so*", "models", "__pycache__"))
    return tmp_path / "site"


def import_with(package: Path, library: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", "import cm3leon; print(cm3leon._lib.library._name)"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, cwd=package,
                          env={**os.environ, "PYTHONPATH": str(package), "CM3LEON_LIB": library})


SIZE = ctypes.sizeof(_capi.cm3_context_options)
MAJOR, MINOR = _capi.CM3_API_VERSION_MAJOR, _capi.CM3_API_VERSION_MINOR


@needs_compiler
@pytest.mark.parametrize("version, size, told", [
    ((MAJOR + 1) * 1000 + MINOR, SIZE, [f"{MAJOR + 1}.{MINOR}", f"{MAJOR}.{MINOR}"]),
    (MAJOR * 1000 + MINOR, SIZE - 8, [f"{SIZE - 8} bytes", f"{SIZE} in these"]),
    (MAJOR * 1000 + MINOR, 5000, ["5000 bytes", f"{SIZE} in these"]),
])
def test_wrong_library_is_refused_with_both_numbers(package: Path, tmp_path: Path, version: int, size: int,
                                                    told: Any) -> None:
    done = import_with(package, fake(tmp_path, version, size))
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    for words in told:
        assert words in done.stderr


@needs_compiler
def test_longer_structs_of_a_later_library_are_no_harm(package: Path, tmp_path: Path) -> None:
    done = import_with(package, fake(tmp_path, MAJOR * 1000 + MINOR + 7, SIZE + 64))
    assert "ImportError" not in done.stderr
    assert "libfake.so" in done.stdout


def test_package_folder_comes_first_then_the_variable(package: Path) -> None:
    real = os.path.realpath(_lib.library._name)
    done = import_with(package, real)
    assert done.stdout.strip() == real
    os.symlink(real, package / "cm3leon/libcm3leon.so")
    done = import_with(package, "/nowhere.so")
    assert done.stdout.strip() == str(package / "cm3leon/libcm3leon.so")


def test_missing_library_is_an_import_error(package: Path) -> None:
    done = import_with(package, "/nowhere.so")
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "/nowhere.so" in done.stderr


def test_function_that_is_not_there_says_so() -> None:
    missing = _lib.bind("cm3_no_such_function", ctypes.c_int, [])
    with pytest.raises(NotImplementedError, match="cm3_no_such_function"):
        missing()
