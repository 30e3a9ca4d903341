"""A folder with one subfolder of images for each class.

The classes are numbered in the order of their names; where all names are whole numbers, those are
the labels.  The samples run through the classes in that order and through the names in each.
Hidden files are left out, and so are files beside the class folders; a class folder holds images
and nothing else.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from lipcert.certification.data.files import FolderOrigin, check_inside
from lipcert.certification.data.formats import (
    FORMATS,
    MAX_SAMPLE_BYTES,
    Format,
    Opened,
    Request,
    check_sample_shape,
)
from lipcert.certification.data.labels import Labels
from lipcert.certification.data.pictures import Pictures
from lipcert.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm")
LITTER = frozenset({"thumbs.db", "desktop.ini"})
"""Files that desktops leave among images, in lower case."""

OTHERS = frozenset({"dataset_dict.json", "dataset_info.json", "state.json"})
"""Files that say that a folder is a data set of another kind."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_IMAGES = "put every image into the folder of its class"


class Names(Sequence[str]):
    """Many names in little memory: their bytes, and where each ends."""

    def __init__(self, names: Iterable[str]) -> None:
        self.text = bytearray()
        self.ends = array("Q", [0])
        for name in names:
            self.text += os.fsencode(name)
            self.ends.append(len(self.text))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return os.fsdecode(bytes(self.text[self.ends[index] : self.ends[index + 1]]))


@dataclass(frozen=True, eq=False)
class ImageSamples:
    """Image files as float32 samples of shape (channels, height, width)."""

    root: Path
    names: Names
    pictures: Pictures

    @property
    def place(self) -> str:
        return self.root.name or str(self.root)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pictures.shape

    def __len__(self) -> int:
        return len(self.names)

    def read(self, start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, *self.shape), dtype=np.float32)
        for row in range(stop - start):
            name = self.names[start + row]
            block[row] = self.pictures.decode(image_bytes(self.root, name), name)
        return block

    def close(self) -> None:
        """Nothing is held open between images."""


def is_image_folder(path: Path) -> bool:
    """Whether a folder holds folders and nothing that says it is another kind of data set."""
    if not path.is_dir():
        return False
    with os.scandir(path) as entries:
        held = {entry.name: entry.is_dir() for entry in entries if entry.name[0] != "."}
    return any(held.values()) and not held.keys() & OTHERS


def open_images(request: Request) -> Opened:
    """The images of all classes, their headers unread except the first one's."""
    root = request.path
    place = root.name or str(root)
    classes = _class_folders(root)
    counts = array("q")

    def all_names() -> Iterable[str]:
        for folder in classes:
            names = _image_names(root, folder)
            counts.append(len(names))
            yield from names

    names = Names(all_names())
    if not names:
        finding = "is a folder whose subfolders hold no images"
        raise InputError(place, finding, f"{_IMAGES}, or name the data file in it")
    labels = Labels(np.repeat(_numbered(classes, place), counts), place)
    origin = FolderOrigin(root, names)
    if "x" not in request.wanted:
        return Opened(origin, labels=labels)
    first = names[0]
    pictures = Pictures.like(image_bytes(root, first), request.pixel_range, first)
    check_sample_shape(len(names), pictures.shape, 4, place)
    samples = ImageSamples(root, names, pictures)
    return Opened(origin, samples, labels if "y" in request.wanted else None)


FORMATS.register("images")(Format("a folder of images per class", is_image_folder, open_images))


def image_bytes(root: Path, name: str) -> bytes:
    """The content of an image file."""
    try:
        with (root / name).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            content = stream.read(min(size, MAX_SAMPLE_BYTES + 1))
    except OSError as error:
        finding = f"cannot be read ({error.strerror or error})"
        raise InputError(name, finding, "check the path and its permissions") from None
    if len(content) > MAX_SAMPLE_BYTES:
        raise InputError(name, f"is above the limit of {MAX_SAMPLE_BYTES} bytes", "resize it")
    return content


def _class_folders(root: Path) -> list[str]:
    """The names of the class folders: by number where all are numbers, else by name."""
    folders = []
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                check_inside(root, entry.name)
                folders.append(entry.name)
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                raise InputError(root.name, f"holds {entry.name[:80]!r} in no class", _IMAGES)
    if all(map(_NUMBER.fullmatch, folders)):
        return sorted(folders, key=lambda name: (int(name), name))
    return sorted(folders)


def _numbered(classes: list[str], place: str) -> np.ndarray:
    """The label of each class, int64."""
    if not all(map(_NUMBER.fullmatch, classes)):
        return np.arange(len(classes), dtype=np.int64)
    labels = [int(name) for name in classes]
    for index in range(1, len(labels)):
        if labels[index] == labels[index - 1]:
            finding = f"has two folders for class {labels[index]}: {classes[index - 1 : index + 1]}"
            raise InputError(place, finding, "keep one folder a class")
    return np.array(labels, dtype=np.int64)


def _image_names(root: Path, folder: str) -> list[str]:
    """The images of a class folder by name, with the folder's name before theirs."""
    names = []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in LITTER:
                    continue
                name = f"{folder}/{entry.name}"
                if entry.is_symlink():
                    check_inside(root, name)
                if entry.is_dir():
                    remedy = "name the folder that holds the class folders"
                    raise InputError(name, "is a folder among the images of a class", remedy)
                if Path(entry.name).suffix.lower() not in SUFFIXES or not entry.is_file():
                    kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
                    finding = f"is not an image file ({kinds})"
                    raise InputError(name, finding, "convert it or take it out")
                names.append(name)
    except OSError as error:
        finding = f"cannot be read ({error.strerror or error})"
        raise InputError(folder, finding, "check the path and its permissions") from None
    return sorted(names)
