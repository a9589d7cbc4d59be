"""Conversions between orders of axes and storages against NumPy, to the last bit."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.backends.cuda.storage import from_bits, to_bits
from runtime.backends.cuda.tensor import Place, conversion, made, memory_of

STORAGES = ["float32", "bfloat16", "float16"]
PLACES = [
    Place(order, storage)
    for order, storage in itertools.product(("first", "last"), STORAGES)
]
SHAPES = [
    (2, 3, 8, 10),  # few channels, a whole number of packs
    (3, 3, 7, 5),  # and not
    (2, 8, 33),
    (2, 40, 2, 2),  # few places
    (3, 37, 5),
    (2, 16, 4, 6),
    (2, 9, 11, 3),
    (2, 64, 6, 8),
    (1, 72, 13, 13),
    (2, 130, 97),
    (70, 9, 12),
    (4, 5),
    (7,),
    (),
    (3, 1, 5, 4),
    (3, 5, 1, 1),
    (0, 3, 4, 5),
    (2, 0, 3, 3),
]


def flat(values, place):
    """Return values as they lie in memory, without their storage."""
    if place.order == "last" and values.ndim > 2:
        values = np.moveaxis(values, 1, -1)
    return values.ravel()


def blob_of(cuda, values, place):
    blob = made(cuda.zeros, values.shape, place, "float32")
    memory = memory_of(blob)
    stored = to_bits(np.ascontiguousarray(flat(values, place)), place.storage)
    cuda.device.upload(stored.reshape(memory.shape), memory)
    return blob


def bits_of(cuda, blob):
    memory = memory_of(blob)
    host = np.empty(memory.shape, str(memory.dtype))
    cuda.device.download(memory, host)
    return host.ravel()


def check(cuda, shape, here, there, add):
    rng = np.random.default_rng(3)
    values, before = (
        rng.normal(size=shape).astype("float32").reshape(shape) for _ in range(2)
    )
    source, target = blob_of(cuda, values, here), blob_of(cuda, before, there)
    kept = bits_of(cuda, source)
    conversion(cuda.device, source, target, add=add)()
    cuda.synchronize()
    values = from_bits(to_bits(values, here.storage), here.storage)
    before = from_bits(to_bits(before, there.storage), there.storage)
    want = flat(before + values if add else values, there)
    want = to_bits(np.ascontiguousarray(want), there.storage)
    np.testing.assert_array_equal(bits_of(cuda, target), want)
    np.testing.assert_array_equal(bits_of(cuda, source), kept)


PAIRS = [
    ("float32", "float32"),
    ("float32", "bfloat16"),
    ("bfloat16", "float32"),
    ("float16", "float16"),
]


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_from_one_order_to_the_other(cuda, number, add):
    shape = SHAPES[number]
    # Each pair is a compilation: all of them for the first shapes, else two by turns.
    for one, other in PAIRS if number < 6 else PAIRS[number % 2 :: 2]:
        check(cuda, shape, Place("first", one), Place("last", other), add)
        check(cuda, shape, Place("last", one), Place("first", other), add)


@pytest.mark.parametrize("add", [False, True])
def test_from_one_storage_to_another(cuda, add):
    for here, there in itertools.product(PLACES, PLACES):
        if here.order == there.order:
            check(cuda, (2, 3, 7, 5), here, there, add)


side = st.one_of(st.integers(1, 9), st.integers(10, 70))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), side, side),
    here=st.sampled_from(PLACES),
    there=st.sampled_from(PLACES),
    add=st.booleans(),
)
def test_random_shapes(cuda, shape, here, there, add):
    check(cuda, shape, here, there, add)


@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
def test_every_half_comes_back_as_it_was(cuda, storage):
    bits = np.arange(1 << 16, dtype=np.uint16)
    number = from_bits(bits, storage)
    half = made(cuda.zeros, (1 << 16,), Place("first", storage), "float32")
    wide = cuda.zeros((1 << 16,), "float32")
    cuda.device.upload(bits, memory_of(half))
    conversion(cuda.device, half, wide)()
    np.testing.assert_array_equal(bits_of(cuda, wide), number)
    conversion(cuda.device, wide, half)()
    back = bits_of(cuda, half)
    nan = np.isnan(number)
    np.testing.assert_array_equal(back[~nan], bits[~nan])
    assert np.isnan(from_bits(back[nan], storage)).all()


def test_rounding_is_to_the_nearest_and_ties_are_even(cuda):
    rng = np.random.default_rng(5)
    raw = rng.integers(0, 1 << 32, size=20000, dtype=np.uint32)
    values = raw.view(np.float32)
    ties = (raw & np.uint32(0xFFFF0000) | np.uint32(0x8000)).view(np.float32)
    with np.errstate(invalid="ignore"):
        halves = np.float32(rng.normal(size=5000).astype(np.float16))
        near = np.nextafter(halves, np.float32(0)) + halves * np.float32(2**-11)
    values = np.concatenate([values, ties, near, np.float32([65519, 65520, 65504])])
    for storage in ("bfloat16", "float16"):
        there = Place("first", storage)
        source = blob_of(cuda, values, Place())
        target = made(cuda.zeros, values.shape, there, "float32")
        conversion(cuda.device, source, target)()
        with np.errstate(invalid="ignore", over="ignore"):
            want = to_bits(values, storage)
        got, nan = bits_of(cuda, target), np.isnan(values)
        np.testing.assert_array_equal(got[~nan], want[~nan])
        assert np.isnan(from_bits(got[nan], storage)).all()
