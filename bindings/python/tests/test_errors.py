"""Exceptions, and that they carry the library's message."""
from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Type

import pytest

import cm3leon
from cm3leon import errors

from conftest import SENTENCE


def test_every_status_has_its_exception() -> None:
    assert set(errors.BY_STATUS) == set(cm3leon.Status) - {cm3leon.Status.OK}
    for status, kind in errors.BY_STATUS.items():
        error = errors.error_of(status, b"what")
        assert type(error) is kind
        assert str(error) == error.message == "what"
        assert error.status == status


@pytest.mark.parametrize("kind, builtin", [
    (cm3leon.NotFoundError, FileNotFoundError), (cm3leon.OutOfMemoryError, MemoryError),
    (cm3leon.InvalidArgumentError, ValueError), (cm3leon.FormatError, ValueError), (cm3leon.IoError, OSError),
    (cm3leon.NoSpaceError, OSError), (cm3leon.TruncatedError, EOFError),
    (cm3leon.UnsupportedError, NotImplementedError), (cm3leon.EncodingError, ValueError),
    (cm3leon.TooLongError, ValueError), (cm3leon.BusyError, RuntimeError),
])
def test_exceptions_are_pythons_own_too(kind: Type[BaseException], builtin: Type[BaseException]) -> None:
    assert issubclass(kind, builtin)
    assert issubclass(kind, cm3leon.Cm3leonError)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.cm3"):
        cm3leon.Model.load(tmp_path / "nowhere.cm3", threads=1)


def test_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "x.cm3").write_bytes(b"no model at all, but long enough to be looked at" * 10)
    with pytest.raises(cm3leon.FormatError):
        cm3leon.Model.load(tmp_path / "x.cm3", threads=1)


def test_bad_options(model: cm3leon.Model) -> None:
    with pytest.raises(ValueError, match="temperature"):
        model.generate(SENTENCE, temperature=-1)
    with pytest.raises(TypeError, match="temprature"):
        model.generate(SENTENCE, temprature=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="none of image"):
        model.generate(SENTENCE, modality="sound")
    with pytest.raises(TypeError):
        model.generate(SENTENCE, 7)  # type: ignore[misc]


def test_text_that_is_none(model: cm3leon.Model) -> None:
    with pytest.raises(cm3leon.EncodingError):
        model.generate("\ud800")


def test_too_long(model: cm3leon.Model) -> None:
    with pytest.raises(cm3leon.TooLongError):
        model.generate("a red circle " * 1000)


def test_closed(model_path: Path) -> None:
    model = cm3leon.Model.load(model_path, threads=1)
    model.close()
    model.close()
    with pytest.raises(ValueError, match="closed"):
        model.generate(SENTENCE)


@pytest.mark.parametrize("name", ["model", "tokenizer", "image", "context"])
def test_pickling_is_refused(model: cm3leon.Model, name: str) -> None:
    thing = {"model": model, "tokenizer": model.tokenizer, "image": cm3leon.Image(2, 2), "context": model.context}[name]
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(thing)


def test_log_goes_to_logging(caplog: pytest.LogCaptureFixture, tmp_path: Path, model_path: Path) -> None:
    with caplog.at_level(logging.DEBUG, logger="cm3leon"):
        with pytest.raises(FileNotFoundError):
            cm3leon.Model.load(tmp_path / "nowhere.cm3", threads=1)
    assert any(record.levelno == logging.ERROR and "nowhere.cm3" in record.getMessage() for record in caplog.records)


def test_nothing_is_printed(python: object, tmp_path: Path) -> None:
    program = """import cm3leon
try:
    cm3leon.Model.load("/nowhere.cm3", threads=1)
except FileNotFoundError:
    pass
cm3leon.demo_model(threads=1).generate("a red circle", seed=1)
"""
    done = python(program)  # type: ignore[operator]
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
