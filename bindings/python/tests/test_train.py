"""Training: an encoder that begins to learn, its reports, and a model that it is put into."""
from __future__ import annotations

from pathlib import Path
from typing import Any, List

import pytest

import cm3leon
from cm3leon import Image, Model, _capi, train

TEXTS = ["red circle", "blue star", "green square", "yellow heart"]
COLOURS = [(255, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 0)]
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIG = {"projection_dim": 32, "text_config": {**TOWER, "max_position_embeddings": 64},
          "vision_config": {**TOWER, "image_size": 32, "patch_size": 16},
          "preprocessing": {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3,
                            "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}}


@pytest.fixture
def records(tmp_path: Path) -> Path:
    with open(tmp_path / "records.jsonl", "w") as file:
        for number, (text, colour) in enumerate(zip(TEXTS, COLOURS)):
            Image.from_pixels(bytes(colour) * 64 * 64, 64, 64).save(tmp_path / f"{number}.png")
            file.write(f'{{"text": ["a {text}", "one {text}"], "image": "{number}.png"}}\n')
    return tmp_path / "records.jsonl"


def encoder(run: Path, records: Path, model_path: Path, **options: Any) -> train.Trainer:
    with cm3leon.Context(threads=1) as context:
        try:
            return train.Trainer.encoder(run, [records], config_json=CONFIG, tokenizer=model_path, context=context,
                                         steps=2, batch_size=4, lr=1e-3, seed=3, **options)
        except cm3leon.UnsupportedError:
            pytest.skip("this library was built without training")


def test_reports_have_all_fields() -> None:
    fields = [name for name, *_ in _capi.cm3_train_report._fields_]
    assert fields == ["struct_size", *train.Report.__dataclass_fields__]


def test_an_encoder_learns(records: Path, tmp_path: Path, model_path: Path) -> None:
    with encoder(tmp_path / "run", records, model_path) as trainer:
        assert trainer.progress == (0, 2)
        reports = [*trainer.run()]
        assert [report.step for report in reports] == [1, 2] and trainer.progress == (2, 2)
        for report in reports:
            assert report.steps == 2 and report.loss > 0 and report.seconds > 0
            assert report.comm_seconds == report.reduce_seconds == 0  # one process alone
            assert report.skipped == 0
        trainer.export(tmp_path / "encoder.cm3")
    told: List[int] = []
    cm3leon.convert(model_path, tmp_path / "both.cm3", encoder=tmp_path / "encoder.cm3",
                    on_progress=lambda done, total: told.append(done))
    assert told
    with Model.load(tmp_path / "both.cm3", threads=1) as both:
        assert both.info.embedding_size == 32 and both.embed("a red circle").shape == (32,)


def test_codes_that_cost(records: Path, tmp_path: Path, model_path: Path) -> None:
    try:
        train.encode_shards(model_path, [records], tmp_path / "codes")
    except cm3leon.UnsupportedError:
        pytest.skip("this library was built without training")
    train.code_costs(model_path, [tmp_path / "codes" / "records.tar"], tmp_path / "costs.cm3", weight=1e6)
    usual: List[int] = []
    for path in sorted(tmp_path.glob("*.png")):
        with Model.load(tmp_path / "costs.cm3", threads=1) as model:
            usual += model.encode_image(Image.open(path))
    assert len(set(usual)) == 1  # nothing outweighs that price
    with pytest.raises(ValueError, match="weight"):
        train.code_costs(model_path, [records], tmp_path / "costs.cm3", weight=-1)


def test_options_that_are_none(records: Path, tmp_path: Path, model_path: Path) -> None:
    with pytest.raises(TypeError, match="stepps"):
        encoder(tmp_path / "run", records, model_path, stepps=3)
