"""Data sets from careless and hostile files: what is read, and the sentences for what is not."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tempfile
import tracemalloc
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipcert.certification.data import (
    FORMATS,
    Dataset,
    check_labels,
    check_layout,
    check_range,
    dataset_of_arrays,
    open_dataset,
)
from lipcert.certification.data.arrays import ArraySamples
from lipcert.errors import InputError, LipcertError, NothingEvaluatedError

X = np.arange(24, dtype=np.float32).reshape(4, 6)
Y = np.array([0, 1, 2, 1])


def npy_bytes(array, version=None):
    """The bytes of an npy file."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(stream, np.asanyarray(array), version=version)
    return stream.getvalue()


def forged_npy(descr="'<f4'", shape="(2, 3)", order="False", body=b"", version=b"\x01\x00"):
    """An npy file with a header of one's own."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + body


def written(path, content):
    """The path, with the content written to it."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(path, members, method=zipfile.ZIP_STORED):
    """A zip archive of the given members."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def saved(path, **arrays):
    """An npz file of the given arrays."""
    np.savez(path, **arrays)
    return path


@dataclass
class Loaded:
    """A data set read whole."""

    x: np.ndarray
    y: np.ndarray
    path: str
    name: str
    sha256: str


def load(path, **options):
    """Open a data set and read all of it, then its digest."""
    with open_dataset(path, **options) as data:
        x = data.read(0, len(data))
        assert x.shape == (len(data), *data.shape)
        return Loaded(x, data.y, data.path, data.name, data.digest())


def short(value):
    """A readable name for a case: its expected sentence."""
    return value[:40] if isinstance(value, str) else ""


def sentence(path, error=InputError, **options):
    """What loading the path is refused with."""
    with pytest.raises(error) as caught:
        load(path, **options)
    assert type(caught.value) is error
    return str(caught.value)


def test_formats_are_registered():
    assert set(FORMATS) >= {"npz", "npy", "csv"}


# What is read


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i8", "?", ">f4", ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(tmp_path, save, dtype, order):
    x = np.asarray(np.arange(24).reshape(4, 2, 3).astype(dtype), order=order)
    path = tmp_path / "digits.npz"
    save(path, x=x, y=Y, extra=np.array([None]))
    data = load(path)
    assert data.x.dtype == x.dtype.newbyteorder("=") and data.x.dtype.isnative
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(data.y, Y)
    assert data.y.dtype == np.int64
    assert data.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (data.path, data.name) == (str(path), "digits")


@pytest.mark.parametrize(
    "names",
    [("images", "labels"), ("X", "Y"), ("X", "y"), ("data", "target"), ("x_test", "y_test")],
)
def test_npz_aliases(tmp_path, names):
    path = saved(tmp_path / "d.npz", x_train=X[:1], y_train=Y[:1], **{names[0]: X, names[1]: Y})
    np.testing.assert_array_equal(load(path).y, Y)


def test_npz_test_samples_take_no_other_labels(tmp_path):
    text = sentence(saved(tmp_path / "d.npz", x_test=X, y=Y))
    assert "no labels: no array called y_test" in text


def test_npz_labels_override(tmp_path):
    other = written(tmp_path / "other.npy", npy_bytes(Y[::-1]))
    path = saved(tmp_path / "d.npz", x=X, y=Y)
    data = load(path, labels=other)
    np.testing.assert_array_equal(data.y, Y[::-1])
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, other)]
    assert data.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions_and_sibling(tmp_path, version):
    path = written(tmp_path / "mnist_x.npy", npy_bytes(X, version))
    written(tmp_path / "mnist_y.npy", npy_bytes(Y[:, None], version))
    data = load(path)
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)
    assert data.name == "mnist"


def test_npy_plain_sibling_and_labels_in_any_format(tmp_path):
    path = written(tmp_path / "x.npy", npy_bytes(X))
    assert "no y.npy beside it; pass --labels" in sentence(path)
    written(tmp_path / "y.npy", npy_bytes(Y))
    assert load(path).y.tolist() == [0, 1, 2, 1]
    text = written(tmp_path / "labels.csv", "file,Label\na.png,3\nb.png,2\nc.png,1\nd.png,0\n")
    assert load(path, labels=text).y.tolist() == [3, 2, 1, 0]
    archive = saved(tmp_path / "labels.npz", y=Y + 1)
    assert load(str(path), labels=str(archive)).y.tolist() == [1, 2, 3, 2]


def test_npy_without_labels(tmp_path):
    text = sentence(written(tmp_path / "images.npy", npy_bytes(X)))
    assert text == "images.npy: holds samples without labels; pass --labels"


def test_header_as_others_write_it(tmp_path):
    header = b'{"shape":(2L,1,),"fortran_order":False,"descr":"<f4"}'
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8)
    path = written(tmp_path / "a.npy", content)
    labels = written(tmp_path / "b.npy", npy_bytes([0, 1]))
    assert load(path, labels=labels).x.shape == (2, 1)


def test_bool_bytes_other_than_0_and_1(tmp_path):
    path = written(tmp_path / "x.npy", forged_npy("'|b1'", "(3,)", body=b"\x00\x07\xff"))
    written(tmp_path / "y.npy", npy_bytes(Y[:3]))
    assert load(path).x.astype(int).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("text", "x", "y"),
    [
        ("5,0,255\n0,1,2\n", [[0, 255], [1, 2]], [5, 0]),
        ("\ufefflabel,1x1,1x2\r\n5,0,255\r\n\r\n0,1,2\r\n", [[0, 255], [1, 2]], [5, 0]),
        ("a,Target,b\n1,3.0,2\n", [[1, 2]], [3]),
        ("x,y,label\n1,2,0\n", [[1, 2]], [0]),
        ('"label","0","1"\n"1","0.5","-2e3"\n', [[0.5, -2000]], [1]),
        ("# class,f\n1,2", [[2]], [1]),
        ("kind,f\n1,2", [[2]], [1]),
    ],
)
def test_csv(tmp_path, text, x, y):
    data = load(written(tmp_path / "d.csv", text))
    assert data.x.tolist() == x and data.y.tolist() == y
    assert data.x.dtype == np.float64


def test_csv_keeps_what_float64_holds(tmp_path):
    data = load(written(tmp_path / "d.csv", "0,0.1,1e300\n"))
    assert data.x.dtype == np.float64 and data.x.tolist() == [[0.1, 1e300]]


def test_csv_with_labels_elsewhere(tmp_path):
    labels = written(tmp_path / "l.csv", "1\n0\n")
    plain = written(tmp_path / "a.csv", "5,6\n7,8\n")
    assert load(plain, labels=labels).x.tolist() == [[5, 6], [7, 8]]
    named = written(tmp_path / "b.csv", "label,f\ncat,6\ndog,8\n")
    data = load(named, labels=labels)
    assert data.x.tolist() == [[6], [8]] and data.y.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "u8", "?", ">i4"])
def test_label_dtypes(tmp_path, dtype):
    path = saved(tmp_path / "d.npz", x=X, y=np.array([0, 1, 1, 0], dtype))
    assert load(path).y.tolist() == [0, 1, 1, 0]


# Files that cannot be used


def test_missing_file(tmp_path):
    text = sentence(tmp_path / "no.npz")
    assert text == f"no.npz: does not exist in {str(tmp_path)!r}; check the path"


def test_folder(tmp_path):
    (tmp_path / "d.npz").mkdir()
    assert sentence(tmp_path / "d.npz").startswith("d.npz: is a folder")
    assert "is a folder" in sentence(tmp_path)


def test_unknown_suffix(tmp_path):
    text = sentence(written(tmp_path / "d.pkl", b"x"))
    assert text == (
        "d.pkl: has the suffix '.pkl', which no data format reads; choose one of: "
        + ", ".join(sorted(FORMATS[name].written for name in FORMATS))
    )


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv"])
def test_empty_file(tmp_path, suffix):
    assert "is empty (0 bytes)" in sentence(written(tmp_path / f"x{suffix}", b""))


def test_unreadable_file(tmp_path, monkeypatch):
    path = saved(tmp_path / "d.npz", x=X, y=Y)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert "d.npz: cannot be read (Permission denied)" in sentence(path)


def test_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "d.npz")
    assert "is not a regular file" in sentence(tmp_path / "d.npz")


def test_path_with_a_null_character():
    assert "cannot be a path" in sentence("a\0b.npz")


# npz


def test_npz_that_is_no_zip(tmp_path):
    text = sentence(written(tmp_path / "d.npz", npy_bytes(X)))
    assert text.startswith("d.npz: is not a zip archive") and "np.savez(path, x=..., y=...)" in text


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_npz_cut_short(tmp_path, part):
    content = saved(tmp_path / "d.npz", x=X, y=Y).read_bytes()
    path = written(tmp_path / "d.npz", content[: int(len(content) * part)])
    assert "d.npz: is a damaged zip archive" in sentence(path)


def test_npz_without_samples_or_labels(tmp_path):
    text = sentence(saved(tmp_path / "d.npz", a=X, b=Y))
    assert "holds no samples: no array called x, images, X, data, x_test" in text
    assert "(it holds: 'a', 'b')" in text
    text = sentence(saved(tmp_path / "d.npz", x=X))
    assert "holds no labels: no array called y, labels, Y, target (it holds: 'x')" in text
    assert text.endswith("or pass --labels")
    assert "(it holds: none)" in sentence(zipped(tmp_path / "d.npz", {}))


def test_npz_many_long_names_make_a_short_sentence(tmp_path):
    path = zipped(tmp_path / "d.npz", {"n" * 500 + f"{i}.npy": b"" for i in range(100)})
    assert len(sentence(path)) < 1000


def test_npz_same_name_twice(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = saved(tmp_path / "d.npz", x=X, y=Y)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("x.npy", npy_bytes(X + 1))
    assert "holds two arrays called 'x'" in sentence(path)


def test_npz_names_touch_no_file(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    members = {"../x.npy": npy_bytes(X), "/tmp/y.npy": npy_bytes(Y)}
    assert "holds no samples" in sentence(zipped(folder / "d.npz", members))
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "d.npz"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_npz_other_compressions(tmp_path, method):
    path = zipped(tmp_path / "d.npz", {"x.npy": npy_bytes(X), "y.npy": npy_bytes(Y)}, method)
    assert f"d.npz[x]: is packed by zip method {method}" in sentence(path)


def patched_directory(path, offset, form, value):
    """The archive with a field of its first central directory entry overwritten."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    struct.pack_into(form, content, entry + offset, value)
    return written(path, bytes(content))


