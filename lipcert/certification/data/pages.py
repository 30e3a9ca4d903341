"""Page headers of Parquet files, read before Arrow takes the memory that they ask for.

A header says how large its page is unpacked, and Arrow allocates that before it looks at what is
there: a page of a kilobyte that says 2 GiB takes 2 GiB.  No codec unpacks to more than a known
multiple of what it is given, so a header that says so is forged.  Headers are structures of
Thrift's compact protocol (parquet-format, PageHeader).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from lipcert.errors import InputError

GAIN = {"UNCOMPRESSED": 1, "SNAPPY": 22, "LZ4": 256, "GZIP": 1040}
"""Most bytes that a codec unpacks from one: copies of 64 bytes in 3, of 255 in 1, of 258 in 2
bits; zstd makes 2^17 of 4."""
MOST_GAIN = 1 << 16
"""The same for codecs without such a limit, or with a higher one."""
SMALL_PAGE = 16 << 20
"""Bytes that a page may always take."""
HEADER_BYTES, LONGEST_HEADER = 1 << 10, 1 << 24
"""Read of a header first, and at most."""
DEEPEST = 16
DICTIONARY, DATA_HEADERS = 7, (5, 8)
"""Fields of a header: of a dictionary page, of data pages of both versions."""
BOOLEANS, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, MAP, STRUCT = (
    (1, 2),
    3,
    (4, 5, 6),
    7,
    8,
    (9, 10),
    11,
    12,
)


class _ShortError(Exception):
    """The bytes end within the structure."""


@dataclass
class Thrift:
    """Reads structures of the compact protocol: numbers and structures in them, by field."""

    content: bytes
    at: int = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a structure; ``at`` is then behind it.

        Raises ValueError for what is none, :class:`_ShortError` where it does not end.
        """
        if depth > DEEPEST:
            raise ValueError("nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in BOOLEANS:
            return kind == BOOLEANS[0]
        if kind in INTEGERS:
            return self._integer()
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in LISTS:
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            return self._values((head & 15,), count, depth)
        if kind == MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            return self._values((kinds >> 4, kinds & 15), count, depth)
        if kind not in (BYTE, DOUBLE, BINARY):
            raise ValueError(f"no type {kind}")
        self._skip({BYTE: 1, DOUBLE: 8}.get(kind) or self._varint())
        return None

    def _values(self, kinds: tuple[int, ...], count: int, depth: int) -> None:
        """Passes over the values of a list or a map; of booleans each takes a byte there."""
        for _ in range(count):
            for kind in kinds:
                self._value(BYTE if kind in BOOLEANS else kind, depth + 1)

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.content):
            raise _ShortError

    def _byte(self) -> int:
        self._skip(1)
        return self.content[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("too long a number")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def check_pages(stream: BinaryIO, chunks: Iterable[Any], size: int, place: str) -> None:
    """Refuse pages of column chunks that ask for more memory than their bytes can fill.

    Parameters
    ----------
    stream : the file, of ``size`` bytes.
    chunks : ``pyarrow.parquet.ColumnChunkMetaData``.

    Raises InputError for such a page, and for a header that cannot be read.
    """
    for chunk in chunks:
        _check_chunk(stream, chunk, size, place)


def _check_chunk(stream: BinaryIO, chunk: Any, size: int, place: str) -> None:
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < at:
        at = chunk.dictionary_page_offset
    end = min(at + chunk.total_compressed_size, size)
    gain, seen = GAIN.get(chunk.compression, MOST_GAIN), 0
    while seen < chunk.num_values and 0 <= at < end:
        fields, behind = _header(stream, at, place)
        packed, unpacked = _size(fields.get(3)), _size(fields.get(2))
        if packed < 0 or unpacked < 0 or behind + packed > size:
            raise _forged(place, at, "a page that does not fit into the file")
        if unpacked > max(SMALL_PAGE, gain * packed):
            raise _forged(place, at, f"a page of {packed} bytes that claims to hold {unpacked}")
        if (words := _values_in(fields, (DICTIONARY,))) > unpacked:
            raise _forged(place, at, f"a dictionary of {words} words in {unpacked} bytes")
        seen += _values_in(fields, DATA_HEADERS)
        at = behind + packed


def _size(value: object) -> int:
    """A size that a header states, -1 for what is none."""
    return value if type(value) is int else -1


def _values_in(fields: dict[int, Any], headers: tuple[int, ...]) -> int:
    """The number of values that a header states in one of these structures, 0 without any."""
    own = (fields[key] for key in headers if isinstance(fields.get(key), dict))
    return max(0, *(_size(inner.get(1)) for inner in own), 0)


def _header(stream: BinaryIO, at: int, place: str) -> tuple[dict[int, Any], int]:
    """The fields of the page header at an offset, and where it ends."""
    most = HEADER_BYTES
    while True:
        stream.seek(at)
        reader = Thrift(stream.read(most))
        try:
            return reader.struct(), at + reader.at
        except _ShortError:
            if len(reader.content) < most or most >= LONGEST_HEADER:
                raise _forged(place, at, "a page header that does not end") from None
            most *= 128
        except (ValueError, TypeError) as error:
            raise _forged(place, at, f"a damaged page header ({error})") from None


def _forged(place: str, at: int, what: str) -> InputError:
    return InputError(place, f"has at byte {at} {what}", "save it again")
