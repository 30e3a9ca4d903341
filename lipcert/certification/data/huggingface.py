"""Data sets that Hugging Face's ``datasets`` saved with ``save_to_disk``.

A folder with ``state.json``, which names Arrow streams beside it.  Only plain names are followed,
and no path found in the data is opened.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lipcert.certification.data.arrow import choose, damage_told, labels_of, samples_of
from lipcert.certification.data.files import FolderOrigin, check_inside, open_file
from lipcert.certification.data.formats import FORMATS, Format, Opened, Request
from lipcert.certification.data.ipc import Stream, StreamBatches, indexed
from lipcert.errors import InputError

MAX_JSON = 16 << 20
"""Most bytes of a JSON file that is read."""

_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
_AGAIN = "save it again with save_to_disk"


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder has the files that ``save_to_disk`` writes."""
    return path.is_dir() and any((path / name).is_file() for name in (_STATE, _INFO, _SPLITS))


def open_saved_dataset(request: Request) -> Opened:
    """The samples and labels among the columns."""
    root = request.path
    place = root.name or str(root)
    if not (root / _STATE).is_file():
        raise _not_one_data_set(root, place)
    names = _stream_names(root)
    streams = [indexed(root / name) for name in names]
    _check_alike(streams)
    labels = samples = None
    with damage_told(place, "Arrow"):
        choice = choose(streams[0].schema, request.wanted, place)
        if choice.label is not None and "y" in request.wanted:
            batches = StreamBatches(streams, (choice.label,))
            labels = labels_of(batches.read(0, len(batches)), choice.label, place)
            batches.close()
        if "x" in request.wanted:
            batches = StreamBatches(streams, choice.samples)
            samples = samples_of(batches, choice, request.pixel_range, place)
    return Opened(FolderOrigin(root, (_STATE, *names)), samples, labels)


FORMATS.register("huggingface")(
    Format("a folder of datasets.save_to_disk", is_saved_dataset, open_saved_dataset)
)


def _stream_names(root: Path) -> list[str]:
    """The files that hold the data, found to lie in the folder."""
    place = f"{root.name}/{_STATE}"
    check_inside(root, _STATE)
    state = _json(root / _STATE, place)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        finding = "selects rows through an index file, which is not read"
        raise InputError(place, finding, "save dataset.flatten_indices()")
    entries = state.get("_data_files")
    if not isinstance(entries, list) or not entries:
        raise InputError(place, "names no data files", _AGAIN)
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    for name in names:
        if not isinstance(name, str) or not name.endswith(".arrow") or set(name) & set("/\\\0"):
            finding = f"names the data file {str(name)[:80]!r}, which is no plain name"
            raise InputError(place, finding, _AGAIN)
        check_inside(root, name)
        open_file(root / name)[0].close()
    if len(set(names)) < len(names):
        raise InputError(place, "names a data file twice", _AGAIN)
    return [str(name) for name in names]


def _check_alike(streams: list[Stream]) -> None:
    """Refuse files of one data set with other columns than the first."""
    for stream in streams[1:]:
        if not stream.schema.equals(streams[0].schema):
            finding = f"has other columns than {streams[0].path.name}"
            raise InputError(stream.path.name, finding, _AGAIN)


def _not_one_data_set(root: Path, place: str) -> InputError:
    """The sentence for a folder of several data sets, or one that is not whole."""
    if not (root / _SPLITS).is_file():
        return InputError(place, f"has no {_STATE}", _AGAIN)
    splits = _json(root / _SPLITS, f"{place}/{_SPLITS}").get("splits")
    names = [str(name)[:40] for name in splits[:10]] if isinstance(splits, list) else []
    shown = ", ".join(map(repr, names)) or "none"
    example = str(root / names[0]) if names else "the folder of one"
    return InputError(place, f"holds several data sets: {shown}", f"give one of them: {example}")


def _json(path: Path, place: str) -> dict[str, Any]:
    """A JSON object from a small file."""
    stream, size = open_file(path)
    with stream:
        if size > MAX_JSON:
            raise InputError(place, f"is {size} bytes, above the limit of {MAX_JSON}", _AGAIN)
        try:
            found = json.loads(stream.read(size))
        except (ValueError, RecursionError) as error:
            finding = f"is not JSON ({str(error)[:80]})"
            raise InputError(place, finding, _AGAIN) from None
    if not isinstance(found, dict):
        raise InputError(place, "is no JSON object", _AGAIN)
    return found
