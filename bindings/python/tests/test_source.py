"""The sources: typed, for Python 3.9, and what the documents show is so."""
from __future__ import annotations

import ast
import doctest
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cm3leon

from conftest import PACKAGE, SOURCE

INSTALLED = Path(cm3leon.__file__).parent


def test_mypy_strict(tmp_path: Path) -> None:
    """The package, and a program that uses it, which must see its types (py.typed)."""
    (tmp_path / "use.py").write_text("""import cm3leon

model = cm3leon.demo_model()
result = model.generate("a red circle", seed=7, n=4, modality="text", on_progress=lambda done, total: done < 5)
reveal_type(result.images[0].size)
for event in model.stream("a red circle", preview_rows=4):
    reveal_type(event.token)
""")
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", "-p", "cm3leon", "-m",
                           "use", "--cache-dir", str(tmp_path / "cache")],
                          cwd=tmp_path, stdout=subprocess.PIPE, universal_newlines=True,
                          env={**os.environ, "MYPYPATH": str(tmp_path)})
    assert done.returncode == 0, done.stdout
    assert 'Revealed type is "tuple[int, int]"' in done.stdout or "Tuple[builtins.int" in done.stdout, done.stdout
    wrong = 'import cm3leon\ncm3leon.demo_model().generate("a", sed=7)\n'
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "-c", wrong, "--cache-dir",
                           str(tmp_path / "cache")], stdout=subprocess.PIPE, universal_newlines=True, cwd=tmp_path)
    assert done.returncode == 1 and "sed" in done.stdout


def test_syntax_of_python_3_9() -> None:
    for path in INSTALLED.glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 9))
        # Annotations are not evaluated, so that they may be of later versions.
        assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body), path


def test_lines_are_short() -> None:
    for path in [*INSTALLED.glob("*.py"), *PACKAGE.glob("*.py"), *(PACKAGE / "tests").glob("*.py")]:
        lines = path.read_text("utf-8").split("\n")
        assert [number for number, line in enumerate(lines, 1) if len(line) > 120 or line != line.rstrip()] == [], path
        assert len(lines) < 650 or path.name == "_capi.py", path


def test_public_names_have_a_word_said_of_them() -> None:
    for name in cm3leon.__all__:
        thing: Any = getattr(cm3leon, name)
        if isinstance(thing, type):
            said = vars(thing).get("__doc__")  # its own, and no base's
        elif inspect.isfunction(thing):
            said = thing.__doc__
        else:
            continue  # an alias of types can have none
        assert said and not said.startswith(f"{name}("), name  # the latter is what @dataclass writes where none is


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("path", [PACKAGE / "README.md", SOURCE / "docs/python.md"], ids=lambda path: path.name)
def test_documents(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(path), module_relative=False,
                                     optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert tried > 5 and failed == 0


@pytest.mark.usefixtures("one_core")
def test_example_script(tmp_path: Path) -> None:
    script = SOURCE / "examples/python/draw.py"
    done = subprocess.run([sys.executable, str(script), "a red circle on a sand background", "-n", "2", "--seed", "3",
                           "-o", "out.png"], cwd=tmp_path, check=True, stdout=subprocess.PIPE, universal_newlines=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-0.png", "out-1.png"]
    assert done.stdout.split() == ["out-0.png", "out-1.png"]


@pytest.mark.skipif(shutil.which("git") is None or not (SOURCE / ".git").exists(), reason="no repository")
def test_wheel_is_not_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "bindings/python"], cwd=SOURCE, check=True, stdout=subprocess.PIPE,
                            universal_newlines=True).stdout
    assert not re.search(r"\.(whl|so|pyc)$", listed, re.M)
