"""Folders of images per class."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from lipcert.certification.data import open_dataset

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
RGB = np.random.default_rng(0).integers(0, 256, (9, 5, 6, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, picture):
    """A folder of three classes with three colour images each."""
    root = tmp_path / "animals.v2"
    for index, name in enumerate(["cat", "dog", "eel"]):
        (root / name).mkdir(parents=True)
        for at in range(3):
            (root / name / f"{at}.png").write_bytes(picture(RGB[3 * index + at]))
    return root


def test_images(folder, streams):
    x = (RGB.transpose(0, 3, 1, 2).astype(np.float64) / 255).astype(np.float32)
    y = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    streams(folder, x, y)
    with open_dataset(folder) as data:
        assert data.name == "animals.v2" and data.path == str(folder)


def test_digest_of_a_folder_can_be_told_by_hand(folder):
    (folder / "README.md").write_text("not read")
    lines = b""
    for path in sorted(folder.glob("*/*.png")):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        lines += f"{name}\0{len(content)}\0{hashlib.sha256(content).hexdigest()}\n".encode()
    assert open_dataset(folder).digest() == hashlib.sha256(lines).hexdigest()


@pytest.mark.parametrize("pixel_range", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (-0.3, 0.7)])
def test_pixel_range(tmp_path, picture, load, pixel_range):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "a.png").write_bytes(picture(GREY))
    x, _ = load(tmp_path, pixel_range=pixel_range)
    low, high = pixel_range
    assert x.shape == (1, 1, 16, 16) and x.dtype == np.float32
    expected = low + (high - low) * GREY.astype(np.float64) / 255
    np.testing.assert_array_equal(x[0, 0], expected.astype(np.float32))
    assert x.min() == np.float32(low) and x.max() == np.float32(high)


def test_numbered_classes_are_the_labels(tmp_path, picture, load):
    for name in ["10", "9", "3"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(picture(GREY + np.uint8(int(name))))
    x, y = load(tmp_path, pixel_range=(0, 255))
    assert y.tolist() == [3, 9, 10] and x[:, 0, 0, 0].tolist() == [3, 9, 10]


def test_names_that_are_not_all_numbers_are_sorted_as_text(tmp_path, picture, load):
    for name in ["10", "9", "cat"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(picture(GREY))
    assert load(tmp_path)[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("PNG", "png"), ("BMP", "BMP"), ("GIF", "gif"), ("PPM", "ppm"), ("PPM", "pgm"),
     ("JPEG", "jpg"), ("JPEG", "jpeg"), ("WEBP", "webp")],
)  # fmt: skip
def test_kinds(tmp_path, picture, load, kind, suffix):
    (tmp_path / "0").mkdir()
    pixels = RGB[0] if kind == "WEBP" else GREY
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    (tmp_path / "0" / f"a.{suffix}").write_bytes(picture(pixels, kind, **options))
    x, _ = load(tmp_path, pixel_range=(0, 255))
    flat = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    assert np.abs(x[0] - flat).max() <= (20 if kind == "JPEG" else 0)


def test_modes(tmp_path, picture, load):
    folder = tmp_path / "0"
    folder.mkdir()
    colour = Image.fromarray(RGB[0])
    images = [colour, colour.convert("RGBA"), colour.convert("P"), colour.convert("L")]
    for at, image in enumerate(images):
        (folder / f"{at}.png").write_bytes(picture(image))
    x, _ = load(tmp_path, pixel_range=(0, 255))
    for at, image in enumerate(images):
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        np.testing.assert_array_equal(x[at], expected)
    (folder / "0.png").unlink()
    assert load(tmp_path)[0].shape == (3, 4, 5, 6)
    (folder / "1.png").unlink()
    assert load(tmp_path)[0].shape == (2, 3, 5, 6)
    (folder / "2.png").write_bytes(picture(colour.convert("1")))
    x, _ = load(tmp_path, pixel_range=(0, 255))
    assert x.shape == (2, 1, 5, 6) and set(np.unique(x[0])) <= {0, 255}


def test_hidden_files_litter_and_files_beside_the_classes(folder, load):
    (folder / ".hidden").mkdir()
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "classes.json").write_text("[]")
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / "cat" / "Thumbs.db").write_bytes(b"x")
    assert len(load(folder)[1]) == 9


def test_another_size_names_the_file(folder, sentence, picture):
    (folder / "eel" / "1.png").write_bytes(picture(GREY))
    text = sentence(folder)
    assert text.startswith("eel/1.png: is 16 x 16 pixels where the first image is 6 x 5")


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("a.tiff", "eel/a.tiff: is not an image file (png, jpg"),
        ("notes.txt", "eel/notes.txt: is not an image file"),
    ],
)
def test_other_files_among_images(folder, sentence, name, finding):
    (folder / "eel" / name).write_bytes(b"x")
    assert finding in sentence(folder)


def test_folders_and_pipes_among_images(folder, sentence):
    (folder / "eel" / "more.png").mkdir()
    text = sentence(folder)
    assert "eel/more.png: is a folder among the images of a class; name the folder that" in text
    (folder / "eel" / "more.png").rmdir()
    os.mkfifo(folder / "eel" / "more.png")
    assert "eel/more.png: is not an image file" in sentence(folder)


def test_image_outside_the_classes(folder, sentence, picture):
    (folder / "stray.png").write_bytes(picture(GREY))
    assert "holds 'stray.png' in no class" in sentence(folder)


def test_two_folders_for_one_number(tmp_path, sentence, picture):
    for name in ["1", "01"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(picture(GREY))
    assert "has two folders for class 1: ['01', '1']" in sentence(tmp_path)


def test_nothing_there(tmp_path, sentence):
    assert "is a folder, which no data format reads; choose one of" in sentence(tmp_path)
    (tmp_path / "cat").mkdir()
    text = sentence(tmp_path)
    assert "is a folder whose subfolders hold no images; put every image into the folder" in text


def test_links_that_leave_the_folder(folder, tmp_path, sentence, load, picture):
    inside = folder / "eel" / "z.png"
    inside.symlink_to(folder / "cat" / "0.png")
    assert len(load(folder)[1]) == 10
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(RGB[0]))
    inside.unlink()
    inside.symlink_to(secret)
    assert "z.png: is a link that leads out of the data folder" in sentence(folder)
    inside.unlink()
    (tmp_path / "more").mkdir()
    (folder / "fox").symlink_to(tmp_path / "more")
    assert "fox: is a link that leads out" in sentence(folder)


@pytest.mark.parametrize("part", [0, 4, 20, 40, 60])
def test_damaged_first_image(folder, sentence, part):
    path = folder / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:part])
    assert sentence(folder).startswith("cat/0.png: is ")


def test_damaged_later_image_is_told_when_it_is_read(folder, sentence):
    path = folder / "eel" / "2.png"
    path.write_bytes(path.read_bytes()[:-30])
    assert sentence(folder).startswith("eel/2.png: is a damaged image (")
    path.unlink()
    path.write_bytes(b"GIF89a")
    assert sentence(folder).startswith("eel/2.png: is ")


def forged_png(width, height):
    """A small file that declares a large image."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(
            ">I", zlib.crc32(kind + content)
        )  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("size", [(10_000, 7_000), (10_000, 10_000), (65_000, 65_000)])
