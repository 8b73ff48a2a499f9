"""The retriever: records kept, found, saved, and read by prompts."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cm3leon
from cm3leon import Image, Model, Retriever

TEXTS = ["a red circle", "a blue star", "a green square", "a yellow heart"]
COLOURS = [(255, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 0)]


def square(colour: Any) -> Image:
    return Image.from_pixels(bytes(colour) * 48 * 48, 48, 48)


@pytest.fixture
def filled(model: Model) -> Retriever:
    retriever = Retriever(model, vectors="f32")
    items = [(text, square(colour), f"key {number}") for number, (text, colour) in enumerate(zip(TEXTS, COLOURS))]
    assert retriever.add_many(items) == [0, 1, 2, 3]
    return retriever


def test_add_and_find(filled: Retriever) -> None:
    assert len(filled) == 4
    assert filled.add(TEXTS[0], square(COLOURS[0])) is None  # it is there already
    assert filled.add("text alone") == 4
    record = filled.find("key 2")
    assert record is not None and record.id == 2 and record.text == TEXTS[2]
    assert record.image is not None and record.image.size == (96, 96)
    assert filled.find("nobody") is None
    assert [record.id for record in filled] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError):
        filled.add()
    filled.delete([1])
    assert [record.id for record in filled] == [0, 2, 3, 4] and len(filled) == 4
    filled.compact()
    assert [record.id for record in filled] == [0, 1, 2, 3] and filled.info.deleted == 0
    with pytest.raises(cm3leon.NotFoundError):
        filled[99]


def test_search(filled: Retriever, model: Model) -> None:
    hits = filled.search(TEXTS[1], k=4)
    assert len(hits) == 4 and hits[0].score >= hits[1].score >= hits[3].score
    vectors = [record.vector for record in filled]
    query = model.embed(TEXTS[1])
    expected = sorted(range(4), key=lambda i: -sum(a * b for a, b in zip(vectors[i], query)))
    assert [hit.id for hit in hits] == expected
    by_image = filled.search(image=square(COLOURS[3]), k=2)
    assert [hit.id for hit in by_image] == [hit.id for hit in filled.search(square(COLOURS[3]), k=2)]
    assert by_image[0].text == filled[by_image[0].id].text and by_image[0].key.startswith("key")


def test_save_and_open(filled: Retriever, model: Model, tmp_path: Path) -> None:
    (tmp_path / "my.bank").write_bytes(b"what stood there")
    filled.save(tmp_path / "my.bank")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.bank"]
    with Retriever(model, tmp_path / "my.bank", mode="read") as again:
        assert [record.text for record in again] == TEXTS
        assert [hit.id for hit in again.search(TEXTS[0])] == [hit.id for hit in filled.search(TEXTS[0])]
        assert again.info.vectors == cm3leon.VectorType.F32
        with pytest.raises(ValueError):
            again.add("more")
    assert cm3leon.verify_bank(tmp_path / "my.bank") == []
    with Retriever(model, tmp_path / "my.bank") as writer:
        assert writer.add("one more") == 4
        with pytest.raises(cm3leon.BusyError):
            Retriever(model, tmp_path / "my.bank")
    data = bytearray((tmp_path / "my.bank").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "my.bank").write_bytes(data)
    assert cm3leon.verify_bank(tmp_path / "my.bank")
    with pytest.raises(FileNotFoundError):
        Retriever(model, tmp_path / "nowhere.bank", mode="read")


def test_own_folder_goes_with_it(filled: Retriever) -> None:
    import gc
    import os

    assert filled._folder is not None
    folder = filled._folder.peek()[2][1]  # type: ignore[index]
    assert os.path.isdir(folder)
    filled.close()
    assert not os.path.exists(folder)
    gc.collect()


def test_generate_with_it(filled: Retriever, model: Model) -> None:
    with_it = model.generate("a blue star", retriever=filled, retrieve=2, seed=3)
    assert 1 <= len(with_it.retrieved) <= 2
    assert with_it.retrieved[0].text in TEXTS
    without = model.generate("a blue star", seed=3)
    assert with_it.timings.prompt_tokens > without.timings.prompt_tokens
    stream = model.stream("a blue star", retriever=filled, retrieve=1, seed=3)
    for event in stream:
        break
    assert len(stream.result.retrieved) == 1
    picture = square(COLOURS[0])
    assert model.caption(picture, retriever=filled, retrieve=1).retrieved
    with pytest.raises(ValueError):
        model.generate(["a", picture], retriever=filled)


def test_shards(model: Model, tmp_path: Path) -> None:
    with open(tmp_path / "records.jsonl", "w") as file:
        for number, (text, colour) in enumerate(zip(TEXTS, COLOURS)):
            square(colour).save(tmp_path / f"{number}.png")
            file.write(json.dumps({"text": text, "image": f"{number}.png"}) + "\n")
    with Retriever(model) as retriever:
        try:
            assert retriever.add_shards([tmp_path / "records.jsonl"]) == 4
        except cm3leon.UnsupportedError:
            pytest.skip("this library was built without training")
        assert retriever.add_shards([tmp_path / "records.jsonl"]) == 0
    with Retriever(model) as retriever:
        retriever.add_shards([tmp_path / "records.jsonl"])
        with pytest.raises(KeyError, match="mine"):
            retriever.index(least=1, on_progress=lambda done, total: {}["mine"])
        with pytest.raises(cm3leon.Cancelled):
            retriever.index(least=1, on_progress=lambda done, total: False)
        retriever.index(least=1)
        assert retriever.info.indexed == 4


def test_model_without_encoder(bare: Model) -> None:
    with pytest.raises(ValueError, match="encoder"):
        Retriever(bare)
