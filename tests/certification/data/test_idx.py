"""IDX files."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from lipcert.certification.data import open_dataset
from lipcert.errors import NothingEvaluatedError

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 4, 5), dtype=np.uint8)
Y = np.arange(11) % 10
CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx(array, dtype="u1"):
    """The bytes of an IDX file."""
    head = bytes([0, 0, CODES[dtype], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + sizes + array.astype(f">{dtype}").tobytes()


@pytest.fixture
def mnist(tmp_path):
    """Write images and labels under the given names."""

    def write(images="t10k-images-idx3-ubyte", labels="t10k-labels-idx1-ubyte", x=None):
        for name, content in ((images, x or idx(IMAGES)), (labels, idx(Y))):
            packed = gzip.compress(content) if name.endswith(".gz") else content
            (tmp_path / name).write_bytes(packed)
        return tmp_path / images

    return write


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        ("images.idx", "labels.idx"),
    ],
)
def test_images(mnist, streams, images, labels):
    x = (IMAGES[:, None].astype(np.float64) / 255).astype(np.float32)
    streams(mnist(images, labels), x, Y)


def test_pixel_range_and_labels_elsewhere(mnist, tmp_path, load):
    path = mnist(labels="other.idx1")
    (tmp_path / "l.csv").write_text("\n".join(map(str, Y[::-1])))
    for labels, y in (("other.idx1", Y), ("l.csv", Y[::-1])):
        x, found = load(path, labels=tmp_path / labels, pixel_range=(0, 255))
        np.testing.assert_array_equal(x[:, 0], IMAGES)
        assert found.tolist() == y.tolist()


@pytest.mark.parametrize("dtype", list(CODES))
@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 2, 2)])
def test_plain_numbers(tmp_path, streams, dtype, shape):
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    (tmp_path / "x.idx").write_bytes(idx(x, dtype))
    (tmp_path / "y.idx").write_bytes(idx(np.array([0, 1, 0])))
    streams(tmp_path / "x.idx", x, [0, 1, 0], labels=tmp_path / "y.idx")


def test_digest_with_partner(mnist):
    import hashlib

    path = mnist()
    files = (path, path.with_name("t10k-labels-idx1-ubyte"))
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert open_dataset(path).digest() == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_without_partner(mnist, tmp_path, sentence):
    path = mnist(labels="else.idx1")
    assert "there is no t10k-labels-idx1-ubyte beside it; pass --labels" in sentence(path)
    (tmp_path / "x.idx3").write_bytes(idx(IMAGES))
    assert "holds samples without labels; pass --labels" in sentence(tmp_path / "x.idx3")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"\0\0", "is not an IDX file (wrong first bytes)"),
        (b"\0\0\x07\x01\0\0\0\1\0", "is not an IDX file"),
        (b"\1\0\x08\x01\0\0\0\1\0", "is not an IDX file"),
        (b"\0\0\x08\0", "declares 0 dimensions"),
        (b"\0\0\x08\xff" + bytes(2000), "declares 255 dimensions"),
        (b"\0\0\x08\x03\0\0\0\1", "declares 3 dimensions and does not hold their sizes"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "declares uint8 of shape (4294967295, 4294967295"),
    ],
)
def test_headers_refused(mnist, sentence, frugally, packed, content, finding):
    path = mnist(f"a-images-idx3-ubyte{'.gz' if packed else ''}", x=content)
    sentence(path)
    assert finding in frugally(lambda: sentence(path), 2_000_000)


def test_no_samples(mnist, sentence):
    path = mnist(x=idx(np.zeros((0, 28, 28))))
    assert "holds no samples" in sentence(path, NothingEvaluatedError)
    assert "its samples hold no values" in sentence(mnist(x=idx(np.zeros((3, 0, 28)))))


def test_cut_short_and_too_long(mnist, sentence):
    assert "declares uint8 of shape (11, 4, 5)" in sentence(mnist(x=idx(IMAGES)[:-1]))
    assert "and holds 237" in sentence(mnist(x=idx(IMAGES) + b"x"))
    path = mnist("a-images-idx3-ubyte.gz", "a-labels-idx1-ubyte.gz", x=idx(IMAGES)[:-1])
    assert "ends after 219 of 220 bytes of values" in sentence(path)
    path = mnist("a-images-idx3-ubyte.gz", "a-labels-idx1-ubyte.gz", x=idx(IMAGES) + b"x")
    assert "holds more than 236" in sentence(path)


@pytest.mark.parametrize("part", [3, 9, 30, 200, -4])
def test_damaged_gzip(mnist, sentence, part):
    path = mnist("a-images-idx3-ubyte.gz", "a-labels-idx1-ubyte.gz")
    path.write_bytes(path.read_bytes()[:part])
    assert "is a damaged gzip file (" in sentence(path)


def test_gzip_with_other_content_is_told_by_its_checksum(mnist, sentence):
    path = mnist("a-images-idx3-ubyte.gz", "a-labels-idx1-ubyte.gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    assert "is a damaged gzip file (CRC check failed" in sentence(path)


def test_bomb(tmp_path, mnist, sentence, frugally):
    content = idx(IMAGES)[:4] + struct.pack(">3I", 11, 65_000, 65_000) + bytes(1000)
    path = mnist("a-images-idx3-ubyte.gz", "a-labels-idx1-ubyte.gz", x=content)
    assert "46475000016 bytes, and holds" in frugally(lambda: sentence(path), 2_000_000)
    zeros = idx(np.zeros((1, 30_000, 10_000), np.uint8))
    (tmp_path / "b-images-idx3-ubyte.gz").write_bytes(gzip.compress(zeros, 9))
    labels = tmp_path / "l.csv"
    labels.write_text("0\n")
    path = tmp_path / "b-images-idx3-ubyte.gz"
    text = frugally(lambda: sentence(path, labels=labels), 2_000_000)
    assert "samples of 1200000000 bytes each, above the limit" in text


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_little_memory(tmp_path, frugally, packed):
    many = idx(np.zeros((20_000, 28, 28), np.uint8))
    path = tmp_path / f"a-images-idx3-ubyte{packed}"
    path.write_bytes(gzip.compress(many, 1) if packed else many)
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(idx(np.zeros(20_000)))

    def read_some():
        with open_dataset(path) as data:
            assert data.read(19_000, 19_010).shape == (10, 1, 28, 28)
            assert not data.read(0, 10).any()

    read_some()
    frugally(read_some, 5_000_000)
