"""Arrays and text read a block at a time: npz, npy, csv and arrays in memory."""

from __future__ import annotations

import hashlib
import io
import zipfile

import numpy as np
import pytest

from lipcert.certification.data import dataset_of_arrays, open_dataset
from lipcert.errors import InputError, NothingEvaluatedError

X = np.random.default_rng(0).normal(size=(41, 3, 2)).astype(np.float32)
Y = np.arange(41) % 4
MANY = 20_000


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "?", ">i2"])
def test_npz(tmp_path, streams, save, order, dtype):
    x = np.asarray((X * 10).astype(dtype), order=order)
    save(tmp_path / "d.npz", x=x, y=Y)
    streams(tmp_path / "d.npz", x, Y)


def test_npz_behind_other_bytes(tmp_path, streams):
    """A zip archive may start anywhere in its file; its first bytes must still be a zip's."""
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    inner = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "e.npz").write_bytes(b"PK\x03\x04" + bytes(100) + inner)
    streams(tmp_path / "e.npz", X, Y)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, streams, order):
    np.save(tmp_path / "x.npy", np.asarray(X, order=order))
    np.save(tmp_path / "y.npy", Y)
    streams(tmp_path / "x.npy", X, Y)


def test_samples_of_single_numbers(tmp_path, streams):
    np.savez(tmp_path / "d.npz", x=X[:, 0, 0], y=Y)
    streams(tmp_path / "d.npz", X[:, 0, 0], Y)


def csv_text(end="\n", header="", blank=False, quoted=False):
    """The samples as text, with the labels in front."""
    lines = [header] if header else []
    for x, y in zip(X.reshape(41, 6), Y, strict=True):
        cells = [str(y), *(repr(float(value)) for value in x)]
        lines.append(",".join(f'"{cell}"' if quoted else cell for cell in cells))
        lines += [""] if blank else []
    return end.join(lines) + end


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", ["", "label,a,b,c,d,e,f", "\ufefflabel,a,b,c,d,e,f"])
@pytest.mark.parametrize("blank", [False, True])
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("marks", [1, 100, 1 << 16])
def test_csv(tmp_path, streams, monkeypatch, end, header, blank, quoted, marks):
    monkeypatch.setattr("lipcert.certification.data.csv.MARK_BYTES", marks)
    path = tmp_path / "d.csv"
    path.write_bytes(csv_text(end, header, blank, quoted).encode())
    streams(path, X.reshape(41, 6).astype(np.float64), Y)


def test_csv_with_cells_over_several_lines(tmp_path, streams, monkeypatch):
    monkeypatch.setattr("lipcert.certification.data.csv.MARK_BYTES", 1)
    path = tmp_path / "d.csv"
    path.write_text('label,a\n0,"1\n"\n1,2\n\n2,"\n3"\n0,4\n')
    streams(path, np.array([[1.0], [2], [3], [4]]), [0, 1, 2, 0])


@pytest.mark.parametrize("marks", [1, 1 << 16])
def test_csv_names_the_line_wherever_reading_starts(tmp_path, monkeypatch, marks):
    monkeypatch.setattr("lipcert.certification.data.csv.MARK_BYTES", marks)
    path = tmp_path / "d.csv"
    path.write_text("label,a\n0,1\n\n1,2\n2,3\n0,cat\n1,2\n")
    with open_dataset(path) as data:
        for start in (3, 0, 2, 3):
            with pytest.raises(InputError, match="line 6, column 2 holds 'cat', not a number"):
                data.read(start, 4)
        assert data.read(4, 5).tolist() == [[2.0]]
        assert data.read(0, 3).tolist() == [[1.0], [2.0], [3.0]]


