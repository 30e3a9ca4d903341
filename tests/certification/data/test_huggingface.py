"""Folders of ``datasets.save_to_disk``, written here by pyarrow in the same form."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lipcert.certification.data import open_dataset
from lipcert.errors import InputError, LipcertError, NothingEvaluatedError

X = np.arange(14 * 24, dtype=np.float32).reshape(14, 2, 3, 4)
Y = np.arange(14) % 3
ARRAY_3D = {
    "ARROW:extension:name": "datasets.features.features.Array3DExtensionType",
    "ARROW:extension:metadata": '[[2, 3, 4], "float32"]',
}


def array_field(name="pixels"):
    """The field of an Array3D feature as it is in the file."""
    kind = pa.list_(pa.list_(pa.list_(pa.float32())))
    return pa.field(name, kind, metadata=ARRAY_3D)


def write_stream(path, table, batch=5, **options):
    """One Arrow stream."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(
        sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)
    ) as writer:  # fmt: skip
        writer.write_table(table, max_chunksize=batch)


@pytest.fixture
def saved(tmp_path):
    """Write a folder as save_to_disk does, in as many files as there are tables."""

    def write(*tables, name="set", state=None, **options):
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        names = [f"data-{at:05}-of-{len(tables):05}.arrow" for at in range(len(tables))]
        for file, table in zip(names, tables, strict=True):
            write_stream(root / file, table, **options)
        whole = {
            "_data_files": [{"filename": file} for file in names],
            "_fingerprint": "d7b33cf9cf01a42d",
            "_format_columns": ["label"],
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        (root / "state.json").write_text(json.dumps(whole | (state or {})))
        (root / "dataset_info.json").write_text('{"features": {}}')
        return root

    return write


def arrays(x=X, y=Y, field=None):
    """A table of an Array3D feature and labels."""
    field = field or array_field()
    column = pa.array(x.tolist(), field.type)
    return pa.table([column, pa.array(y)], schema=pa.schema([field, pa.field("label", pa.int64())]))


def test_arrays(saved, streams, load):
    path = saved(arrays())
    streams(path, X, Y)
    assert load(path)[0].dtype == np.float32


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_several_files(saved, streams, batch):
    tables = [arrays(X[:3], Y[:3]), arrays(X[3:10], Y[3:10]), arrays(X[10:], Y[10:])]
    streams(saved(*tables, batch=batch), X, Y)


def test_digest_can_be_told_by_hand(saved):
    path = saved(arrays(X[:3], Y[:3]), arrays(X[3:], Y[3:]))
    lines = b""
    for file in sorted(path.iterdir()):
        if file.name != "dataset_info.json":
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            lines += f"{file.name}\0{len(content)}\0{digest}\n".encode()
    assert open_dataset(path).digest() == hashlib.sha256(lines).hexdigest()


def test_sequences_and_scalars(saved, streams):
    table = pa.table({"x": X[:, 0].tolist(), "labels": Y})
    streams(saved(table), X[:, 0], Y)
    flat = pa.table({"a": X[:, 0, 0, 0], "b": X[:, 0, 0, 1], "labels": Y})
    streams(saved(flat, name="flat"), X[:, 0, 0, :2], Y)


def test_images(saved, streams, picture):
    pixels = np.random.default_rng(0).integers(0, 256, (14, 4, 5), dtype=np.uint8)
    images = [{"bytes": picture(image), "path": None} for image in pixels]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(images, kind), "id": Y, "label": Y})
    streams(saved(table), pixels[:, None], Y, pixel_range=(0, 255))


def test_extension_types_that_are_registered(saved, streams):
    class Known(pa.ExtensionType):
        def __init__(self):
            super().__init__(array_field().type, "datasets.features.features.Array3DExtensionType")

        def __arrow_ext_serialize__(self):
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, serialized):
            return cls()

    pa.register_extension_type(Known())
    try:
        streams(saved(arrays()), X, Y)
    finally:
        pa.unregister_extension_type("datasets.features.features.Array3DExtensionType")


def test_images_by_path_are_not_opened(saved, sentence, tmp_path, picture):
    outside = tmp_path / "outside.png"
    outside.write_bytes(picture(np.zeros((4, 4), np.uint8)))
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([{"bytes": None, "path": str(outside)}] * 14, kind)
    text = sentence(saved(pa.table({"image": images, "label": Y})))
    assert "set[image]: sample 0 has no image bytes in the file; save the images' bytes" in text


def test_splits(tmp_path, saved, sentence):
    saved(arrays(), name="train")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    text = sentence(tmp_path)
    assert "holds several data sets: 'train', 'test'; give one of them: " in text
    assert text.endswith(str(tmp_path / "train"))


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", '{"splits": 3}', '{"splits": []}'])
def test_splits_damaged(tmp_path, sentence, content):
    (tmp_path / "dataset_dict.json").write_text(content)
    sentence(tmp_path)


