"""Models: the ways to load one, what it is, and the plain forward pass."""
from __future__ import annotations

import gc
import io
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cm3leon
from cm3leon import Image, Model

from conftest import SENTENCE


@pytest.fixture(params=["str", "path", "bytes", "bytearray", "mmap", "file", "BytesIO"])
def source(request: pytest.FixtureRequest, model_path: Path) -> Any:
    if request.param == "str":
        return str(model_path)
    if request.param == "path":
        return model_path
    if request.param == "file":
        return open(model_path, "rb")
    if request.param == "mmap":
        with open(model_path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data = model_path.read_bytes()
    return {"bytes": bytes, "bytearray": bytearray, "BytesIO": io.BytesIO}[request.param](data)


def test_load_from(source: Any, drawn: cm3leon.Result, model: Model) -> None:
    """The weights are the same wherever they come from, and what they lie in lives as long as they are used."""
    logits = model.forward([1, 2, 3, 4])
    with Model.load(source, threads=1) as other:
        tokenizer = other.tokenizer
        del source
        gc.collect()
        np.testing.assert_allclose(other.forward([1, 2, 3, 4]), logits, atol=1e-5)
    codes = drawn.candidates[0].codes[0]
    assert tokenizer.decode_image(codes).size == drawn.image.size  # the model is closed, its tokenizer is not


def test_file_object_that_fails(model_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: Any = -1) -> bytes:
            raise ZeroDivisionError("from the file")

    with pytest.raises(ZeroDivisionError, match="from the file"):
        Model.load(Broken(model_path.read_bytes()), threads=1)
    with pytest.raises(EOFError):

        class Short(io.BytesIO):
            def read(self, size: Any = -1) -> bytes:
                return b""

        Model.load(Short(model_path.read_bytes()), threads=1)


def test_bytes_that_are_no_model() -> None:
    with pytest.raises(cm3leon.FormatError):
        Model.load(b"{}" * 100, threads=1)
    with pytest.raises(TypeError):
        Model.load(7)


def test_info(model: Model) -> None:
    assert model.info.parts & cm3leon.ModelParts.LM
    assert model.info.vocab_size == model.tokenizer.info.vocab_size
    assert isinstance(model.config, dict) and model.config
    assert model.context.threads >= 1 and model.context.kernels
    assert model.context.memory.live_bytes > 0


def test_forward(model: Model) -> None:
    logits = model.forward(np.array([1, 5, 9]))
    assert logits.shape == (3, model.info.vocab_size) and logits.dtype == np.float32
    assert np.isfinite(logits).all()
    # A position knows nothing of those behind it.
    np.testing.assert_allclose(model.forward([1, 5]), logits[:2], atol=1e-4)
    assert model.hidden([1, 5, 9]).shape == (model.info.layers + 2, 3, model.info.hidden_size)
    with pytest.raises(ValueError):
        model.forward([model.info.vocab_size])


def test_codes(model: Model, drawn: cm3leon.Result) -> None:
    codes = drawn.candidates[0].codes[0]
    assert len(codes) == model.tokenizer.info.image_tokens
    # Generation decodes in bf16 where the CPU has it.
    difference = np.abs(model.decode_image(codes).to_numpy().astype(int) - drawn.image.to_numpy())
    assert difference.mean() < 1 and difference.max() < 32
    assert model.encode_image(drawn.image) == model.encode_image(drawn.image.to_pil())
    with pytest.raises(ValueError):
        model.decode_image(codes[:-1])


def test_embed(model: Model, bare: Model) -> None:
    vectors = model.embed(["a red circle", "a blue star"])
    assert vectors.shape == (2, model.info.embedding_size)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.embed("a blue star"), vectors[1], atol=1e-5)
    assert model.embed([Image(40, 40)]).shape == (1, model.info.embedding_size)
    assert model.embed(Image(40, 40)).shape == (model.info.embedding_size,)
    with pytest.raises(ValueError, match="calls of their own"):
        model.embed(["a", Image(4, 4)])
    with pytest.raises(NotImplementedError):
        bare.embed(["a"])


def test_estimate(model: Model, model_path: Path) -> None:
    one, four = model.estimate(n=1), model.estimate(n=4)
    assert four.cache > one.cache > 0 and one.weights > 0
    unloaded = cm3leon.estimate_file(model_path, n=4)
    assert unloaded.cache == four.cache and unloaded.load > 0


def test_max_bytes(model_path: Path) -> None:
    with pytest.raises(MemoryError):
        Model.load(model_path, threads=1, mode="huge", max_bytes=1 << 20)


def test_tokenizer(model: Model, tmp_path: Path) -> None:
    tokenizer = model.tokenizer
    ids = tokenizer.encode(SENTENCE)
    assert ids and tokenizer.decode(ids).strip() == SENTENCE
    assert tokenizer.decode(tokenizer.encode("ä 日本 🦊\0x")) .strip() == "ä 日本 🦊\0x"
    tokenizer.save(tmp_path / "tokenizer.json")
    with cm3leon.Tokenizer.load(tmp_path / "tokenizer.json") as again:
        assert again.encode(SENTENCE) == ids
        assert again.info.image_resolution == 0
        with pytest.raises(NotImplementedError):
            again.encode_image(Image(8, 8))
    assert tokenizer.special("eod") is not None
    assert tokenizer.special("end_turn") is None
    assert tokenizer.special("image", 1) == (tokenizer.special("image", 0) or 0) + 1
    special = tokenizer.decode([tokenizer.special("eod") or 0])
    assert tokenizer.encode(special, flags=cm3leon.EncodeFlags.SPECIAL) == [tokenizer.special("eod")]


def test_threads_are_chosen(model_path: Path) -> None:
    with Model.load(model_path, threads=0) as still:
        assert still.context.threads == 0
        assert still.generate(SENTENCE, seed=7).image.size
    with cm3leon.Context(threads=1) as context:
        one, two = Model.load(model_path, context=context), Model.load(model_path, context=context)
    assert one.context is two.context
    one.close()
    assert two.forward([1]).shape[0] == 1
    with pytest.raises(ValueError):
        Model.load(model_path, context=context, threads=2)


def test_memory_comes_back(model_path: Path) -> None:
    with cm3leon.Context(threads=1) as context:
        before = context.memory.live_bytes
        with Model.load(model_path, context=context) as model:
            result = model.generate(SENTENCE, seed=1)
            assert context.memory.live_bytes > before
        result.image.close()
        gc.collect()
        assert context.memory.live_bytes == before


def test_demo_model_is_in_the_package() -> None:
    if os.environ.get("CM3_TEST_INSTALLED"):
        path = Path(cm3leon.__file__).parent / "models/toybox.cm3"
        assert path.is_file()