def test_npz_encrypted(tmp_path):
    path = patched_directory(saved(tmp_path / "d.npz", x=X, y=Y), 8, "<H", 1)
    assert "d.npz[x]: is encrypted" in sentence(path)


def test_npz_corrupt_values(tmp_path):
    content = saved(tmp_path / "d.npz", x=X, y=Y).read_bytes()
    path = written(tmp_path / "d.npz", content.replace(X.tobytes(), bytes(X.nbytes)))
    assert "d.npz[x]: is a damaged zip archive (Bad CRC-32" in sentence(path)


def test_npz_damage_named_at_length_makes_a_short_sentence(tmp_path):
    path = zipped(tmp_path / "d.npz", {"x.npy": npy_bytes(X), "y" * 5000: b"", "y.npy": b""})
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, content.index(b"PK\x01\x02", 5) + 28, 4000)
    assert len(sentence(written(path, bytes(content)))) < 400


def test_npz_directory_against_header(tmp_path):
    members = {"x.npy": npy_bytes(X)[:-4], "y.npy": npy_bytes(Y)}
    text = sentence(zipped(tmp_path / "d.npz", members))
    assert "d.npz[x]: declares float32 of shape (4, 6), 224 bytes with its header" in text
    assert "holds 220 bytes; it is cut short" in text


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_npz_directory_declares_more_than_can_be_there(tmp_path, method):
    huge = forged_npy(shape="(1000000000,)", body=bytes(100))
    path = zipped(tmp_path / "d.npz", {"x.npy": huge, "y.npy": npy_bytes(Y)}, method)
    patched_directory(path, 24, "<I", 4_000_000_000)
    assert "d.npz[x]: declares 4000000000 bytes where the archive can hold" in frugal(path)


