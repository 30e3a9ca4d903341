"""Page headers of Parquet files: forged ones are refused before Arrow takes memory for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lipcert.certification.data import open_dataset
from lipcert.certification.data.pages import Thrift, _ShortError, check_pages
from lipcert.errors import InputError

CODECS = ("NONE", "SNAPPY", "GZIP", "ZSTD", "BROTLI", "LZ4")


def varint(number: int) -> bytes:
    """A number of 32 bits as Thrift's compact protocol writes it."""
    left, found = number << 1, b""
    while left > 127:
        found, left = found + bytes([left & 127 | 128]), left >> 7
    return found + bytes([left])


def forged(path: Path, field: str, claimed: int) -> Path:
    """A small file whose last column's first page claims another size, packed or unpacked."""
    x = np.arange(128, dtype=np.float64)
    pq.write_table(
        pa.table({"label": x.astype(int) % 2, "x": x}), path, use_dictionary=False,
        compression="zstd", write_statistics=False,
    )  # fmt: skip
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content, at = path.read_bytes(), chunk.data_page_offset
    # page type 0, then the size unpacked, then the size packed: i32 fields, one after another
    assert content[at : at + 3] == b"\x15\x00\x15"
    packed_at = content.index(b"\x15", at + 3)
    end = packed_at + 2
    while content[end - 1] & 128:
        end += 1
    unpacked, packed = content[at + 3 : packed_at], content[packed_at + 1 : end]
    longer = len(varint(claimed)) - len(unpacked if field == "unpacked" else packed)
    if field == "unpacked":  # what the number takes more, the page has less: the footer fits
        length = (packed[0] & 127 | packed[1] << 7) >> 1
        unpacked, packed = varint(claimed), varint(length - longer)
    else:
        packed = varint(claimed)
    assert len(packed) == 2 or field == "packed"
    behind = at + chunk.total_compressed_size
    page = content[end : behind - longer if field == "unpacked" else behind]
    path.write_bytes(content[: at + 3] + unpacked + b"\x15" + packed + page + content[behind:])
    assert pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset == at
    return path


@pytest.mark.parametrize(
    ("field", "claimed", "told"),
    [
        ("unpacked", 2**31 - 1, "bytes that claims to hold 2147483647"),
        ("unpacked", 1 << 28, "bytes that claims to hold"),
        ("packed", 2**31 - 1, "a page that does not fit into the file"),
    ],
)
def test_a_forged_page_is_refused(tmp_path: Path, field: str, claimed: int, told: str) -> None:
    path = forged(tmp_path / "f.parquet", field, claimed)
    with pytest.raises(InputError, match=f"^f.parquet: has at byte [0-9]+ .*{told}"):
        dataset = open_dataset(path)
        dataset.read(0, len(dataset))


def test_a_forged_page_takes_no_memory(tmp_path: Path) -> None:
    """Arrow by itself takes what the header says; here it is not asked."""
    path = forged(tmp_path / "f.parquet", "unpacked", 2**31 - 1)
    code = (
        "import sys\nimport pyarrow\n"
        "from lipcert.certification.data import open_dataset\n"
        "from lipcert.errors import InputError\n"
        "try:\n    d = open_dataset(sys.argv[1]); d.read(0, len(d))\n"
        "except InputError as error:\n    print(error)\n"
        "print(pyarrow.default_memory_pool().max_memory())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "claims to hold" in found[0]
    assert int(found[1]) < 1 << 20


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_pages_that_pack_well_are_read(
    tmp_path: Path, codec: str, version: str, dictionary: bool
) -> None:
    """Zeros, in pages of 32 MiB: every codec packs them as well as it can."""
    size = 1 << 22
    x = np.zeros(size, dtype=np.float64)
    x[0] = 1.0
    path = tmp_path / "z.parquet"
    pq.write_table(
        pa.table({"label": np.zeros(size, dtype=np.int8), "x": x}), path, compression=codec,
        use_dictionary=dictionary, data_page_version=version, data_page_size=1 << 25,
        row_group_size=size,
    )  # fmt: skip
    found = pq.ParquetFile(path)
    group = found.metadata.row_group(0)
    with path.open("rb") as stream:
        check_pages(stream, [group.column(0), group.column(1)], path.stat().st_size, "z")


def test_only_columns_that_are_read_are_looked_at(tmp_path: Path) -> None:
    path = forged(tmp_path / "f.parquet", "unpacked", 2**31 - 1)
    with path.open("rb") as stream:
        group = pq.ParquetFile(path).metadata.row_group(0)
        check_pages(stream, [group.column(0)], path.stat().st_size, "f")
        with pytest.raises(InputError, match="claims to hold"):
            check_pages(stream, [group.column(1)], path.stat().st_size, "f")


def test_every_kind_of_field_is_passed_over() -> None:
    fields = (
        b"\x11" + b"\x12"  # fields 1 and 2: true, false
        + b"\x13\x7f"  # 3: a byte
        + b"\x14\x03" + b"\x15\x80\x01" + b"\x16\x04"  # 4 to 6: -2, 64 and 2
        + b"\x17" + b"12345678"  # 7: a double
        + b"\x18\x03abc"  # 8: bytes
        + b"\x19\x21\x01\x02"  # 9: a list of two booleans
        + b"\x1a\xf5\x11" + b"\x02" * 17  # 10: a set of 17 numbers
        + b"\x1b\x01\x85\x01a\x06"  # 11: a map from bytes to a number
        + b"\x1b\x00"  # 12: an empty map
        + b"\x1c\x15\x0a\x00"  # 13: a structure with field 1: 5
        + b"\x05\xc8\x01\x0e"  # field 100: 7
        + b"\x00"
    )  # fmt: skip
    reader = Thrift(fields + b"rest")
    found = reader.struct()
    assert found[1] is True and found[2] is False
    assert [found[key] for key in (4, 5, 6, 100)] == [-2, 64, 2, 7]
    assert found[13] == {1: 5} and reader.at == len(fields)
    for length in range(len(fields) - 1):
        with pytest.raises(_ShortError):
            Thrift(fields[:length]).struct()


@pytest.mark.parametrize("content", [b"\x1c" * 99, b"\x1d\x00", b"\x15" + b"\xff" * 12])
def test_what_is_no_structure(content: bytes) -> None:
    with pytest.raises(ValueError):
        Thrift(content).struct()