@pytest.mark.parametrize(
    ("state", "finding"),
    [
        ({"_data_files": []}, "set/state.json: names no data files"),
        ({"_data_files": None}, "names no data files"),
        ({"_data_files": [3]}, "names the data file 'None', which is no plain name"),
        ({"_data_files": [{"filename": "../secret.arrow"}]}, "'../secret.arrow', which is no"),
        ({"_data_files": [{"filename": "/etc/secret.arrow"}]}, "'/etc/secret.arrow', which is no"),
        ({"_data_files": [{"filename": "a\0.arrow"}]}, "which is no plain name"),
        ({"_data_files": [{"filename": "state.json"}]}, "'state.json', which is no plain name"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "gone.arrow: does not exist"),
        ({"_data_files": [{"filename": "data-00000-of-00001.arrow"}] * 2}, "a data file twice"),
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "flatten_indices()"),
        ({"_indices_files": [{"filename": "i.arrow"}]}, "selects rows through an index file"),
    ],
)
def test_states_refused(saved, sentence, state, finding):
    assert finding in sentence(saved(arrays(), state=state))


def test_state_that_is_no_json(saved, sentence):
    path = saved(arrays())
    for content, finding in (
        ("{", "is not JSON"),
        ("3", "is no JSON object"),
        ("[" * 10**6, "JSON"),
    ):
        (path / "state.json").write_text(content)
        assert finding in sentence(path)
    (path / "state.json").unlink()
    assert "set: has no state.json" in sentence(path)


def test_links_that_leave_the_folder(saved, sentence, tmp_path):
    path = saved(arrays())
    (path / "data-00000-of-00001.arrow").rename(tmp_path / "secret.arrow")
    (path / "data-00000-of-00001.arrow").symlink_to(tmp_path / "secret.arrow")
    assert "is a link that leads out of the data folder" in sentence(path)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed(saved, sentence, compression):
    assert "holds compressed batches" in sentence(saved(arrays(), compression=compression))


def test_dictionaries(saved, sentence):
    table = pa.table({"x": X[:, 0].tolist(), "k": pa.array(["a"] * 14).dictionary_encode(), "y": Y})
    assert "dictionary-encoded columns" in sentence(saved(table))


def test_other_columns_in_a_second_file(saved, sentence):
    other = arrays().rename_columns(["pixels", "y"])
    assert "data-00001-of-00002.arrow: has other columns than" in sentence(saved(arrays(), other))


@pytest.mark.parametrize(
    ("column", "finding"),
    [
        ([[1, 2]] * 8 + [[1]] + [[1, 2]] * 5, "sample 8 has a list of 1 values where others"),
        (
            [[1, 2]] * 5 + [[1]] * 5 + [[1, 2]] * 4,
            "sample 5 has shape (1,) where sample 0 has (2,)",
        ),
        ([[1, 2]] * 8 + [None] + [[1, 2]] * 5, "sample 8 is missing (null)"),
        ([[1, 2.0]] * 8 + [[1, float("inf")]] + [[1, 2]] * 5, "sample 8 holds inf"),
    ],
)
def test_samples_refused(saved, sentence, column, finding):
    assert finding in sentence(saved(pa.table({"x": column, "label": Y})))


def test_no_rows(saved, sentence):
    empty = arrays().slice(0, 0)
    assert "holds no samples" in sentence(saved(empty), NothingEvaluatedError)


@pytest.mark.parametrize("part", [0, 4, 300, 0.5, -100, -8, -3])
def test_cut_short(saved, sentence, part):
    path = saved(arrays())
    file = path / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content)) if isinstance(part, float) else part])
    assert sentence(path).startswith("data-00000-of-00001.arrow: ")


def test_a_stream_without_its_schema(saved, sentence):
    """Arrow reads past the end of a batch that is taken for a schema."""
    path = saved(arrays())
    file = path / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    file.write_bytes(content[8 + int.from_bytes(content[4:8], "little") :])
    assert "does not begin with a schema" in sentence(path)


def test_forged_offsets_are_told(saved, tmp_path):
    """Offsets of lists beyond the values must not be followed."""
    path = saved(arrays(), batch=14)
    file = path / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    offsets = np.arange(15, dtype="<i4") * 2
    at = content.index(offsets.tobytes())
    offsets[3:] += 1 << 28
    file.write_bytes(content[:at] + offsets.tobytes() + content[at + offsets.nbytes :])
    with pytest.raises(InputError, match="is a damaged Arrow file"):
        open_dataset(path)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_mutated_streams(saved, data):
    """Any change loads or is told."""
    path = saved(arrays())
    file = path / "data-00000-of-00001.arrow"
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        with open_dataset(path) as found:
            found.read(0, len(found))
    except LipcertError as error:
        assert len(str(error)) < 1000


def test_little_memory(saved, frugally):
    x = np.zeros((20_000, 2, 3, 4), np.float32)
    path = saved(arrays(x, np.zeros(20_000, int)), batch=1000)

    def read_some():
        with open_dataset(path) as data:
            for at in range(0, 20_000, 1000):
                assert not data.read(at, at + 10).any()

    read_some()
    before = pa.total_allocated_bytes()
    frugally(read_some, 1_000_000)
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_without_pyarrow(saved, sentence, monkeypatch):
    path = saved(arrays())
    monkeypatch.setitem(sys.modules, "pyarrow.ipc", None)
    assert sentence(path).endswith(
        "needs the package pyarrow to be read; pip install 'lipcert[data]'"
    )