def test_npz_bomb(tmp_path):
    bomb = forged_npy("'|u1'", "(4, 5000000)") + bytes(20_000_000)
    members = {"x.npy": bomb, "y.npy": npy_bytes(Y)}
    path = zipped(tmp_path / "d.npz", members, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with open_dataset(path) as data:
            assert data.shape == (5_000_000,)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
            assert not data.read(2, 3).any()
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
            data.digest()
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_npz_member_that_inflates_beyond_its_size(tmp_path):
    members = {"x.npy": npy_bytes(X) + bytes(20_000_000), "y.npy": npy_bytes(Y)}
    path = zipped(tmp_path / "d.npz", members, zipfile.ZIP_DEFLATED)
    patched_directory(path, 24, "<I", len(npy_bytes(X)))
    assert "damaged zip archive (Bad CRC-32" in frugal(path)


def test_npz_member_that_ends_early(tmp_path):
    members = {"x.npy": forged_npy(shape="(4, 100)", body=bytes(100)), "y.npy": npy_bytes(Y)}
    path = zipped(tmp_path / "d.npz", members, zipfile.ZIP_DEFLATED)
    patched_directory(path, 24, "<I", len(members["x.npy"]) + 1500)
    assert "d.npz[x]: ends after 100 of 1600 bytes of values; it is cut short" in frugal(path)


def frugal(path, **options):
    """The sentence for a file, after making sure that refusing it took under 2 MB."""
    sentence(path, **options)
    tracemalloc.start()
    try:
        text = sentence(path, **options)
        assert tracemalloc.get_traced_memory()[1] < 2_500_000
    finally:
        tracemalloc.stop()
    return text


# npy


def test_npy_that_declares_32_gib(tmp_path):
    path = written(tmp_path / "x.npy", forged_npy(shape="(8589934592,)"))
    assert path.stat().st_size < 90
    written(tmp_path / "y.npy", npy_bytes(Y))
    text = frugal(path)
    assert "x.npy: declares float32 of shape (8589934592,), 343597" in text
    assert "it is cut short" in text


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"hello", "is not an npy array (wrong first bytes)"),
        (b"\x93NUMPY", "npy format version unreadable is not known"),
        (b"\x93NUMPY\x01", "npy format version 1 is not known"),
        (b"\x93NUMPY\x09\x00....", "npy format version 9.0 is not known"),
        (b"\x93NUMPY\x01\x00\x10", "ends inside its header"),
        (b"\x93NUMPY\x01\x00\x10\x00{", "ends inside its header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "its header declares 4294967295 bytes"),
        (forged_npy(shape="(-1, 3)"), "declares a negative dimension: (-1, 3)"),
        (forged_npy(shape="(-1, -6)", body=bytes(24)), "declares a negative dimension"),
        (forged_npy(shape="(4294967296, 4294967296)"), "declares an impossible shape"),
        (forged_npy(shape="(0, 9999999999999999999)"), "declares an impossible shape"),
        (forged_npy(shape=f"({'1,' * 33})"), "declares an impossible shape"),
        (forged_npy(shape=f"({'9' * 5000},)"), "its header declares the shape (99"),
        (forged_npy(shape="(1 2,)"), "its header declares the shape (1 2,)"),
        (forged_npy(shape="[2, 3]"), "its header declares the shape [2, 3]"),
        (forged_npy(shape="(True,)"), "its header cannot be read"),
        (forged_npy(shape="("), "its header cannot be read"),
        (forged_npy(shape="-" * 9000 + "1"), "its header cannot be read"),
        (forged_npy(order="'yes'"), "declares fortran_order 'yes'"),
        (forged_npy(body=bytes(23)), "(2, 3), 94 bytes with its header, and holds 93 bytes"),
        (forged_npy(body=bytes(25)), "and holds 95 bytes; save one array a file"),
        (forged_npy("'|O'", body=bytes(48)), "holds Python objects; save plain numbers with"),
        (forged_npy("'<U3'"), "holds text; save plain numbers with np.savez(x=..., y=...)"),
        (forged_npy("'|S3'"), "holds text"),
        (forged_npy("'<c8'"), "holds complex numbers"),
        (forged_npy("'|V2'"), "holds raw bytes (a type that numpy alone does not know"),
        (forged_npy("'<M8[s]'"), "holds dates"),
        (forged_npy("'<f16'"), "has the type '<f16', which is not read"),
        (forged_npy("'f4,f4'"), "has the type 'f4,f4', which is not read"),
        (forged_npy("[('a', '<f4'), ('b', '|O')]"), "holds structured records"),
        (forged_npy("True"), "has the type 'True', which is not read"),
        (forged_npy("'<i3'"), "has the type '<i3', which is not read"),
        (forged_npy("''"), "has the type '', which is not read"),
    ],
    ids=short,
)
def test_npy_refused(tmp_path, content, finding):
    path = written(tmp_path / "x.npy", content)
    written(tmp_path / "y.npy", npy_bytes(Y))
    assert finding in frugal(path)


