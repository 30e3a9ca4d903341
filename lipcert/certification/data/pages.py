"""Sizes that the pages of a Parquet file unpack to, by their headers, before Arrow takes memory.

A page header is a Thrift structure in compact form; its second and third fields are the page's
sizes unpacked and packed (Apache Parquet format, ``parquet.thrift``; Thrift compact protocol).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, BinaryIO

from lipcert.errors import InputError

MAX_UNPACKED = 1 << 30
"""Bytes of the largest pages of all columns together: those are in memory at once."""
LARGEST_SIZE = (1 << 31) - 1
LONGEST_HEADER = 1 << 16
"""Statistics of long texts make headers long."""
DEEPEST = 8

_VARINTS, _BINARY, _STRUCT = (4, 5, 6), 8, 12
_FIXED = {3: 1, 7: 8}
_LISTS = (9, 10)


def check_pages(stream: BinaryIO, metadata: Any, names: Collection[str], place: str) -> None:
    """Refuse a file of which the columns of these names unpack to too much at once.

    A header that cannot be read ends the look at its column: Arrow tells what is wrong there.
    """
    together = 0
    for column in range(metadata.num_columns):
        path = metadata.schema.column(column).path
        if not any(path == name or path.startswith(f"{name}.") for name in names):
            continue
        largest = 0
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(column)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            largest = max(largest, _largest(stream, start, start + chunk.total_compressed_size))
        together += largest
    if together > MAX_UNPACKED:
        finding = f"has pages that unpack to more than {MAX_UNPACKED} bytes at once"
        raise InputError(place, finding, "write it with smaller pages or fewer columns")


def _largest(stream: BinaryIO, start: int, end: int) -> int:
    """Bytes of the largest page between two places of the file, once it is unpacked."""
    found = 0
    while 0 <= start < end:
        stream.seek(start)
        held = stream.read(min(LONGEST_HEADER, end - start))
        try:
            sizes, length = _header(held)
            unpacked, packed = sizes[2], sizes[3]
        except (IndexError, KeyError):
            return found
        if not (0 <= unpacked <= LARGEST_SIZE and 0 <= packed <= LARGEST_SIZE):
            return MAX_UNPACKED + 1  # Arrow would take 32 bits of it
        found = max(found, unpacked, packed)
        start += length + packed
    return found


def _header(held: bytes) -> tuple[dict[int, int], int]:
    """Whole numbers among the fields of a structure, by their ids, and its length."""
    found: dict[int, int] = {}
    place = field = 0
    while held[place]:
        step, kind = held[place] >> 4, held[place] & 15
        place += 1
        if step:
            field += step
        else:
            field, place = _whole(held, place)
        if kind == 5:
            found[field], place = _whole(held, place)
        else:
            place = _after(held, place, kind, 0)
    return found, place + 1


def _after(held: bytes, place: int, kind: int, depth: int) -> int:
    """Where a value ends.  Raises IndexError where it does not."""
    if depth > DEEPEST or place > len(held):
        raise IndexError(place)
    if kind in (1, 2):
        return place
    if kind in _FIXED:
        return place + _FIXED[kind]
    if kind in _VARINTS:
        return _varint(held, place)[1]
    if kind == _BINARY:
        length, place = _varint(held, place)
        return place + length
    if kind in _LISTS:
        count, inner = held[place] >> 4, held[place] & 15
        count, place = _varint(held, place + 1) if count == 15 else (count, place + 1)
        for _ in range(count):
            place = _after(held, place, 3 if inner in (1, 2) else inner, depth + 1)
        return place
    if kind != _STRUCT:
        raise IndexError(kind)
    while held[place]:
        step, inner = held[place] >> 4, held[place] & 15
        place = place + 1 if step else _varint(held, place + 1)[1]
        place = _after(held, place, inner, depth + 1)
    return place + 1


def _varint(held: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while held[place] > 127 and shift < 70:
        value |= (held[place] & 127) << shift
        place, shift = place + 1, shift + 7
    return value | held[place] << shift, place + 1


def _whole(held: bytes, place: int) -> tuple[int, int]:
    """A signed number, its sign in the lowest bit."""
    value, place = _varint(held, place)
    return (value >> 1) ^ -(value & 1), place