def test_csv_cut_after_it_was_opened(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("0,1\n" * 50_000)
    with open_dataset(path) as data:
        path.write_text("0,1\n" * 10)
        with pytest.raises(InputError, match="ends after 10 of 50000 samples"):
            data.read(0, 50_000)


def test_a_sample_that_is_not_finite_is_named_when_it_is_read(tmp_path):
    x = X.copy()
    x[30, 1, 1] = np.nan
    np.savez(tmp_path / "d.npz", x=x, y=Y)
    with open_dataset(tmp_path / "d.npz") as data:
        data.read(0, 30)
        data.read(31, 41)
        for start in (29, 30):
            with pytest.raises(InputError, match=r"d.npz\[x\]: sample 30 holds nan"):
                data.read(start, 41)
        data.first(30).read(0, 30)


def test_damage_beyond_what_is_read_is_told_by_the_digest(tmp_path):
    x = np.random.default_rng(0).random((41, 1000))
    np.savez(tmp_path / "d.npz", x=x, y=Y)
    content = (tmp_path / "d.npz").read_bytes()
    changed = content.replace(x[20].tobytes(), (x[20] + 1).tobytes())
    assert changed != content
    (tmp_path / "d.npz").write_bytes(changed)
    with open_dataset(tmp_path / "d.npz") as data:
        data.read(0, 10)
        with pytest.raises(InputError, match=r"d.npz\[x\]: is a damaged zip archive \(Bad CRC"):
            data.digest()


@pytest.mark.parametrize("kind", ["npz", "packed", "npy", "csv"])
def test_little_memory(tmp_path, frugally, kind):
    x = np.zeros((MANY, 10, 10), np.float32)
    y = np.zeros(MANY, np.uint8)
    path = tmp_path / f"x.{'npz' if kind == 'packed' else kind}"
    if kind == "csv":
        path.write_text((",".join(["0"] * 101) + "\n") * MANY)
    elif kind == "npy":
        np.save(path, x)
        np.save(tmp_path / "y.npy", y)
    else:
        (np.savez_compressed if kind == "packed" else np.savez)(path, x=x, y=y)

    def run():
        with open_dataset(path) as data:
            for start in (0, 100, MANY - 10, 5):
                assert not data.read(start, start + 10).any()
            data.signature()
            data.digest()

    run()
    frugally(run, 4_500_000)


def test_opening_does_not_read_samples(tmp_path, monkeypatch):
    np.savez(tmp_path / "d.npz", x=X, y=Y)

    def refuse(*_):
        raise AssertionError("read")

    monkeypatch.setattr("lipcert.certification.data.arrays.StoredSamples.read", refuse)
    with open_dataset(tmp_path / "d.npz") as data:
        data.signature()
        assert len(data) == 41 and data.shape == (3, 2)


def test_signature_tells_names_sizes_and_labels(tmp_path):
    def signature(name, **arrays):
        path = tmp_path / name
        np.savez(path, **arrays)
        return open_dataset(path).signature()

    first = signature("d.npz", x=X, y=Y)
    assert first == signature("d.npz", x=X, y=Y)
    others = [
        signature("e.npz", x=X, y=Y),
        signature("d.npz", x=X, y=Y[::-1]),
        signature("d.npz", x=X.reshape(41, 6), y=Y),
        signature("d.npz", x=X[:40], y=Y[:40]),
    ]
    assert len({first, *others}) == 5


def test_signature_does_not_depend_on_the_folder(tmp_path):
    found = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "d.npz", x=X, y=Y)
        found.append(open_dataset(tmp_path / folder / "d.npz").signature())
    assert found[0] == found[1]


def test_ranges_that_are_not_there(tmp_path):
    data = dataset_of_arrays(X, Y)
    for start, stop in ((-1, 3), (3, 2), (0, 42), (42, 42)):
        with pytest.raises(ValueError, match="of 41"):
            data.read(start, stop)
    assert data.read(41, 41).shape == (0, 3, 2)
    with pytest.raises(InputError, match="no samples are left of 0"):
        data.first(0)
    assert data.first(100) is data


@pytest.mark.parametrize("dtype", ["f4", ">f8", "?", ">i2", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_in_memory(dtype, order):
    x = np.asarray((X * 10).astype(dtype), order=order)
    with dataset_of_arrays(x, Y.astype(">i4")) as data:
        block = data.read(3, 9)
        np.testing.assert_array_equal(block, x[3:9])
        assert block.dtype.isnative and block.flags.c_contiguous
        assert (data.path, data.name) == ("", "arrays in memory") and data.y.dtype == np.int64
        whole = np.ascontiguousarray(x).tobytes() + Y.astype(">i4").tobytes()
        assert data.digest() == hashlib.sha256(whole).hexdigest()
        assert data.signature() == dataset_of_arrays(x, Y).signature()


@pytest.mark.parametrize(
    ("x", "y", "finding"),
    [
        (np.zeros((3, 2)), np.zeros(4, int), "data: has 3 samples and 4 labels"),
        (np.zeros((3, 2)), np.zeros(3), "data: has types float64 and float64; give numbers"),
        (np.zeros((3, 2), complex), np.zeros(3, int), "data: has types complex128 and int64"),
        (np.array(["a"] * 3), np.zeros(3, int), "data: has types <U1 and int64"),
        (np.zeros(()), np.zeros(3, int), "data: is a single number"),
        (np.zeros((3, 0)), np.zeros(3, int), "data: has shape (3, 0): its samples hold no"),
        (np.zeros((3, 2)), np.array([0, -2, 1]), "data: the label of sample 1 is -2, below"),
        (np.zeros((3, 2)), np.zeros((3, 2), int), "data: has shape (3, 2): one-hot"),
    ],
)
def test_arrays_in_memory_refused(x, y, finding):
    with pytest.raises(InputError) as caught:
        dataset_of_arrays(x, y)
    assert finding in str(caught.value)


def test_no_arrays_and_not_finite_ones():
    with pytest.raises(NothingEvaluatedError, match="data: holds no samples; give at least one"):
        dataset_of_arrays(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(InputError, match="data: sample 2 holds inf"):
        dataset_of_arrays(np.array([0.0, 1.0, np.inf]), np.zeros(3, int)).read(1, 3)


def test_a_sample_larger_than_the_limit(tmp_path, sentence):
    packed = io.BytesIO()
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1500000000), }"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x.npy", "w") as member:
            member.write(start)
            for _ in range(1500):
                member.write(bytes(1_000_000))
        y = io.BytesIO()
        np.save(y, np.zeros(1, int))
        archive.writestr("y.npy", y.getvalue())
    (tmp_path / "d.npz").write_bytes(packed.getvalue())
    text = sentence(tmp_path / "d.npz")
    assert "d.npz[x]: has samples of 1500000000 bytes each, above the limit of" in text
