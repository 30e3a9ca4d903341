"""Parquet files: which columns are what, streaming, and refusals."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lipcert.certification.data import open_dataset
from lipcert.errors import LipcertError, NothingEvaluatedError

X = np.arange(84, dtype=np.float32).reshape(14, 2, 3)
Y = np.arange(14) % 3


def nested(x, dtype=None):
    """An Arrow array of nested lists."""
    return pa.array(x.tolist(), dtype)


@pytest.fixture
def parquet(tmp_path):
    """Write a Parquet file of the given columns."""

    def write(file="d.parquet", row_group_size=5, **columns):
        table = pa.table(columns)
        pq.write_table(table, tmp_path / file, row_group_size=row_group_size)
        return tmp_path / file

    return write


@pytest.mark.parametrize("name", ["x", "Image", "features", "pixels", "data", "whatever"])
@pytest.mark.parametrize("size", [1, 5, 100])
def test_nested_lists(parquet, streams, name, size):
    x = nested(X, pa.list_(pa.list_(pa.float32())))
    streams(parquet(row_group_size=size, **{name: x, "label": Y}), X, Y)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.float64(), 3), 2),
        pa.large_list(pa.large_list(pa.int16())),
        pa.list_(pa.list_(pa.uint8()), 2),
    ],
)
def test_kinds_of_lists(parquet, streams, load, kind):
    path = parquet(x=nested(X.astype(int), kind), y=Y)
    streams(path, X, Y)
    assert load(path)[0].dtype == kind.value_type.value_type.to_pandas_dtype()


def test_fixed_shape_tensors(parquet, streams):
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(X)
    streams(parquet(x=tensors, y=Y), X, Y)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i8", "?"])
def test_flat_columns(parquet, streams, load, dtype):
    flat = X.reshape(14, 6).astype(dtype)
    columns = {f"p{at}": flat[:, at] for at in range(6)}
    path = parquet(p0=columns.pop("p0"), Target=Y, **columns)
    streams(path, flat, Y)
    assert load(path)[0].dtype == dtype


def test_columns_of_several_types_become_one_that_holds_them(parquet, load):
    path = parquet(a=X[:, 0, 0], b=np.arange(14, dtype=np.int16), y=Y)
    assert load(path)[0].dtype == np.float32
    assert load(parquet(data=np.arange(14), y=Y))[0].shape == (14, 1)


@pytest.mark.parametrize("wrapped", [False, True])
def test_images(parquet, streams, picture, wrapped):
    pixels = np.random.default_rng(0).integers(0, 256, (14, 4, 5, 3), dtype=np.uint8)
    content = [picture(image) for image in pixels]
    if wrapped:
        content = [{"bytes": one, "path": "/etc/passwd"} for one in content]
    path = parquet(image=content, name=[f"n{at}" for at in range(14)], label=Y)
    streams(path, pixels.transpose(0, 3, 1, 2), Y, pixel_range=(0, 255))


def test_labels_elsewhere_and_labels_of_others(parquet, tmp_path, load):
    path = parquet(x=nested(X), label=Y)
    other = parquet("l.parquet", labels=Y[::-1])
    x, y = load(path, labels=other)
    np.testing.assert_array_equal(x, X)
    assert y.tolist() == Y[::-1].tolist()
    np.savez(tmp_path / "x.npz", x=X)
    assert load(tmp_path / "x.npz", labels=parquet("m.parquet", any=Y))[1].tolist() == Y.tolist()


def test_class_labels_by_metadata(tmp_path, load):
    features = '{"info": {"features": {"kind": {"_type": "ClassLabel"}, "n": {}}}}'
    table = pa.table({"img": nested(X), "n": Y + 1, "kind": Y})
    pq.write_table(table.replace_schema_metadata({"huggingface": features}), tmp_path / "d.parquet")
    assert load(tmp_path / "d.parquet")[1].tolist() == Y.tolist()
    for broken in ("[", "[]", '{"info": 3}', '{"info": {"features": [1]}}', "[" * 100_000):
        named = table.replace_schema_metadata({"huggingface": broken})
        pq.write_table(named, tmp_path / "e.parquet")
        with pytest.raises(LipcertError, match="has no label column"):
            open_dataset(tmp_path / "e.parquet")


@pytest.mark.parametrize(
    ("columns", "finding"),
    [
        ({"x": nested(X)}, "d.parquet: has no label column (label, y, class, target, labels): 'x'"),
        ({"label": Y}, "has no column besides the labels"),
        ({"y": Y, "class": Y, "x": nested(X)}, "has several label columns: 'y', 'class'"),
        ({"y": [str(at) for at in Y], "x": nested(X)}, "d.parquet[y]: holds the type string, not"),
        ({"y": nested(X), "x": nested(X)}, "d.parquet[y]: holds the type list<"),
        ({"y": Y + 0.5, "x": nested(X)}, "d.parquet[y]: the label of sample 0 is 0.5, not a class"),
        ({"y": Y - 5, "x": nested(X)}, "the label of sample 0 is -5, below zero"),
        ({"y": [0, 1, None] + [0] * 11, "x": nested(X)}, "the label of sample 2 is missing (null)"),
        ({"y": Y, "x": nested(X), "image": nested(X)}, "columns that may be the samples: 'x', 'im"),
        ({"y": Y, "a": nested(X), "b": nested(X)}, "does not tell which of its columns holds the"),
        ({"y": Y, "a": nested(X), "b": Y}, "does not tell which of its columns"),
        ({"y": Y, "x": ["a"] * 14}, "d.parquet[x]: holds the type string, neither numbers nor"),
        ({"y": Y, "x": [["a"]] * 14}, "neither numbers nor images"),
        ({"y": Y, "x": [{"a": 1}] * 14}, "neither numbers nor images"),
        ({"y": Y, "a": Y, "__index_level_0__": Y}, "has a row index among its columns"),
        ({"y": Y, "x": [[1, 2]] * 9 + [[1]] + [[1, 2]] * 4}, "sample 9 has a list of 1 values where"),
        ({"y": Y, "x": [[1, 2]] * 6 + [[1], [1, 2, 3]] + [[1, 2]] * 6},
         "d.parquet[x]: sample 6 has a list of 1 values where others have 2"),
        ({"y": Y, "x": [[[1, 2]]] * 6 + [[[1], [2]]] + [[[1, 2]]] * 7},
         "sample 6 has a list of 2 values where others have 1"),
        ({"y": Y, "x": [[1]] * 6 + [[2]] * 2 + [None] + [[1]] * 5}, "sample 8 is missing (null)"),
        ({"y": Y, "x": [[[1, 2]]] * 6 + [[[None, 2]]] + [[[1, 2]]] * 7}, "sample 6 is missing"),
        ({"y": Y, "x": [[1.0]] * 6 + [[float("nan")]] + [[1.0]] * 7}, "sample 6 holds nan"),
        ({"y": Y, "a": [1] * 7 + [None] + [1] * 6, "b": Y}, "column 'a' of sample 7 is missing"),
        ({"y": Y, "x": pa.array([[]] * 14, pa.list_(pa.int8()))}, "its samples hold no values"),
        ({"y": Y, "x": pa.array([b"no image"] * 14)}, "d.parquet[x], sample 0: is no image of"),
        ({"y": Y, "x": [{"bytes": None, "path": "a.png"}] * 14},
         "d.parquet[x]: sample 0 has no image bytes in the file; save the images' bytes"),
        ({"y": Y, "x": pa.array([b"1"] * 14).dictionary_encode()}, "neither numbers nor images"),
    ],
)  # fmt: skip
def test_refused(parquet, sentence, columns, finding):
    columns = {key: pa.array(np.asarray(it)) if isinstance(it, np.ndarray) else it
               for key, it in columns.items()}  # fmt: skip
    assert finding in sentence(parquet(**columns))


def test_two_columns_of_one_name(tmp_path, sentence):
    table = pa.Table.from_arrays([pa.array(Y), pa.array(Y), pa.array(Y)], ["y", "a", "a"])
    pq.write_table(table, tmp_path / "d.parquet")
    assert "has two columns called 'a'" in sentence(tmp_path / "d.parquet")


def test_names_with_dots(parquet, load):
    path = parquet(**{"a.b": X[:, 0, 0], "a": X[:, 0, 1], "y": Y})
    np.testing.assert_array_equal(load(path)[0], X[:, 0, :2])


def test_no_rows(parquet, sentence):
    path = parquet(x=pa.array([], pa.list_(pa.int8())), y=pa.array([], pa.int8()))
    assert "holds no samples" in sentence(path, NothingEvaluatedError)


def test_image_of_another_size(parquet, sentence, picture):
    images = [picture(np.zeros((4, 4 + (at == 9)), np.uint8)) for at in range(14)]
    text = sentence(parquet(image=images, label=Y))
    assert "d.parquet[image], sample 9: is 5 x 4 pixels where the first image is 4 x 4" in text


@pytest.mark.parametrize("part", [1, 4, 50, 0.5, 0.9, 0.999])
def test_cut_short(parquet, sentence, part):
    path = parquet(x=nested(X), y=Y)
    content = path.read_bytes()
    path.write_bytes(content[: part if isinstance(part, int) else int(part * len(content))])
    assert "d.parquet: is a damaged Parquet file (" in sentence(path)


def test_another_file(parquet, sentence):
    path = parquet(x=nested(X), y=Y)
    path.write_bytes(b"PAR1 or so")
    assert "is a damaged Parquet file (" in sentence(path)
    path.write_bytes(b"")
    assert sentence(path) == "d.parquet: is empty (0 bytes); save the data again"


def test_without_pyarrow(parquet, sentence, monkeypatch):
    path = parquet(x=nested(X), y=Y)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    text = sentence(path)
    assert text == "d.parquet: needs the package pyarrow to be read; pip install 'lipcert[data]'"


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_mutated_footers(parquet, data):
    """Any change of the first page headers or the footer loads or is told."""
    path = parquet(x=nested(X), y=Y)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        with open_dataset(path) as found:
            found.read(0, len(found))
    except LipcertError as error:
        assert len(str(error)) < 1000


MEASURE = """
import resource, sys
from lipcert.certification.data import open_dataset
with open_dataset(sys.argv[1]) as data:
    for start in range(0, int(sys.argv[2]), 500):
        data.read(start, start + 500)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_of_one_huge_row_group(tmp_path):
    """Reading 120 MB of samples takes at most 40 MB more than reading the first of them."""
    x = np.random.default_rng(0).random((40_000, 784), dtype=np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 784)
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"x": lists, "y": np.zeros(40_000, int)}), path, row_group_size=40_000)
    del x, lists

    def peak(samples):
        arguments = [sys.executable, "-c", textwrap.dedent(MEASURE), str(path), str(samples)]
        return int(subprocess.run(arguments, capture_output=True, check=True).stdout)

    assert peak(40_000) - peak(1_000) < 40_000