@pytest.mark.parametrize("name", ["cat/0.png", "eel/2.png"])
def test_bombs(folder, sentence, frugally, size, name):
    (folder / name).write_bytes(forged_png(*size))
    text = frugally(lambda: sentence(folder), 4_000_000)
    assert text.startswith(f"{name}: declares ") or "where the first image is" in text


def test_animations_and_deep_images(folder, sentence, picture):
    frames = [Image.fromarray(image) for image in RGB[:3]]
    animated = picture(frames[0], "GIF", save_all=True, append_images=frames[1:])
    (folder / "cat" / "0.png").unlink()
    (folder / "cat" / "0.gif").write_bytes(animated)
    assert "cat/0.gif: is an animation" in sentence(folder)
    (folder / "cat" / "0.gif").write_bytes(picture(np.zeros((5, 6), np.uint16), "PNG"))
    text = sentence(folder)
    assert "16 bits a value" in text or "mode 'I;16'" in text


def test_many_images_are_not_kept(tmp_path, picture, frugally):
    content = picture(np.zeros((100, 100, 3), np.uint8))
    (tmp_path / "0").mkdir()
    for at in range(200):
        (tmp_path / "0" / f"{at}.png").write_bytes(content)

    def read_some():
        with open_dataset(tmp_path) as data:
            for at in range(0, 200, 10):
                assert data.read(at, at + 10).shape == (10, 3, 100, 100)

    read_some()
    frugally(read_some, 4_000_000)


def test_unreadable_image(folder, sentence, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert "cat/0.png: cannot be read (Permission denied)" in sentence(folder)


def test_without_pillow(folder, sentence, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    text = sentence(folder)
    assert text == ("cat/0.png: needs the package pillow to be read; pip install 'lipcert[data]'")


@pytest.mark.parametrize("pixel_range", [(1.0, 0.0), (0.0, 0.0), (0.0, np.inf), (np.nan, 1.0)])
def test_pixel_range_refused(folder, sentence, pixel_range):
    assert sentence(folder, pixel_range=pixel_range).startswith("pixel range: runs from ")
