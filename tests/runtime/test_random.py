"""Counter-based random bits: reproducible, and random enough."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from runtime.backends.base import Backend
from runtime.counter_random import stream_keys

SIZE = 200_003  # several blocks, the last one short
MASK = 0xFFFFFFFF


def draw(backend: Backend, keys: tuple[int, int], size: int = SIZE) -> np.ndarray:
    spec = backend.random_scratch(size)
    out = backend.zeros((size,), "uint32")
    backend.random_bits(out, keys, backend.zeros(spec.shape, "uint32"))
    host = np.empty(size, np.uint32)
    backend.download(out, host)
    return host


def hashed(number: int, keys: tuple[int, int]) -> int:
    """The definition, in Python's integers."""
    for key in keys:
        number ^= key
        number = (number ^ number >> 16) * 0x7FEB352D & MASK
        number = (number ^ number >> 15) * 0x846CA68B & MASK
        number ^= number >> 16
    return number


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation in units of its standard deviation for independent values."""
    return float(np.corrcoef(a, b)[0, 1]) * np.sqrt(len(a))


def test_the_bits_are_the_hash_of_the_place_in_every_block(backend: Backend) -> None:
    keys = stream_keys(5, "drop6", 3)
    bits = draw(backend, keys)
    block = min(backend.random_block, SIZE // 2)  # on a device all lie in one
    places = [0, 1, block - 1, block, 70_000, SIZE - 1]
    assert [int(bits[place]) for place in places] == [hashed(p, keys) for p in places]


def test_the_bits_do_not_depend_on_the_size_of_blocks(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = stream_keys(5, "drop6", 3)
    before = draw(backend, keys)
    monkeypatch.setattr(backend, "random_block", 4096)
    monkeypatch.setattr(backend, "_counter", None)
    np.testing.assert_array_equal(draw(backend, keys), before)


def test_keys_are_fixed_for_ever() -> None:
    # A change here changes what a resumed run draws.
    assert stream_keys(1, "drop6", 2, 3) == (0x4F5C2FA8, 0xFC4566D7)


@pytest.mark.parametrize(
    "other",
    [
        (6, "drop6", 3, 0),
        (5 + 2**32, "drop6", 3, 0),
        (5, "drop7", 3, 0),
        (5, "drop6", 4, 0),
        (5, "drop6", 3 + 2**32, 0),
        (5, "drop6", 3, 1),
    ],
)
def test_streams_of_other_seeds_layers_or_passes_are_unrelated(
    backend: Backend, other: tuple[int, str, int, int]
) -> None:
    one = draw(backend, stream_keys(5, "drop6", 3))
    two = draw(backend, stream_keys(*other))
    assert abs(correlation(one, two)) < 4.5
    bits = np.unpackbits((one ^ two).view(np.uint8))
    assert abs(bits.mean() - 0.5) * 2 * np.sqrt(bits.size) < 4.5


def test_every_bit_is_set_half_of_the_time(backend: Backend) -> None:
    bits = draw(backend, stream_keys(1, "a", 0))
    for place in range(32):
        share = (bits >> place & 1).mean()
        assert abs(share - 0.5) * 2 * np.sqrt(SIZE) < 4.5, f"bit {place}"


def test_every_byte_takes_all_values_equally_often(backend: Backend) -> None:
    values = draw(backend, stream_keys(2, "b", 1)).view(np.uint8).reshape(-1, 4)
    for place in range(4):
        counts = np.bincount(values[:, place], minlength=256)
        expected = SIZE / 256
        chi_square = ((counts - expected) ** 2 / expected).sum()
        deviations = (chi_square - 255) / np.sqrt(2 * 255)
        assert abs(deviations) < 4.5, f"byte {place}"


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 64, 1000, 4096, 32768])
def test_neighbours_are_unrelated(backend: Backend, lag: int) -> None:
    bits = draw(backend, stream_keys(3, "c", 2))
    assert abs(correlation(bits[:-lag], bits[lag:])) < 4.5
    low = bits & 0xFFFF
    assert abs(correlation(low[:-lag], low[lag:])) < 4.5


def test_passes_that_follow_each_other_are_unrelated(backend: Backend) -> None:
    passes = [draw(backend, stream_keys(4, "d", clock), 20_000) for clock in range(40)]
    across = np.array([values[17] for values in passes])
    assert len(set(across.tolist())) == 40
    for first, second in itertools.pairwise(passes):
        assert abs(correlation(first, second)) < 4.8


def test_uniform_numbers_fill_their_range(backend: Backend) -> None:
    keys = stream_keys(6, "e", 0)
    bits = backend.zeros((SIZE,), "uint32")
    scratch = backend.zeros(backend.random_scratch(SIZE).shape, "uint32")
    backend.random_bits(bits, keys, scratch)
    host = np.empty(SIZE, np.uint32)
    backend.download(bits, host)
    values = (host >> 8).astype(np.float32) * np.float32(4 * 2.0**-24) - 1.5
    assert values.min() >= -1.5
    assert values.max() <= 2.5
    assert abs(values.mean() - 0.5) < 4.5 * 4 / np.sqrt(12 * SIZE)
    np.testing.assert_allclose(values.std(), 4 / np.sqrt(12), rtol=0.01)
    counts = np.histogram(values, bins=50, range=(-1.5, 2.5))[0]
    assert abs(counts / SIZE * 50 - 1).max() < 4.5 * np.sqrt(50 / SIZE)