def test_objects_in_npz_are_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = saved(tmp_path / "d.npz", x=np.array([Trap()]), y=Y)
    text = sentence(path)
    assert text == (
        "d.npz[x]: holds Python objects; save plain numbers with np.savez(x=..., y=...)"
    )
    assert not (tmp_path / "sprung").exists()


def test_without_enough_memory(tmp_path, monkeypatch):
    path = saved(tmp_path / "d.npz", x=X, y=Y)

    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr("lipcert.certification.data.arrays.np.empty", refuse)
    assert "d.npz[y]: needs 32 bytes of memory, more than there is" in sentence(path)


# csv


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("\n\r\n", "is empty: it has no row"),
        ("1,2,3\n4,5\n", "line 2 has 2 cells where the first row has 3"),
        ("label,a\n1,2\n\n3,4,5\n", "line 4 has 3 cells where the first row has 2"),
        ("1,2,3\n4,cat,5\n", "line 2, column 2 holds 'cat', not a number"),
        ("1,2\n3,\n", "line 2, column 2 is empty"),
        ("1,2\n3,1_000\n", "line 2, column 2 holds '1_000', not a number"),
        ("cat,2\n", "line 1, column 1 holds 'cat', not a number"),
        ("5.1,3.5,setosa\n", "line 1, column 3 holds 'setosa', not a number"),
        ("a,label\n1,dog\n", "line 2, column 2 holds 'dog', not a number"),
        ("a,label,b\n1,0,dog\n", "line 2, column 3 holds 'dog', not a number"),
        (",label,a\n0,1,2\n", "column 1 has no name in the header: a row index"),
        ("x,y,class\n1,2,0\n", "has several label columns: 'y', 'class'; call one of them label"),
        ("label\n1\n2\n", "has shape (2, 0): its samples hold no values"),
        ("1,2\n0.5,3\n", "the label of sample 1 is 0.5, not a class index"),
        ("1,2\n0,nan\n", "sample 1 holds nan"),
        ("1,2\n0,-1e999\n", "sample 1 holds -inf"),
        (b"1,\xff\n", "is not text in UTF-8"),
        ('1,"2\n', "is not comma-separated text"),
        (b"1," + b"2" * 200_000, "is not comma-separated text (field larger"),
        (b"1," * 5_000_000, "line 1 is longer than 8388608 characters"),
    ],
    ids=short,
)
def test_csv_refused(tmp_path, text, finding):
    got = sentence(written(tmp_path / "d.csv", text))
    assert got.startswith("d.csv: ") and finding in got and len(got) < 400


