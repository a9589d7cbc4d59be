"""Sums down the columns of a matrix, against NumPy in float64."""

from types import SimpleNamespace

import numpy as np
import pytest

from runtime.backends.cuda.columns import Columns, column_sum, matrix_of
from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.storage import from_bits, host_dtype, to_bits
from runtime.backends.cuda.tensor import Place, Tensor

SHAPES = [  # rows times columns: one, few, many of each; with packs and without
    (1, 1),
    (5, 3),
    (700, 1),
    (3, 8),
    (70, 24),
    (1, 300),
    (2, 1000),
    (2100, 64),
    (33, 520),
    (0, 4),
    (4, 0),
]
STORAGES = ["float32", "bfloat16", "float16"]


class Blobs:
    """Arrays of the device and what they hold, as seen by the host."""

    def __init__(self, cuda, storage):
        self.cuda, self.storage = cuda, storage
        self.layer = SimpleNamespace(device=cuda.device)
        self.layer.launch = lambda *given: CudaLayer.launch(self.layer, *given)

    def put(self, values):
        """Return a blob (rows, columns), and its values as they are stored."""
        bits = to_bits(np.asarray(values, np.float32), self.storage)
        array = self.cuda.zeros((bits.size,), str(host_dtype(self.storage)))
        self.cuda.device.upload(bits.reshape(-1), array)
        blob = Tensor(array, values.shape, Place("last", self.storage))
        return blob, from_bits(bits, self.storage).astype(np.float64)

    def get(self, blob):
        host = np.empty(blob.size, host_dtype(self.storage))
        self.cuda.device.download(blob.array, host)
        return from_bits(host, self.storage).reshape(blob.shape)

    def sums(self, matrix, blob, before=None, **options):
        """Return what is left in an array that held `before`, summed twice alike."""
        left = []
        for _ in range(2):
            out = self.cuda.zeros((matrix.columns,), "float32")
            start = np.full(matrix.columns, np.nan) if before is None else before
            self.cuda.device.upload(start.astype(np.float32), out)
            spec = matrix.partial()
            partial = self.cuda.zeros(spec.shape, spec.dtype)
            partial.fill(np.nan)
            add = before is not None
            calls = column_sum(
                self.layer, matrix, blob, out, partial, accumulate=add, **options
            )
            for call in calls:
                call()
            host = np.empty(matrix.columns, np.float32)
            self.cuda.device.download(out, host)
            left.append(host)
        np.testing.assert_array_equal(left[0], left[1])
        return left[0]


def close(got, want):
    largest = np.abs(want).max(initial=1)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * largest)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_stored_or_added(cuda, shape, storage, rng):
    blobs = Blobs(cuda, storage)
    x, values = blobs.put(rng.normal(size=shape) + 1)
    matrix = Columns.of(cuda.device, shape, storage)
    close(blobs.sums(matrix, x), values.sum(0))
    before = rng.normal(size=shape[1])
    close(blobs.sums(matrix, x, before), values.sum(0) + before)


@pytest.mark.parametrize("storage", STORAGES[:2])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_second_factor(cuda, shape, storage, rng):
    blobs = Blobs(cuda, storage)
    x, values = blobs.put(rng.normal(size=shape))
    other, factors = blobs.put(rng.normal(size=shape))
    matrix = Columns.of(cuda.device, shape, storage)
    close(blobs.sums(matrix, x, times=other), (values * factors).sum(0))


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("storage", STORAGES[::2])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_a_relu_is_summed_as_it_is_made(
    cuda, shape, storage, slope, rng
):
    blobs = Blobs(cuda, storage)
    dy, values = blobs.put(rng.normal(size=shape))
    y, signs = blobs.put(np.rint(rng.normal(size=shape)))  # some are 0
    matrix = Columns.of(cuda.device, shape, storage)
    want = np.where(signs > 0, values, slope * values)
    close(blobs.sums(matrix, dy, sign=y, slope=slope), want.sum(0))
    out, _ = blobs.put(np.full(shape, np.nan))
    close(blobs.sums(matrix, dy, sign=y, slope=slope, masked=out), want.sum(0))
    kept = from_bits(to_bits(want.astype(np.float32), storage), storage)
    np.testing.assert_array_equal(blobs.get(out), kept)


def test_the_masked_gradient_may_be_written_in_place(cuda, rng):
    blobs = Blobs(cuda, "float32")
    dy, values = blobs.put(rng.normal(size=(70, 24)))
    y, signs = blobs.put(rng.normal(size=(70, 24)))
    matrix = Columns.of(cuda.device, dy.shape, "float32")
    want = np.where(signs > 0, values, 0)
    close(blobs.sums(matrix, dy, sign=y, masked=dy), want.sum(0))
    np.testing.assert_array_equal(blobs.get(dy), want)


def test_blocks_and_lanes_cover_every_matrix():
    device = SimpleNamespace(multiprocessors=132)
    for shape in [(256, 64, 112, 112), (8, 2048, 7, 7), (4, 3, 5), (7, 1), (0, 3)]:
        for storage in STORAGES:
            matrix = Columns.of(device, shape, storage)
            wide, deep = matrix.grid
            assert wide * matrix.lanes * matrix.vector >= matrix.columns
            assert deep * matrix.chunk >= matrix.rows
            assert (deep - 1) * matrix.chunk < max(1, matrix.rows)
            assert matrix.chunk % (256 // matrix.lanes) == 0
            assert deep <= 65535


def test_a_blob_of_another_shape_is_refused(cuda):
    blobs = Blobs(cuda, "float32")
    x, _ = blobs.put(np.ones((3, 4)))
    matrix = Columns.of(cuda.device, (3, 5), "float32")
    with pytest.raises(ValueError, match="not the matrix of 3 x 5"):
        blobs.sums(matrix, x)
    first = np.zeros((2, 3, 4), np.float32)
    matrix = Columns.of(cuda.device, (2, 3, 4), "float32")
    with pytest.raises(ValueError, match="must come last"):
        blobs.sums(matrix, first)


def test_the_matrix_of_a_shape():
    assert matrix_of((2, 3, 4, 5)) == (40, 3)
    assert matrix_of((7,)) == (7, 1)
    assert matrix_of((2, 0, 4)) == (0, 0)


@pytest.fixture
def rng():
    return np.random.default_rng(3)
