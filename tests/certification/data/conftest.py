"""What the tests of each format share: reading all of a data set, refusals, and streaming."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lipcert.certification.data import open_dataset
from lipcert.errors import InputError


@pytest.fixture
def load():
    """Open a data set and read all of it: samples and labels."""

    def load_whole(path, **options):
        with open_dataset(path, **options) as data:
            return data.read(0, len(data)), data.y

    return load_whole


@pytest.fixture
def sentence():
    """What reading a path, or its digest, is refused with."""

    def refused(path, error=InputError, **options):
        with pytest.raises(error) as caught, open_dataset(path, **options) as data:
            data.read(0, len(data))
            data.digest()
        assert type(caught.value) is error
        text = str(caught.value)
        assert len(text) < 1000 and "\n" not in text
        return text

    return refused


@pytest.fixture
def streams():
    """Random access equals reading in order, and opening again gives the same data set."""

    def streams_as_told(path, x, y, **options):
        rng = np.random.default_rng(0)
        with open_dataset(path, **options) as data, open_dataset(path, **options) as again:
            assert len(data) == len(x) and data.shape == x.shape[1:]
            assert data.y.dtype == np.int64 and data.y.tolist() == list(y)
            whole = data.read(0, len(data))
            assert whole.dtype.isnative and whole.flags.c_contiguous
            np.testing.assert_array_equal(whole, x)
            for _ in range(20):
                start, stop = sorted(rng.integers(0, len(x) + 1, 2).tolist())
                block = data.read(start, stop)
                assert block.dtype == whole.dtype and block.flags.c_contiguous
                np.testing.assert_array_equal(block, whole[start:stop])
            steps = [again.read(at, min(at + 3, len(x))) for at in range(0, len(x), 3)]
            np.testing.assert_array_equal(np.concatenate(steps), whole)
            assert again.signature() == data.signature() and again.digest() == data.digest()
            few = data.first(2)
            assert len(few) == 2 == len(few.y) and few.signature() != data.signature()
            np.testing.assert_array_equal(few.read(0, 2), whole[:2])
        data.close()  # a second time does no harm
        if Path(path).is_file() and len(data.origins) == 1:
            assert data.digest() == hashlib.sha256(Path(path).read_bytes()).hexdigest()

    return streams_as_told


@pytest.fixture
def frugally():
    """Run with a limit on the memory that Python and NumPy take meanwhile, in bytes."""

    def limited(run, most):
        tracemalloc.start()
        try:
            result = run()
            assert tracemalloc.get_traced_memory()[1] < most
        finally:
            tracemalloc.stop()
        return result

    return limited


@pytest.fixture
def picture():
    """The bytes of an image file of the given pixels: (height, width) or with channels last."""

    def encoded(pixels, kind="PNG", **options):
        from PIL import Image

        stream = io.BytesIO()
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(stream, kind, **options)
        return stream.getvalue()

    return encoded
