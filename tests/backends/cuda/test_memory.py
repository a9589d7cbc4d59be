"""Memory of a device and copies, by the rules of CuPy's own arrays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from runtime.arena import Arena
from runtime.backends.cuda.machine.cupy_device import CupyDevice


class CopiedArray:
    """As `cupy.ndarray.set` and `get`: equal shape and type, contiguous, or refused."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.inner = np.full(shape, 7, dtype)
        self.shape, self.dtype = shape, self.inner.dtype

    def set(self, host: np.ndarray) -> None:
        assert isinstance(host, np.ndarray)
        assert host.shape == self.shape
        assert host.dtype == self.dtype
        assert host.flags.c_contiguous
        self.inner[...] = host

    def get(self) -> np.ndarray:
        return self.inner.copy()


class Unopened(CupyDevice):
    """One whose copies and cuts are as usual, with no device behind it."""

    def __init__(self) -> None:
        self.entered_times = 0

    def enter(self) -> None:
        self.entered_times += 1


@pytest.fixture
def device() -> Unopened:
    return Unopened()


@pytest.mark.parametrize(
    "host",
    [
        np.array(2.5, np.float32),
        np.array(2.5),
        np.arange(6.0).reshape(2, 3),
        np.arange(6.0, dtype=np.float32).reshape(3, 2).T,
        np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::-2],
        np.zeros((0, 3), np.float32),
    ],
    ids=["no axes", "no axes, float64", "float64", "turned", "steps", "empty"],
)
def test_host_arrays_of_any_layout_arrive_and_come_back(
    device: Unopened, host: np.ndarray
) -> None:
    array = CopiedArray(host.shape, "float32")
    device.upload(host, array)
    np.testing.assert_array_equal(array.inner, host)
    back = np.full(host.T.shape, 9.0).T
    device.download(array, back)
    np.testing.assert_array_equal(back, host)
    assert device.entered_times == 2  # each copy is of this device, whoever calls


class Pointer:
    """As `cupy.cuda.MemoryPointer`: memory and a place in it."""

    def __init__(self, memory: bytearray, offset: int = 0) -> None:
        self.memory, self.offset = memory, offset

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self.memory, self.offset + offset)


def from_pointer(shape: tuple[int, ...], dtype: str, memptr: Pointer) -> np.ndarray:
    """As `cupy.ndarray` of a pointer."""
    return np.ndarray(shape, dtype, buffer=memptr.memory, offset=memptr.offset)


def test_arrays_are_cut_by_their_pointer(device: Unopened) -> None:
    memory = bytearray(range(64))
    whole = SimpleNamespace(data=Pointer(memory, 8), nbytes=56)  # it cannot be sliced
    device._cupy = SimpleNamespace(ndarray=from_pointer)
    cut = device.cut(whole, 16, (2, 3), "uint32")
    assert cut.shape == (2, 3)
    expected = np.frombuffer(memory, "uint32", count=6, offset=24).reshape(2, 3)
    np.testing.assert_array_equal(cut, expected)
    cut[1, 2] = 7
    assert memory[44:48] == bytes([7, 0, 0, 0])
    assert device.cut(whole, 0, (), "float32").shape == ()
    assert device.cut(whole, 56, (0, 4), "float32").size == 0


def test_an_arena_asks_the_backend_for_its_arrays(device: Unopened) -> None:
    memory = bytearray(256)
    asked = SimpleNamespace(data=Pointer(memory), nbytes=256, size=256)
    device._cupy = SimpleNamespace(ndarray=from_pointer)
    lending = SimpleNamespace(
        zeros=lambda shape, dtype: asked, cut=device.cut, on_host=False
    )
    arena = Arena(lending, 128)
    arena.cut(64, (3,), "float32")[...] = 1
    assert np.flatnonzero(np.frombuffer(memory, "float32")).tolist() == [16, 17, 18]
