"""float32 to the bits of halves, and back."""

import numpy as np
import pytest

from netspec.errors import SpecError
from runtime.backends.cuda.storage import from_bits, host_dtype, item_bytes, to_bits

HALVES = ("bfloat16", "float16")


def floats(bits):
    return np.array(bits, np.uint32).view(np.float32)


@pytest.mark.parametrize("storage", HALVES)
def test_every_half_comes_back(storage):
    bits = np.arange(1 << 16, dtype=np.uint16)
    numbers = from_bits(bits, storage)
    assert numbers.dtype == np.float32
    again = to_bits(numbers, storage)
    whole = ~np.isnan(numbers)
    np.testing.assert_array_equal(again[whole], bits[whole])
    assert np.isnan(from_bits(again[~whole], storage)).all()


@pytest.mark.parametrize("storage", HALVES)
def test_numbers_go_to_the_nearest_and_between_two_to_the_even(storage):
    finite = 0x7F80 if storage == "bfloat16" else 0x7C00
    bits = np.arange(finite - 1, dtype=np.uint16)
    low = np.float64(from_bits(bits, storage))
    high = np.float64(from_bits(bits + np.uint16(1), storage))
    middle = np.float32((low + high) / 2)
    for sign, high_bit in ((1, 0), (-1, 0x8000)):
        np.testing.assert_array_equal(
            to_bits(np.float32(sign) * middle, storage),
            (bits + (bits & 1)) | np.uint16(high_bit),
        )
    below = np.nextafter(middle, np.float32(0))
    above = np.nextafter(middle, np.float32(np.inf))
    between = (below > np.float32(low)) & (above < np.float32(high))
    assert between.sum() > finite - 256
    np.testing.assert_array_equal(to_bits(below, storage)[between], bits[between])
    np.testing.assert_array_equal(to_bits(above, storage)[between], bits[between] + 1)


@pytest.mark.parametrize(
    "number, bfloat16",
    [
        (0x3F800000, 0x3F80),  # 1
        (0x3F808000, 0x3F80),  # halfway to the next: even
        (0x3F818000, 0x3F82),
        (0x3F808001, 0x3F81),
        (0x7F7FFFFF, 0x7F80),  # the largest float32 becomes infinite
        (0xFF800000, 0xFF80),  # -inf
        (0x80000000, 0x8000),  # -0
        (0x00000001, 0x0000),  # the least subnormal
        (0x7F800001, 0x7FC0),  # NaN that cutting or rounding would make infinite
        (0xFFFFFFFF, 0xFFFF),  # NaN that rounding would make +0
    ],
)
def test_known_bits(number, bfloat16):
    assert to_bits(floats([number]), "bfloat16") == bfloat16


def test_what_is_too_large_for_float16_becomes_infinite():
    numbers = np.array([65519, 65520, -1e30, 1e-9], np.float32)
    np.testing.assert_array_equal(
        to_bits(numbers, "float16"), np.array([0x7BFF, 0x7C00, 0xFC00, 0], np.uint16)
    )


@pytest.mark.parametrize("storage", HALVES)
def test_shapes_and_strides_are_kept(storage):
    numbers = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    for view in (numbers, numbers[::2, :, 1:], numbers[0, 0, 0:1].reshape(())):
        stored = to_bits(view, storage)
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(from_bits(stored, storage), view)
        assert from_bits(stored[..., None][..., ::2], storage).shape == (*view.shape, 1)


def test_float32_is_stored_as_it_is():
    numbers = np.ones(3, np.float32)
    assert to_bits(numbers, "float32") is numbers
    assert from_bits(numbers, "float32") is numbers


def test_sizes():
    assert [item_bytes(each) for each in ("float32", *HALVES)] == [4, 2, 2]
    assert host_dtype("bfloat16") == np.uint16


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(SpecError, match="'bfloat'; did you mean 'bfloat16'"):
        to_bits(np.ones(1, np.float32), "bfloat")
    with pytest.raises(SpecError, match="must be float32, not float64"):
        to_bits(np.ones(1), "float16")
    with pytest.raises(SpecError, match="stored float16 must be uint16, not float32"):
        from_bits(np.ones(1, np.float32), "float16")