def test_csv_header_alone(tmp_path):
    text = sentence(written(tmp_path / "d.csv", "label,a\n"), NothingEvaluatedError)
    assert text == "d.csv: holds a header and no samples; add a row"


def test_csv_labels_of_several_unnamed_columns(tmp_path):
    path = written(tmp_path / "x.npy", npy_bytes(X))
    labels = written(tmp_path / "l.csv", "1,2\n3,4\n")
    text = sentence(path, labels=labels)
    assert "l.csv: has 2 columns, none of them called label, y, class, target" in text


# What the arrays hold


@pytest.mark.parametrize(
    ("y", "finding"),
    [
        (Y[:3], "d.npz[y]: holds 3 labels for 4 samples; give one label a sample"),
        (np.arange(5), "holds 5 labels for 4 samples"),
        (np.eye(3)[Y], "has shape (4, 3): one-hot labels or scores, not class indices"),
        (np.eye(4), "save y.argmax(axis=1)"),
        (np.int64(3), "has shape () where labels take (4,)"),
        (np.zeros((4, 1, 1)), "has shape (4, 1, 1) where labels take (4,)"),
        (np.array([0, 1, 0.5, 0]), "the label of sample 2 is 0.5, not a class index"),
        (np.array([0, 1, 0, np.nan]), "the label of sample 3 is nan, not a class index"),
        (np.array([0, np.inf, 0, 0], "f2"), "the label of sample 1 is inf, not a class index"),
        (np.array([1e300, 0, 0, 0]), "the label of sample 0 is 1e+300, not a class index"),
        (np.array([2**64 - 1, 0, 0, 0], "u8"), "sample 0 is 18446744073709551615, not a class"),
        (np.array([0, 1, -1, 2]), "the label of sample 2 is -1, below zero; number the classes"),
        (np.array([0, 1, -1, 1]), "the label of sample 2 is -1, below zero"),
        (np.array([1, -1, -2, 1.0]), "the label of sample 1 is -1.0, below zero"),
        (np.array(["a", "b", "c", "d"]), "d.npz[y]: holds text"),
    ],
)
def test_labels_refused(tmp_path, y, finding):
    assert finding in sentence(saved(tmp_path / "d.npz", x=X, y=y))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_first_sample_that_is_not_finite(tmp_path, monkeypatch, value, dtype, order):
    monkeypatch.setattr("lipcert.certification.data.dataset.BLOCK_VALUES", 10)
    x = np.zeros((50, 2, 3), dtype, order=order)
    x[37, 1, 2] = x[44, 0, 0] = value
    text = sentence(saved(tmp_path / "d.npz", x=x, y=np.zeros(50)))
    assert f"d.npz[x]: sample 37 holds {value}; repair or remove that sample" in text


