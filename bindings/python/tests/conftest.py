"""What the tests share. They run against the package as it is installed: tests/run.py installs it."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

import cm3leon

PACKAGE = Path(__file__).resolve().parent.parent
SOURCE = PACKAGE.parent.parent
SENTENCE = "a large red circle at the top left and a small blue star in the center"
LONG = bool(os.environ.get("CM3_TEST_LONG"))


def pytest_collection_modifyitems(items: List[Any]) -> None:
    for item in items:
        if "long" in item.keywords and not LONG:
            item.add_marker(pytest.mark.skip(reason="takes longer: CM3_TEST_LONG is not set"))


def same_picture(image: cm3leon.Image, path: Path) -> bool:
    """Whether a picture is the one that the command wrote. The wheel's library is another build than the command's,
    with other kernels: a number may be rounded the other way."""
    ours, theirs = image.to_numpy().astype(int), cm3leon.Image.open(path).to_numpy().astype(int)
    if ours.shape != theirs.shape:
        return False
    return bool(abs(ours - theirs).max() <= (1 if os.environ.get("CM3_TEST_WHEEL") else 0))


@pytest.fixture(scope="session")
def model() -> Iterator[cm3leon.Model]:
    with cm3leon.demo_model(threads=1) as model:  # other tests run beside these
        yield model


@pytest.fixture(scope="session")
def bare() -> Iterator[cm3leon.Model]:
    """A model without an encoder."""
    with cm3leon.Model.load(SOURCE / "tests/data/parity/chameleon", threads=1) as bare:
        assert bare.info.embedding_size == 0
        yield bare


@pytest.fixture(scope="session")
def model_path() -> Path:
    return SOURCE / "models/toybox.cm3"


@pytest.fixture(scope="session")
def drawn(model: cm3leon.Model) -> cm3leon.Result:
    """A picture of SENTENCE."""
    return model.generate(SENTENCE, seed=7)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., str]:
    """The command `cm3`, run in a directory of its own; what it prints."""
    program = os.environ.get("CM3_COMMAND")
    if not program:
        pytest.skip("CM3_COMMAND does not name the command")

    def run(*arguments: object) -> str:
        # Of as many threads as `model` has: other numbers of them may round otherwise.
        return subprocess.run([str(program), *map(str, arguments), "--threads", "1"], cwd=tmp_path, check=True,
                              stdout=subprocess.PIPE, universal_newlines=True, timeout=300).stdout

    return run


@pytest.fixture
def python() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """A program in a Python of its own, at its end."""

    def run(program: str, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=120,
                              env={**os.environ, **environment})

    return run


@pytest.fixture
def one_core() -> Iterator[None]:
    """For what starts as many threads as there are cores: with others at work on them, a team waits for its slowest."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)
