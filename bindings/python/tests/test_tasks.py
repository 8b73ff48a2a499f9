"""Tasks: the same as the command makes."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import pytest

import cm3leon
from cm3leon import Hidden, Image, Model, Tasks

from conftest import SENTENCE, same_picture


@pytest.fixture
def picture(drawn: cm3leon.Result, tmp_path: Path) -> Path:
    drawn.image.save(tmp_path / "in.png")
    return tmp_path / "in.png"


def test_texts_as_the_command(model: Model, model_path: Path, picture: Path, command: Callable[..., str]) -> None:
    assert model.caption(str(picture), seed=1).text.strip() == command("caption", "-m", model_path, picture).strip()
    question = "what colour is the circle?"
    assert model.ask(picture, question, seed=1).text.strip() == command("ask", "-m", model_path, picture,
                                                                        question).strip()
    text = "a large [mask] circle at the top left"
    assert model.infill_text(picture, text, seed=1).text.strip() == command("infill-text", "-m", model_path, picture,
                                                                            text).strip()
    several = command("caption", "-m", model_path, picture, "-n", 3, "--seed", 4, "--json")
    assert [text.strip() for text in model.caption(picture, n=3, seed=4).texts] == [
        json.loads(line)["text"] for line in several.splitlines()]


def test_pictures_as_the_command(model: Model, model_path: Path, picture: Path, command: Callable[..., str],
                                 tmp_path: Path) -> None:
    def same(image: Image) -> bool:
        return same_picture(image, tmp_path / "out.png")

    said = json.loads(command("edit", "-m", model_path, picture, "add a large red ring at the top left", "-o",
                              "out.png", "--seed", 2, "--json"))
    edited = model.edit(picture, "add a large red ring at the top left", seed=2)
    assert same(edited.image)
    assert edited.said == {name: said[name] for name in edited.said}
    command("segment", "-m", model_path, picture, "-o", "out.png", "--seed", 2)
    segmented = model.segment(picture, seed=2)
    assert same(segmented.image)
    box = (0.3, 0.3, 0.4, 0.4)
    command("infill", "-m", model_path, picture, "--box", "0.3,0.3,0.4,0.4", "-o", "out.png", "--seed", 3)
    assert same(model.infill(picture, [box], seed=3).image)
    command("infill", "-m", model_path, picture, SENTENCE, "--box", "0.3,0.3,0.4,0.4", "-o", "out.png", "--seed", 3)
    assert same(model.infill(str(picture), [box], SENTENCE, seed=3).image)


def test_layouts_as_the_command(model: Model, model_path: Path, command: Callable[..., str], tmp_path: Path) -> None:
    blocks = Image(96, 96).to_numpy()
    blocks[10:40, 10:40] = (255, 0, 0)
    Image.from_array(blocks).save(tmp_path / "layout.png")
    command("generate", "-q", "-m", model_path, "--layout", "layout.png", "-p", "a red square", "-o", "out.png",
            "--seed", 4)
    ours = model.layout(blocks, "a red square", seed=4)
    assert same_picture(ours.image, tmp_path / "out.png")
    lines = Image(96, 96).to_numpy()
    lines[10, 10:40] = lines[40, 10:40] = lines[10:40, 10] = lines[10:40, 40] = 255
    Image.from_array(lines).save(tmp_path / "lines.png")
    command("generate", "-q", "-m", model_path, "--layout", "lines.png", "-p", "a red square", "-o", "out.png",
            "--seed", 4)
    assert same_picture(model.outline(lines, "a red square", seed=4).image, tmp_path / "out.png")
    command("generate", "-q", "-m", model_path, "-p", "a red circle in box 10 20 40 50 on a sand background", "-o",
            "out.png", "--seed", 4)
    boxed = model.boxes("a red circle on a sand background", {"a red circle": (0.1, 0.2, 0.3, 0.3)}, seed=4)
    assert same_picture(boxed.image, tmp_path / "out.png")


def test_any_task(model: Model, drawn: cm3leon.Result, tmp_path: Path) -> None:
    assert model.task("caption", {"image": drawn.image}, seed=1).text == model.caption(drawn.image, seed=1).text
    edit = {"source": drawn.image, "instruction": "remove the star"}
    one, other = model.task("edit", edit, seed=2, image_guidance_scale=1.5), model.edit(*edit.values(), seed=2)
    assert one.image.tobytes() == other.image.tobytes() and one.said == other.said
    infill = {"image": Hidden(drawn.image, [(0, 0, 0.5, 0.5)]), "caption": SENTENCE}
    assert model.task("infill-image", infill, seed=2).image.size == drawn.image.size
    (tmp_path / "own.json").write_text(json.dumps({"tasks": {"mine": [{"text": "{what}"}, "break",
                                                                     {"image": "image", "answer": True}]}}))
    with Tasks(tmp_path / "own.json", context=model.context) as own:
        assert own.names == ["mine"]
        mine = model.task("mine", {"what": SENTENCE}, tasks=own, seed=7)
        assert mine.image.tobytes() == drawn.image.tobytes()


def test_wrong_tasks(model: Model, drawn: cm3leon.Result) -> None:
    with pytest.raises(cm3leon.NotFoundError, match="no task"):
        model.task("nothing", {})
    with pytest.raises(cm3leon.NotFoundError, match="question"):
        model.task("ask", {"image": drawn.image})
    with pytest.raises(ValueError, match="just once"):
        model.infill_text(drawn.image, "no mask")
    with pytest.raises(ValueError):
        model.infill(drawn.image, [])
    with pytest.raises(cm3leon.Cancelled):
        model.edit(drawn.image, "remove the star", on_progress=lambda done, total: False)