def test_shapes_that_hold_no_samples(tmp_path):
    path = tmp_path / "d.npz"
    assert "is a single number" in sentence(saved(path, x=1.0, y=Y))
    text = sentence(saved(path, x=np.zeros((0, 3)), y=[]), NothingEvaluatedError)
    assert text == "d.npz[x]: holds no samples; give at least one sample"
    assert "has shape (4, 0): its samples hold no" in sentence(saved(path, x=np.zeros((4, 0)), y=Y))


# Layout, labels and range


def dataset(*shape, y=None, samples=2):
    """A data set of the given sample shape, holding 0, 1, 2, ..."""
    x = np.arange(samples * int(np.prod(shape)), dtype=np.float32).reshape(samples, *shape)
    labels = np.zeros(samples, np.int64) if y is None else np.array(y)
    return Dataset(ArraySamples(x, "d.npz[x]"), labels, "some/d.npz", "d")


@pytest.mark.parametrize(
    ("shape", "model"),
    [
        ((3, 8, 8), (3, 8, 8)),
        ((), ()),
        ((), (1,)),
        ((784,), (1, 28, 28)),
        ((784,), (784, 1)),
        ((784, 1), (1, 784)),
        ((784,), (28, 28)),
        ((28, 28), (1, 28, 28)),
        ((28, 28), (28, 28, 1)),
        ((1, 28, 28), (28, 28)),
        ((1, 28, 28), (784,)),
        ((28, 28, 1), (1, 28, 28)),
        ((1, 28, 28), (28, 28, 1)),
        ((3, 32, 32), (3072,)),
        ((32, 32, 3), (3072,)),
        ((32, 32, 3), (1, 3072)),
        ((6,), (2, 3)),
    ],
)
def test_layout_accepted(shape, model):
    data = dataset(*shape)
    check_layout(data, model)
    block = data.read(0, 2)
    np.testing.assert_array_equal(block.reshape(2, *model).ravel(), block.ravel())


