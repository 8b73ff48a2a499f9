"""Pictures."""
from __future__ import annotations

import gc
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import cm3leon
from cm3leon import Image


@pytest.fixture
def pixels() -> "np.typing.NDArray[np.uint8]":
    return np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)


def test_numpy_both_ways(pixels: "np.typing.NDArray[np.uint8]") -> None:
    image = Image.from_array(pixels)
    assert image.size == (30, 20)
    assert np.array_equal(image.to_numpy(), pixels)
    assert image.to_numpy().flags.c_contiguous
    assert image.tobytes() == pixels.tobytes()
    assert np.array_equal(np.asarray(Image.from_array(pixels[:, ::-1])), pixels[:, ::-1])


def test_numpy_without_a_copy(pixels: "np.typing.NDArray[np.uint8]") -> None:
    image = Image.from_array(pixels)
    seen = np.asarray(image)
    seen[3, 4] = (1, 2, 3)
    assert tuple(image.to_numpy()[3, 4]) == (1, 2, 3)
    image.close()
    del image
    gc.collect()
    assert tuple(seen[3, 4]) == (1, 2, 3)


def test_dst(pixels: "np.typing.NDArray[np.uint8]") -> None:
    image, dst = Image.from_array(pixels), np.zeros((20, 30, 3), np.uint8)
    assert image.to_numpy(dst=dst) is dst
    assert np.array_equal(dst, pixels)
    with pytest.raises(ValueError, match="dst"):
        image.to_numpy(dst=np.zeros((20, 30, 4), np.uint8))
    with pytest.raises(ValueError, match="dst"):
        image.to_numpy(dst=np.zeros((20, 30, 3), np.float32))  # type: ignore[arg-type]


def test_pillow_both_ways(pixels: "np.typing.NDArray[np.uint8]") -> None:
    picture = PIL.Image.fromarray(pixels)
    assert np.array_equal(np.asarray(Image.of(picture).to_pil()), pixels)
    assert Image.of(picture.convert("L")).size == (30, 20)


def test_files_and_bytes(pixels: "np.typing.NDArray[np.uint8]", tmp_path: Path) -> None:
    image = Image.from_array(pixels)
    image.save(tmp_path / "ä.png")
    for again in (Image.open(tmp_path / "ä.png"), Image.of(str(tmp_path / "ä.png")), Image.of(image.encode()),
                  Image.from_bytes(memoryview(image.encode("png")))):
        assert again.tobytes() == image.tobytes()
    jpeg = image.encode("jpeg", quality=50)
    assert PIL.Image.open(io.BytesIO(jpeg)).size == (30, 20)
    assert len(jpeg) < len(image.encode("jpeg", quality=100))
    with pytest.raises(FileNotFoundError):
        Image.open(tmp_path / "nowhere.png")
    with pytest.raises(ValueError):
        image.save(tmp_path / "x.gif")


def test_resize_is_pillows(pixels: "np.typing.NDArray[np.uint8]") -> None:
    ours = Image.from_array(pixels).resize(12, 9, filter="lanczos")
    theirs = PIL.Image.fromarray(pixels).resize((12, 9), PIL.Image.Resampling.LANCZOS)
    assert np.array_equal(ours.to_numpy(), np.asarray(theirs))
    assert np.array_equal(Image.from_array(pixels).crop(2, 3, 5, 6).to_numpy(), pixels[3:9, 2:7])


def test_what_is_no_picture() -> None:
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            Image.of(wrong)
    with pytest.raises(TypeError):
        Image.of(7)
    with pytest.raises(ValueError, match="bytes"):
        Image.from_pixels(b"123", 10, 10)
    with pytest.raises(ValueError):
        Image(0, 5)


def test_contact_sheet() -> None:
    sheet = cm3leon.contact_sheet([Image(10, 10)] * 4, columns=2, gap=2)
    assert sheet.width > 20 and sheet.height > 20


def test_shows_itself() -> None:
    png = Image(3, 2)._repr_png_()
    assert png is not None and PIL.Image.open(io.BytesIO(png)).size == (3, 2)