@pytest.mark.parametrize(
    ("shape", "model", "finding", "remedy"),
    [
        ((32, 32, 3), (3, 32, 32), "data have channels last (NHWC), the model takes channels first",
         "x.transpose(0, 3, 1, 2)"),
        ((3, 32, 32), (32, 32, 3), "data have channels first (NCHW), the model takes channels last",
         "x.transpose(0, 2, 3, 1)"),
        ((4, 5, 3), (3, 4, 5), "channels last", "x.transpose(0, 3, 1, 2)"),
        ((3, 4, 5), (4, 5, 3), "channels first", "x.transpose(0, 2, 3, 1)"),
        ((1, 3, 3), (3, 1, 3), "channels last", "x.transpose(0, 3, 1, 2)"),
        ((4, 5, 6, 3), (3, 4, 5, 6), "channels last", "x.transpose(0, 4, 1, 2, 3)"),
        ((9, 3), (3, 9), "two dimensions are the other way round", "x.transpose(0, 2, 1)"),
        ((3072,), (3, 32, 32), "flat samples do not tell", "x.reshape(-1, 3, 32, 32)"),
        ((28, 28), (1, 32, 32), "samples have shape (28, 28) and the model takes (1, 32, 32)",
         "the data this model was trained on"),
        ((4, 3, 5), (3, 4, 5), "have shape (4, 3, 5) and the model takes (3, 4, 5)", "trained on"),
        ((3, 1, 4), (3, 4), "have shape (3, 1, 4) and the model takes (3, 4)", "trained on"),
        ((), (2,), "have shape () and the model takes (2,)", "trained on"),
    ],
)  # fmt: skip
def test_layout_refused(shape, model, finding, remedy):
    with pytest.raises(InputError) as caught:
        check_layout(dataset(*shape), model)
    assert caught.value.place == "d.npz"
    assert finding in caught.value.finding and remedy in caught.value.remedy
    transposed = caught.value.remedy.removeprefix("save ")
    if transposed.startswith("x.transpose"):
        assert eval(transposed, {"x": dataset(*shape).read(0, 2)}).shape == (2, *model)


@pytest.mark.parametrize("order", ["C", "F"])
def test_fortran_order_keeps_samples_whole(order):
    x = np.asarray(np.arange(24.0).reshape(2, 3, 4), order=order)
    block = dataset_of_arrays(x, np.zeros(2, np.int64)).read(1, 2)
    np.testing.assert_array_equal(block.reshape(1, 12)[0], np.arange(12.0, 24.0))
    assert block.flags.c_contiguous


@pytest.mark.parametrize(
    ("y", "classes", "mapped"),
    [
        ([0, 9], 10, [0, 9]),
        ([0, 1], None, [0, 1]),
        ([0, 1], 1, [0, 1]),
        ([-1, 1], 1, [0, 1]),
        ([-1, -1], 1, [0, 0]),
        ([1, 1], 1, [1, 1]),
    ],
)
def test_label_range_accepted(y, classes, mapped):
    assert check_labels(dataset(3, y=y), classes).tolist() == mapped


@pytest.mark.parametrize(
    ("y", "classes", "finding"),
    [
        ([9, 10], 10, "label of sample 1 is 10, outside 0..9 (the model has 10 outputs; the labels "
         "run 9..10)"),
        ([-1, 1], 2, "label of sample 0 is -1, outside 0..1"),
        ([1, -1], None, "label of sample 1 is -1, outside 0..1 (the model has one output"),
        ([0, 2], 1, "label of sample 1 is 2, outside 0..1 (the model has one output"),
    ],
)  # fmt: skip
def test_label_range_refused(y, classes, finding):
    with pytest.raises(InputError, match="classes from 0") as caught:
        check_labels(dataset(3, y=y), classes)
    assert caught.value.place == "d.npz" and finding in caught.value.finding


def test_signed_labels_survive_loading(tmp_path):
    path = saved(tmp_path / "d.npz", x=X, y=np.array([-1.0, 1, 1, -1]))
    assert check_labels(load(path), 1).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i8", "?"])
def test_range_accepted(dtype):
    check_range(np.array([[0, 1], [1, 0]], dtype), 0.0, 1.0)
    check_range(np.zeros((0, 3), dtype), 0.0, 1.0, first=7)


def test_range_refused(monkeypatch):
    monkeypatch.setattr("lipcert.certification.data.BLOCK_VALUES", 6)
    x = np.zeros((9, 2, 2), np.uint8)
    x[4, 1, 0], x[7, 0, 0] = 3, 255
    with pytest.raises(InputError) as caught:
        check_range(x, 0.0, 1.0)
    text = str(caught.value)
    assert "sample 4 holds 3, outside [0.0, 1.0]" in text and "run up to 255: 0..255" in text
    assert text.endswith("scale the data or give --normalize")
    with pytest.raises(InputError, match="sample 104 holds 3"):
        check_range(x, 0.0, 1.0, first=100)
    with pytest.raises(InputError, match=r"sample 0 holds -0.5, outside \[0.0, 1.0\]; scale"):
        check_range(np.array([[1.0, -0.5]]), 0.0, 1.0)
    with pytest.raises(InputError, match="sample 1 holds nan"):
        check_range(np.array([0.0, np.nan]), 0.0, 1.0)


def test_range_is_exact_in_narrow_types():
    with pytest.raises(InputError, match="sample 0 holds 0.100000001"):
        check_range(np.array([0.1], np.float32), 0.0, 0.1)


# Whatever the bytes


def loads_or_tells(suffix, content):
    """Load the content; only a data set or a lipcert error may come of it."""
    with tempfile.TemporaryDirectory() as folder:
        labels = written(Path(folder) / "labels.npy", npy_bytes(Y))
        path = written(Path(folder) / f"d{suffix}", content)
        for options in ({}, {"labels": labels}):
            try:
                data = load(path, **options)
            except LipcertError as error:
                assert error.finding and len(str(error)) < 2000
            else:
                assert len(data.x) == len(data.y) > 0
                assert data.y.dtype == np.int64 and data.x.dtype.kind in "fiub"


def seeds():
    """Small valid files of each format."""
    for dtype, order in (("<f4", "C"), (">f8", "F"), ("|u1", "C")):
        x = np.asarray(np.arange(24).reshape(4, 2, 3).astype(dtype), order=order)
        yield ".npy", npy_bytes(x)
        yield ".npy", npy_bytes(x, (3, 0))
        for save in (np.savez, np.savez_compressed):
            stream = io.BytesIO()
            save(stream, x=x, y=Y)
            yield ".npz", stream.getvalue()
    yield ".csv", b"label,a,b\n0,1,2\n1,3,4\n2,5,6\n1,7,8\n"


SEEDS = list(seeds())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([".npy", ".npz", ".csv"]), st.binary(min_size=1, max_size=300))
def test_random_bytes(suffix, content):
    start = {".npy": b"\x93NUMPY\x01\x00", ".npz": b"PK\x03\x04", ".csv": b"1,"}[suffix]
    loads_or_tells(suffix, content)
    loads_or_tells(suffix, start + content)


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_mutated_files(data):
    suffix, seed = data.draw(st.sampled_from(SEEDS))
    content = bytearray(seed)
    places = st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(places) % max(1, len(content))
        piece = data.draw(st.binary(max_size=4))
        match data.draw(st.sampled_from(["overwrite", "insert", "delete", "cut"])):
            case "overwrite":
                content[where : where + len(piece)] = piece
            case "insert":
                content[where:where] = piece
            case "delete":
                del content[where : where + len(piece)]
            case "cut":
                del content[where + 1 :]
    loads_or_tells(suffix, bytes(content))
